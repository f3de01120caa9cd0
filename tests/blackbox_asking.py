"""Cases of asking and of client authentication, by row of the design's checklist: what is done, and what the checklist wants."""

import base64
import json
from typing import Any

from blackbox import SAME, Answer, Do, Stage, asserting, method, now, push, raw, refreshing
from joserfc.jwk import ECKey, OctKey, RSAKey
from parties import Party, at_once
from proofs import b64

# --- Authorization and PAR ---

REDIRECTS = {
    "extra path (12)": f"{SAME}/more", "dots (12)": f"{SAME}/../callback", "other case (12)": "https://books.example/CALLBACK", "port (12)": "https://books.example:8443/callback",
    "query (12)": f"{SAME}?x=1", "fragment (12)": f"{SAME}#f", "userinfo (12)": "https://a@books.example/callback", "encoded slash (12)": f"{SAME}%2F", "host in capitals (12)": "https://BOOKS.example/callback",
    "quote (13)": 'https://books.example/"callback', "letters beyond ASCII (13)": "https://böoks.example/callback", "10 kB (13)": SAME + "a" * 10_000, "line break (13)": f"{SAME}\r\nX: y",
}  # fmt: skip
RESPONSE_TYPES = {"token (15)": "token", "code id_token (15)": "code id_token", "none (15)": "none", "quoted (15)": '"code"'}


def carried(state: str | None) -> Do:
    """Whether a state comes back through the person's browser as it was sent, with the issuer beside it."""

    def do(at: Stage) -> Answer:
        found = at.books.given(state=state)
        return "303" if (found.get("state"), found.get("iss")) == (state, at.books.place.origin) else f"303 {found}"

    return do


AUTHORIZATION: dict[str, tuple[Do, str]] = {
    "a good request (20)": (push({}), "201"),
    "request_uri inside (5)": (push({"request_uri": "urn:ietf:params:oauth:request_uri:x"}), "400 invalid_request"),
    "GET (6)": (method("GET", "par"), "405 invalid_request"),
    "PUT (6)": (method("PUT", "par"), "405 invalid_request"),
    "a vendor that proves nothing (7)": (push({"client_assertion": None, "client_assertion_type": None}), "401 invalid_client"),
    "nobody (7)": (push({"client_assertion": None, "client_assertion_type": None, "client_id": None}), "401 invalid_client"),
    "no challenge (8)": (push({"code_challenge": None}), "400 invalid_request"),
    "neither challenge nor method (8)": (push({"code_challenge": None, "code_challenge_method": None}), "400 invalid_request"),
    "plain (9)": (push({"code_challenge_method": "plain"}), "400 invalid_request"),
    "no method (9)": (push({"code_challenge_method": None}), "400 invalid_request"),
    "challenge of 42 (10)": (push({"code_challenge": "x" * 42}), "400 invalid_request"),
    "challenge of 44 (10)": (push({"code_challenge": "x" * 44}), "400 invalid_request"),
    "challenge with padding (10)": (push({"code_challenge": "x" * 42 + "="}), "400 invalid_request"),
    "challenge with a line break (10)": (push({"code_challenge": "x" * 43 + "\n"}), "400 invalid_request"),
    "no redirect_uri (11)": (push({"redirect_uri": None}), "400 invalid_request"),
    **{name: (push({"redirect_uri": uri}), "400 invalid_request") for name, uri in REDIRECTS.items()},
    **{name: (push({"response_type": each}), "400 unsupported_response_type") for name, each in RESPONSE_TYPES.items()},
    "its own resource (18)": (push(lambda party: {"resource": party.place.resource}), "201"),
    "unknown resource (18)": (push({"resource": "https://elsewhere.example/v1"}), "400 invalid_target"),
    "resource with fragment (18)": (push(lambda party: {"resource": f"{party.place.resource}#x"}), "400 invalid_target"),
    "two resources (18)": (raw("par", "&resource=https%3A%2F%2Fa.example&resource=https%3A%2F%2Fb.example"), "400 invalid_target"),
    "state twice (19)": (raw("par", "&state=other"), "400 invalid_request"),
    "redirect_uri twice (19)": (raw("par", "&redirect_uri=https%3A%2F%2Fevil.example"), "400 invalid_request"),
    "assertion twice (19)": (raw("par", "&client_assertion=x"), "400 invalid_request"),
    "what nobody knows (20)": (push({"colour": "blue"}), "201"),
    "no state (21)": (carried(None), "303"),
    "state of 1 KiB (21)": (carried("a b+c&d=é" + "x" * 1015), "303"),
    "state of 4 kB (21)": (push({"state": "s" * 4096}), "400 invalid_request"),
}  # fmt: skip

# --- Client authentication, at the token endpoint ---


def _forged(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    return ".".join(b64(part) for part in (json.dumps(header).encode(), json.dumps(payload).encode(), signature))


def basic(text: str | bytes) -> dict[str, Any]:
    """A header of Basic, and no assertion."""
    return {"headers": {"Authorization": text}, "client_assertion": None, "client_assertion_type": None, "client_id": None}


def by_the_public_key(party: Party) -> dict[str, Any]:
    """What a verifier takes that believes the algorithm: HS256, and the public key as the secret."""
    return {"key": OctKey.import_key(json.dumps(party.key.as_dict(private=False)).encode()), "header": {"alg": "HS256", "kid": "k1"}}


def twice(at: Stage) -> Answer:
    """One assertion, shown two times."""
    shown = at.books.assertion()
    assert at.books.refresh(client_assertion=shown).status_code == 200
    return at.books.refresh(client_assertion=shown)


def twice_at_once(at: Stage) -> Answer:
    """One assertion in twelve calls at the same moment: one wins, and the best of the others is told."""
    shown = at.books.assertion()
    found = at_once(12, lambda: at.books.refresh(client_assertion=shown))
    assert found[0] == "200"
    return found[1]


CLIENTS: dict[str, tuple[Do, str]] = {
    "a good assertion (41)": (asserting({}), "200"),
    "no assertion (39)": (refreshing({"client_assertion": None, "client_assertion_type": None}), "401 invalid_client"),
    "no sub (40)": (asserting({"sub": None}), "401 invalid_client"),
    "iss of another (40)": (asserting(lambda party: {"iss": f"{party.client_id}x"}), "401 invalid_client"),
    "sub of another (40)": (asserting(lambda party: {"sub": f"{party.client_id}x"}), "401 invalid_client"),
    "unknown client (40)": (refreshing(lambda party: {"client_id": None, "client_assertion": party.assertion(iss="nobody", sub="nobody")}), "401 invalid_client"),
    "aud of another server (41)": (asserting({"aud": "https://other.example"}), "401 invalid_client"),
    "aud a list (41)": (asserting(lambda party: {"aud": [party.place.origin]}), "401 invalid_client"),
    "aud a list with another (41)": (asserting(lambda party: {"aud": [party.place.origin, "https://other.example"]}), "401 invalid_client"),
    "aud the PAR URL (41)": (asserting(lambda party: {"aud": party.place.origin + party.place.par}), "401 invalid_client"),
    "aud the token URL (41)": (asserting(lambda party: {"aud": party.place.origin + party.place.token}), "401 invalid_client"),
    "exp 5 minutes ago (42)": (asserting(lambda _: {"exp": now() - 300}), "401 invalid_client"),
    "exp in ten years (42)": (asserting(lambda _: {"exp": now() + 315_360_000}), "401 invalid_client"),
    "iat 10 s ahead (43)": (asserting(lambda _: {"iat": now() + 10}), "200"),
    "nbf 10 s ahead (43)": (asserting(lambda _: {"nbf": now() + 10}), "200"),
    "iat 70 s ahead (43)": (asserting(lambda _: {"iat": now() + 70, "exp": now() + 85}), "401 invalid_client"),
    "nbf 70 s ahead (43)": (asserting(lambda _: {"nbf": now() + 70, "exp": now() + 85}), "401 invalid_client"),
    "no jti (44)": (asserting({"jti": None}), "401 invalid_client"),
    "replayed (44)": (twice, "401 invalid_client"),
    "replayed at once (44)": (twice_at_once, "401 invalid_client"),
    "RS256 (45)": (asserting({"key": RSAKey.generate_key(2048), "header": {"alg": "RS256", "kid": "k1"}}), "401 invalid_client"),
    "HS256 by the public key (45)": (asserting(by_the_public_key), "401 invalid_client"),
    "none (45)": (refreshing(lambda party: {"client_assertion": _forged({"alg": "none"}, party.claims())}), "401 invalid_client"),
    "a key of its own in the header (45)": (asserting(lambda _: {"key": (key := ECKey.generate_key("P-256")), "header": {"alg": "ES256", "jwk": key.as_dict(private=False)}}), "401 invalid_client"),
    "body names another (46)": (refreshing({"client_id": "another"}), "401 invalid_client"),
    "Basic beside the assertion (47)": (refreshing({"headers": {"Authorization": "Basic YTpi"}}), "400 invalid_request"),
    "secret beside the assertion (47)": (refreshing({"client_secret": "s"}), "400 invalid_request"),
    "Basic (48)": (refreshing(lambda party: basic("Basic " + base64.b64encode(f"{party.client_id}:s".encode()).decode())), "401 invalid_client"),
    "Basic of bad UTF-8 (48)": (refreshing(basic("Basic /////w==")), "401 invalid_client"),
    "Basic of bad base64 (48)": (refreshing(basic("Basic !!!")), "401 invalid_client"),
    "Basic beyond ASCII (48)": (refreshing(basic("Basic é".encode())), "401 invalid_client"),
}  # fmt: skip
