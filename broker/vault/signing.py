"""Signing keys: Ed25519 pairs whose private half never leaves the vault; what they sign is a JWS (RFC 7515)."""

import base64
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.jwk import OKPKey

ALGORITHM: Final = "Ed25519"
SEED_BYTES: Final = 32


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


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
