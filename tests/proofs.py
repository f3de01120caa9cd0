"""Proofs of possession (RFC 9449) as clients make them, and as attackers would."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import ECKey

from broker.db import utcnow
from broker.oauth import dpop

ORIGIN = "http://localhost:8440"


def b64(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def ath(token: str) -> str:
    """The hash of an access token as a proof names it."""
    return b64(hashlib.sha256(token.encode()).digest())


class Prover:
    """Whoever holds one P-256 key, and knows the nonce of the hour by `nonce`."""

    def __init__(self, nonce: Callable[[], str | None], *, key: ECKey | None = None, clock: Callable[[], float] = time.time, origin: str = ORIGIN) -> None:
        self.nonce = nonce
        self.origin = origin
        self.key = key or ECKey.generate_key("P-256", private=True)
        self.clock = clock
        self._secret: Any = self.key.private_key
        self.header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": {name: str(self.key.as_dict()[name]) for name in ("crv", "kty", "x", "y")}}

    @property
    def jkt(self) -> str:
        """The thumbprint of the key."""
        return str(self.key.thumbprint())

    def claims(self, method: str, path: str, token: str = "") -> dict[str, Any]:
        """What a good proof says of a call."""
        made = {"jti": secrets.token_urlsafe(16), "htm": method, "htu": self.origin + path.partition("?")[0], "iat": int(self.clock()), "nonce": self.nonce()}
        return {**made, "ath": ath(token)} if token else made

    def proof(self, method: str, path: str, token: str = "", **changes: Any) -> str:
        """A proof for one call; `changes` replace or (as None) remove claims, those of `header` members of the header."""
        told = changes.pop("header", {})
        header = {name: value for name, value in {**self.header, **told}.items() if value is not None}
        claims = {name: value for name, value in {**self.claims(method, path, token), **changes}.items() if value is not None}
        return self.sign(json.dumps(header), json.dumps(claims))

    def sign(self, header: str, payload: str) -> str:
        """A compact JWS of any two texts, by ES256."""
        signed = f"{b64(header.encode())}.{b64(payload.encode())}"
        r, s = decode_dss_signature(self._secret.sign(signed.encode(), ECDSA(SHA256())))
        return f"{signed}.{b64(r.to_bytes(32) + s.to_bytes(32))}"

    def headers(self, method: str, path: str, token: str) -> dict[str, str]:
        """The two headers of a call with a token."""
        return {"Authorization": f"DPoP {token}", "DPoP": self.proof(method, path, token)}


def of_broker(broker: Any, key: ECKey | None = None) -> Prover:
    """A client of a broker in this process, by that broker's clock."""
    return Prover(lambda: dpop.nonce(broker.vault.nonce_key, broker.now()), key=key, clock=lambda: broker.now().timestamp())


def of_store(nonce_key: bytes, key: ECKey) -> Prover:
    """A client of a broker in another process, whose nonces are known here without asking."""
    return Prover(lambda: dpop.nonce(nonce_key, utcnow()), key=key)
