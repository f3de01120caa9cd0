"""Signing keys: Ed25519 pairs whose private half never leaves the vault; what they sign is a JWS (RFC 7515), or a log's checkpoints."""

import base64
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.jwk import OKPKey

ALGORITHM: Final = "Ed25519"
SEED_BYTES: Final = 32
_PRIME: Final = 2**255 - 19
_SIGN: Final = 1 << 255
_OF_ORDER_8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
# The y of the eight points of small order (RFC 8032 section 5.1): for a key that is one of them, some signatures hold over anything.
_SMALL: Final = frozenset({0, 1, _PRIME - 1, _OF_ORDER_8, _PRIME - _OF_ORDER_8})


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def anybody_can_sign(public: bytes) -> bool:
    """Whether the 32 bytes of an Ed25519 public key are a point of small order, in whatever encoding."""
    return int.from_bytes(public, "little") % _SIGN % _PRIME in _SMALL


class Signer:
    """One signing key. `jwk` is its public half with the members RFC 7638 hashes, `kid` that thumbprint."""

    __slots__ = ("_key", "jwk", "kid")

    def __init__(self, seed: bytes) -> None:
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        self.jwk: dict[str, str] = {"crv": "Ed25519", "kty": "OKP", "x": _b64(public)}
        self._key = OKPKey.import_key({**self.jwk, "d": _b64(seed)})
        self.kid: str = self._key.thumbprint()

    def __repr__(self) -> str:
        return f"Signer({self.kid})"

    def sign(self, typ: str, payload: bytes) -> tuple[str, str]:
        """The protected header (itself canonical) and the signature of a JWS over `payload`, both base64url."""
        header = {"alg": ALGORITHM, "kid": self.kid, "typ": typ}
        protected, _, signature = jws.serialize_compact(header, payload, self._key, algorithms=[ALGORITHM]).split(".")
        return protected, signature


class LogSigner:
    """The key of one log: signs the text of its checkpoints. `public` is its public half, 32 bytes."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public: bytes = self._key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"LogSigner({self.public.hex()})"

    def sign(self, text: bytes) -> bytes:
        """The signature over a note's text, 64 bytes."""
        return self._key.sign(text)
