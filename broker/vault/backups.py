"""Files of a backup: each under a random key of its own, sealed to a passphrase or a public key, in pieces that open in their order and file only.

`proffer-backup 1`, a newline, the length and bytes of a header (JSON), then for each piece its length and its envelope. A piece is bound to the header's
hash, to its number and to whether it is the last, so that a file that was cut, or put together from several, does not open. Piece 0 is the manifest.
"""

import base64
import binascii
import datetime as dt
import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Final

from broker.errors import Unsealable
from broker.vault import slots
from broker.vault.envelope import OpenKey, Place, new_key_pair, public_of, seal_to, unseal_with

MAGIC: Final = b"proffer-backup 1\n"
PIECE: Final = 1024 * 1024
VERSION: Final = 1
MOST_HEADER: Final = 4096
OVERHEAD: Final = 64
PASSPHRASE, RECIPIENT = "backup passphrase", "backup recipient"
_PUBLIC, _PRIVATE = "proffer-backup-to-", "proffer-backup-key-"
_KEY_BYTES, _CHECK_BYTES = 32, 4
SET_BYTES: Final = 16
# What a file may ask of whoever opens it; ours ask for less.
_MOST_COST: Final[Mapping[str, int]] = {"memory": 256 * 1024, "passes": slots.MOST_PASSES, "lanes": 4}
_LENGTH: Final = struct.Struct(">I")
DAMAGED: Final = "was cut, altered or put together from several files. Take another copy of it."
CLOSED: Final = "This is not the passphrase, or not the key, that this backup was made for."


class BackupRefused(Exception):
    """A backup that cannot be made, or not be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class To:
    """Whom a backup is made for: an X25519 public key, and how a passphrase gives the private one."""

    kind: str
    public: bytes
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a file of a backup says of it: its id and its broker's (hex), when it was made, and how many bytes the file has when it is opened."""

    set_id: str
    broker: str
    made_at: dt.datetime
    bytes: int


def to_passphrase(passphrase: str) -> To:
    """Whoever has this passphrase, stretched by Argon2id as far as a slot's (RFC 9106)."""
    if not slots.SHORTEST_PASSPHRASE <= len(passphrase) <= slots.LONGEST_PASSPHRASE:
        raise BackupRefused(f"Choose a passphrase of {slots.SHORTEST_PASSPHRASE} to {slots.LONGEST_PASSPHRASE} characters.")
    params = slots.tuned()
    return To(PASSPHRASE, public_of(slots.private_of(PASSPHRASE, passphrase, params)), params)


def to_recipient(text: str) -> To:
    """Whoever has the private key to this public one."""
    public = _read(_PUBLIC, text)
    if public is None:
        raise BackupRefused(f"This is no recipient of a backup. It begins with {_PUBLIC}; make one with: broker backup --new-recipient")
    return To(RECIPIENT, public)


def new_recipient() -> tuple[str, str]:
    """A new pair as text: the private key, to be kept where no backup lies, and the public one."""
    private, public = new_key_pair()
    return _written(_PRIVATE, private), _written(_PUBLIC, public)


def _written(start: str, key: bytes) -> str:
    check = hashlib.sha256(start.encode() + key).digest()[:_CHECK_BYTES]
    return start + base64.urlsafe_b64encode(key + check).decode()


def _read(start: str, text: str) -> bytes | None:
    """The key in a text; None where a letter of it is wrong."""
    try:
        raw = base64.urlsafe_b64decode(text.strip().removeprefix(start))
    except (binascii.Error, ValueError):
        return None
    return raw[:_KEY_BYTES] if len(raw) == _KEY_BYTES + _CHECK_BYTES and text.strip() == _written(start, raw[:_KEY_BYTES]) else None


def _place(file: str, header: bytes, number: int, *, last: bool) -> bytes:
    return Place(b"", "backups", file).at(hashlib.sha256(header).digest(), number, int(last))


def write(to: To, file: str, set_id: bytes, manifest: Mapping[str, Any], content: IO[bytes], out: IO[bytes]) -> bytes:
    """Write one file of the backup `set_id` and return the key it lies under, which opens this one file."""
    key_id, secret = os.urandom(16), os.urandom(32)
    wrapped = seal_to(to.public, key_id, Place(b"", "backups", "key").at(set_id, file), secret)
    told = {"file": file, "set": set_id.hex(), "kind": to.kind, "params": to.params, "key": base64.b64encode(wrapped).decode()}
    header = json.dumps(told, sort_keys=True).encode()
    out.write(MAGIC + _LENGTH.pack(len(header)) + header)
    key, number = OpenKey(key_id, secret), 0
    piece = json.dumps(manifest, sort_keys=True).encode()
    while True:
        following = content.read(PIECE)
        sealed = key.seal(_place(file, header, number, last=not following), piece)
        out.write(_LENGTH.pack(len(sealed)) + sealed)
        if not following:
            return secret
        piece, number = following, number + 1


class Reader:
    """One file of a backup, closed at first. `file` is `data` or `keys`, `set_id` the backup it belongs to."""

    def __init__(self, source: IO[bytes], name: str) -> None:
        """Reads the header; `name` is what it is called in sentences. Raises `BackupRefused`."""
        self._source, self._name = source, name
        if source.read(len(MAGIC)) != MAGIC:
            raise BackupRefused(f"{name} is no backup of Proffer, or of a newer version.")
        length = _LENGTH.unpack(self._exactly(_LENGTH.size))[0]
        self._header = self._exactly(length) if length <= MOST_HEADER else b""
        try:
            told = json.loads(self._header)
            self.file, self.kind, self.set_id = str(told["file"]), str(told["kind"]), bytes.fromhex(told["set"])
            self._params, self._wrapped = dict(told["params"]), base64.b64decode(told["key"], validate=True)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise self._damaged() from None
        if len(self.set_id) != SET_BYTES:
            raise self._damaged()

    def _damaged(self) -> BackupRefused:
        return BackupRefused(f"{self._name} {DAMAGED}")

    def _exactly(self, length: int) -> bytes:
        found = self._source.read(length)
        if len(found) != length:
            raise self._damaged()
        return found

    def secret(self, text: str) -> bytes:
        """The key of this file, by the passphrase or private key that was typed. Raises `BackupRefused`."""
        private = _read(_PRIVATE, text) if self.kind == RECIPIENT else self._stretched(text)
        try:
            return unseal_with(private or b"", Place(b"", "backups", "key").at(self.set_id, self.file), self._wrapped)
        except (Unsealable, ValueError):
            raise BackupRefused(CLOSED) from None

    def _stretched(self, text: str) -> bytes:
        cheap = all(type(self._params.get(name)) is int and self._params[name] <= most for name, most in _MOST_COST.items())
        try:
            return slots.private_of(PASSPHRASE, text, self._params) if cheap and isinstance(self._params.get("salt"), str) else b""
        except Unsealable:
            raise self._damaged() from None

    def manifest(self, piece: bytes) -> Manifest:
        """What piece 0 says. Who made a file may be anybody who knows a public key: raises `BackupRefused` for whatever is no manifest, or another file's."""
        try:
            told = json.loads(piece)
            if told["v"] != VERSION:
                raise BackupRefused(f"{self._name} is of a newer version of Proffer. Install that, or a newer one.")
            found = Manifest(str(told["set"]), str(told["broker"]), dt.datetime.fromisoformat(told["made_at"]), int(told["bytes"]))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            raise self._damaged() from None
        if found.set_id != self.set_id.hex() or found.made_at.tzinfo is None:
            raise self._damaged()
        return found

    def pieces(self, secret: bytes) -> Iterator[bytes]:
        """The manifest's bytes, then the content, each piece only after it was authenticated; `BackupRefused` where one is not, or the end is missing."""
        key, number, last = OpenKey(self._wrapped[2:18], secret), 0, False
        while not last:
            length = _LENGTH.unpack(self._exactly(_LENGTH.size))[0]
            if length > PIECE + OVERHEAD:
                raise self._damaged()
            sealed = self._exactly(length)
            # The last one has nothing behind it; both must say so.
            following = self._source.read(1)
            last = not following
            try:
                yield key.unseal(_place(self.file, self._header, number, last=last), sealed)
            except Unsealable:
                raise self._damaged() from None
            number += 1
            if following:
                self._source.seek(-1, os.SEEK_CUR)
