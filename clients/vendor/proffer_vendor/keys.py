"""The vendor's own key pairs: one proves who asks (RFC 7523) and signs the agreement, one proves who shows a token (RFC 9449).

The broker keeps the public halves only.
"""

import base64
import hashlib
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

from joserfc import jws, jwt
from joserfc.jwk import ECKey, OKPKey, import_key

ASSERTION_LIFE = 50
_ALGORITHM = {"OKP": "Ed25519", "EC": "ES256"}


class SigningKey:
    """An Ed25519 (RFC 9864) or P-256 key; its `kid` is the RFC 7638 thumbprint. Its repr shows the thumbprint alone."""

    def __init__(self, key: OKPKey | ECKey) -> None:
        self._key = key
        self.kid = key.thumbprint()
        self.alg = _ALGORITHM[key.key_type]

    def __repr__(self) -> str:
        return f"SigningKey({self.kid})"

    @classmethod
    def generate(cls) -> "SigningKey":
        """A new Ed25519 key."""
        return cls(OKPKey.generate_key("Ed25519"))

    @classmethod
    def at(cls, path: Path) -> "SigningKey":
        """The key kept in `path` as a private JWK; made there with mode 0600 if there is none."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            made = cls.generate()
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(made._key.as_dict(private=True), file)  # noqa: SLF001 - the key writes itself.
            return made
        key = import_key(json.loads(path.read_text(encoding="utf-8")))
        if not isinstance(key, OKPKey | ECKey):
            raise TypeError(f"{path} holds a key of type {key.key_type}; Ed25519 or P-256 is needed.")
        return cls(key)

    @property
    def public(self) -> dict[str, Any]:
        """The public JWK without further members."""
        return dict(self._key.as_dict(private=False))

    @property
    def jwks(self) -> dict[str, Any]:
        """The key set for the client's metadata (RFC 7591 `jwks`)."""
        return {"keys": [{**self.public, "kid": self.kid, "alg": self.alg, "use": "sig"}]}

    def assertion(self, client_id: str, issuer: str) -> str:
        """A client assertion for one call: `aud` is the issuer's string, it lives 50 seconds and has an id of its own (RFC 7523 section 3)."""
        now = int(time.time())
        claims = {"iss": client_id, "sub": client_id, "aud": issuer, "iat": now, "exp": now + ASSERTION_LIFE, "jti": secrets.token_urlsafe(16)}
        return jwt.encode({"alg": self.alg, "kid": self.kid, "typ": "JWT"}, claims, self._key, algorithms=[self.alg])

    def proof(self, method: str, url: str, *, nonce: str = "", token: str = "") -> str:
        """A proof for one call that whoever calls holds this key (RFC 9449 section 4.2); with `token`, for that access token alone."""
        claims: dict[str, Any] = {"jti": secrets.token_urlsafe(16), "htm": method, "htu": url, "iat": int(time.time())}
        if nonce:
            claims["nonce"] = nonce
        if token:
            claims["ath"] = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
        return jwt.encode({"typ": "dpop+jwt", "alg": self.alg, "jwk": self.public}, claims, self._key, algorithms=[self.alg])

    def sign(self, payload: bytes, header: dict[str, Any]) -> tuple[str, str]:
        """The `protected` and `signature` parts of a JWS over `payload`; `alg` and `kid` are added to `header` in sorted order (JCS)."""
        protected = dict(sorted({**header, "alg": self.alg, "kid": self.kid}.items()))
        first, _, last = jws.serialize_compact(protected, payload, self._key, algorithms=[self.alg]).split(".")
        return first, last
