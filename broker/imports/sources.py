"""Tells by a file's content what it is and which importer reads it, or says plainly why none can."""

from __future__ import annotations

import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from broker.imports import amazon, chromium, databases, firefox, purchases, tables
from broker.imports.reports import Report, Unreadable
from broker.moves import contents, package

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from broker.events.shape import Event

MAX_BYTES: Final = 256 * 1024 * 1024
_HEAD = 64
_MIB = 1024 * 1024

_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
# What a file begins with, and what to tell the person.
_KNOWN_STARTS: Final = (
    (_ZIP, "This is a zip archive or a spreadsheet. Unpack it, or save the table as CSV, and choose the file inside."),
    ((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"7z\xbc\xaf", b"Rar!"), "This file is compressed. Unpack it first and choose the file inside."),
    ((b"%PDF",), "This is a PDF. Ask the shop for its orders as a CSV file."),
    ((b"\xff\xfe", b"\xfe\xff"), "This text is in UTF-16. Save it as CSV in UTF-8 and try again."),
    ((b"{", b"["), "This is a JSON file, which cannot be imported yet. Choose a CSV file, or the history file of a browser."),
    ((b"<",), "This is a web page or XML. Choose a CSV file, or the history file of a browser."),
)


@dataclass(frozen=True)
class Source:
    """A recognised file; `table` is set for the CSV kinds, and `csv` alone needs a mapping."""

    path: Path
    kind: Literal["chromium", "firefox", "amazon", "csv", "proffer"]
    size: int
    table: tables.Table | None = None
    limit: int = MAX_BYTES


def recognise(path: Path, *, limit: int = MAX_BYTES) -> Source:
    """What a file is, by its content and never by its name; at most `limit` bytes. Raises `Unreadable`, whose message says what to do."""
    if path.is_dir() and package.is_package(path):
        return Source(path, "proffer", package.size_of(path), limit=limit)
    size = _size(path, limit)
    head = _head(path)
    if head.startswith(_ZIP) and package.is_package(path):
        return Source(path, "proffer", size, limit=limit)
    if head.startswith(databases.MAGIC):
        return Source(path, _database_kind(path), size)
    if len(head) < len(databases.MAGIC) and databases.MAGIC.startswith(head):
        raise Unreadable("This database was cut off at its start. Copy the file again and try once more.")
    bare = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for starts, sentence in _KNOWN_STARTS:
        if head.startswith(starts) or bare.startswith(starts):
            raise Unreadable(sentence)
    table = tables.look(path)
    return Source(path, "amazon" if amazon.places_in(table.header) else "csv", size, table)


def events(source: Source, report: Report, *, now: datetime, key: bytes = b"", mapping: purchases.Mapping | None = None) -> Iterator[Event]:
    """The events of a recognised source, each accepted by `shape.check`; counts go to `report`.

    `key` is the person's, for ids (see `reports.Ids`). A CSV other than Amazon's needs a mapping. Raises `Unreadable`, also midway.
    """
    if source.kind == "chromium":
        return chromium.events(source.path, report, now=now, key=key)
    if source.kind == "proffer":
        return _of_package(source, report, now)
    if source.kind == "firefox":
        return firefox.events(source.path, report, now=now, key=key)
    table = source.table or tables.look(source.path)
    if mapping is not None:
        return purchases.events(table, mapping, report, now=now, key=key)
    if source.kind == "amazon":
        return amazon.events(table, report, now=now, key=key)
    raise Unreadable("Tell first which column of this file is what.")


@contextmanager
def opened_package(source: Source) -> Iterator[package.Package]:
    """Everything that another broker gave, compared with its list; raises `Unreadable`, also of what is done with it."""
    try:
        with package.opened(source.path, source.limit) as found:
            found.checked()
            yield found
    except package.Refused as refused:
        raise Unreadable(str(refused)) from None


def _of_package(source: Source, report: Report, now: datetime) -> Iterator[Event]:
    with opened_package(source) as found:
        for event in contents.events(found, now):
            report.seen += 1
            report.made[event["kind"]] += 1
            yield event


def _size(path: Path, limit: int) -> int:
    """The size of a regular file within the limit; anything else might block or never end."""
    try:
        found = path.stat()
    except PermissionError:
        raise Unreadable("This file may not be read. Give yourself the right to read it and try again.") from None
    except (OSError, ValueError):
        raise Unreadable("There is no such file. Check the path and try again.") from None
    if stat.S_ISDIR(found.st_mode):
        raise Unreadable("This is a folder, and no export. Choose the file inside it: “History” of Chrome and its kin, “places.sqlite” of Firefox, or a CSV.")
    if not stat.S_ISREG(found.st_mode):
        raise Unreadable("This is not an ordinary file. Choose a CSV file, or the history file of a browser.")
    if found.st_size == 0:
        raise Unreadable("This file is empty. Copy or download it again and try once more.")
    if found.st_size > limit:
        raise Unreadable(f"This file has {found.st_size // _MIB} MiB, and {limit // _MIB} MiB is the most. Split it and import the parts.")
    return found.st_size


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_HEAD)
    except OSError:
        raise Unreadable("This file may not be read. Close the program that uses it, or give yourself the right to read it.") from None


def _database_kind(path: Path) -> Literal["chromium", "firefox"]:
    with databases.opened(path) as database:
        if chromium.is_history(database):
            return "chromium"
        if firefox.is_history(database):
            return "firefox"
    raise Unreadable("This database is not a browser's history. Choose “History” of Chrome and its kin, or “places.sqlite” of Firefox.")


__all__ = ["MAX_BYTES", "Report", "Source", "Unreadable", "events", "opened_package", "recognise"]
