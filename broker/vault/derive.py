"""What is derived from a key: sub-keys by HKDF (RFC 5869) and blind tags by HMAC-SHA-256."""

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.vault.envelope import parts

TAG_BYTES: Final = 16


def subkey(secret: bytes, *names: str | bytes) -> bytes:
    """A 32-byte key for one use, named by `names`."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=parts(names)).derive(secret)


_BLOCK: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


def keyed(key: bytes) -> Callable[[bytes], bytes]:
    """HMAC-SHA-256 (RFC 2104) under one key of at most 64 bytes.

    The key's two blocks are hashed once, not at each call: a page of rows asks for hundreds, an upload for a thousand.
    """
    block = key.ljust(_BLOCK, b"\0")
    inner, outer = sha256(block.translate(_INNER)).copy, sha256(block.translate(_OUTER)).copy

    def digest(message: bytes) -> bytes:
        within = inner()
        within.update(message)
        over = outer()
        over.update(within.digest())
        return over.digest()

    return digest


def tagger(secret: bytes, *names: str | bytes) -> Callable[[str | bytes], bytes]:
    """A function from a value to its blind tag: HMAC-SHA-256 under the sub-key of `names`, first 16 bytes."""
    digest = keyed(subkey(secret, *names))

    def tag(value: str | bytes) -> bytes:
        return digest(value if isinstance(value, bytes) else value.encode())[:TAG_BYTES]

    return tag
