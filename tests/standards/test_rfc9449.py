"""DPoP (RFC 9449) at PAR, token endpoint and API: success and refusal on one setup; the numbers are rows of the design's checklist."""

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from makers import ORIGIN, SMALL_ORDER, Browser, Clock, Extension, Shop, page_visit, purchase, weak
from proofs import Prover, b64, of_broker

from broker import close_app, create_app
from broker.config import Settings
from broker.db import utcnow
from broker.ledger import queries as ledger
from broker.oauth import dpop

PATH = {"par": "/oauth/par", "token": "/oauth/token", "api": "/v1/events"}
# A point that is on no curve, and one key of each kind that no proof may be made with.
OFF_CURVE = {"kty": "EC", "crv": "P-256", "x": b64(b"\x01" * 32), "y": b64(b"\x02" * 32)}
OCT = {"kty": "oct", "k": b64(b"k" * 32)}
NO_KEYS: dict[str, Any] = {
    "none": {"alg": "none"}, "RS256": {"alg": "RS256"}, "HS256": {"alg": "HS256"}, "EdDSA": {"alg": "EdDSA"}, "oct": {"jwk": OCT}, "oct by HS256": {"alg": "HS256", "jwk": OCT},
    "off-curve": {"jwk": OFF_CURVE}, "no jwk": {"jwk": None}, "no alg": {"alg": None}, "no typ": {"typ": None}, "typ JWT": {"typ": "JWT"}, "crit": {"crit": ["b64"]},
    "jwk a list": {"jwk": []}, "P-384": {"jwk": ECKey.generate_key("P-384").as_dict(private=False)}, "kty a number": {"jwk": {"kty": 7}},
    "small RSA": {"alg": "PS256", "jwk": {"kty": "RSA", "e": "AQAB", "n": b64(b"\xff" * 128)}}, "large RSA": {"alg": "PS256", "jwk": {"kty": "RSA", "e": "AQAB", "n": b64(b"\xff" * 513)}}, "large exponent": {"alg": "PS256", "jwk": {"kty": "RSA", "e": b64(b"\xff" * 300), "n": b64(b"\xff" * 300)}},
    "half a key": {"jwk": {"kty": "EC", "crv": "P-256"}},
}  # fmt: skip
WRONG: dict[str, Any] = {
    "no jti": {"jti": None}, "jti empty": {"jti": ""}, "jti a number": {"jti": 7}, "jti too long": {"jti": "x" * 129}, "no htm": {"htm": None}, "htm wrong": {"htm": "DELETE"},
    "htm in small letters": {"htm": "post"}, "no htu": {"htu": None}, "htu a number": {"htu": 7}, "host wrong": {"htu": "http://evil.example:8440/oauth/token"},
    "path wrong": {"htu": f"{ORIGIN}/oauth/token/x"}, "htu with a name": {"htu": "http://x@localhost:8440/oauth/token"}, "no iat": {"iat": None}, "iat as text": {"iat": "1"},
    "iat true": {"iat": True}, "exp over": {"exp": 1}, "exp as text": {"exp": "9999999999"}, "nbf ahead": {"nbf": 2**40}, "nbf false": {"nbf": False},
}  # fmt: skip


@pytest.fixture
def connected(alice: Browser, bookshop: Shop, clock: Clock) -> Shop:
    """A shop with a token, and something to read."""
    alice.store(purchase(clock()))
    bookshop.connect(alice)
    return bookshop


def at(shop: Shop, where: str, proof: str | None) -> tuple[int, str]:
    """(status, error) of a call that is good but for its proof."""
    if where == "par":
        answer = shop.push(headers={"DPoP": proof})
        return answer.status_code, answer.json.get("error", "")
    if where == "token":
        answer = shop.refresh(headers={"DPoP": proof})
        return answer.status_code, answer.json.get("error", "")
    headers = {"Authorization": f"DPoP {shop.tokens['access_token']}", **({} if proof is None else {"DPoP": proof})}
    answer = shop.client.get("/v1/events", base_url=ORIGIN, headers=headers)
    told = answer.headers.get("WWW-Authenticate", "")
    return answer.status_code, told.partition('error="')[2].partition('"')[0]


def proof(shop: Shop, where: str, **changes: Any) -> str:
    token = shop.tokens["access_token"] if where == "api" else ""
    return shop.prover.proof("GET" if where == "api" else "POST", PATH[where], token, **changes)


GOOD = {"par": 201, "token": 200, "api": 200}
BAD = {"par": (400, "invalid_dpop_proof"), "token": (400, "invalid_dpop_proof"), "api": (401, "invalid_dpop_proof")}


@pytest.mark.parametrize("where", PATH)
def test_it_works(connected: Shop, where: str) -> None:
    assert at(connected, where, proof(connected, where)) == (GOOD[where], "")


@pytest.mark.parametrize("where", ["token", "api"])
def test_without_a_proof_nothing_is_given(connected: Shop, where: str) -> None:
    """Row 66; at PAR see `test_the_code_is_bound_when_it_is_asked_for`."""
    assert at(connected, where, None) == BAD[where]


@pytest.mark.parametrize("where", PATH)
def test_two_proofs_are_none(connected: Shop, where: str) -> None:
    """Row 67: repeated headers arrive joined by a comma."""
    assert at(connected, where, f"{proof(connected, where)}, {proof(connected, where)}") == BAD[where]
    assert at(connected, where, f"{proof(connected, where)},{proof(connected, where)}") == BAD[where]


@pytest.mark.parametrize("name", NO_KEYS)
def test_headers_that_name_no_key_of_ours(connected: Shop, name: str) -> None:
    """Rows 68 and 69: never a 5xx."""
    for where in PATH:
        assert at(connected, where, proof(connected, where, header=NO_KEYS[name])) == BAD[where], where


@pytest.mark.parametrize("name", WRONG)
def test_claims_that_do_not_fit_the_call(connected: Shop, name: str) -> None:
    """Rows 68, 71 and 72."""
    assert at(connected, "token", proof(connected, "token", **WRONG[name])) == BAD["token"]


def test_a_private_key_in_the_header_is_refused(connected: Shop) -> None:
    """Row 69: whoever sends it has given it away."""
    jwk = connected.prover.key.as_dict(private=True)
    for where in PATH:
        assert at(connected, where, proof(connected, where, header={"jwk": jwk})) == BAD[where]


def test_a_signature_by_another_key(connected: Shop) -> None:
    """Row 70: the header names the token's key, somebody else signs."""
    thief = Prover(connected.prover.nonce)
    thief.header = connected.prover.header
    for where, path in PATH.items():
        token = connected.tokens["access_token"] if where == "api" else ""
        assert at(connected, where, thief.proof("GET" if where == "api" else "POST", path, token)) == BAD[where]


def test_a_copied_token_is_worth_nothing(connected: Shop, alice: Browser) -> None:
    """Row 70: another key with a proof of its own, at the API and at refresh; the person sees both, and the grant lives on."""
    thief = of_broker(connected.app.extensions["broker"])
    token = connected.tokens["access_token"]
    assert at(connected, "api", thief.proof("GET", PATH["api"], token)) == (401, "invalid_token")
    assert at(connected, "token", thief.proof("POST", PATH["token"])) == (400, "invalid_grant")
    with connected.app.extensions["broker"].reading() as tx:
        seen = [entry["reasons"] for entry in ledger.page(tx, alice.ring).entries if entry["outcome"] == "denied"]
    assert seen == [["other-key"], ["other-key"]]
    assert connected.refresh().status_code == 200
    assert connected.read().status_code == 200


def test_addresses_are_compared_as_addresses(connected: Shop) -> None:
    """Row 71: query, fragment and the case of the host do not matter."""
    for htu in ("http://LOCALHOST:8440/oauth/token", "HTTP://localhost:8440/oauth/token?a=1", f"{ORIGIN}/oauth/token#x"):
        assert at(connected, "token", proof(connected, "token", htu=htu)) == (200, ""), htu
    assert dpop._is_here("https://broker.example:443/v1/events", "https://broker.example/v1/events")
    assert not dpop._is_here("https://broker.example:444/v1/events", "https://broker.example/v1/events")
    assert not dpop._is_here("http://broker.example:443/v1/events", "https://broker.example/v1/events")


def test_the_time_it_was_made(connected: Shop) -> None:
    """Row 72, in seconds from now."""
    now = int(connected.prover.clock())
    for ahead in (-290, -10, 10, 25):
        assert at(connected, "token", proof(connected, "token", iat=now + ahead)) == (200, ""), ahead
    for ahead in (-3600, -310, 40, 3600):
        assert at(connected, "token", proof(connected, "token", iat=now + ahead)) == BAD["token"], ahead


def test_a_proof_opens_one_call(connected: Shop, alice: Browser, clock: Clock) -> None:
    """Row 73: at PAR, token, reads and every write."""
    for where in PATH:
        shown = proof(connected, where)
        assert at(connected, where, shown)[0] == GOOD[where], where
        assert at(connected, where, shown) == BAD[where], where
    extension = Extension.connect(alice)
    headers = extension.headers("POST")
    batch = {
        "schema": "events/1", "batch": "0195d0c2-7a10-7c3e-9b41-5d1f0a2b3c4d", "client": {"version": "1.0.0", "browser": "chromium"},
        "notice_version": "2027-1", "collection_version": 1, "events": [page_visit(clock())],
    }  # fmt: skip
    post = extension.client.post
    assert post("/v1/events", json=batch, base_url=ORIGIN, headers=headers).status_code == 200
    replayed = post("/v1/events", json=batch, base_url=ORIGIN, headers=headers)
    assert (replayed.status_code, replayed.json["type"]) == (401, "/problems/invalid-proof")
    path = f"/v1/grants/{connected.tokens['grant_id']}"
    signature = connected.call("GET").json["agreement"]["signatures"][1]
    headers = connected.prover.headers("PUT", f"{path}/signature", connected.tokens["access_token"])
    answers = [connected.client.put(f"{path}/signature", json=signature, base_url=ORIGIN, headers=headers).status_code for _ in range(2)]
    assert answers == [204, 401]
    headers = connected.prover.headers("DELETE", path, connected.tokens["access_token"])
    for name in ("GET", "PUT"):
        assert connected.client.open(path, method=name, base_url=ORIGIN, headers=headers).status_code in {401, 405}
    assert connected.client.delete(path, base_url=ORIGIN, headers=headers).status_code == 204


def test_the_nonce_is_ours_and_fresh(connected: Shop, clock: Clock) -> None:
    """Row 74: without one, with a forged or an old one the answer brings a new one, and the same call works with it."""
    for where in PATH:
        status = 401 if where == "api" else 400
        for nonce in (None, "", "forged", 7, "ä", b64(b"x" * 16)):
            assert at(connected, where, proof(connected, where, nonce=nonce)) == (status, "use_dpop_nonce"), (where, nonce)
    old = connected.prover.nonce()
    clock.advance(seconds=290)
    assert at(connected, "token", proof(connected, "token", nonce=old)) == (200, "")
    clock.advance(seconds=80)
    assert at(connected, "token", proof(connected, "token", nonce=old)) == (400, "use_dpop_nonce")
    answer = connected.refresh(headers={"DPoP": proof(connected, "token", nonce=old)})
    assert at(connected, "token", proof(connected, "token", nonce=answer.headers["DPoP-Nonce"])) == (200, "")


def test_every_answer_to_a_proof_brings_a_nonce(connected: Shop) -> None:
    """Rule T11, on refusals too; a call without a proof needs none."""
    for answer in (connected.push(), connected.refresh(), connected.read(), connected.read("?limit=x"), connected.form("/oauth/token", {"grant_type": "x"})):
        assert answer.headers["DPoP-Nonce"] == connected.prover.nonce()
    assert "DPoP-Nonce" not in connected.client.get("/healthz", base_url=ORIGIN).headers


def test_what_asks_for_a_nonce_uses_nothing_up(connected: Shop) -> None:
    """Row 109: the same assertion works with the second proof."""
    data = {"grant_type": "refresh_token", "refresh_token": connected.tokens["refresh_token"], "client_assertion": connected.assertion()}
    first = connected.form("/oauth/token", data, headers={"DPoP": proof(connected, "token", nonce=None)})
    assert (first.status_code, first.json["error"]) == (400, "use_dpop_nonce")
    second = connected.form("/oauth/token", data, headers={"DPoP": proof(connected, "token", nonce=first.headers["DPoP-Nonce"])})
    assert second.status_code == 200
    assert connected.form("/oauth/token", data).json["error"] == "invalid_client"


def test_a_nonce_of_one_process_works_on_another(connected: Shop, settings: Settings, clock: Clock) -> None:
    """Row 74: there is nothing to share but the key."""
    other = create_app(settings, clock)
    try:
        shown = proof(connected, "api")
        headers = {"Authorization": f"DPoP {connected.tokens['access_token']}", "DPoP": shown}
        answer = other.test_client().get("/v1/events", base_url=ORIGIN, headers=headers)
        assert (answer.status_code, answer.headers["DPoP-Nonce"]) == (200, connected.prover.nonce())
        # A write that one process has taken is known to all.
        headers = connected.prover.headers("PUT", f"/v1/grants/{connected.tokens['grant_id']}/signature", connected.tokens["access_token"])
        path, signature = f"/v1/grants/{connected.tokens['grant_id']}/signature", connected.call("GET").json["agreement"]["signatures"][1]
        assert connected.client.put(path, json=signature, base_url=ORIGIN, headers=headers).status_code == 204
        assert other.test_client().put(path, json=signature, base_url=ORIGIN, headers=headers).status_code == 401
    finally:
        close_app(other)


def test_the_code_is_bound_when_it_is_asked_for(alice: Browser, bookshop: Shop) -> None:
    """Rows 66 and 75, rule T13: by proof, by `dpop_jkt`, by both if they agree; by neither it is not asked at all."""
    stranger = of_broker(bookshop.app.extensions["broker"])
    for named, shown, error in (
        (bookshop.prover.jkt, True, ""), (bookshop.prover.jkt, False, ""), (None, True, ""), (None, False, "invalid_request"),
        (stranger.jkt, True, "invalid_dpop_proof"), ("x" * 42, True, "invalid_request"), ("x" * 43 + "\n", False, "invalid_request"),
    ):  # fmt: skip
        headers = {"DPoP": bookshop.prover.proof("POST", "/oauth/par") if shown else None}
        answer = bookshop.push(dpop_jkt=named, headers=headers)
        assert answer.json.get("error", "") == error, (named, shown)
    code = alice.give(bookshop.ask())["code"]
    other = bookshop.redeem(code, headers={"DPoP": stranger.proof("POST", "/oauth/token")})
    assert (other.status_code, other.json["error"]) == (400, "invalid_grant")
    assert bookshop.redeem(code).json["error"] == "invalid_grant", "burned"
    code = alice.give(bookshop.ask(dpop_jkt=bookshop.prover.jkt, headers={"DPoP": None}))["code"]
    assert bookshop.redeem(code).status_code == 200


def test_as_a_bearer_token_it_is_refused(connected: Shop) -> None:
    """Rows 76, 77 and 79."""
    token = connected.tokens["access_token"]
    for scheme, status in (("Bearer", 401), ("bearer", 401), ("DPoP", 200), ("dpop", 200)):
        headers = {"Authorization": f"{scheme} {token}", "dpop": proof(connected, "api")}
        assert connected.client.get("/v1/events", base_url=ORIGIN, headers=headers).status_code == status, scheme
    spoofed = {**connected.prover.headers("GET", "/v1/events", token), "X-Forwarded-Host": "evil.example"}
    assert connected.client.get("/v1/events", base_url=ORIGIN, headers=spoofed).status_code == 200
    spoofed["DPoP"] = proof(connected, "api", htu="http://evil.example/v1/events")
    assert connected.client.get("/v1/events", base_url=ORIGIN, headers=spoofed).status_code == 401
    assert connected.client.get("/v1/events", base_url="http://evil.example", headers=spoofed).status_code == 421


def test_a_proof_is_for_one_token(connected: Shop) -> None:
    """Rows 68 and 78: `ath` of another token, absent, or of another form."""
    other = connected.tokens["access_token"]
    connected.refresh()
    shown = connected.prover.proof("GET", "/v1/events", other)
    assert at(connected, "api", shown) == BAD["api"]
    for ath in (None, "", 7, "x" * 43):
        assert at(connected, "api", proof(connected, "api", ath=ath)) == BAD["api"], ath


@pytest.mark.parametrize(("alg", "key"), [("Ed25519", OKPKey.generate_key("Ed25519")), ("PS256", RSAKey.generate_key(2048))], ids=["Ed25519", "PS256"])
def test_the_other_algorithms(connected: Shop, alg: str, key: Any) -> None:
    """Each signs a proof that a whole connection could be made with; not with another's name."""
    claims = connected.prover.claims("POST", "/oauth/par")
    header = {"typ": "dpop+jwt", "alg": alg, "jwk": key.as_dict(private=False)}
    assert at(connected, "par", jwt.encode(header, claims, key, algorithms=[alg])) == (201, "")
    assert at(connected, "par", connected.prover.proof("POST", "/oauth/par", header={"jwk": header["jwk"]})) == BAD["par"]


def test_another_curve_under_the_same_name(connected: Shop) -> None:
    """The library would take it: an ES256 that was made with a key on P-384."""
    key = ECKey.generate_key("P-384", private=True)
    secret: Any = key.private_key
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": {name: str(key.as_dict()[name]) for name in ("crv", "kty", "x", "y")}}
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(connected.prover.claims('POST', '/oauth/par')).encode())}"
    r, s = decode_dss_signature(secret.sign(signed.encode(), ECDSA(SHA256())))
    assert at(connected, "par", f"{signed}.{b64(r.to_bytes(48) + s.to_bytes(48))}") == BAD["par"]


def test_what_the_library_would_let_through(connected: Shop) -> None:
    """Rule A13: a member given twice, and numbers that are none."""
    header, claims = json.dumps(connected.prover.header), json.dumps(connected.prover.claims("POST", "/oauth/token"))
    sign = connected.prover.sign
    assert at(connected, "token", sign(header, claims)) == (200, "")
    assert at(connected, "token", sign(header, claims[:-1] + ', "htm": "POST"}')) == BAD["token"]
    assert at(connected, "token", sign(header[:-1] + ', "alg": "ES256"}', claims)) == BAD["token"]
    for number in ("NaN", "Infinity", "1e3", "1.5"):
        assert at(connected, "token", sign(header, claims[:-1] + f', "exp": {number}}}')) == BAD["token"], number


def test_a_header_beyond_8_kib_is_not_read(connected: Shop) -> None:
    long = connected.prover.proof("POST", "/oauth/token", padding="x" * 6000)
    assert at(connected, "token", long)[0] == 400
    fits = connected.prover.proof("POST", "/oauth/token", padding="x" * 3000)
    assert at(connected, "token", fits) == (200, "")


def test_a_refused_upload_uses_its_proof_up_too(alice: Browser, clock: Clock) -> None:
    """One proof, one call, whatever became of it."""
    extension = Extension.connect(alice)
    for body in ({"schema": "events/9"}, {"schema": "events/1", "batch": "0195d0c2-7a10-7c3e-9b41-5d1f0a2b3c4d", "events": []}):
        headers = extension.headers("POST")
        post = extension.client.post
        assert post("/v1/events", json=body, base_url=ORIGIN, headers=headers).status_code in {400, 422}
        assert post("/v1/events", json=body, base_url=ORIGIN, headers=headers).status_code == 401
    assert extension.upload(page_visit(clock())).status_code == 200


@pytest.mark.parametrize("point", SMALL_ORDER, ids=[each.hex()[:8] + each.hex()[-2:] for each in SMALL_ORDER])
def test_a_key_that_anybody_holds_is_none(point: bytes) -> None:
    """A point of small order verifies what nobody signed: such a proof would bind nothing."""
    now = utcnow()
    header = {"typ": "dpop+jwt", "alg": "Ed25519", "jwk": weak(point)}
    prover = Prover(lambda: dpop.nonce(b"n" * 32, now))
    for _ in range(20):
        signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(prover.claims('GET', '/v1/events')).encode())}"
        for signature in (b"\x01" + bytes(63), bytes(64), point + bytes(32)):
            with pytest.raises(dpop.BadProof):
                dpop.verify(f"{signed}.{b64(signature)}", method="GET", url=f"{ORIGIN}/v1/events", nonce_key=b"n" * 32, now=now)


def test_what_is_remembered_of_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood by one key pushes nobody else's out; what has ended makes room; a proof at its very end breaks nothing."""
    monkeypatch.setattr(dpop, "REMEMBERED_OF_A_KEY", 5)
    monkeypatch.setattr(dpop, "REMEMBERED_PROOFS", 8)
    now = utcnow()
    seen, late = dpop.Seen(), now + timedelta(minutes=5)

    def proof(key: str, number: int, until: datetime = late) -> dpop.Proof:
        return dpop.Proof(key, number.to_bytes(4), until)

    assert seen.first(proof("a", 1, now), now)
    assert seen.first(proof("victim", 1), now)
    assert [seen.first(proof("flood", number), now) for number in range(5)] == [True] * 5
    with pytest.raises(dpop.TooMany):
        seen.first(proof("flood", 9), now)
    assert not seen.first(proof("victim", 1), now)
    assert seen.first(proof("flood", 9, late + timedelta(minutes=9)), late)
    assert not seen.first(proof("flood", 9), late)
    assert len(seen._of_key) == 1


ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=6)
NAMES = ("typ", "alg", "jwk", "jti", "htm", "htu", "iat", "nonce", "exp")
KEY = ECKey.generate_key("P-256", private=True)


@settings(max_examples=500)
@given(name=st.sampled_from(NAMES), value=ANY, text=st.none() | st.binary(max_size=60), inner=st.sampled_from(("kty", "crv", "x", "y", "n", "e")))
def test_whatever_comes_is_refused_and_never_breaks(name: str, value: Any, text: bytes | None, inner: str) -> None:
    """A fuzz of the one function: it gives a proof, or one of its two refusals."""
    now = utcnow()
    prover = Prover(lambda: dpop.nonce(b"n" * 32, now), key=KEY, clock=now.timestamp)
    changes: dict[str, Any] = {"header": {name: value}} if name in {"typ", "alg", "jwk"} else {name: value}
    if name == "jwk" and text is not None:
        changes = {"header": {"jwk": {**prover.header["jwk"], inner: value}}}
    shown = prover.proof("GET", "/v1/events", **changes)
    if text is not None and name != "jwk":
        head, _, tail = shown.partition(".")
        shown = f"{head}.{base64.urlsafe_b64encode(text).decode()}.{tail.partition('.')[2]}"
    try:
        dpop.verify(shown, method="GET", url=f"{ORIGIN}/v1/events", nonce_key=b"n" * 32, now=now)
    except (dpop.BadProof, dpop.NonceWanted):
        return
    # Only what changes nothing of importance can have passed.
    assert name in {"jti", "iat", "exp", "nonce"} or (name == "jwk" and inner in {"n", "e"})
