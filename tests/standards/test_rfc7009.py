"""Revocation by the client (RFC 7009; attack rows 86-89, 93)."""

from makers import Browser, Shop


def test_a_refresh_token_hands_the_grant_back(alice: Browser, bookshop: Shop) -> None:
    """Row 86: the access token is dead at once; the person sees who ended it."""
    from broker.ledger import queries

    bookshop.connect(alice)
    assert bookshop.read().status_code == 200
    answer = bookshop.form("/oauth/revoke", {"token": bookshop.tokens["refresh_token"]})
    assert (answer.status_code, answer.data) == (200, b"")
    assert bookshop.read().status_code == 401
    assert bookshop.refresh().json["error"] == "invalid_grant"
    with alice.app.extensions["broker"].reading() as tx:
        ended = next(entry for entry in queries.page(tx, alice.ring).entries if entry["act"] == "revoke")
    assert ended["by"]["vendor"] == "https://books.example"


def test_an_access_token_ends_alone(alice: Browser, bookshop: Shop) -> None:
    """Row 86, the other half."""
    bookshop.connect(alice)
    assert bookshop.form("/oauth/revoke", {"token": bookshop.tokens["access_token"]}).status_code == 200
    assert bookshop.read().status_code == 401
    assert bookshop.refresh().status_code == 200
    assert bookshop.read().status_code == 200


def test_another_clients_token_has_no_effect(alice: Browser, bookshop: Shop, otherstore: Shop) -> None:
    """Rows 87 and 88: 200 for strangers and for nonsense, and nothing happens."""
    bookshop.connect(alice)
    for token in (bookshop.tokens["refresh_token"], bookshop.tokens["access_token"], "nonsense"):
        assert otherstore.form("/oauth/revoke", {"token": token, "token_type_hint": "colour"}).status_code == 200
    assert bookshop.read().status_code == 200
    assert bookshop.refresh().status_code == 200


def test_it_needs_the_client(alice: Browser, bookshop: Shop) -> None:
    """Row 89."""
    bookshop.connect(alice)
    answer = bookshop.form("/oauth/revoke", {"token": bookshop.tokens["refresh_token"], "client_assertion": None})
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    assert bookshop.read().status_code == 200
