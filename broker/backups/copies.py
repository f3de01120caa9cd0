"""Backups: data.db and keys.db as they are at one moment, while the broker serves and writes, as two files; of each directory only the newest is kept.

The data is copied first: a key is durable before anything is sealed under it, so that the keys copied after it open it all. Where keys were being
destroyed meanwhile, it is done again.
"""

import contextlib
import datetime as dt
import errno
import io
import json
import logging
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from broker import migrations
from broker.db import KEYS, Store
from broker.errors import Sealed, Unsealable
from broker.opening import Broker
from broker.vault import backups, heads
from broker.vault.backups import BackupRefused, Reader, To

log = logging.getLogger(__name__)
DATA_FILE, KEYS_FILE = "data", "keys"
TRIES: Final = 5
PIECE: Final = 1024 * 1024
_NAME: Final = re.compile(r"proffer-(?P<broker>[0-9a-f]{8})-(?P<stamp>[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8})-(?P<file>data|keys)\.(?P<form>backup|db)")
_STAGED: Final = "copying-"
NAMES: Final = "It has two files, proffer-…-data.backup and proffer-…-keys.backup: put both into one directory, under their own names."
NO_PLACE: Final = "The directory {path} cannot be used for a backup: {why}. Make it, with room for all of the data, and writable for the broker alone."


@dataclass(frozen=True, slots=True)
class Pair:
    """The two files of one backup."""

    data: Path
    keys: Path

    @property
    def is_sealed(self) -> bool:
        """Whether its files are sealed to a passphrase or key; else they are the stores as they were."""
        return self.data.suffix == ".backup"


def make(broker: Broker, directory: Path, to: To | None) -> Pair:
    """Make a backup in a directory, and open it once; then the older ones of this broker there go. `to` None: unsealed. Raises `BackupRefused`."""
    with _told(directory):
        _usable(broker, directory)
        with _staged(broker) as staged:
            keys = _snapshots(broker, staged)
            return _put(broker, directory, to, staged, keys)


def _put(broker: Broker, directory: Path, to: To | None, staged: Path, keys: bytes) -> Pair:
    now, set_id = broker.now(), os.urandom(16)
    stem = f"proffer-{broker.vault.broker_id.hex()[:8]}-{now:%Y%m%dT%H%M%SZ}-{set_id.hex()[:8]}"
    form = "backup" if to else "db"
    pair = Pair(directory / f"{stem}-data.{form}", directory / f"{stem}-keys.{form}")
    about = {"v": 1, "broker": broker.vault.broker_id.hex(), "set": set_id.hex(), "made_at": f"{now:%Y-%m-%dT%H:%M:%SZ}", "schemas": _schemas(broker)}
    with staged.open("rb") as content:
        _one(pair.data, DATA_FILE, content, to, set_id, {**about, "bytes": staged.stat().st_size})
    _one(pair.keys, KEYS_FILE, io.BytesIO(keys), to, set_id, {**about, "bytes": len(keys)})
    if to is None:
        opened_once(broker, pair)
    _drop_older(broker, directory, keep=pair)
    return pair


def _schemas(broker: Broker) -> dict[str, str]:
    return {name: migrations.revision(store) or "" for name, store in ((DATA_FILE, broker.data), (KEYS_FILE, broker.keys))}


@contextlib.contextmanager
def _told(directory: Path) -> Iterator[None]:
    """What the system refuses, as a sentence."""
    try:
        yield
    except OSError as failed:
        why = "it is full" if failed.errno == errno.ENOSPC else (failed.strerror or str(failed)).lower()
        raise BackupRefused(NO_PLACE.format(path=directory, why=why)) from failed
    except sqlite3.Error as failed:
        raise BackupRefused(f"The stores could not be copied: {failed}. Nothing was changed; try again, and run broker verify.") from failed


def _usable(broker: Broker, directory: Path) -> None:
    if not directory.is_dir():
        raise BackupRefused(NO_PLACE.format(path=directory, why="there is no such directory"))
    if broker.settings.data_dir.resolve() in (directory.resolve(), *directory.resolve().parents):
        raise BackupRefused("A backup inside the data directory would be lost with it. Name another directory, best on another disk.")
    need = sum(store.path.stat().st_size for store in (broker.data, broker.keys))
    if shutil.disk_usage(directory).free < need:
        raise BackupRefused(NO_PLACE.format(path=directory, why=f"it has less than {need // 2**20 + 1} MiB left"))


def possible(broker: Broker, directory: Path) -> bool:
    """Whether a backup could be made there now, as far as can be told without making it."""
    try:
        with _told(directory):
            _usable(broker, directory)
            probe = directory / f".proffer-{os.getpid()}"
            probe.touch(0o600)
            probe.unlink()
    except BackupRefused as why:
        log.warning("%s", why)
        return False
    return True


@contextlib.contextmanager
def _staged(broker: Broker) -> Iterator[Path]:
    """A name in the data directory for a copy of data.db that is needed for a moment; what an earlier kill left there goes first."""
    for left in broker.settings.data_dir.glob(f"{_STAGED}*"):
        left.unlink(missing_ok=True)
    path = broker.settings.data_dir / f"{_STAGED}{os.urandom(8).hex()}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _snapshots(broker: Broker, staged: Path) -> bytes:
    """Copy data.db to `staged`, and return keys.db as it fits to it; never on a disk unsealed."""
    for _ in range(TRIES):
        before = heads.count_destroyed(broker.heads)
        broker.data.copy_to(staged)
        keys = broker.keys.copied(without="processes")
        if heads.count_destroyed(broker.heads) == before:
            return keys
        staged.unlink()
    raise BackupRefused("Keys were being destroyed all the while. Nothing was changed; try again in an hour.")


def _one(path: Path, file: str, content: IO[bytes], to: To | None, set_id: bytes, manifest: Mapping[str, Any]) -> None:
    """One file under a temporary name, durable and read again before it gets its own."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    try:
        with open(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:  # noqa: PTH123 - a mode at creation
            secret = b""
            if to is None:
                shutil.copyfileobj(content, out, PIECE)
            else:
                secret = backups.write(to, file, set_id, manifest, content, out)
            out.flush()
            os.fsync(out.fileno())
        if to is not None:
            with part.open("rb") as again:
                _length(Reader(again, path.name), secret, manifest["bytes"])
        part.replace(path)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _length(reader: Reader, secret: bytes, wanted: int) -> None:
    pieces = reader.pieces(secret)
    next(pieces)
    if sum(map(len, pieces)) != wanted:
        raise BackupRefused("The backup could not be read again as it was written. Check the disk.")


def sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def opened_once(broker: Broker, pair: Pair) -> None:
    """Open both files of an unsealed backup: SQLite finds them in order, and the broker's keys open everybody's. Raises `BackupRefused`."""
    try:
        for path in (pair.data, pair.keys):
            with _reopened(path) as store:
                if not store.sound():
                    raise BackupRefused(f"{path.name} is damaged. Check the disk.")
                if path == pair.keys and not broker.vault.sealed:
                    broker.vault.opens(store)
    except (Unsealable, Sealed, sqlite3.Error):
        raise BackupRefused(f"The keys in {pair.keys.name} do not open.") from None


@contextlib.contextmanager
def _reopened(path: Path) -> Iterator[Store]:
    store = Store(path, KEYS)
    try:
        yield store
    finally:
        store.close()


def _drop_older(broker: Broker, directory: Path, keep: Pair) -> None:
    """Take away the older backups of this broker: a series of keys would open what was erased."""
    mine = broker.vault.broker_id.hex()[:8]
    for path in directory.iterdir():
        named = _NAME.fullmatch(path.name) or _NAME.fullmatch(f"{path.stem}.db") if path.suffix in {".backup", ".db", ".part"} else None
        if named and named["broker"] == mine and path not in {keep.data, keep.keys}:
            wipe(path)
    sync(directory)


def wipe(path: Path) -> None:
    """Overwrite a file and take it away; what a flash disk keeps of it no program reaches."""
    with contextlib.suppress(OSError), path.open("r+b") as file:
        left = path.stat().st_size
        while left > 0:
            left -= file.write(bytes(min(PIECE, left)))
        file.flush()
        os.fsync(file.fileno())
    path.unlink(missing_ok=True)


def renew_keys(broker: Broker, pair: Pair) -> None:
    """Put keys.db as it is now in the place of the keys of an unsealed backup: what was destroyed since must not lie there."""
    with _told(pair.keys.parent):
        fresh = pair.keys.with_suffix(".part")
        fresh.unlink(missing_ok=True)
        broker.keys.copy_to(fresh)
        with _reopened(fresh) as store, store.writing() as tx:
            tx.exec_driver_sql("DELETE FROM processes")
        with pair.keys.open("r+b") as old:
            old.write(bytes(pair.keys.stat().st_size))
            os.fsync(old.fileno())
        fresh.replace(pair.keys)
        sync(pair.keys.parent)
        opened_once(broker, pair)


def find(directory: Path) -> Pair:
    """The newest whole backup in a directory. Raises `BackupRefused`."""
    files: dict[str, dict[str, Path]] = {}
    if directory.is_dir():
        for path in directory.iterdir():
            if named := _NAME.fullmatch(path.name):
                files.setdefault(f"{named['stamp']} {named['broker']}", {})[named["file"]] = path
    whole = [files[stamp] for stamp in sorted(files) if len(files[stamp]) == len((DATA_FILE, KEYS_FILE))]
    if not whole:
        raise BackupRefused(f"No backup is in {directory}. {NAMES}")
    return Pair(whole[-1][DATA_FILE], whole[-1][KEYS_FILE])


@dataclass(frozen=True, slots=True)
class Read:
    """What was read of a backup: when it was made, and the schemas of its stores; both are empty for an unsealed one."""

    made_at: dt.datetime | None
    schemas: Mapping[str, str]


def read(pair: Pair, text: str, data: Path, keys: Path) -> Read:
    """Write the stores of a backup into two new files, durably, each opened by the passphrase or private key in `text`. Raises `BackupRefused`."""
    told = []
    for source, target, file in ((pair.data, data, DATA_FILE), (pair.keys, keys, KEYS_FILE)):
        with source.open("rb") as raw, open(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:  # noqa: PTH123 - a mode at creation
            if pair.is_sealed:
                told.append(_unsealed(Reader(raw, source.name), file, text, out))
            else:
                shutil.copyfileobj(raw, out, PIECE)
            out.flush()
            os.fsync(out.fileno())
    if told and (told[0]["set"], told[0]["broker"]) != (told[1]["set"], told[1]["broker"]):
        raise BackupRefused("These two files are of different backups. Put both files of one backup into one directory, under their own names.")
    for path in (data, keys):
        with _reopened(path) as store:
            if not store.sound():
                raise BackupRefused(f"{path.name} of this backup is damaged. Take another copy of it.")
    return Read(dt.datetime.fromisoformat(told[0]["made_at"]), told[0]["schemas"]) if told else Read(None, {})


def _unsealed(reader: Reader, file: str, text: str, out: IO[bytes]) -> dict[str, Any]:
    """Write one file's content and return its manifest."""
    if reader.file != file:
        raise BackupRefused("The two files of the backup have changed their names. Give each its own name back.")
    pieces = reader.pieces(reader.secret(text))
    manifest: dict[str, Any] = json.loads(next(pieces))
    if manifest["set"] != reader.set_id.hex():
        raise BackupRefused("These two files are of different backups. Put both files of one backup into one directory, under their own names.")
    if sum(out.write(piece) for piece in pieces) != manifest["bytes"]:
        raise BackupRefused(f"A file of this backup {backups.DAMAGED}")
    return manifest
