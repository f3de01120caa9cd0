"""The names of a backup's two files: whose it is, from when, and in which form; and which backup is meant by a directory or by one file of it."""

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from broker.vault.backups import BackupRefused

DATA_FILE, KEYS_FILE = "data", "keys"
SEALED, UNSEALED, UNFINISHED = "backup", "db", "part"
_NAME: Final = re.compile(r"proffer-([0-9a-f]{8})-([0-9]{8}T[0-9]{6}Z)-([0-9a-f]{8})-(data|keys)\.(backup|db|part)")
_STAMP: Final = "%Y%m%dT%H%M%SZ"
NAMES: Final = "It has two files, proffer-…-data.backup and proffer-…-keys.backup: put both into one directory, under their own names."


class Name(NamedTuple):
    """What the name of a file says: the beginning of its broker's id, when its backup was made, which that is, which file of it, and in which form."""

    broker: str
    stamp: str
    backup: str
    file: str
    form: str


@dataclass(frozen=True, slots=True)
class Pair:
    """The two files of one backup."""

    data: Path
    keys: Path

    @property
    def is_sealed(self) -> bool:
        """Whether its files are sealed to a passphrase or key; else they are the stores as they were."""
        return self.data.suffix == f".{SEALED}"

    @property
    def made_at(self) -> dt.datetime | None:
        """When it was made, as its name says."""
        found = named(self.data)
        try:
            return dt.datetime.strptime(found.stamp, _STAMP).replace(tzinfo=dt.UTC) if found else None
        except ValueError:
            return None


def named(path: Path) -> Name | None:
    """What the name of a file says; None where it is none of a backup."""
    found = _NAME.fullmatch(path.name)
    return Name(*found.groups()) if found else None


def new_pair(directory: Path, broker_id: bytes, set_id: bytes, at: dt.datetime, form: str) -> Pair:
    """The names of a new backup."""
    stem = f"proffer-{short(broker_id)}-{at.astimezone(dt.UTC):{_STAMP}}-{set_id.hex()[:8]}"
    return Pair(directory / f"{stem}-{DATA_FILE}.{form}", directory / f"{stem}-{KEYS_FILE}.{form}")


def short(broker_id: bytes) -> str:
    """The beginning of a broker's id, as names have it."""
    return broker_id.hex()[:8]


def _files(directory: Path) -> Iterator[tuple[Path, Name]]:
    for path in sorted(directory.iterdir()):
        name = named(path)
        if name is not None:
            yield path, name


def others(directory: Path, kept: Pair) -> tuple[list[Path], list[Path]]:
    """Of the backups of the same broker in the same form the files that are older than `kept`, with what was never finished; and those dated later."""
    older: list[Path] = []
    later: list[Path] = []
    mine = named(kept.data)
    for path, name in _files(directory):
        if mine is None or name.broker != mine.broker or path in {kept.data, kept.keys}:
            continue
        if name.form == UNFINISHED or (name.form == mine.form and name.stamp <= mine.stamp):
            older.append(path)
        elif name.form == mine.form:
            later.append(path)
    return older, later


def find(where: Path) -> Pair:
    """The backup that is meant by one of its files, or the newest whole one in a directory. Raises `BackupRefused`."""
    if where.is_dir():
        return _newest(where)
    if not where.is_file():
        raise BackupRefused(f"There is no {where}.")
    name = named(where)
    if name is None or name.form == UNFINISHED:
        raise BackupRefused(f"{where.name} is not the name of a backup's file. {NAMES}")
    pair = _pair_of(where.parent, name)
    for path in (pair.data, pair.keys):
        if not path.is_file():
            raise BackupRefused(f"{path.name} is missing beside {where.name}: a backup is both. {NAMES}")
    return pair


def _pair_of(directory: Path, name: Name) -> Pair:
    stem = f"proffer-{name.broker}-{name.stamp}-{name.backup}"
    return Pair(directory / f"{stem}-{DATA_FILE}.{name.form}", directory / f"{stem}-{KEYS_FILE}.{name.form}")


def _newest(directory: Path) -> Pair:
    found = {_pair_of(directory, name): name for path, name in _files(directory) if path.is_file() and name.form != UNFINISHED}
    whole = {pair: name for pair, name in found.items() if pair.data.is_file() and pair.keys.is_file()}
    if not whole:
        raise BackupRefused(f"No backup is in {directory}. {NAMES}")
    newest = sorted(whole, key=lambda pair: whole[pair].stamp + whole[pair].backup)
    if len({(name.broker, name.form) for name in whole.values()}) > 1:
        listed = "".join(f"\n  {pair.data}{'' if pair.is_sealed else '  (not sealed)'}" for pair in newest)
        raise BackupRefused(f"Backups of several brokers, or sealed and unsealed ones, lie in {directory}. Name one file of the one you mean:{listed}")
    return newest[-1]


def newer_halves(pair: Pair) -> list[Path]:
    """Files beside a backup that are of a newer one, whose other file is missing."""
    mine = named(pair.data)
    halves = []
    for path, name in _files(pair.data.parent):
        other = _pair_of(path.parent, name)
        is_half = name.form != UNFINISHED and not (other.data.is_file() and other.keys.is_file())
        if mine is not None and is_half and name.stamp > mine.stamp:
            halves.append(path)
    return halves
