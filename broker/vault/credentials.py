"""Opaque credentials: minting and parsing of `pfr_<kind>_<64 base64url characters><8 hex>` (rules T1-T3 of the authorization design).

The 64 characters are `route ‖ secret`, 16 + 32 bytes. The route leads to the person without a look-up and without an identifier that two
holders could compare: `route = person_id XOR HMAC-SHA256(route_key, kind ‖ secret)[:16]`. The 8 hex digits are the CRC-32 of all before them.
"""

import base64
import hashlib
import hmac
import os
import re
import zlib
from dataclasses import dataclass
from typing import Final

ROUTE_BYTES: Final = 16
SECRET_BYTES: Final = 32
# at access token, rt refresh token, ac code, ru request_uri, ss session, su sign-up link, it registration invite
KINDS: Final = frozenset({"at", "rt", "ac", "ru", "ss", "su", "it"})
_FORM: Final = re.compile(r"pfr_([a-z]{2})_([A-Za-z0-9_-]{64})([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class Credential:
    """A minted or parsed credential; `text` is shown once and never stored, `hash` (32 bytes) is what rows hold."""

    kind: str
    person_id: bytes
    hash: bytes
    text: str

    def __repr__(self) -> str:
        return f"Credential({self.kind}, {self.hash.hex()[:6]})"


def _route(route_key: bytes, kind: str, secret: bytes, person_id: bytes) -> bytes:
    mask = hmac.digest(route_key, kind.encode() + secret, "sha256")[:ROUTE_BYTES]
    return (int.from_bytes(person_id) ^ int.from_bytes(mask)).to_bytes(ROUTE_BYTES)


def mint(route_key: bytes, kind: str, person_id: bytes | None = None) -> Credential:
    """A new credential; without a person its route is random."""
    secret = os.urandom(SECRET_BYTES)
    route = os.urandom(ROUTE_BYTES) if person_id is None else _route(route_key, kind, secret, person_id)
    body = f"pfr_{kind}_" + base64.urlsafe_b64encode(route + secret).decode()
    text = f"{body}{zlib.crc32(body.encode()):08x}"
    return Credential(kind, person_id or b"", hashlib.sha256(text.encode()).digest(), text)


def parse(route_key: bytes, kind: str, text: str) -> Credential | None:
    """The credential in `text`, or None where it cannot be one of this kind; no I/O. A changed route leads to a person who has no such row."""
    form = _FORM.fullmatch(text)
    if form is None or form[1] != kind or f"{zlib.crc32(text[:-8].encode()):08x}" != form[3]:
        return None
    raw = base64.urlsafe_b64decode(form[2])
    person_id = _route(route_key, kind, raw[ROUTE_BYTES:], raw[:ROUTE_BYTES])
    return Credential(kind, person_id, hashlib.sha256(text.encode()).digest(), text)
