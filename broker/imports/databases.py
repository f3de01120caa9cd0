"""Reads a foreign SQLite file from a copy, trusting nothing in it."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

from broker.imports import rooms
from broker.imports.reports import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC: Final = b"SQLite format 3\0"
SECONDS: Final = 30.0
MAX_CELL: Final = 1_048_576
MAX_SCHEMA: Final = 1_000
_BATCH = 500
_TRIES = 3
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")

# A damaged schema makes SQLite's own message unreadable, which Python raises as UnicodeDecodeError.
_FAILURES = (sqlite3.Error, UnicodeDecodeError, MemoryError, OverflowError)

_DAMAGED = "This database is damaged or was cut off. Close the browser, copy the file again and try once more."
_WRITING = "The browser is writing to this file. Close the browser and try again."
_SLOW = "Reading this database takes too long, as a browser's own history never does. It was not imported."


class Database:
    """A copied SQLite file, open for reading; all its work together may take `SECONDS`."""

    def __init__(self, connection: sqlite3.Connection, seconds: float) -> None:
        self._connection = connection
        self._left = seconds
        self._until = 0.0
        connection.set_progress_handler(lambda: time.monotonic() > self._until, 10_000)

    def query(self, statement: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a fixed statement. Raises `Unreadable` for damage and for more time than a history needs."""
        try:
            with closing(self._connection.cursor()) as cursor:
                rows = self._timed(lambda: cursor.execute(statement).fetchmany(_BATCH))
                while rows:
                    yield from rows
                    rows = self._timed(lambda: cursor.fetchmany(_BATCH))
        except _FAILURES as error:
            raise Unreadable(_SLOW if "interrupted" in str(error) else _DAMAGED) from None

    def columns(self, table: str) -> frozenset[str]:
        """The stored columns of a plain table; none if there is no such table, or if a view or virtual table poses as it."""
        entries = self.query("SELECT name, type, rootpage, sql FROM sqlite_master")
        plain = {
            name for name, kind, root, sql in entries if kind == "table" and isinstance(root, int) and root > 0 and "CREATE TABLE" in str(sql)[:40].upper()
        }
        if table not in plain:
            return frozenset()
        # table_info leaves generated columns out, so a computed cell cannot pose as a stored one.
        return frozenset(str(row[1]) for row in self.query(f'PRAGMA table_info("{table}")'))

    def _timed(self, fetch: Any) -> list[tuple[Any, ...]]:
        """Only time inside SQLite counts: whoever takes the rows may be slow."""
        began = time.monotonic()
        self._until = began + self._left
        rows: list[tuple[Any, ...]] = fetch()
        self._left -= time.monotonic() - began
        return rows


@contextmanager
def opened(path: Path, *, seconds: float = SECONDS) -> Iterator[Database]:
    """A checked read-only copy of a database and its write-ahead log, in a folder only we can enter, removed afterwards.

    Raises `Unreadable` for files that are damaged, in use or not allowed.
    """
    with rooms.room(_bytes(path)) as room:
        copy = room / "copy.sqlite"
        has_log = _copy(path, copy)
        connection = _connect(copy, has_log=has_log)
        with closing(connection):
            database = Database(connection, seconds)
            if next(database.query("SELECT count(*) FROM sqlite_master"), (0,))[0] > MAX_SCHEMA:
                raise Unreadable("This database has far more tables than a browser's. It was not imported.")
            if next(database.query("PRAGMA quick_check(1)"), ("",))[0] != "ok":
                raise Unreadable(_DAMAGED)
            yield database


def _bytes(path: Path) -> int:
    """The size of a file with its log; 0 where it cannot be told, which `_copy` will say better."""
    try:
        return sum(found[0] for each in (path, path.with_name(path.name + "-wal")) if (found := _state(each)))
    except OSError:
        return 0


def _copy(path: Path, copy: Path) -> bool:
    """Copy the file, and its log if it has one, at a moment when neither changes; whether there is a log.

    The -shm file is left behind, SQLite makes it anew. A hot -journal is refused and never played back: it may name files to delete.
    """
    log = path.with_name(path.name + "-wal")
    try:
        _refuse_hot_journal(path)
        for _ in range(_TRIES):
            before = _state(path), _state(log)
            shutil.copyfile(path, copy)
            has_log = before[1] is not None and before[1][0] > 0
            if has_log:
                shutil.copyfile(log, copy.with_name(copy.name + "-wal"))
            if before == (_state(path), _state(log)):
                return has_log
    except PermissionError:
        raise Unreadable("This file may not be read. Close the browser that uses it, or give yourself the right to read it.") from None
    except OSError:
        raise Unreadable("This file could not be copied. Close the browser, check the disk and try again.") from None
    raise Unreadable(_WRITING)


def _refuse_hot_journal(path: Path) -> None:
    journal = path.with_name(path.name + "-journal")
    if journal.is_file():
        with journal.open("rb") as stream:
            if stream.read(len(_JOURNAL_MAGIC)) == _JOURNAL_MAGIC:
                raise Unreadable(_WRITING)


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of change, by which a write during the copy shows."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _connect(copy: Path, *, has_log: bool) -> sqlite3.Connection:
    """A connection set up as SQLite advises for hostile files (sqlite.org/security.html)."""
    # Without a log nothing can change under us, and `immutable` needs no -shm file; with one it would ignore the log.
    options = "mode=ro" if has_log else "mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(f"{copy.as_uri()}?{options}", uri=True, isolation_level=None, check_same_thread=False)
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_CELL)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 1)
        connection.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 100)
        for pragma in ("trusted_schema=OFF", "query_only=ON", "cell_size_check=ON", "mmap_size=0", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
    except _FAILURES:
        raise Unreadable(_DAMAGED) from None
    return connection
