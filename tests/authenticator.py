"""A software authenticator (WebAuthn Level 3): makes passkeys and shows them, and can be told to do it wrong."""

import base64
import hashlib
import json
import secrets
import struct
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Authenticator:
    """One device with one passkey; `origin` is where its browser believes to be."""

    origin: str = "http://localhost:8440"
    host: str = "localhost"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False)
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    person_id: bytes = b""
    counter: int = 0

    def make(self, options: str, *, flags: int = PRESENT | VERIFIED, **client: Any) -> str:
        """The answer to what a page asks for to make a passkey."""
        asked = json.loads(options)
        self.person_id = raw(asked["user"]["id"])
        attested = bytes(16) + struct.pack(">H", len(self.credential_id)) + self.credential_id + cbor2.dumps(self._cose())
        data = self._data(flags | ATTESTED) + attested
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._answer({"attestationObject": b64(attestation), "clientDataJSON": b64(self._client("webauthn.create", asked, client))})

    def show(self, options: str, *, flags: int = PRESENT | VERIFIED, signed_by: "Authenticator | None" = None, person_id: bytes | None = None, **client: Any) -> str:
        """The answer to what a page asks for to sign in or to confirm."""
        asked = json.loads(options)
        self.counter += 1
        data, said = self._data(flags), self._client("webauthn.get", asked, client)
        signature = (signed_by or self).key.sign(data + hashlib.sha256(said).digest(), ec.ECDSA(SHA256()))
        whose = self.person_id if person_id is None else person_id
        return self._answer({"authenticatorData": b64(data), "clientDataJSON": b64(said), "signature": b64(signature), "userHandle": b64(whose)})

    def _answer(self, response: dict[str, str]) -> str:
        name = b64(self.credential_id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}})

    def _data(self, flags: int) -> bytes:
        return hashlib.sha256(self.host.encode()).digest() + bytes((flags,)) + struct.pack(">I", self.counter)

    def _client(self, kind: str, asked: dict[str, Any], client: dict[str, Any]) -> bytes:
        return json.dumps({"type": kind, "challenge": asked["challenge"], "origin": self.origin, "crossOrigin": False, **client}).encode()

    def _cose(self) -> dict[int, Any]:
        public = self.key.public_key().public_numbers()
        return {1: 2, 3: -7, -1: 1, -2: public.x.to_bytes(32), -3: public.y.to_bytes(32)}
