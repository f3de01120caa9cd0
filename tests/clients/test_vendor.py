"""The vendor SDK's side of the protocol: assertion, PKCE, pushed request, callback, tokens, agreement."""

import json
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey
from proffer_vendor import (
    Ask,
    BrokerRefused,
    CallbackRefused,
    CodeRefused,
    Cut,
    Declined,
    FileStore,
    GrantEnded,
    InvalidClient,
    MemoryStore,
    NotABroker,
    Pending,
    SigningKey,
    Tokens,
    Transport,
    Unavailable,
    Vendor,
    challenge,
    cuts,
)


def test_an_assertion_is_short_lived_names_the_issuer_and_is_never_the_same_twice(tmp_path: Path) -> None:
    key = SigningKey.at(tmp_path / "key.json")
    one = jwt.decode(key.assertion("shop", "https://b.example"), OKPKey.import_key(key.public), algorithms=["Ed25519"])
    two = jwt.decode(key.assertion("shop", "https://b.example"), OKPKey.import_key(key.public), algorithms=["Ed25519"])
    assert one.header == {"alg": "Ed25519", "kid": OKPKey.import_key(key.public).thumbprint(), "typ": "JWT"}
    assert one.claims["iss"] == one.claims["sub"] == "shop"
    assert one.claims["aud"] == "https://b.example"
    assert 0 < one.claims["exp"] - time.time() <= 60
    assert one.claims["jti"] != two.claims["jti"]


def test_a_p256_key_signs_with_es256(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(ECKey.generate_key("P-256").as_dict(private=True)))
    key = SigningKey.at(path)
    assert jwt.decode(key.assertion("shop", "x"), ECKey.import_key(key.public), algorithms=["ES256"]).header["alg"] == "ES256"


def test_a_key_is_kept_for_its_owner_alone_and_shows_its_public_half_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key.json"
    key = SigningKey.at(path)
    assert SigningKey.at(path).kid == key.kid
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = json.loads(path.read_text())["d"]
    assert secret not in repr(key) + json.dumps(key.jwks) + json.dumps(key.public)


def test_the_challenge_is_that_of_rfc_7636_appendix_b() -> None:
    assert challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_it_pushes_and_sends_the_browser_on(vendor: Vendor, broker: Any, ask: Ask) -> None:
    pending = vendor.begin([ask])
    assert pending.url == f"{broker.issuer}/oauth/authorize?client_id=shop&request_uri=urn%3Ax%3A1"
    form = broker.forms[-1]
    assert form["response_type"] == "code"
    assert form["code_challenge_method"] == "S256"
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert json.loads(form["authorization_details"]) == [
        {
            "type": "personal_data_access",
            "actions": ["read"],
            "datatypes": ["purchase", "cart"],
            "purposes": ["dpv:ProvideProductRecommendations"],
            "why": "To suggest your next book",
            "want": {
                "window": {"max_age": "P1Y"},
                "form": "rows",
                "fields": {"time": "day", "site": "domain", "category": "leaf", "price": "exact"},
            },
        }
    ]
    assert pending.verifier not in json.dumps(broker.forms)
    assert pending.state not in repr(pending)
    assert pending.verifier not in repr(pending)


def test_it_finishes_with_the_tokens(vendor: Vendor, broker: Any, ask: Ask) -> None:
    pending = vendor.begin([ask])
    tokens = vendor.finish(pending, broker.answer_to(pending.url))
    assert (tokens.access_token, tokens.refresh_token, tokens.grant_id, tokens.scope) == ("at-1", "rt-1", "g1", "events:read")
    assert 290 < tokens.expires_at - time.time() <= 300
    assert "at-1" not in repr(tokens)
    assert "rt-1" not in repr(tokens)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda query: query | {"state": "another"},
        lambda query: {name: value for name, value in query.items() if name != "state"},
        lambda query: query | {"iss": "https://evil.example"},
        lambda query: query | {"iss": query["iss"] + "/"},
        lambda query: {name: value for name, value in query.items() if name != "iss"},
        lambda query: {name: value for name, value in query.items() if name != "code"},
        lambda query: query | {"error": "access_denied", "state": "another"},
    ],
    ids=["state", "no state", "iss", "iss with slash", "no iss", "no code", "a forged refusal"],
)
def test_a_callback_that_is_not_ours_is_refused_before_anything_is_sent(
    vendor: Vendor, broker: Any, ask: Ask, spoil: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    pending = vendor.begin([ask])
    sent = len(broker.forms)
    query = broker.answer_to(pending.url)
    with pytest.raises(CallbackRefused):
        vendor.finish(pending, spoil(query))
    assert len(broker.forms) == sent
    assert vendor.finish(pending, query).grant_id == "g1"


def test_a_no_is_told_apart_from_a_failure(vendor: Vendor, broker: Any, ask: Ask) -> None:
    pending = vendor.begin([ask])
    answer = {name: value for name, value in broker.answer_to(pending.url).items() if name != "code"}
    with pytest.raises(Declined):
        vendor.finish(pending, answer | {"error": "access_denied"})
    with pytest.raises(BrokerRefused) as refused:
        vendor.finish(pending, answer | {"error": "server_error", "error_description": "Later."})
    assert (refused.value.code, refused.value.detail) == ("server_error", "Later.")


def test_another_verifier_is_refused(vendor: Vendor, broker: Any, ask: Ask) -> None:
    pending = vendor.begin([ask])
    with pytest.raises(CodeRefused):
        vendor.finish(Pending(pending.url, pending.state, "x" * 43), broker.answer_to(pending.url))


def test_an_unknown_client_is_told(vendor: Vendor, ask: Ask) -> None:
    vendor.client_id = "stranger"
    with pytest.raises(InvalidClient):
        vendor.begin([ask])


def test_metadata_of_another_issuer_is_refused(vendor: Vendor, broker: Any, ask: Ask) -> None:
    broker.named_issuer = "https://evil.example"
    with pytest.raises(NotABroker):
        vendor.begin([ask])
    assert broker.forms == []


def test_nothing_is_sent_in_the_clear_to_another_machine(tmp_path: Path, ask: Ask) -> None:
    sent: list[httpx2.Request] = []

    def never(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(500)

    with httpx2.Client(transport=httpx2.MockTransport(never)) as http:
        vendor = Vendor("http://broker.example", "shop", SigningKey.at(tmp_path / "key.json"), "https://shop.example/cb", proof_key=SigningKey.generate(), transport=Transport(http))
        with pytest.raises(NotABroker):
            vendor.begin([ask])
    assert sent == []


def test_a_broker_that_does_not_answer_is_unavailable(vendor: Vendor, ask: Ask) -> None:
    vendor.issuer = "http://127.0.0.1:9"
    with pytest.raises(Unavailable):
        vendor.begin([ask])


def test_revoking_ends_the_grant(vendor: Vendor, broker: Any, ask: Ask) -> None:
    pending = vendor.begin([ask])
    tokens = vendor.finish(pending, broker.answer_to(pending.url))
    assert vendor.refresh(tokens).refresh_token == tokens.refresh_token
    vendor.revoke(tokens)
    with pytest.raises(GrantEnded):
        vendor.refresh(tokens)


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_store_keeps_replaces_and_forgets(tmp_path: Path, kind: str) -> None:
    store = FileStore(tmp_path / "tokens") if kind == "file" else MemoryStore()
    one, two = (Tokens(f"at-{n}", "rt", 1.5, "g1", "events:read", ({"identifier": "c1"},)) for n in (1, 2))
    assert store.load("../../alice") is None
    store.save("../../alice", one)
    store.save("../../alice", two)
    assert store.load("../../alice") == two
    assert store.load("bob") is None
    assert "at-2" not in repr(store)
    if kind == "file":
        files = list((tmp_path / "tokens").iterdir())
        assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600]
        assert list(tmp_path.iterdir()) == [tmp_path / "tokens"]
    store.forget("../../alice")
    store.forget("../../alice")
    assert store.load("../../alice") is None


@pytest.fixture
def tokens(vendor: Vendor, broker: Any, ask: Ask) -> Tokens:
    pending = vendor.begin([ask])
    return vendor.finish(pending, broker.answer_to(pending.url))


def test_what_was_cut_is_named(broker: Any) -> None:
    assert cuts({"narrowed": broker.narrowed}) == [
        Cut("kind cart", "yes", "nothing"),
        Cut("field price", "exact", "bucket:10"),
        Cut("field site", "domain", "nothing"),
        Cut("window max_age", "P365D", "P90D"),
        Cut("part i2", "read", "nothing"),
    ]
    assert cuts({}) == []


def test_what_another_clause_gives_was_not_cut_and_nothing_is_said_twice() -> None:
    asked = ["cart", "page_visit", "purchase"]
    lines = [{"clause": f"c{n}", "dim": "kinds", "asked": asked, "given": [kind], "code": "fewer"} for n, kind in ((1, "purchase"), (2, "cart"))]
    given = [{"identifier": "c1", "datatypes": ["purchase"]}, {"identifier": "c2", "datatypes": ["cart"]}]
    assert cuts({"narrowed": lines, "authorization_details": given}) == [Cut("kind page_visit", "yes", "nothing")]
