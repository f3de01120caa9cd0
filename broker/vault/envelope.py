"""The envelope around every sealed value: AES-256-GCM for rows, AES-256-GCM-SIV for wraps, HPKE (RFC 9180) where only a public key is at hand.

`0x01 | alg 1 | key_id 16 | nonce 12 | ciphertext | tag 16`; for HPKE `enc 32` stands in the nonce's place. The associated data binds
format, person, table, row, column and key id, each with its length, so that a value moved anywhere else does not open.
"""

import os
import struct
from collections.abc import Callable, Iterable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from broker.errors import Unsealable

FORMAT: Final = 1
ROWS: Final = 1
WRAPS: Final = 2
TO_PUBLIC_KEY: Final = 3
NONCE_BYTES: Final = 12
HEADER_BYTES: Final = 18
TAG_BYTES: Final = 16
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_LENGTH: Final = struct.Struct(">I").pack


def parts(values: Iterable[bytes | str | int]) -> bytes:
    """Each value as its length (uint32, big-endian) and its bytes, so that no two lists of values look alike."""
    joined = bytearray()
    for value in values:
        raw = value if isinstance(value, bytes) else str(value).encode()
        joined += _LENGTH(len(raw)) + raw
    return bytes(joined)


_FORMATS: Final = {alg: parts((bytes((FORMAT, alg)),)) for alg in (ROWS, WRAPS, TO_PUBLIC_KEY)}


class Place:
    """Where sealed values of one person, table and column live; `at(*row)` names one row by its remaining key parts."""

    __slots__ = ("_column", "_head")

    def __init__(self, person_id: bytes, table: str, column: str = "body") -> None:
        self._head = parts((person_id, table))
        self._column = parts((column,))

    def at(self, *row: bytes | str | int) -> bytes:
        """The place's bytes for one row."""
        return self._head + parts((parts(row),)) + self._column

    def around(self, *row: bytes | str | int, rest: int) -> tuple[bytes, bytes]:
        """What stands before and after the rest of a row's key (as `parts`, of `rest` bytes), where many rows differ only in that."""
        known = parts(row)
        return self._head + _LENGTH(len(known) + rest) + known, self._column


def _associated(alg: int, place: bytes, key_id: bytes) -> bytes:
    return _FORMATS[alg] + place + _LENGTH(len(key_id)) + key_id


class OpenKey:
    """An unwrapped AES key with its id; seals and opens values at their place."""

    __slots__ = ("_alg", "_cipher", "key_id")

    def __init__(self, key_id: bytes, secret: bytes, alg: int = ROWS) -> None:
        self.key_id = key_id
        self._alg = alg
        self._cipher: AESGCM | AESGCMSIV = AESGCM(secret) if alg == ROWS else AESGCMSIV(secret)

    def seal(self, place: bytes, plaintext: bytes, *, nonce: bytes | None = None) -> bytes:
        """The envelope of `plaintext`, which opens at `place` only. A fixed `nonce` is for values that must come out equal (alg 2 allows it)."""
        nonce = nonce or os.urandom(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, plaintext, _associated(self._alg, place, self.key_id))
        return bytes((FORMAT, self._alg)) + self.key_id + nonce + sealed

    def unseal(self, place: bytes, envelope: bytes) -> bytes:
        """The plaintext; any wrong version, algorithm, key, length, place or tag raises `Unsealable`."""
        short = len(envelope) < HEADER_BYTES + NONCE_BYTES + TAG_BYTES
        if short or envelope[0] != FORMAT or envelope[1] != self._alg or envelope[2:HEADER_BYTES] != self.key_id:
            raise Unsealable
        try:
            return self._cipher.decrypt(envelope[18:30], envelope[30:], _associated(self._alg, place, self.key_id))
        except InvalidTag:
            raise Unsealable from None


    def between(self, head: bytes, tail: bytes) -> Callable[[bytes, bytes], bytes]:
        """`unseal` for many values whose places differ only between `head` and `tail`: on the reading path what is the same is put together once."""
        start, end = _FORMATS[self._alg] + head, tail + _LENGTH(len(self.key_id)) + self.key_id
        header, decrypt = bytes((FORMAT, self._alg)) + self.key_id, self._cipher.decrypt

        def unseal(part: bytes, envelope: bytes) -> bytes:
            if not envelope.startswith(header):
                raise Unsealable
            try:
                return decrypt(envelope[18:30], envelope[30:], start + part + end)
            except (InvalidTag, ValueError):
                # A value that was cut so short that not even its nonce is whole is refused by its length.
                raise Unsealable from None

        return unseal


def key_id_of(envelope: bytes) -> bytes:
    """The id of the key that sealed this envelope."""
    if len(envelope) < HEADER_BYTES or envelope[0] != FORMAT:
        raise Unsealable
    return envelope[2:HEADER_BYTES]


def seal_to(public: bytes, key_id: bytes, place: bytes, plaintext: bytes) -> bytes:
    """Seal to an X25519 public key (32 bytes); whoever holds the private key can open it."""
    sealed = _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public), _associated(TO_PUBLIC_KEY, place, key_id))
    return bytes((FORMAT, TO_PUBLIC_KEY)) + key_id + sealed


def unseal_with(private: bytes, place: bytes, envelope: bytes) -> bytes:
    """Open what `seal_to` sealed, with the X25519 private key (32 bytes); raises `Unsealable`."""
    key_id = key_id_of(envelope)
    if envelope[1] != TO_PUBLIC_KEY:
        raise Unsealable
    try:
        return _SUITE.decrypt(envelope[18:], X25519PrivateKey.from_private_bytes(private), _associated(TO_PUBLIC_KEY, place, key_id))
    except (InvalidTag, ValueError):
        raise Unsealable from None


def new_key_pair() -> tuple[bytes, bytes]:
    """A new X25519 pair: (private, public), 32 bytes each."""
    private = X25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def public_of(private: bytes) -> bytes:
    """The public half of an X25519 private key."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
