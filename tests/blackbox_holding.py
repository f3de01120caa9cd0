"""Cases of codes, tokens, proofs, refresh, revocation and the API, by row of the design's checklist: what is done, and what the checklist wants."""

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from blackbox import SAME, Answer, Changes, Do, Stage, method, now, proving, push, raw, redeeming, refreshing, showing
from parties import FORM, at_once
from proofs import b64

# --- Token endpoint ---


def again(at: Stage) -> Iterator[Answer]:
    """A code shown again until its first token is dead, at most 3 seconds long; then what the code got, and what the token."""
    party = at.books.another()
    until = time.monotonic() + 3
    code = party.given()["code"]
    tokens = party.redeem(code)
    assert tokens.status_code == 200
    party.tokens = tokens.json()
    shown = party.redeem(code)
    # A second submit in the same second may be a double click, and only gets refused.
    while party.call().is_success and time.monotonic() < until:
        shown = party.redeem(code)
    yield shown
    yield party.call()


def by_another(at: Stage) -> Iterator[Answer]:
    """A code in another client's hands; then in its own client's."""
    code = at.books.given()["code"]
    at.other.verifier = at.books.verifier
    yield at.other.redeem(code, redirect_uri=at.books.redirect_uri)
    yield at.books.redeem(code)


def after_a_wrong_verifier(at: Stage) -> Answer:
    code = at.books.given()["code"]
    assert at.books.redeem(code, code_verifier="w" * 64).status_code == 400
    return at.books.redeem(code)


def redeemed_at_once(at: Stage) -> Answer:
    """One code in twenty calls at the same moment: one wins, and the best of the others is told."""
    code = at.books.given()["code"]
    found = at_once(20, lambda: at.books.redeem(code))
    assert found[0] == "200"
    return found[1]


def in_the_query(at: Stage) -> Answer:
    party = at.books
    form = urlencode(party.signed({"grant_type": "refresh_token", "refresh_token": party.tokens["refresh_token"]}))
    return party.send("POST", f"{party.place.token}?{form}", headers={**FORM, "DPoP": party.prover.proof("POST", party.place.token)})


def as_json(at: Stage) -> Answer:
    party = at.books
    form = party.signed({"grant_type": "refresh_token", "refresh_token": party.tokens["refresh_token"]})
    return party.send("POST", party.place.token, json=form, headers={"DPoP": party.prover.proof("POST", party.place.token)})


GRANT_TYPES = {"password (62)": "password", "implicit (62)": "implicit", "unknown (62)": "unknown", "beyond ASCII (62)": "ünïcode"}
TOKENS: dict[str, tuple[Do, str]] = {
    "a good code (56)": (redeeming({}), "200"),
    "code again (52)": (lambda at: next(again(at)), "400 invalid_grant"),
    "first token of a code shown again (52)": (lambda at: [*again(at)][1], "401 invalid_token"),
    "redeemed at once (53)": (redeemed_at_once, "400 invalid_grant"),
    "other client (55)": (lambda at: next(by_another(at)), "400 invalid_grant"),
    "its client after another (55)": (lambda at: [*by_another(at)][1], "400 invalid_grant"),
    "no redirect_uri (56)": (redeeming({"redirect_uri": None}), "400 invalid_grant"),
    "other redirect_uri (56)": (redeeming({"redirect_uri": f"{SAME}/"}), "400 invalid_grant"),
    "no verifier (57)": (redeeming({"code_verifier": None}), "400 invalid_grant"),
    "wrong verifier (57)": (redeeming({"code_verifier": "w" * 64}), "400 invalid_grant"),
    "short verifier (57)": (redeeming({"code_verifier": "w" * 42}), "400 invalid_grant"),
    "right verifier after a wrong one (57)": (after_a_wrong_verifier, "400 invalid_grant"),
    "parameters in the query (59)": (in_the_query, "400 invalid_request"),
    "GET (60)": (method("GET", "token"), "405 invalid_request"),
    "JSON (60)": (as_json, "415 invalid_request"),
    "1 MB (60)": (refreshing({"padding": "x" * 1_000_000}), "413 invalid_request"),
    "grant_type twice (61)": (raw("token", "&grant_type=refresh_token"), "400 invalid_request"),
    "refresh_token twice (61)": (raw("token", "&refresh_token=x"), "400 invalid_request"),
    **{name: (refreshing({"grant_type": each}), "400 unsupported_grant_type") for name, each in GRANT_TYPES.items()},
}  # fmt: skip

# --- DPoP, at the token endpoint and at the API ---

# A point that is on no curve, and a key that is no public one.
OFF_CURVE = {"kty": "EC", "crv": "P-256", "x": b64(b"\x01" * 32), "y": b64(b"\x02" * 32)}
HEADERS: dict[str, Any] = {
    "no typ (68)": {"typ": None}, "no alg (68)": {"alg": None}, "no jwk (68)": {"jwk": None}, "none (69)": {"alg": "none"}, "RS256 (69)": {"alg": "RS256"},
    "HS256 (69)": {"alg": "HS256"}, "oct (69)": {"alg": "HS256", "jwk": {"kty": "oct", "k": b64(b"k" * 32)}}, "off-curve (69)": {"jwk": OFF_CURVE},
}  # fmt: skip
CLAIMS: dict[str, tuple[Changes, str]] = {
    "no jti (68)": ({"jti": None}, "400 invalid_dpop_proof"), "no htm (68)": ({"htm": None}, "400 invalid_dpop_proof"), "no htu (68)": ({"htu": None}, "400 invalid_dpop_proof"),
    "no iat (68)": ({"iat": None}, "400 invalid_dpop_proof"), "htm of another (71)": ({"htm": "GET"}, "400 invalid_dpop_proof"),
    "htu of another host (71)": (lambda party: {"htu": f"http://evil.example{party.place.token}"}, "400 invalid_dpop_proof"),
    "htu of another path (71)": (lambda party: {"htu": party.place.origin + party.place.par}, "400 invalid_dpop_proof"),
    "htu with a query (71)": (lambda party: {"htu": f"{party.place.origin}{party.place.token}?a=1"}, "200"),
    "htu with a fragment (71)": (lambda party: {"htu": f"{party.place.origin}{party.place.token}#a"}, "200"),
    "htu with the host in capitals (71)": (lambda party: {"htu": party.place.origin.replace("localhost", "LOCALHOST") + party.place.token}, "200"),
    "made an hour ago (72)": (lambda _: {"iat": now() - 3600}, "400 invalid_dpop_proof"), "made in an hour (72)": (lambda _: {"iat": now() + 3600}, "400 invalid_dpop_proof"),
    "made 10 s ago (72)": (lambda _: {"iat": now() - 10}, "200"), "made in 10 s (72)": (lambda _: {"iat": now() + 10}, "200"),
    "no nonce (74)": ({"nonce": None}, "400 use_dpop_nonce"), "forged nonce (74)": ({"nonce": b64(b"x" * 16)}, "400 use_dpop_nonce"),
}  # fmt: skip


def with_the_new_nonce(at: Stage) -> Answer:
    """What was refused for its nonce, again with the nonce of the answer."""
    party = at.books
    shown = party.refresh(headers={"DPoP": party.prover.proof("POST", party.place.token, nonce=None)})
    return party.refresh(headers={"DPoP": party.prover.proof("POST", party.place.token, nonce=shown.headers["DPoP-Nonce"])})


def by_a_stranger(where: str) -> Do:
    """A good proof by another key than the token's; or the token's key in the header, and another's signature."""

    def do(at: Stage) -> Answer:
        party, stranger = at.books, at.books.stranger()
        if where == "api":
            return party.call(headers={"DPoP": stranger.proof("GET", party.opened(), party.tokens["access_token"])})
        if where == "code":
            return party.redeem(party.given()["code"], headers={"DPoP": stranger.proof("POST", party.place.token)})
        if where == "signature":
            stranger.header = party.prover.header
        return party.refresh(headers={"DPoP": stranger.proof("POST", party.place.token)})

    return do


def private_key(at: Stage) -> Answer:
    party = at.books
    return party.refresh(headers={"DPoP": party.prover.proof("POST", party.place.token, header={"jwk": party.prover.key.as_dict(private=True)})})


def two_proofs(where: str) -> Do:
    """Two headers, each with a proof that is good alone."""

    def do(at: Stage) -> Answer:
        party = at.books
        first, second = (party.prover.proof("POST", party.place.token) for _ in range(2))
        if where == "token":
            return party.refresh(headers={"DPoP": first, "dpop": second})
        path, token = party.opened(), party.tokens["access_token"]
        first, second = (party.prover.proof("GET", path, token) for _ in range(2))
        return party.call(headers={"DPoP": first, "dpop": second})

    return do


def proof_again(where: str) -> Do:
    """One proof in two calls."""

    def do(at: Stage) -> Answer:
        party = at.books
        if where == "token":
            shown = {"DPoP": party.prover.proof("POST", party.place.token)}
            assert party.refresh(headers=shown).status_code == 200
            return party.refresh(headers=shown)
        shown = party.prover.headers("GET", party.opened(), party.tokens["access_token"])
        assert party.call(headers=shown).status_code == 200
        return party.call(headers=shown)

    return do


def at_another_host(at: Stage) -> Answer:
    """A proof for a host that only the request itself names."""
    party = at.books
    proof = party.prover.proof("GET", party.opened(), party.tokens["access_token"], htu=f"http://evil.example{party.opened()}")
    return party.call(headers={"Host": "evil.example", "DPoP": proof})


def forwarded(at: Stage) -> Answer:
    party = at.books
    proof = party.prover.proof("GET", party.opened(), party.tokens["access_token"], htu=f"http://evil.example{party.opened()}")
    return party.call(headers={"X-Forwarded-Host": "evil.example", "DPoP": proof})


def scheme(name: str) -> Do:
    """The token under another scheme, or the same in other letters."""
    return lambda at: at.books.call(headers={"Authorization": f"{name} {at.books.tokens['access_token']}"})


DPOP: dict[str, tuple[Do, str]] = {
    "a good proof (73)": (proving({}), "200"),
    "a good proof at the API (73)": (showing({}), "200"),
    "no proof (66)": (refreshing({"headers": {"DPoP": None}}), "400 invalid_dpop_proof"),
    "no proof at the API (66)": (lambda at: at.books.call(headers={"DPoP": None}), "401 invalid_dpop_proof"),
    "two proofs (67)": (two_proofs("token"), "400 invalid_dpop_proof"),
    "two proofs at the API (67)": (two_proofs("api"), "401 invalid_dpop_proof"),
    **{name: (proving({"header": header}), "400 invalid_dpop_proof") for name, header in HEADERS.items()},
    **{name: (proving(changes), want) for name, (changes, want) in CLAIMS.items()},
    "no ath (68)": (showing({"ath": None}), "401 invalid_dpop_proof"),
    "private key in the header (69)": (private_key, "400 invalid_dpop_proof"),
    "another's signature (70)": (by_a_stranger("signature"), "400 invalid_dpop_proof"),
    "another key at the API (70)": (by_a_stranger("api"), "401 invalid_token"),
    "proof again (73)": (proof_again("token"), "400 invalid_dpop_proof"),
    "proof again at the API (73)": (proof_again("api"), "401 invalid_dpop_proof"),
    "no nonce at the API (74)": (showing({"nonce": None}), "401 use_dpop_nonce"),
    "the nonce of the answer (74)": (with_the_new_nonce, "200"),
    "dpop_jkt of its key (75)": (push(lambda party: {"dpop_jkt": party.prover.jkt}), "201"),
    "dpop_jkt of another key (75)": (push(lambda party: {"dpop_jkt": party.stranger().jkt}), "400 invalid_dpop_proof"),
    "code by another key (75)": (by_a_stranger("code"), "400 invalid_grant"),
    "as Bearer (76)": (scheme("Bearer"), "401 invalid_token"),
    "as Bearer without proof (76)": (lambda at: at.books.call(headers={"Authorization": f"Bearer {at.books.tokens['access_token']}", "DPoP": None}), "401 invalid_token"),
    "another host (77)": (at_another_host, "421"),
    "forwarded host (77)": (forwarded, "401 invalid_dpop_proof"),
    "ath of another token (78)": (showing({"ath": b64(b"x" * 32)}), "401 invalid_dpop_proof"),
    "scheme in small letters (79)": (scheme("dpop"), "200"),
    "scheme in capitals (79)": (scheme("DPOP"), "200"),
}  # fmt: skip

# --- Refresh, revocation, and the API ---


def another_refreshes(at: Stage) -> Answer:
    at.other.tokens = dict(at.books.tokens)
    return at.other.refresh()


def refreshed_at_once(at: Stage) -> Answer:
    """One refresh token in twenty calls at the same moment: all work, and the worst is told."""
    return at_once(20, at.books.refresh)[-1]


def ended(token: str, then: str) -> Do:
    """A grant of its own, one of its tokens handed back; then a refresh, or a call of the API."""

    def do(at: Stage) -> Answer:
        party = at.books.another()
        assert party.revoke(party.tokens[token]).status_code == 200
        return party.refresh() if then == "refresh" else party.call()

    return do


def another_revokes(then: str) -> Do:
    """A token that another client hands back; then what its own client can do."""

    def do(at: Stage) -> Answer:
        answer = at.other.revoke(at.books.tokens["refresh_token"])
        return answer if then == "answer" else at.books.refresh()

    return do


def elsewhere(where: str) -> Do:
    """A token that is not in its header; the proof is good."""

    def do(at: Stage) -> Answer:
        party, token = at.books, at.books.tokens["access_token"]
        path = party.opened()
        if where == "query":
            proof = party.prover.proof("GET", path, token)
            return party.send("GET", f"{path}?{urlencode({'access_token': token})}", headers={"DPoP": proof})
        body = urlencode({"access_token": token}).encode()
        return party.send("GET", path, content=body, headers={**FORM, "DPoP": party.prover.proof("GET", path, token)})

    return do


ENDS: dict[str, tuple[Do, str]] = {
    "a good refresh (80)": (refreshing({}), "200"),
    "no authentication (80)": (refreshing({"client_assertion": None, "client_assertion_type": None}), "401 invalid_client"),
    "another client (80)": (another_refreshes, "400 invalid_grant"),
    "another key (80)": (by_a_stranger("refresh"), "400 invalid_grant"),
    "twenty at once (81)": (refreshed_at_once, "200"),
    "wider scope (82)": (refreshing({"scope": "openid events:write"}), "400 invalid_scope"),
    "wider details (82)": (refreshing(lambda party: {"resource": party.place.resource, "authorization_details": '[{"type":"everything"}]'}), "400 invalid_authorization_details"),
    "refresh after the end (83)": (ended("refresh_token", "refresh"), "400 invalid_grant"),
    "call after the end (86)": (ended("refresh_token", "call"), "401 invalid_token"),
    "call with an ended token (86)": (ended("access_token", "call"), "401 invalid_token"),
    "refresh beside an ended token (86)": (ended("access_token", "refresh"), "200"),
    "another client's token (87)": (another_revokes("answer"), "200"),
    "what another handed back (87)": (another_revokes("refresh"), "200"),
    "unknown token (88)": (lambda at: at.books.revoke("nothing"), "200"),
    "unknown hint (88)": (lambda at: at.books.revoke("nothing", token_type_hint="colour"), "200"),
    "nobody revokes (89)": (lambda at: at.books.revoke(at.books.tokens["refresh_token"], client_assertion=None, client_assertion_type=None), "401 invalid_client"),
    "a good call (99)": (lambda at: at.books.call(), "200"),
    "token in the query (98)": (elsewhere("query"), "401"),
    "token in the body (98)": (elsewhere("body"), "401"),
    "no token (99)": (lambda at: at.books.send("GET", at.books.opened()), "401"),
    "unknown token at the API (99)": (lambda at: at.books.call("nothing"), "401 invalid_token"),
    "refresh token at the API (99)": (lambda at: at.books.call(at.books.tokens["refresh_token"]), "401 invalid_token"),
}  # fmt: skip
