"""The files of an export, in a zip or in a directory, read with suspicion: only what its manifest lists, of known names, within limits, and unaltered.

Nothing is ever unpacked to a disk, and no name of a file in it is used as a path.
"""

import hashlib
import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import orjson

from broker.events import shape

FORMAT: Final = "proffer-export/1"
MANIFEST: Final = "manifest.json"
LEDGER: Final = "ledger.zip"
MIB: Final = 2**20
MOST_MANIFEST: Final = 4 * MIB
MOST_LINE: Final = MIB
MOST_INDEX: Final = 4 * MIB
"""The list of its files at the end of a zip: so much of it is read into memory at once."""
TIMES_LARGER: Final = 16
"""So many times as large as a file may be that is imported, all files of a package may be together."""
RATIO: Final = 200
RATIO_FROM: Final = MIB
"""A file that unpacks to so much may be packed so tightly, and no tighter: ordinary text packs some ten times."""
PIECE: Final = 256 * 1024
_KIND: Final = "|".join(shape.KINDS)
_GRANT: Final = "[A-Za-z0-9_-]{22}"
NAMES: Final = re.compile(
    rf"README\.md|(?:terms|settings)\.json|(?:grants|sent)\.jsonl|recipients\.csv|ledger\.zip|events/(?:{_KIND})\.(?:jsonl|csv)"
    rf"|schemas/(?:{_KIND})\.schema\.json|agreements/{_GRANT}\.(?:json|opening\.json|changes\.jsonl)|old-ledgers/[1-9][0-9]?\.zip"
)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# The last record of a zip (APPNOTE 4.3.16), without a comment; before it, in one that is too large for us, that of a ZIP64.
_END: Final = b"PK\x05\x06"
_END_BYTES: Final = 22
_LOCATOR: Final = b"PK\x06\x07"
_LOCATOR_BYTES: Final = 20
_LOCAL_BYTES: Final = 30
_ENCRYPTED: Final = 1
AGAIN: Final = "Download the export again, change nothing in it, and choose that file."
DAMAGED: Final = "This zip is damaged, or was cut short. " + AGAIN


class Refused(Exception):
    """A package that cannot be taken; the message says to its person what is wrong and what to do."""


def is_package(path: Path) -> bool:
    """Whether this looks like an export of a broker: a zip, or a directory, with its manifest in it."""
    try:
        if path.is_dir():
            return (path / MANIFEST).is_file()
        with path.open("rb") as file:
            return MANIFEST in _index(file).namelist()
    except (OSError, Refused):
        return False


def size_of(path: Path) -> int:
    """How many bytes a package has on disk."""
    return sum(each.lstat().st_size for each in path.rglob("*")) if path.is_dir() else path.stat().st_size


@contextmanager
def opened(path: Path, limit: int) -> Iterator["Package"]:
    """The package at `path`, its list of files compared with what is there; `limit` is the size of the largest file that is imported. Raises `Refused`."""
    most = limit * TIMES_LARGER
    if path.is_dir():
        yield Package(_Folder(path), most)
        return
    with path.open("rb") as file:
        yield Package(_Zip(file), most)


def _index(file: IO[bytes]) -> zipfile.ZipFile:
    """A zip's list of files, if it is small enough to be looked at and ends as ours do."""
    file.seek(0, os.SEEK_END)
    start = max(file.tell() - _END_BYTES - _LOCATOR_BYTES, 0)
    file.seek(start)
    tail = file.read()
    end = tail[-_END_BYTES:]
    if len(end) < _END_BYTES or not end.startswith(_END) or end[-2:] != b"\0\0" or tail.startswith(_LOCATOR):
        raise Refused(DAMAGED)
    if int.from_bytes(end[12:16], "little") > MOST_INDEX:
        raise Refused("This zip lists more files than any export has. " + AGAIN)
    try:
        return zipfile.ZipFile(file)
    except (OSError, ValueError, zipfile.BadZipFile):
        raise Refused(DAMAGED) from None


def _sane(infos: list[zipfile.ZipInfo], most: int) -> None:
    """Refuse a zip that unpacks to more than anything of ours does: a bomb, by its sum or by its ratio."""
    if sum(each.file_size for each in infos) > most:
        raise Refused(f"This export unpacks to more than {most // MIB:,} MiB, the most that is taken here. Ask your operator to raise BROKER_IMPORT_MAX_MIB.")
    for each in infos:
        if each.file_size > RATIO_FROM and each.file_size > RATIO * each.compress_size:
            raise Refused("A file in this zip is packed tighter than any file of an export, so it is not opened. " + AGAIN)
        if each.flag_bits & _ENCRYPTED or each.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise Refused("This zip is packed in a way that no export is. " + AGAIN)


class _Zip:
    """A zip's files."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._zip = file, _index(file)
        self.infos = self._zip.infolist()

    def sizes(self, most: int) -> list[tuple[str, int]]:
        _sane(self.infos, most)
        return [(each.filename, each.file_size) for each in self.infos]

    def stream(self, name: str) -> IO[bytes]:
        return self._zip.open(name)

    def window(self, name: str) -> IO[bytes]:
        """A file that is stored as it is, to be read at any place of it."""
        info = self._zip.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise Refused(f"{name} was packed again. " + AGAIN)
        self._file.seek(info.header_offset)
        local = self._file.read(_LOCAL_BYTES)
        start = info.header_offset + _LOCAL_BYTES + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        return io.BufferedReader(_Window(self._file, start, info.file_size))


class _Window(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max({os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence] + offset, 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, into: Any) -> int:
        self._file.seek(self._start + self._at)
        found = self._file.read(max(min(len(into), self._size - self._at), 0))
        into[: len(found)] = found
        self._at += len(found)
        return len(found)


class _Folder:
    """A directory's files: two levels, regular files alone, no link is followed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def sizes(self, most: int) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        for entry in sorted(self._path.iterdir()):
            for each in sorted(entry.iterdir()) if entry.is_dir() and not entry.is_symlink() else [entry]:
                about, name = each.lstat(), each.relative_to(self._path).as_posix()
                if not stat.S_ISREG(about.st_mode):
                    raise Refused(f"{name!r} in this folder is no ordinary file. Export again into a new folder, and import that one.")
                found.append((name, about.st_size))
        if sum(size for _, size in found) > most:
            raise Refused(f"This folder holds more than {most // MIB:,} MiB, the most that is taken. Set BROKER_IMPORT_MAX_MIB higher and try again.")
        return found

    def stream(self, name: str) -> IO[bytes]:
        return os.fdopen(os.open(self._path / name, os.O_RDONLY | os.O_NOFOLLOW), "rb")

    window = stream


@dataclass(frozen=True, slots=True)
class _Listed:
    """A file as the manifest has it."""

    size: int
    digest: str


class Package:
    """An export whose list of files is that of its manifest. `checked` has to be called before anything in it is believed."""

    def __init__(self, files: _Zip | _Folder, most: int) -> None:
        self._files, self._most = files, most
        sizes = files.sizes(most)
        names = [name for name, _ in sizes]
        if len(set(names)) != len(names):
            raise Refused("This export holds two files of one name. " + AGAIN)
        if MANIFEST not in names:
            raise Refused("This export has no manifest.json, so it is not whole. " + AGAIN)
        self.listed = self._manifest()
        if set(names) != {*self.listed, MANIFEST}:
            raise Refused("This export holds other files than its manifest.json lists. " + AGAIN)

    def _manifest(self) -> dict[str, _Listed]:
        try:
            found = orjson.loads(self.read(MANIFEST, MOST_MANIFEST))
        except orjson.JSONDecodeError:
            raise Refused("manifest.json in this export is not JSON. " + AGAIN) from None
        if not isinstance(found, Mapping) or not isinstance(found.get("files"), list):
            raise Refused("This is no export of a Proffer broker. Choose the zip that “Download everything” gave you.")
        if found.get("format") != FORMAT:
            raise Refused("This export is of another version than this broker knows. Bring this broker up to date, then try again.")
        listed: dict[str, _Listed] = {}
        for each in found["files"]:
            name, size, digest = (each.get(member) for member in ("name", "bytes", "sha256")) if isinstance(each, Mapping) else (None, None, None)
            if not isinstance(name, str) or not NAMES.fullmatch(name) or name in listed:
                raise Refused("manifest.json lists a file that no export has, or one twice. " + AGAIN)
            if type(size) is not int or not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
                raise Refused(f"manifest.json does not say what {name} must be. " + AGAIN)
            listed[name] = _Listed(size, digest)
        return listed

    def checked(self) -> None:
        """Read every file once and compare it with the manifest. Raises `Refused`."""
        for name, listed in self.listed.items():
            digest, size = hashlib.sha256(), 0
            with self._opened(name) as file:
                while part := file.read(PIECE):
                    size += len(part)
                    digest.update(part)
            if (size, digest.hexdigest()) != (listed.size, listed.digest):
                raise Refused(f"{name} in this export is not as it was written: it was changed, or damaged. " + AGAIN)

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self._files.stream(name) as file:
                yield file
        except (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error):
            raise Refused(f"{name} in this export is damaged. " + AGAIN) from None

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self.listed

    def read(self, name: str, most: int) -> bytes:
        """A whole file of at most so many bytes."""
        with self._opened(name) as file:
            raw = file.read(most + 1)
        if len(raw) > most:
            raise Refused(f"{name} in this export is larger than it can be. " + AGAIN)
        return raw

    def lines(self, name: str) -> Iterator[tuple[int, bytes]]:
        """The lines of a file with their numbers; one at a time is in memory."""
        number = 0
        with self._opened(name) as file:
            while line := file.readline(MOST_LINE + 1):
                number += 1
                if len(line) > MOST_LINE:
                    raise Refused(f"Line {number:,} of {name} in this export is longer than it can be. " + AGAIN)
                yield number, line

    def pieces(self, name: str, size: int) -> Iterator[bytes]:
        """A file in pieces of this size."""
        with self._opened(name) as file:
            while part := file.read(size):
                yield part

    @contextmanager
    def ledger(self, name: str) -> Iterator[IO[bytes]]:
        """A ledger's zip, to be read at any place as long as the block runs; refused like the outer one where it is a bomb."""
        with self._files.window(name) as file:
            _sane(_index(file).infolist(), self._most)
            file.seek(0)
            yield file

    @property
    def ledgers(self) -> list[str]:
        """The names of all ledgers in it, the oldest first."""
        old = sorted((name for name in self.listed if name.startswith("old-ledgers/")), key=lambda name: int(name[12:-4]))
        return [*old, *([LEDGER] if LEDGER in self.listed else [])]
