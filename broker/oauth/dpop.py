"""Proofs of possession (RFC 9449, rules T10-T13): who shows a token must hold the key that it was given to."""

import base64
import datetime as dt
import hashlib
import hmac
import re
import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey

from broker.oauth.assertion import ALGORITHMS, SKEW
from broker.vault.signing import anybody_can_sign
from policies.documents import Malformed, load

MAX_BYTES: Final = 8 * 1024
OLDEST: Final = 300
LONGEST_JTI: Final = 128
STEP: Final = 60
STEPS_BACK: Final = 5
STEPS_AHEAD: Final = 1
REMEMBERED_KEYS: Final = 1024
REMEMBERED_PROOFS: Final = 400_000
REMEMBERED_OF_A_KEY: Final = 100_000
_FORM: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_NONCE_BYTES: Final = 16
_PUBLIC: Final = {"EC": ("crv", "x", "y"), "OKP": ("crv", "x"), "RSA": ("n", "e")}
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_RSA_BITS: Final = range(2048, 4097)
_EXPONENT_BITS: Final = 32
_PORTS: Final = {"http": 80, "https": 443}
_SIGNATURES: Final = jws.JWSRegistry(algorithms=list(ALGORITHMS))


class BadProof(Exception):
    """The proof is missing or not good, for whatever reason."""


class NonceWanted(Exception):
    """The proof has no nonce of ours, or an old one; the answer carries a new one, and then the same call works."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A verified proof: the thumbprint of its key (RFC 7638), and its id, to be used once until `until`."""

    jkt: str
    jti: bytes
    until: dt.datetime


def is_thumbprint(text: str) -> bool:
    """Whether `text` has the form of a SHA-256 thumbprint."""
    return THUMBPRINT.fullmatch(text) is not None


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _from_b64(text: str) -> bytes:
    # The text's form was checked: the decoder would skip what it does not know.
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@lru_cache(maxsize=16)
def _nonce_of(key: bytes, step: int) -> str:
    return _b64(hmac.digest(key, b"dpop nonce" + step.to_bytes(8), "sha256")[:_NONCE_BYTES])


def nonce(key: bytes, now: dt.datetime) -> str:
    """The nonce of this minute (rule T11): nothing is stored, and it is the same on every process that has the key."""
    return _nonce_of(key, int(now.timestamp()) // STEP)


def _step_of(key: bytes, shown: object, now: dt.datetime) -> int:
    """The minute that a nonce was made in; raises `NonceWanted` for one that is none of ours, or too old."""
    current = int(now.timestamp()) // STEP
    if isinstance(shown, str) and shown.isascii():
        for step in range(current + STEPS_AHEAD, current - STEPS_BACK - 1, -1):
            if hmac.compare_digest(_nonce_of(key, step), shown):
                return step
    raise NonceWanted


@lru_cache(maxsize=REMEMBERED_KEYS)
def _key_of(protected: str) -> tuple[str, Any, str]:
    """Algorithm, key and thumbprint of a proof's header; the same header names the same key for ever, so that parsing it once is enough."""
    header = load(_from_b64(protected))
    jwk = header.get("jwk") if isinstance(header, dict) else None
    if not isinstance(jwk, dict) or header.get("typ") != "dpop+jwt" or header.get("alg") not in ALGORITHMS or "crit" in header:
        raise BadProof
    if jwk.get("kty") not in _PUBLIC or _PRIVATE & jwk.keys():
        raise BadProof
    # Before it is made a key: large ones take long, and so does a large exponent.
    if jwk["kty"] == "RSA" and (_bits(jwk["n"]) not in _RSA_BITS or _bits(jwk["e"]) > _EXPONENT_BITS):
        raise BadProof
    key = JWKRegistry.import_key({name: jwk[name] for name in ("kty", *_PUBLIC[jwk["kty"]])})
    if not _fits(header["alg"], key):
        raise BadProof
    return header["alg"], key, key.thumbprint()


def _bits(text: str) -> int:
    return int.from_bytes(_from_b64(text)).bit_length()


def _fits(alg: str, key: Key) -> bool:
    if alg == "ES256":
        return isinstance(key, ECKey) and key.curve_name == "P-256"
    if alg == "Ed25519":
        # By a point of small order anybody could prove that they hold its key.
        return isinstance(key, OKPKey) and key.curve_name == "Ed25519" and not anybody_can_sign(key.public_key.public_bytes_raw())
    return isinstance(key, RSAKey)


def _is_here(told: object, url: str) -> bool:
    """Whether `htu` names this address, compared as section 4.3 asks: scheme and host in any case, no default port, query or fragment."""
    if told == url:
        return True
    if not isinstance(told, str) or not told.isascii():
        return False
    parts = urlsplit(told)
    ours = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    same = (parts.scheme, parts.hostname, port, parts.path) == (ours.scheme, ours.hostname, ours.port or _PORTS[ours.scheme], ours.path)
    return same and parts.username is None and parts.password is None


def _in_time(claims: dict[str, Any], seconds: int) -> bool:
    iat, exp, nbf = claims.get("iat"), claims.get("exp", seconds), claims.get("nbf", seconds)
    # A boolean is an integer to Python, and no time.
    if not (type(iat) is int and type(exp) is int and type(nbf) is int):
        return False
    return seconds - OLDEST <= iat <= seconds + SKEW and exp >= seconds - SKEW and nbf <= seconds + SKEW


def _until(claims: Any, method: str, url: str, nonce_key: bytes, now: dt.datetime) -> dt.datetime:
    """Check what a proof says of the call; returns the moment from which its nonce is too old, and its id can be forgotten."""
    if not isinstance(claims, dict) or claims.get("htm") != method or not _is_here(claims.get("htu"), url) or not _in_time(claims, int(now.timestamp())):
        raise BadProof
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 1 <= len(jti) <= LONGEST_JTI:
        raise BadProof
    step = _step_of(nonce_key, claims.get("nonce"), now)
    return dt.datetime.fromtimestamp((step + STEPS_BACK + 1) * STEP, dt.UTC)


def verify(header: str | None, *, method: str, url: str, nonce_key: bytes, now: dt.datetime, token: bytes | None = None) -> Proof:
    """Check a `DPoP` header for one call (RFC 9449 section 4.3); with `token` (its SHA-256), that the proof was made for that access token.

    `url` is the configured origin and the path, never what the client calls us. Raises `BadProof` or `NonceWanted`.
    """
    # Two headers arrive as one with a comma in it, which no proof has.
    form = _FORM.fullmatch(header) if header is not None and len(header) <= MAX_BYTES else None
    if form is None:
        raise BadProof
    try:
        alg, key, jkt = _key_of(form[1])
        claims = load(_from_b64(form[2]))
        until = _until(claims, method, url, nonce_key, now)
        if token is not None and claims.get("ath") != _b64(token):
            raise BadProof
        if not _SIGNATURES.get_alg(alg).verify(f"{form[1]}.{form[2]}".encode(), _from_b64(form[3]), key):
            raise BadProof
    except (JoseError, ValueError, TypeError, UnicodeError, KeyError, Malformed):
        raise BadProof from None
    return Proof(jkt, hashlib.sha256(claims["jti"].encode()).digest(), until)


class TooMany(Exception):
    """One key has shown more proofs than are remembered of it."""


class Seen:
    """Proofs this process has taken (rule T12): each opens one call. Those of writes are remembered in the database too.

    No key can make it forget the proofs of others: beyond its share it is refused.
    """

    def __init__(self) -> None:
        self._until: OrderedDict[tuple[str, bytes], dt.datetime] = OrderedDict()
        self._of_key: Counter[str] = Counter()
        self._lock = threading.Lock()

    def first(self, proof: Proof, now: dt.datetime) -> bool:
        """Whether this proof is shown for the first time; raises `TooMany`."""
        name = (proof.jkt, proof.jti)
        with self._lock:
            # In the order of their coming, which is nearly that of their end.
            while self._until and (len(self._until) >= REMEMBERED_PROOFS or next(iter(self._until.values())) <= now):
                (jkt, _), _ = self._until.popitem(last=False)
                self._of_key[jkt] -= 1
                if not self._of_key[jkt]:
                    del self._of_key[jkt]
            if name in self._until:
                return False
            if self._of_key[proof.jkt] >= REMEMBERED_OF_A_KEY:
                raise TooMany
            self._until[name] = proof.until
            self._of_key[proof.jkt] += 1
        return True
