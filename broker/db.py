"""The stores: engines, pragmas, transactions and column types; with `writer.py` the only place that knows it is SQLite."""

import contextlib
import datetime as dt
import os
import sqlite3
import threading
import weakref
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, DateTime, Dialect, Engine, Insert, MetaData, Row, Select, Update, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeDecorator

__all__ = [
    "CLUSTERED",
    "DATA",
    "KEYS",
    "AnyRow",
    "DatabaseFailed",
    "Moment",
    "PragmaRefused",
    "Prepared",
    "Store",
    "is_full",
    "is_storage",
    "lots",
    "metadata",
    "open_engine",
    "set_pragmas",
    "transaction",
    "upsert",
    "utcnow",
]  # fmt: skip

T = TypeVar("T")
# What one statement names at most, so that every database takes it.
LOT: Final = 400
# How a transaction opens: a writer takes its lock at once, so that it cannot find later that it has to wait.
READ: Final = "BEGIN"
WRITE: Final = "BEGIN IMMEDIATE"

# What a statement fails with, run by SQLAlchemy or on the driver itself.
DatabaseFailed: Final = (DBAPIError, sqlite3.Error)

# A row of whatever columns a statement names.
AnyRow = Row[*tuple[Any, ...]]

# Every table of data.db; keys.db and heads.db have their own, in `vault/models.py`.
metadata: Final = MetaData()

# Rows of one person lie together, in key order; other databases ignore this option.
CLUSTERED: Final[dict[str, Any]] = {"sqlite_with_rowid": False}

_ALWAYS: Final = {"foreign_keys": 1, "secure_delete": 1, "busy_timeout": 5000, "trusted_schema": 0, "cache_size": -65536}
# FULL in WAL, EXTRA with a rollback journal: what survives a power loss, measured.
DATA: Final = {"journal_mode": "wal", "synchronous": 2, **_ALWAYS}
KEYS: Final = {"journal_mode": "delete", "synchronous": 3, **_ALWAYS}


def is_full(failed: BaseException) -> bool:
    """Whether a statement failed because the disk has no room."""
    raised = getattr(failed, "orig", None) or failed
    return getattr(raised, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


# Primary result codes of a disk, a file or a lock that fails: BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL. What else fails is a defect.
_STORAGE: Final = frozenset({5, 6, 8, 10, 13, 14, 15})


def is_storage(failed: BaseException) -> bool:
    """Whether a statement failed because of the disk, or of another process, and may work later."""
    raised = getattr(failed, "orig", None) or failed
    return getattr(raised, "sqlite_errorcode", 0) & 0xFF in _STORAGE


class PragmaRefused(Exception):
    """A connection whose pragmas do not read back as set; the broker does not start on it."""


class Moment(TypeDecorator[dt.datetime]):
    """A point in time, stored in UTC, given back with its zone; a time without zone is refused."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Refuse times without a zone, store the rest in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A stored time needs its zone.")
        return value.astimezone(dt.UTC).replace(tzinfo=None)

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Give the zone back."""
        return None if value is None else value.replace(tzinfo=dt.UTC)


def utcnow() -> dt.datetime:
    """The present, with its zone."""
    return dt.datetime.now(dt.UTC)


def _row_of(columns: Sequence[Any]) -> Any:
    names: Any = tuple(column.key for column in columns)
    return namedtuple("Row", names)  # noqa: PYI024 - its fields are the statement's


class Prepared:
    """A statement compiled once and run on the driver itself, for the few on the way of every read and upload.

    Running it through Core costs some five times what SQLite needs for it. The rows of `run` are plain tuples as the driver gives them: days are
    text. `first` gives one row with its columns' own types, by name.
    """

    __slots__ = ("_binds", "_fixed", "_results", "_row", "_sql")

    def __init__(self, statement: Select[Any] | Insert | Update, columns: Sequence[str] | None = None) -> None:
        """`columns` are those an insert fills, where it does not fill all."""
        dialect = sqlite.dialect()
        compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
        # Lists (of blind tags) are written out here, once.
        whole = compiled.construct_expanded_state(dict.fromkeys(name for name, bind in compiled.binds.items() if bind.required))
        self._sql: str = whole.statement

        def processor(name: str) -> Any:
            # What was written out of a list has no bind of its own, and a blind tag needs no processor.
            bind = compiled.binds.get(name)
            return bind.type.dialect_impl(dialect).bind_processor(dialect) if bind is not None else None

        self._binds: list[tuple[str, Callable[[Any], Any] | None]] = [(name, processor(name)) for name in whole.positiontup]
        self._fixed = {name: whole.parameters[name] for name in whole.positiontup if name not in compiled.binds or not compiled.binds[name].required}
        named = list(statement.selected_columns) if isinstance(statement, Select) else []
        self._row: Any = _row_of(named)
        results = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in named]
        self._results = [(place, process) for place, process in enumerate(results) if process is not None]

    def _values(self, given: Mapping[str, Any]) -> list[Any]:
        whole = {**self._fixed, **given} if self._fixed else given
        return [process(whole[name]) if process else whole[name] for name, process in self._binds]

    def run(self, tx: Connection, given: Mapping[str, Any]) -> sqlite3.Cursor:
        """Run it once in the transaction `tx`; parameters that the statement fixes itself need not be given."""
        driver: Any = tx.connection.driver_connection
        cursor: sqlite3.Cursor = driver.execute(self._sql, self._values(given))
        return cursor

    def first(self, tx: Connection, given: Mapping[str, Any]) -> Any:
        """The first row of a select, its values as Core would give them; None where there is none."""
        found = self.run(tx, given).fetchone()
        if found is None:
            return None
        values = list(found)
        for place, process in self._results:
            values[place] = process(values[place])
        return self._row._make(values)

    def run_many(self, tx: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it once for each row."""
        driver: Any = tx.connection.driver_connection
        driver.executemany(self._sql, [self._values(row) for row in rows])


def lots(of: Sequence[T]) -> Iterator[Sequence[T]]:
    """Some of them at a time, as many as one statement can name."""
    for start in range(0, len(of), LOT):
        yield of[start : start + LOT]


def set_pragmas(connection: DBAPIConnection, pragmas: dict[str, Any]) -> None:
    """Set each pragma and read it back; `PragmaRefused` if one does not hold."""
    cursor = connection.cursor()
    for name, wanted in pragmas.items():
        cursor.execute(f"PRAGMA {name} = {wanted}")
        found = cursor.execute(f"PRAGMA {name}").fetchone()
        if found is None or str(found[0]).lower() != str(wanted).lower():
            raise PragmaRefused(f"The database answers {name} = {found and found[0]!r} where {wanted!r} is needed. The broker does not start on it.")
    cursor.close()


def open_engine(path: Path, pragmas: dict[str, Any]) -> Engine:
    """An engine on one SQLite file (made with mode 0600). Its transactions are those of `transaction`, and no other."""
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, hide_parameters=True, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _connected(connection: DBAPIConnection, _record: object) -> None:
        # The driver must not open transactions of its own.
        connection.isolation_level = None
        set_pragmas(connection, pragmas)

    return engine


@contextlib.contextmanager
def transaction(connection: Connection, begin: str = WRITE) -> Iterator[Connection]:
    """One transaction, durable when the block ends, undone if it raises.

    On the driver: SQLAlchemy's own begin and commit cost as much as the look-up of a token. What it calls a transaction means nothing here.
    """
    driver: Any = connection.connection.driver_connection
    driver.execute(begin)
    try:
        yield connection
        driver.execute("COMMIT")
    finally:
        # Some failures have ended it already.
        if driver.in_transaction:
            driver.execute("ROLLBACK")


class Store:
    """One database file: `reading()` for a fresh read transaction, `writing()` for a durable write transaction of one's own."""

    def __init__(self, path: Path, pragmas: dict[str, Any]) -> None:
        self.path = path
        self.engine = open_engine(path, pragmas)
        self._held = threading.local()
        # Weakly: the connection of a thread that has ended is let go, and its file with it.
        self._all: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees what is durable now; the connection is held per thread, the transaction never is."""
        connection: Connection | None = getattr(self._held, "connection", None)
        if connection is None or connection.invalidated:
            connection = self.engine.connect()
            self._held.connection = connection
            with self._lock:
                self._all.add(connection)
        try:
            with transaction(connection, READ):
                yield connection
        except DatabaseFailed:
            # Whatever state it is in, nobody reads by it again.
            self._held.connection = None
            with contextlib.suppress(*DatabaseFailed):
                connection.invalidate()
                connection.close()
            raise

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A write transaction of one's own, durable when the block ends; for the rare writes to keys.db and heads.db."""
        with self.engine.connect() as connection, transaction(connection):
            yield connection

    def truncate_log(self) -> bool:
        """Carry the write-ahead log over into the file, and empty it; False where somebody still reads what stands in it."""
        with self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            (busy, *_) = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy

    def vacuum(self) -> None:
        """Write the file anew without what was deleted from it."""
        with self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("VACUUM")

    def copy_to(self, path: Path) -> None:
        """Copy the file as it is at one moment, while others read and write, durably into a new file of mode 0600. Raises `FileExistsError`."""
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with contextlib.closing(sqlite3.connect(path)) as target:
            self._copy(target)
            # So that it can be read by itself, without a log beside it.
            target.execute("PRAGMA journal_mode = delete")
        with path.open("rb") as file:
            os.fsync(file.fileno())

    def copied(self, *, without: str) -> bytes:
        """The same in memory, for a small file of which no copy may lie about; the rows of the table `without` are left out."""
        with contextlib.closing(sqlite3.connect(":memory:")) as target:
            self._copy(target)
            target.execute("PRAGMA secure_delete = ON")
            target.execute(f"DELETE FROM {without}")
            target.commit()
            return target.serialize()

    def _copy(self, target: sqlite3.Connection) -> None:
        with self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            # In one step: in several a copy begins anew whenever somebody writes.
            driver.backup(target)

    def sound(self) -> bool:
        """Whether SQLite finds the file in order."""
        with self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            try:
                return bool(driver.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
            except sqlite3.DatabaseError:
                return False

    def close(self) -> None:
        """Close every connection this store holds."""
        with self._lock:
            for connection in list(self._all):
                connection.close()
            self._all.clear()
        self._held = threading.local()
        self.engine.dispose()
