"""The token endpoint (RFC 6749 sections 4.1.3, 5 and 6; attack rows 52-65 and 80-83)."""

import threading

import pytest
from makers import ORIGIN, Browser, Clock, Shop, purchases

from broker.grants import actions as grants
from broker.grants import queries


def code_for(alice: Browser, shop: Shop) -> str:
    return alice.give(shop.ask())["code"]


def test_it_works(alice: Browser, bookshop: Shop) -> None:
    """Section 5.1, row 65: tokens, their type and life, what was really granted; never cached (row 63)."""
    answer = bookshop.redeem(code_for(alice, bookshop))
    assert answer.status_code == 200
    assert answer.json["token_type"] == "DPoP"
    assert 0 < answer.json["expires_in"] <= 600
    assert answer.json["scope"] == "events:read"
    assert [entry["identifier"] for entry in answer.json["authorization_details"]] == ["c1"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert bookshop.countersign().status_code == 204
    assert bookshop.read().status_code == 200


WRONG = {
    "no redirect_uri (56)": {"redirect_uri": None},
    "other redirect_uri (56)": {"redirect_uri": "https://books.example/callback/"},
    "no verifier (57)": {"code_verifier": None},
    "wrong verifier (57)": {"code_verifier": "w" * 64},
    "short verifier (57)": {"code_verifier": "w" * 42},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_presentation_burns_the_code(alice: Browser, bookshop: Shop, name: str) -> None:
    """Rows 56, 57, 112: invalid_grant, and the right presentation comes too late."""
    code = code_for(alice, bookshop)
    assert bookshop.redeem(code, **WRONG[name]).json["error"] == "invalid_grant"
    assert bookshop.redeem(code).json["error"] == "invalid_grant"


def test_a_verifier_with_a_newline_is_refused(alice: Browser, bookshop: Shop) -> None:
    """Row 111."""
    code = code_for(alice, bookshop)
    assert bookshop.redeem(code, code_verifier=bookshop.verifier + "\n").status_code == 400
    assert not bookshop.tokens


def test_a_code_lives_sixty_seconds(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """Row 54, K20."""
    code = code_for(alice, bookshop)
    clock.advance(seconds=61)
    assert bookshop.redeem(code).json["error"] == "invalid_grant"


def test_another_client_cannot_redeem_it(alice: Browser, bookshop: Shop, otherstore: Shop) -> None:
    """Row 55: refused, and the code is burned."""
    code = code_for(alice, bookshop)
    otherstore.verifier = bookshop.verifier
    assert otherstore.redeem(code, redirect_uri=bookshop.redirect_uri).json["error"] == "invalid_grant"
    assert bookshop.redeem(code).json["error"] == "invalid_grant"


def test_a_replayed_code_ends_the_grant(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """Row 52, rule T6: one second or more after use, its tokens die."""
    code = code_for(alice, bookshop)
    assert bookshop.redeem(code).status_code == 200
    clock.advance(seconds=2)
    assert bookshop.redeem(code).json["error"] == "invalid_grant"
    assert bookshop.read().status_code == 401


def test_a_double_submit_only_gets_refused(alice: Browser, bookshop: Shop) -> None:
    """Row 113: within a second the first tokens live on."""
    code = code_for(alice, bookshop)
    assert bookshop.redeem(code).status_code == 200
    assert bookshop.redeem(code).json["error"] == "invalid_grant"
    assert bookshop.countersign().status_code == 204
    assert bookshop.read().status_code == 200


def test_twenty_parallel_redemptions_have_one_winner(alice: Browser, bookshop: Shop) -> None:
    """Row 53, rule S4."""
    code = code_for(alice, bookshop)
    data = {"grant_type": "authorization_code", "code": code, "redirect_uri": bookshop.redirect_uri, "code_verifier": bookshop.verifier}
    barrier, statuses = threading.Barrier(20), []

    def one() -> None:
        shop = Shop(bookshop.app, bookshop.client_id, bookshop.domain, bookshop.key, bookshop.app.test_client(), bookshop.prover)
        barrier.wait()
        statuses.append(shop.form("/oauth/token", data).status_code)

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, *[400] * 19]


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch", "head"])
@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke"])
def test_it_takes_only_post(bookshop: Shop, path: str, method: str) -> None:
    """Row 60, section 3.2; a body of 1 MB is not read."""
    answer = getattr(bookshop.client, method)(path, base_url=ORIGIN)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert bookshop.client.post(path, data={"a": "x" * 1_000_000}, base_url=ORIGIN).status_code == 413
    assert bookshop.form(path, {}).status_code == 400


def test_no_answer_is_kept(alice: Browser, bookshop: Shop) -> None:
    """Row 63, section 5.1: `no-store` on what was given and on what was refused, at PAR, token and revocation."""
    answers = [bookshop.push(), bookshop.push(response_type="token"), bookshop.redeem("x"), bookshop.redeem(code_for(alice, bookshop)), bookshop.refresh()]
    answers += [bookshop.form("/oauth/revoke", {"token": "x"}), bookshop.client.get("/oauth/token", base_url=ORIGIN), bookshop.push(client_assertion="x")]
    assert [answer.status_code for answer in answers] == [201, 400, 400, 200, 200, 200, 405, 401]
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}


@pytest.mark.parametrize("grant_type", ["password", "implicit", "client_credentials", "unknown", "ünïcode", '"quoted"', None])
def test_other_grant_types_are_refused(bookshop: Shop, grant_type: str | None) -> None:
    """Row 62: never echoed."""
    answer = bookshop.form("/oauth/token", {"grant_type": grant_type})
    assert answer.json == {"error": "unsupported_grant_type", "error_description": "Use authorization_code or refresh_token."}


def test_refresh_repeats_the_token(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """Rule T8: not rotated; the access token before stays good for its life."""
    first = bookshop.connect(alice)
    clock.advance(seconds=301)
    assert bookshop.read().status_code == 401
    again = bookshop.refresh()
    assert again.status_code == 200
    assert again.json["refresh_token"] == first["refresh_token"]
    assert again.json["access_token"] != first["access_token"]
    assert bookshop.read().status_code == 200


def test_refresh_belongs_to_its_client(alice: Browser, bookshop: Shop, otherstore: Shop) -> None:
    """Row 80; nothing is revoked by a stranger."""
    bookshop.connect(alice)
    otherstore.tokens = dict(bookshop.tokens)
    assert otherstore.refresh().json["error"] == "invalid_grant"
    assert bookshop.refresh(client_assertion=None, client_assertion_type=None).status_code == 401
    assert bookshop.refresh().status_code == 200


def test_refresh_never_widens(alice: Browser, bookshop: Shop) -> None:
    """Row 82, rules D4 and D5."""
    bookshop.connect(alice)
    assert bookshop.refresh(scope="events:read events:write").json["error"] == "invalid_scope"
    assert bookshop.refresh(authorization_details='[{"type":"personal_data_access","identifier":"c9"}]').json["error"] == "invalid_authorization_details"
    assert (
        bookshop.refresh(authorization_details='[{"type":"personal_data_access","identifier":"c1","fields":{}}]').json["error"]
        == "invalid_authorization_details"
    )
    assert bookshop.refresh(authorization_details='[{"type":"personal_data_access","identifier":"c1"}]').status_code == 200


def test_a_limited_token_reads_its_clause_only(alice: Browser, bookshop: Shop) -> None:
    """Rule D5: the token is limited, the grant is not."""
    bookshop.connect(alice, [purchases(), {**purchases(fields={"time": "month", "category": "top"}), "purposes": ["dpv:ProvideProductRecommendations"]}])
    if len(bookshop.tokens["authorization_details"]) > 1:
        assert bookshop.refresh(authorization_details='[{"type":"personal_data_access","identifier":"c1"}]').status_code == 200
        assert bookshop.read("?clause=c1").status_code == 200
        assert bookshop.read("?clause=c2").status_code == 403


def test_refresh_after_the_end(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """Row 83: revoked or expired is invalid_grant; paused still refreshes (rule G8, row 114)."""
    broker = alice.app.extensions["broker"]
    grant_id = queries.to_bytes(bookshop.connect(alice)["grant_id"])
    grants.pause(broker, alice.person_id, grant_id)
    assert bookshop.refresh().status_code == 200
    paused = bookshop.read()
    assert (paused.status_code, paused.json["type"]) == (403, "/problems/grant-paused")
    assert "WWW-Authenticate" not in paused.headers
    grants.resume(broker, alice.person_id, grant_id)
    assert bookshop.read().status_code == 200
    grants.revoke(broker, alice.person_id, grant_id)
    assert bookshop.refresh().json["error"] == "invalid_grant"
    bookshop.connect(alice)
    clock.advance(days=200)
    assert bookshop.refresh().json["error"] == "invalid_grant"


def test_a_refresh_token_idles_ninety_days(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """The table of lifetimes."""
    bookshop.connect(alice)
    clock.advance(days=89)
    assert bookshop.refresh().status_code == 200
    clock.advance(days=89)
    assert bookshop.refresh().status_code == 200
    clock.advance(days=91)
    assert bookshop.refresh().json["error"] == "invalid_grant"


def test_redeeming_after_a_revoke(alice: Browser, bookshop: Shop) -> None:
    """Rule G9: a revoke that has returned wins over a code in flight."""
    code = code_for(alice, bookshop)
    broker = alice.app.extensions["broker"]
    with broker.reading() as tx:
        newest = queries.every(tx, alice.ring)[0]
    grants.revoke(broker, alice.person_id, newest.grant_id)
    assert bookshop.redeem(code).json["error"] == "invalid_grant"
