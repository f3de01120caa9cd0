"""Slots: what releases ROOT. First release here: the key file, 32 bytes with mode 0600 outside the data directory."""

import os
import stat
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from broker.errors import Unsealable
from broker.vault import derive
from broker.vault.envelope import Place, public_of, seal_to, unseal_with
from broker.vault.models import slots

KEY_FILE_BYTES: Final = 32
_PLACE: Final = Place(b"", "slots", "wrapped_root")


class NoKey(Exception):
    """The vault cannot be opened; the message says what to do."""


def read_key_file(path: Path, *, make: bool) -> bytes:
    """The key file's 32 bytes; made if `make` and absent. `NoKey` if it is missing, readable by others, or of another length."""
    if not path.exists():
        if not make:
            raise NoKey(f"The key file {path} is missing. Put it back from where you keep your copy; without it nothing here can be opened.")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:  # noqa: PTH123 - a mode at creation
            file.write(os.urandom(KEY_FILE_BYTES))
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise NoKey(f"The key file {path} can be read by others. Run: chmod 600 {path}")
    secret = path.read_bytes()
    if len(secret) != KEY_FILE_BYTES:
        raise NoKey(f"The key file {path} should hold {KEY_FILE_BYTES} bytes and holds {len(secret)}. Put the right one back.")
    return secret


def _sync_folder(path: Path) -> None:
    """Make the name of a new file durable too; elsewhere than on POSIX a folder cannot be opened."""
    if os.name == "posix":
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _private(secret: bytes) -> bytes:
    return derive.subkey(secret, "slot", "key_file")


def add_key_file(tx: Connection, secret: bytes, root: bytes) -> None:
    """Wrap ROOT to the public key that the key file's secret gives."""
    slot_id = os.urandom(16)
    public = public_of(_private(secret))
    tx.execute(slots.insert().values(slot_id=slot_id, kind="key_file", public=public, wrapped_root=seal_to(public, slot_id, _PLACE.at(slot_id), root)))


def open_with_key_file(tx: Connection, secret: bytes) -> bytes | None:
    """ROOT, or None where there is no slot yet; `NoKey` if slots exist and none fits."""
    rows = tx.execute(select(slots.c.slot_id, slots.c.wrapped_root).where(slots.c.kind == "key_file")).all()
    for row in rows:
        try:
            return unseal_with(_private(secret), _PLACE.at(row.slot_id), row.wrapped_root)
        except Unsealable:
            continue
    if rows:
        raise NoKey("The key file does not open this broker's keys. Put the key file back that belongs to this data directory.")
    return None
