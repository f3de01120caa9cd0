"""The writer: one thread per process that groups waiting jobs into one durable SQLite transaction.

A caller is answered after the group's commit, never before. Jobs run in a savepoint of their own, so one job's refusal leaves the others standing.
A commit that fails may still have become durable: its callers get `OutcomeUnknown`, and every write here is idempotent.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Connection, Engine

from broker import errors
from broker.db import DatabaseFailed, is_full, transaction

T = TypeVar("T")
log = logging.getLogger(__name__)

MAX_JOBS: Final = 256
MAX_BYTES: Final = 4 * 2**20
QUEUE_JOBS: Final = 1000
QUEUE_BYTES: Final = 32 * 2**20
PLACES_FOR_ENDINGS: Final = 100
START_WITHIN: Final = 5.0
COMMIT_WITHIN: Final = 30.0


class _Waiting(Generic[T]):
    """One job in the queue, and the place its answer goes."""

    __slots__ = ("answer", "done", "ending", "error", "full", "job", "queued", "size")

    def __init__(self, job: Callable[[Connection], T], size: int, *, ending: bool) -> None:
        self.job = job
        self.size = size
        self.ending = ending
        # Whether the disk had no room for it.
        self.full = False
        self.queued = time.monotonic()
        self.done = threading.Event()
        self.answer: T | None = None
        self.error: BaseException | None = None


class Writer:
    """Runs jobs on one connection; `submit` returns a job's answer once it is durable."""

    def __init__(self, engine: Engine, *, group: int = MAX_JOBS, release: Callable[[], bool] = lambda: False) -> None:
        """`release` makes room on a full disk, for endings alone, and says whether it could."""
        self._engine = engine
        self._release = release
        self._group = group
        self._endings: queue.SimpleQueue[_Waiting[Any]] = queue.SimpleQueue()
        self._others: queue.SimpleQueue[_Waiting[Any]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._wake = threading.Semaphore(0)
        self._count = 0
        self._bytes = 0
        self._stopping = False
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[Connection], T], *, ending: bool = False, size: int = 0) -> T:
        """Run `job` in a durable transaction and return its answer.

        `size` is the job's weight in bytes. Raises what the job raised (nothing of it was written), `Busy` (nothing done) or `OutcomeUnknown`.
        """
        waiting = _Waiting(job, size, ending=ending)
        with self._lock:
            room = QUEUE_JOBS if ending else QUEUE_JOBS - PLACES_FOR_ENDINGS
            if self._stopping or self._count >= room or (self._bytes + size > QUEUE_BYTES and not ending):
                raise errors.Busy(retry_after=1)
            self._count += 1
            self._bytes += size
            (self._endings if ending else self._others).put(waiting)
        self._wake.release()
        if not waiting.done.wait(COMMIT_WITHIN):
            raise errors.OutcomeUnknown(retry_after=5)
        if waiting.error is not None:
            raise waiting.error
        return waiting.answer  # type: ignore[return-value]

    def close(self, within: float = 10.0) -> None:
        """Drain what waits, then stop."""
        with self._lock:
            self._stopping = True
        self._wake.release()
        self._thread.join(within)

    def _take(self) -> list[_Waiting[Any]]:
        """What waits, endings first, at most 256 jobs or 4 MiB; never waits for more."""
        taken: list[_Waiting[Any]] = []
        weight = 0
        for source in (self._endings, self._others):
            while len(taken) < self._group and weight < MAX_BYTES:
                try:
                    waiting = source.get_nowait()
                except queue.Empty:
                    break
                taken.append(waiting)
                weight += waiting.size
        with self._lock:
            self._count -= len(taken)
            self._bytes -= weight
        return taken

    def _run(self) -> None:
        try:
            while True:
                self._wake.acquire()
                if group := self._take():
                    self._commit(group)
                elif self._stopping:
                    break
        except BaseException:
            # Without its writer a process could only pretend to work.
            log.critical("writer stopped", exc_info=True)
            os._exit(70)
        finally:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _commit(self, group: list[_Waiting[Any]]) -> None:
        now = time.monotonic()
        late = [w for w in group if now - w.queued > START_WITHIN]
        for waiting in late:
            waiting.error = errors.Busy(retry_after=1)
            waiting.done.set()
        group = [w for w in group if w not in late] if late else group
        self._attempt(group)
        again = [w for w in group if w.full and w.ending]
        if again and self._release():
            for waiting in again:
                waiting.error, waiting.full = None, False
            self._attempt(again)
        for waiting in group:
            waiting.done.set()

    def _attempt(self, group: list[_Waiting[Any]]) -> None:
        """Run the jobs in one transaction, and give each its answer or error; nobody is told yet."""
        began = False
        try:
            connection = self._connection = self._connection or self._engine.connect()
            with transaction(connection):
                began = True
                for waiting in group:
                    self._run_one(connection, waiting)
        except DatabaseFailed as failed:
            log.exception("commit failed")
            self._disconnect()
            for waiting in group:
                # Without BEGIN nothing can have been written.
                waiting.error = errors.OutcomeUnknown(retry_after=1) if began else errors.Busy(retry_after=1)
                waiting.full = is_full(failed)

    @staticmethod
    def _run_one(connection: Connection, waiting: _Waiting[Any]) -> None:
        # On the driver: SQLAlchemy's own savepoints cost as much as an append.
        driver: Any = connection.connection.driver_connection
        driver.execute("SAVEPOINT job")
        try:
            waiting.answer = waiting.job(connection)
        except Exception as refused:
            if isinstance(refused, DatabaseFailed) and not driver.in_transaction:
                # After some errors SQLite has undone the whole group already; why is in this one, no longer in what would fail next.
                raise
            driver.execute("ROLLBACK TO job")
            waiting.error = refused
            if isinstance(refused, DatabaseFailed):
                log.exception("a job met a database error")
                waiting.error = errors.Busy(retry_after=1)
                waiting.full = is_full(refused)
        driver.execute("RELEASE job")
