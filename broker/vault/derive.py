"""What is derived from a key: sub-keys by HKDF (RFC 5869) and blind tags by HMAC-SHA-256."""

import hmac
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.vault.envelope import parts

TAG_BYTES: Final = 16


def subkey(secret: bytes, *names: str | bytes) -> bytes:
    """A 32-byte key for one use, named by `names`."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=parts(names)).derive(secret)


def tagger(secret: bytes, *names: str | bytes) -> Callable[[str | bytes], bytes]:
    """A function from a value to its blind tag: HMAC-SHA-256 under the sub-key of `names`, first 16 bytes."""
    key = subkey(secret, *names)

    def tag(value: str | bytes) -> bytes:
        return hmac.digest(key, value if isinstance(value, bytes) else value.encode(), "sha256")[:TAG_BYTES]

    return tag
