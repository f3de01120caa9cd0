"""Strict JSON, base64url and digests: what is signed has one form only, and anything else is refused."""

import base64
import binascii
import hashlib
import json
from typing import Any

from proffer_vendor.errors import NotSigned

MOST_BYTES = 256 * 1024


def load(raw: bytes | str) -> Any:
    """JSON without repeated names, decimal numbers or NaN, at most 256 KiB; raises NotSigned."""
    if len(raw) > MOST_BYTES:
        raise NotSigned("The document is larger than 256 KiB.")
    try:
        return json.loads(raw, object_pairs_hook=_once, parse_float=_refused, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise NotSigned(f"The document is not the JSON it should be: {error}.") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice in an object")
    return members


def _refused(text: str) -> Any:
    raise ValueError(f"{text} is not an integer")


def canonical(value: Any) -> bytes:
    """Canonical JSON (RFC 8785) of a value without decimal numbers whose names are ASCII, as all of an agreement's are."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise NotSigned("The document holds half a character.") from error


def b64(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: Any) -> bytes:
    """The bytes of unpadded base64url in its one form; raises NotSigned."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or b64(raw) != text:
        raise NotSigned("A part of the document is not base64url.")
    return raw


def digest(raw: bytes) -> str:
    """`sha-256:` and the digest in base64url."""
    return f"sha-256:{b64(hashlib.sha256(raw).digest())}"
