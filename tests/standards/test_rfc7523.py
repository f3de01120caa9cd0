"""Client authentication by private_key_jwt (RFC 7523 section 3; attack rows 39-51, 110)."""

import base64
import json
import threading

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey
from makers import ORIGIN, Browser, Clock, Shop
from proofs import of_broker

from broker.oauth.actions import sweep

REFUSED = {
    "no sub (40)": {"sub": None}, "iss is another (40)": {"iss": "other"}, "unknown client (40)": {"iss": "nobody", "sub": "nobody"},
    "aud another server (41)": {"aud": "https://other.example"}, "aud a list (41)": {"aud": [ORIGIN]}, "aud the token URL (41)": {"aud": f"{ORIGIN}/oauth/token"},
    "aud the PAR URL (41)": {"aud": f"{ORIGIN}/oauth/par"}, "no aud": {"aud": None}, "no exp": {"exp": None}, "exp in ten years (42)": {"exp": 2**40},
    "exp as text (110)": {"exp": "1"}, "exp true (110)": {"exp": True}, "no jti (44)": {"jti": None}, "jti empty": {"jti": ""}, "jti a number": {"jti": 7},
    "jti too long": {"jti": "x" * 129},
}  # fmt: skip


def post(shop: Shop, **data: str | None) -> tuple[int, str]:
    answer = shop.form("/oauth/token", {"grant_type": "refresh_token", "refresh_token": "x", **data})
    return answer.status_code, answer.json["error"]


def test_it_works(bookshop: Shop) -> None:
    """A good assertion goes on to the grant type's own refusal."""
    assert post(bookshop) == (400, "invalid_grant")


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses(bookshop: Shop, name: str) -> None:
    assert post(bookshop, client_assertion=bookshop.assertion(**REFUSED[name])) == (401, "invalid_client")


def test_times(bookshop: Shop) -> None:
    """Rows 42 and 43: ten seconds of skew pass, more do not."""
    now = int(bookshop.app.extensions["broker"].now().timestamp())
    for claims in ({"iat": now + 10}, {"nbf": now + 10}, {"exp": now - 10}):
        assert post(bookshop, client_assertion=bookshop.assertion(**claims)) == (400, "invalid_grant"), claims
    for claims in ({"iat": now + 70}, {"nbf": now + 70}, {"exp": now - 300}, {"exp": now + 100}):
        assert post(bookshop, client_assertion=bookshop.assertion(**claims)) == (401, "invalid_client"), claims


def test_an_assertion_works_once(bookshop: Shop, clock: Clock) -> None:
    """Row 44, K22: replayed at once and until its very end."""
    assertion = bookshop.assertion()
    assert post(bookshop, client_assertion=assertion) == (400, "invalid_grant")
    for seconds in (0, 49, 30, 1):
        clock.advance(seconds=seconds)
        # What it forgets must be worth nothing any more.
        sweep(bookshop.app.extensions["broker"])
        assert post(bookshop, client_assertion=assertion) == (401, "invalid_client")


REFUSED_LATER = {
    "no token": {"refresh_token": None}, "unknown token": {"refresh_token": "x"}, "scope": {"scope": "events:write"}, "resource": {"resource": "https://other.example"},
    "details": {"authorization_details": "[]"}, "another key": {},
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_LATER)
def test_a_refused_call_uses_its_ids_up(alice: Browser, bookshop: Shop, name: str) -> None:
    """Rows 44 and 73, rule T4: whatever is refused after them, the assertion and the proof were shown, and are worth nothing any more."""
    bookshop.connect(alice)
    prover = of_broker(bookshop.app.extensions["broker"]) if name == "another key" else bookshop.prover
    assertion, proof = bookshop.assertion(), prover.proof("POST", "/oauth/token")
    assert bookshop.refresh(**REFUSED_LATER[name], client_assertion=assertion, headers={"DPoP": proof}).status_code == 400
    again = bookshop.refresh(client_assertion=assertion)
    assert (again.status_code, again.json["error"]) == (401, "invalid_client")
    again = bookshop.refresh(headers={"DPoP": proof})
    assert (again.status_code, again.json["error"]) == (400, "invalid_dpop_proof")
    assert bookshop.refresh().status_code == 200


def test_of_parallel_replays_one_wins(bookshop: Shop) -> None:
    """Row 44, in parallel."""
    assertion, barrier, found = bookshop.assertion(), threading.Barrier(16), []

    def one() -> None:
        shop = Shop(bookshop.app, bookshop.client_id, bookshop.domain, bookshop.key, bookshop.app.test_client(), bookshop.prover)
        barrier.wait()
        found.append(post(shop, client_assertion=assertion)[0])

    threads = [threading.Thread(target=one) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [400, *[401] * 15]


def forged(header: dict[str, object], payload: bytes, signature: bytes = b"x") -> str:
    parts = (json.dumps(header).encode(), payload, signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_algorithms(bookshop: Shop) -> None:
    """Row 45: none, HS256 with the public key, RS256, a key in the header (CVE-2026-27962), crit, huge."""
    payload = bookshop.assertion().split(".")[1]
    raw = base64.urlsafe_b64decode(payload + "==")
    public = json.dumps(bookshop.key.as_dict(private=False)).encode()
    attacker = ECKey.generate_key("P-256", private=True)
    attempts = [
        forged({"alg": "none"}, raw, b""),
        jws.serialize_compact({"alg": "HS256"}, raw, OctKey.import_key(public), algorithms=["HS256"]),
        forged({"alg": "RS256", "kid": "k1"}, raw),
        jws.serialize_compact({"alg": "ES256", "jwk": attacker.as_dict(private=False)}, raw, attacker),
        jws.serialize_compact({"alg": "ES256", "kid": "k1"}, raw, attacker),
        forged({"alg": "ES256", "kid": "k1", "crit": ["x"], "x": 1}, raw),
        "a" * 9000, "not.a.jwt", "..", "é.é.é",
    ]  # fmt: skip
    for attempt in attempts:
        assert post(bookshop, client_assertion=attempt) == (401, "invalid_client"), attempt[:60]


def test_duplicate_and_strange_claims(bookshop: Shop) -> None:
    """Rule A13 and row 110: strict JSON, also inside the assertion."""
    now = int(bookshop.app.extensions["broker"].now().timestamp())
    good = f'"iss":"{bookshop.client_id}","sub":"{bookshop.client_id}","aud":"{ORIGIN}","jti":"j1"'
    for claims in (f'{{{good},"exp":NaN}}', f'{{{good},"exp":{now + 50}.0}}', f'{{{good},"exp":1,"exp":{now + 50}}}'):
        text = jws.serialize_compact({"alg": "ES256", "kid": "k1"}, claims.encode(), bookshop.key)
        assert post(bookshop, client_assertion=text) == (401, "invalid_client"), claims
    text = jws.serialize_compact({"alg": "ES256", "kid": "k1"}, f'{{{good},"exp":{now + 50}}}'.encode(), bookshop.key)
    assert post(bookshop, client_assertion=text) == (400, "invalid_grant")


def test_one_method_only(bookshop: Shop) -> None:
    """Rows 39, 46, 47 and 48."""
    assert post(bookshop, client_assertion=None, client_assertion_type=None) == (401, "invalid_client")
    assert post(bookshop, client_id="another") == (401, "invalid_client")
    assert post(bookshop, client_id=bookshop.client_id) == (400, "invalid_grant")
    assert post(bookshop, client_assertion_type="urn:other") == (401, "invalid_client")
    assert post(bookshop, client_secret="s") == (400, "invalid_request")
    basic = {"Authorization": "Basic " + base64.b64encode(b"a:b").decode()}
    both = bookshop.form("/oauth/token", {"grant_type": "refresh_token", "refresh_token": "x"}, headers=basic)
    assert (both.status_code, both.json["error"]) == (400, "invalid_request")
    for header in (basic["Authorization"], "Basic !!!", "Basic /w==", "Basic"):
        alone = bookshop.client.post("/oauth/token", data={"grant_type": "refresh_token"}, base_url=ORIGIN, headers={"Authorization": header})
        assert (alone.status_code, alone.json["error"]) == (401, "invalid_client")


def test_unknown_clients_and_bad_signatures_look_alike(bookshop: Shop) -> None:
    """Row 49, rule A7."""
    bad = bookshop.assertion()[:-8] + "AAAAAAAA"
    unknown = bookshop.assertion(iss="nobody", sub="nobody")
    answers = [bookshop.form("/oauth/token", {"grant_type": "refresh_token", "client_assertion": text}) for text in (bad, unknown)]
    assert answers[0].data == answers[1].data
    assert [answer.status_code for answer in answers] == [401, 401]


def test_a_removed_client_is_refused_at_once(bookshop: Shop) -> None:
    """Row 51, K25."""
    from broker.vendors.actions import disable_client

    assert post(bookshop) == (400, "invalid_grant")
    disable_client(bookshop.app.extensions["broker"], bookshop.client_id)
    assert post(bookshop) == (401, "invalid_client")


def test_every_refusal_costs_one_verification(bookshop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 49, rule A7: the same class of time for an unknown client, a disabled one, an unknown key and a bad signature."""
    from broker.oauth import assertion
    from broker.vendors.actions import disable_client

    verify, verified = jws.validate_compact, []

    def counted(*given: object, **more: object) -> object:
        verified.append(1)
        return verify(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(assertion.jws, "validate_compact", counted)

    def cost(text: str) -> tuple[tuple[int, str], int]:
        verified.clear()
        return post(bookshop, client_assertion=text), len(verified)

    assert cost(bookshop.assertion()) == ((400, "invalid_grant"), 1)
    stranger = ECKey.generate_key("P-256", private=True)
    payload = base64.urlsafe_b64decode(bookshop.assertion().split(".")[1] + "==")
    refused = ((401, "invalid_client"), 1)
    assert cost(jws.serialize_compact({"alg": "ES256", "kid": "k1"}, payload, stranger)) == refused
    assert cost(jws.serialize_compact({"alg": "ES256", "kid": "k9"}, payload, stranger)) == refused
    assert cost(bookshop.assertion(iss="nobody", sub="nobody")) == refused
    disable_client(bookshop.app.extensions["broker"], bookshop.client_id)
    assert cost(bookshop.assertion()) == refused
