"""What a vendor may send to its grant: one signature, and nothing else."""

import re
from typing import Final

from broker.errors import BadRequest, TooLarge, Unprocessable, UnsupportedMediaType
from policies import documents
from policies.documents import Malformed, load

MOST_BYTES: Final = 4 * 1024
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]{1,1000}")
_NAMES: Final = ("protected", "signature")


def signature(mimetype: str, raw: bytes) -> dict[str, str]:
    """The vendor's signature in a request's body: `protected` and `signature`, base64url. What they say is checked against the agreement."""
    if mimetype != "application/json":
        raise UnsupportedMediaType("Send application/json without Content-Encoding.")
    if len(raw) > MOST_BYTES:
        raise TooLarge("A signature has at most 4 KiB.")
    try:
        value = load(raw)
    except Malformed as malformed:
        raise BadRequest("The body is not the JSON we take; see errors.", errors=malformed.errors) from None
    try:
        found = documents.members(value, "", _NAMES, _NAMES)
        return {name: documents.text(*found[name], _BASE64URL, "base64url without padding") for name in _NAMES}
    except Malformed as malformed:
        raise Unprocessable("This is not a signature; see errors. Nothing was changed.", errors=malformed.errors) from None
