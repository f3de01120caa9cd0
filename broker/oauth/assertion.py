"""Client authentication by `private_key_jwt` (RFC 7523, rule T14): one verifier of our own, on joserfc."""

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey
from orjson import dumps, loads

from policies.documents import Malformed, load

ALGORITHMS: Final = ("ES256", "Ed25519", "PS256")
TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_BYTES: Final = 8 * 1024
SKEW: Final = 30
LONGEST_LIFE: Final = 60
LONGEST_JTI: Final = 128
REMEMBERED_KEYS: Final = 1024
_SIGNATURES: Final = jws.JWSRegistry(algorithms=list(ALGORITHMS))
_FITS: Final[dict[str, type[Key]]] = {"ES256": ECKey, "Ed25519": OKPKey, "PS256": RSAKey}
# Verified against where a client is unknown, so that the answer takes the same class of time (rule A7).
_NOBODY_KEY: Final = ECKey.generate_key("P-256", private=False)


@dataclass(frozen=True, slots=True)
class Assertion:
    """A verified assertion: whose it is, and its id, to be used once until `until`."""

    client_id: str
    jti: bytes
    until: dt.datetime


class NotVerified(Exception):
    """The assertion is not good, for whatever reason."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An assertion as it was shown, with nothing of it verified; `signed` is none where it cannot be read, `client_id` the subject it names."""

    signed: jws.CompactSignature | None
    claims: Any
    client_id: str


def read(text: str) -> Shown:
    """Read an assertion; never fails."""
    try:
        raw = text.encode("ascii")
        signed = jws.extract_compact(raw) if len(raw) <= MAX_BYTES else None
        claims = load(signed.payload) if signed else None
    except (JoseError, ValueError, TypeError, UnicodeError, Malformed):
        return Shown(None, None, "")
    subject = claims.get("sub") if isinstance(claims, dict) else None
    return Shown(signed, claims, subject if isinstance(subject, str) else "")


def verify(shown: Shown, *, keys: Sequence[Mapping[str, Any]], audience: str, now: dt.datetime) -> Assertion:
    """Check signature, `iss`, `sub`, `aud` (a string equal to the issuer), `exp`, `nbf`, `iat`, `jti`; raises `NotVerified`."""
    try:
        good = shown.signed is not None and _is_signed(shown.signed, keys)
    except (JoseError, ValueError, TypeError, UnicodeError, KeyError, Malformed):
        raise NotVerified from None
    claims, client_id = shown.claims, shown.client_id
    if not good or not isinstance(claims, dict) or claims.get("iss") != client_id or claims.get("sub") != client_id or claims.get("aud") != audience:
        raise NotVerified
    seconds = int(now.timestamp())
    exp, jti = claims.get("exp"), claims.get("jti")
    if type(exp) is not int or not seconds - SKEW < exp <= seconds + LONGEST_LIFE + SKEW:
        raise NotVerified
    for name in ("iat", "nbf"):
        if name in claims and (type(claims[name]) is not int or claims[name] > seconds + SKEW):
            raise NotVerified
    if not isinstance(jti, str) or not 1 <= len(jti) <= LONGEST_JTI:
        raise NotVerified
    # Remembered for as long as the assertion could still pass, from the same constants.
    until = dt.datetime.fromtimestamp(exp + SKEW, dt.UTC)
    return Assertion(client_id, hashlib.sha256(jti.encode()).digest(), until)


@lru_cache(maxsize=REMEMBERED_KEYS)
def _key(jwk: bytes) -> Key:
    """A key as the library holds it; the same text means the same key for ever, so that reading it once is enough."""
    return JWKRegistry.import_key(loads(jwk))


def _fits(key: Key, alg: str) -> bool:
    """Whether a key is for verifying this algorithm, by its type and what it says of itself: several may have one `kid` (FAPI 2.0, section 5.4.3)."""
    told = (key.get("use") in {None, "sig"}, key.get("alg") in {None, alg}, "verify" in (key.get("key_ops") or ("verify",)))
    return isinstance(key, _FITS[alg]) and all(told)


def _is_signed(signed: jws.CompactSignature, keys: Sequence[Mapping[str, Any]]) -> bool:
    header = signed.headers()
    alg, kid = header.get("alg"), header.get("kid")
    if alg not in ALGORITHMS or "crit" in header:
        return False
    fitting = [key for key in (_key(dumps(each)) for each in keys) if _fits(key, alg) and (kid is None or key.kid == kid)]
    if len(fitting) != 1:
        # The same work as for a known client, and the same answer.
        fitting = [_NOBODY_KEY]
    return jws.validate_compact(signed, fitting[0], registry=_SIGNATURES)
