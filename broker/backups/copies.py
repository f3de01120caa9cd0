"""Backups: data.db and keys.db as they are at one moment, while the broker serves and writes, as two files; of each form only the newest is kept.

The data is copied first: a key is durable before anything is sealed under it, so that the keys copied after it open it all. Where keys were being
destroyed meanwhile, it is done again. One backup at a time is made, and everybody's ledger says so before it leaves.
"""

import contextlib
import datetime as dt
import errno
import io
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from broker import migrations
from broker.backups.names import DATA_FILE, KEYS_FILE, SEALED, UNFINISHED, UNSEALED, Pair, new_pair, others
from broker.db import KEYS, DatabaseFailed, PragmaRefused, Store
from broker.errors import LedgerUnavailable, Sealed, Unsealable
from broker.ledger import actions as ledger
from broker.opening import Broker
from broker.people import queries as people
from broker.vault import backups, files, heads, slots
from broker.vault.backups import BackupRefused, Manifest, Reader, To
from broker.vault.files import sync_folder as sync
from broker.vault.files import wipe

__all__ = ["DATA_FILE", "KEYS_FILE", "Pair", "Read", "make", "possible", "read", "renew_keys", "sync", "try_opening"]

log = logging.getLogger(__name__)
TRIES: Final = 5
PIECE: Final = 1024 * 1024
NO_PLACE: Final = "The directory {path} cannot be used for a backup: {why}. Make it, with room for all of the data, and writable for the broker alone."
NO_ROOM: Final = "The data directory {path} has less than {need} MiB left, which a backup needs there for a moment. Make room; nothing was changed."
ANOTHER: Final = "Another backup is being made. Do it again when that is done."
STAYS: Final = "The new backup {new} is good, but the older %s could not be taken away: %s. Take it away: its keys open what was erased since."
LATER: Final = "%s is dated later than the new backup, and stays. If no clock explains it, take it away: its keys may open what was erased since."
KEY_FILE_ALONE: Final = (
    "This backup opens with the key file as it is now, and with nothing else: an erasure or broker keys rotate renews that file, and a lost disk takes it "
    "along. Run: broker keys add recovery-key (or passphrase), and then make the backup again."
)
TWO: Final = "These two files are of different backups. Put both files of one backup into one directory, under their own names."
_told_of: Final[set[bytes]] = set()


def make(broker: Broker, directory: Path, to: To | None) -> Pair:
    """Make a backup in a directory, and open it once; then the older ones of this broker and form there go. `to` None: unsealed. Raises `BackupRefused`."""
    with _told(directory):
        _usable(broker, directory)
        with _alone(broker) as folder:
            staged = folder / "data.db"
            keys = _snapshots(broker, staged)
            _enter(broker, to)
            pair = _put(broker, directory, to, staged, keys)
            _drop_older(directory, keep=pair)
    if to is None and by_key_file_alone(broker) and broker.vault.broker_id not in _told_of:
        _told_of.add(broker.vault.broker_id)
        log.warning("%s", KEY_FILE_ALONE)
    return pair


@contextlib.contextmanager
def _alone(broker: Broker) -> Iterator[Path]:
    """Be the only one of this broker that makes a backup, with a folder in the data directory for what is needed for a moment."""
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(files.scratch(broker.settings.data_dir / files.COPYING))
        except BlockingIOError:
            raise BackupRefused(ANOTHER) from None
        yield folder


def by_key_file_alone(broker: Broker) -> bool:
    """Whether the key file is the only thing that opens the broker, and so its backups."""
    return {slot.kind for slot in broker.vault.slots()} <= {slots.KEY_FILE}


def _enter(broker: Broker, to: To | None) -> None:
    """Say in everybody's ledger that a backup leaves; one person's damage keeps nobody from having one."""
    by, about = ({"role": "operator"}, {"did": "backup"}) if to else ({"role": "broker"}, {"did": "own_backup"})
    with broker.reading() as tx:
        everyone = people.everyone(tx)
    for person_id in everyone:
        try:
            ledger.record(broker, person_id, ledger.Entry("operator", broker.now(), by=by, about=about))
        except (LedgerUnavailable, Unsealable):
            log.warning("The backup is not entered in one person's ledger, which takes nothing now. Run broker verify; the backup is made nevertheless.")


def _put(broker: Broker, directory: Path, to: To | None, staged: Path, keys: bytes) -> Pair:
    """Both files under temporary names, durable and opened again before they get their own."""
    now, set_id = broker.now(), os.urandom(backups.SET_BYTES)
    pair = new_pair(directory, broker.vault.broker_id, set_id, now, SEALED if to else UNSEALED)
    parts = Pair(_part(pair.data), _part(pair.keys))
    about = {"v": backups.VERSION, "broker": broker.vault.broker_id.hex(), "set": set_id.hex(), "made_at": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
    try:
        with staged.open("rb") as content:
            _write(parts.data, DATA_FILE, content, to, set_id, {**about, "bytes": staged.stat().st_size})
        _write(parts.keys, KEYS_FILE, io.BytesIO(keys), to, set_id, {**about, "bytes": len(keys)})
        if to is None:
            try_opening(broker, parts)
        parts.data.replace(pair.data)
        parts.keys.replace(pair.keys)
        sync(directory)
    except BaseException:
        # One file alone is no backup.
        for path in (pair.data, pair.keys):
            wipe(path)
        raise
    finally:
        for path in (parts.data, parts.keys):
            wipe(path)
    return pair


def _part(path: Path) -> Path:
    return path.with_suffix(f".{UNFINISHED}")


@contextlib.contextmanager
def _told(directory: Path) -> Iterator[None]:
    """What the system refuses, as a sentence."""
    try:
        yield
    except OSError as failed:
        raise BackupRefused(NO_PLACE.format(path=directory, why=_why(failed))) from failed
    except DatabaseFailed as failed:
        why = getattr(failed, "orig", None) or failed
        raise BackupRefused(f"The stores could not be copied: {why}. Nothing was changed; try again, and run broker verify.") from failed


def _why(failed: OSError) -> str:
    return "it is full" if failed.errno == errno.ENOSPC else (failed.strerror or str(failed)).lower()


def _usable(broker: Broker, directory: Path) -> None:
    if not directory.is_dir():
        raise BackupRefused(NO_PLACE.format(path=directory, why="there is no such directory"))
    here = broker.settings.data_dir
    if here.resolve() in (directory.resolve(), *directory.resolve().parents):
        raise BackupRefused("A backup inside the data directory would be lost with it. Name another directory, best on another disk.")
    data, keys = (store.path.stat().st_size for store in (broker.data, broker.keys))
    need = data + keys
    if here.stat().st_dev == directory.stat().st_dev:
        # The copy that is made first lies on the same disk.
        need += data
    elif shutil.disk_usage(here).free < data:
        raise BackupRefused(NO_ROOM.format(path=here, need=data // 2**20 + 1))
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


def _write(part: Path, file: str, content: IO[bytes], to: To | None, set_id: bytes, manifest: Mapping[str, Any]) -> None:
    """Write one new file, durable, and read it again where it is sealed."""
    wipe(part)
    with _new(part) as out:
        secret = b""
        if to is None:
            shutil.copyfileobj(content, out, PIECE)
        else:
            secret = backups.write(to, file, set_id, manifest, content, out)
    if to is not None:
        with part.open("rb") as again:
            _length(Reader(again, part.name), secret, manifest["bytes"])


@contextlib.contextmanager
def _new(path: Path) -> Iterator[IO[bytes]]:
    """A new file of mode 0600, durable at the end."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
        yield out
        out.flush()
        os.fsync(out.fileno())


def _length(reader: Reader, secret: bytes, wanted: int) -> None:
    pieces = reader.pieces(secret)
    next(pieces)
    if sum(map(len, pieces)) != wanted:
        raise BackupRefused("The backup could not be read again as it was written. Check the disk.")


def try_opening(broker: Broker, pair: Pair) -> None:
    """Open both files of an unsealed backup: SQLite finds them in order, and the broker's keys open everybody's. Raises `BackupRefused`."""
    for path in (pair.data, pair.keys):
        try:
            with _opened(path) as store:
                if not store.sound():
                    raise BackupRefused(f"{path.name} is damaged. Check the disk.")
                if path == pair.keys and not broker.vault.sealed:
                    broker.vault.opens(store)
        except (Unsealable, Sealed):
            raise BackupRefused(f"The keys in {path.name} do not open.") from None
        except (*DatabaseFailed, PragmaRefused):
            raise BackupRefused(f"{path.name} cannot be read again. Check the disk.") from None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Store]:
    store = Store(path, KEYS)
    try:
        yield store
    finally:
        store.close()


def _drop_older(directory: Path, keep: Pair) -> None:
    """Take away the older backups of this broker: a series of keys would open what was erased. What stays is told: the new one is good nevertheless."""
    older, later = others(directory, keep)
    for path in older:
        try:
            wipe(path)
        except OSError as failed:
            log.warning(STAYS.format(new=keep.data.name), path, _why(failed))
    for path in later:
        log.warning(LATER, path)
    with contextlib.suppress(OSError):
        sync(directory)


def renew_keys(broker: Broker, pair: Pair) -> None:
    """Put keys.db as it is now in the place of the keys of an unsealed backup: what was destroyed since must not lie there.

    The old ones are overwritten when the new ones are in their place, and open.
    """
    part = _part(pair.keys)
    with _told(pair.keys.parent):
        try:
            _write(part, KEYS_FILE, io.BytesIO(broker.keys.copied(without="processes")), None, b"", {})
            try_opening(broker, Pair(pair.data, part))
            with files.held(pair.keys) as old:
                part.replace(pair.keys)
                sync(pair.keys.parent)
                if old is not None:
                    files.overwrite(old, pair.keys, names=0)
        finally:
            wipe(part)


@dataclass(frozen=True, slots=True)
class Read:
    """What was read of a backup: when it was made; an unsealed one does not say."""

    made_at: dt.datetime | None


def read(pair: Pair, text: str, data: Path, keys: Path) -> Read:
    """Write the stores of a backup into two new files, durably, each opened by the passphrase or private key in `text`. Raises `BackupRefused`."""
    told = []
    try:
        for source, target, file in ((pair.data, data, DATA_FILE), (pair.keys, keys, KEYS_FILE)):
            with source.open("rb") as raw, _new(target) as out:
                if pair.is_sealed:
                    told.append(_unseal(Reader(raw, source.name), file, text, out))
                else:
                    shutil.copyfileobj(raw, out, PIECE)
    except OSError as failed:
        raise BackupRefused(f"The backup cannot be read, or not be written to {data.parent}: {_why(failed)}. Nothing was changed.") from failed
    if told and (told[0].set_id, told[0].broker) != (told[1].set_id, told[1].broker):
        raise BackupRefused(TWO)
    for path in (data, keys):
        _refuse_unsound(path)
    return Read(told[0].made_at if told else None)


def _refuse_unsound(path: Path) -> None:
    try:
        with _opened(path) as store:
            if not store.sound():
                raise BackupRefused(f"{path.name} of this backup is damaged. Take another copy of it.")
            if migrations.revision(store) is None:
                raise BackupRefused(f"{path.name} of this backup is not whole: it holds nothing. Take another copy of it.")
    except (*DatabaseFailed, PragmaRefused):
        raise BackupRefused(f"{path.name} of this backup is no store of Proffer, or damaged. Take another copy of it.") from None


def _unseal(reader: Reader, file: str, text: str, out: IO[bytes]) -> Manifest:
    """Write one file's content and return its manifest."""
    if reader.file != file:
        raise BackupRefused("The two files of the backup have changed their names. Give each its own name back.")
    pieces = reader.pieces(reader.secret(text))
    manifest = reader.manifest(next(pieces))
    if sum(out.write(piece) for piece in pieces) != manifest.bytes:
        raise BackupRefused(f"A file of this backup {backups.DAMAGED}")
    return manifest
