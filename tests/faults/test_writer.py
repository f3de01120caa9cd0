"""The writer by itself: it groups, keeps its bounds, sets refused jobs apart, survives a failed commit, and drains."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from broker import writer
from broker.db import DATA, open_engine
from broker.errors import Busy, OutcomeUnknown
from broker.writer import Writer

WAIT = 20.0


class Bench:
    """A writer on a file of its own, with counted commits, whose thread can be held up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine: Engine = open_engine(path, {**DATA, "busy_timeout": 50})
        with closing(sqlite3.connect(path)) as made:
            made.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
            made.execute("CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
        self.commits = self.connections = 0
        event.listen(self.engine, "connect", self._connected)
        self.writer = Writer(self.engine)
        self.pool = ThreadPoolExecutor(64)
        self._held = threading.Event()

    def _connected(self, connection: Any, _record: object) -> None:
        self.connections += 1
        connection.set_trace_callback(self._ran)

    def _ran(self, statement: str) -> None:
        self.commits += statement == "COMMIT"

    def hold(self) -> Future[None]:
        """Keep the writer busy with one job until `release`."""
        began = threading.Event()

        def job(_tx: Connection) -> None:
            began.set()
            assert self._held.wait(WAIT)

        held = self.pool.submit(self.writer.submit, job)
        assert began.wait(WAIT)
        return held

    def release(self) -> None:
        self._held.set()

    def submit(self, job: Callable[[Connection], Any], **more: Any) -> Future[Any]:
        """Submit from a thread of its own; returns when the job stands in the queue."""
        before = self.writer._count
        future = self.pool.submit(self.writer.submit, job, **more)
        until(lambda: self.writer._count > before or future.done())
        return future

    def rows(self, table: str = "parents") -> list[int]:
        """What another connection sees."""
        with closing(sqlite3.connect(self.path)) as seen:
            return [row[0] for row in seen.execute(f"SELECT id FROM {table} ORDER BY id")]

    def close(self) -> None:
        self.release()
        self.writer.close()
        self.pool.shutdown()
        self.engine.dispose()


def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def parent(number: int) -> Callable[[Connection], int]:
    def job(tx: Connection) -> int:
        tx.execute(text("INSERT INTO parents VALUES (:id)"), {"id": number})
        return number

    return job


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "data.db")
    yield made
    made.close()


def test_jobs_that_wait_share_one_commit(bench: Bench) -> None:
    held = bench.hold()
    waiting = [bench.submit(parent(number)) for number in range(50)]
    assert bench.commits == 0
    bench.release()
    assert [each.result(WAIT) for each in waiting] == list(range(50))
    held.result(WAIT)
    assert bench.commits == 2
    assert bench.rows() == list(range(50))


def test_no_one_is_answered_before_the_commit(bench: Bench) -> None:
    seen: list[list[int]] = []
    answered = [bench.submit(parent(number)) for number in range(20)]
    for each in answered:
        each.add_done_callback(lambda done: seen.append([done.result(), *bench.rows()]))
        each.result(WAIT)
    until(lambda: len(seen) == len(answered))
    assert all(number in rows for number, *rows in seen)


def test_a_refused_job_leaves_its_neighbours(bench: Bench) -> None:
    def refused(tx: Connection) -> None:
        parent(100)(tx)
        raise LookupError("no")

    bench.hold()
    before, bad, after = bench.submit(parent(1)), bench.submit(refused), bench.submit(parent(2))
    twice = bench.submit(parent(2))
    bench.release()
    assert (before.result(WAIT), after.result(WAIT)) == (1, 2)
    with pytest.raises(LookupError):
        bad.result(WAIT)
    # What the database refuses is undone too, and the caller may try again.
    with pytest.raises(Busy):
        twice.result(WAIT)
    assert bench.rows() == [1, 2]
    assert bench.commits == 2


def test_a_full_queue_still_takes_endings(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "QUEUE_JOBS", 12)
    monkeypatch.setattr(writer, "PLACES_FOR_ENDINGS", 4)
    order: list[str] = []
    bench.hold()
    others = [bench.submit(lambda _tx, number=number: order.append(f"other {number}")) for number in range(8)]
    with pytest.raises(Busy):
        bench.writer.submit(parent(1))
    endings = [bench.submit(lambda _tx, number=number: order.append(f"ending {number}"), ending=True) for number in range(4)]
    with pytest.raises(Busy):
        bench.writer.submit(parent(1), ending=True)
    bench.release()
    for each in (*others, *endings):
        each.result(WAIT)
    assert order == [*(f"ending {number}" for number in range(4)), *(f"other {number}" for number in range(8))]
    assert bench.writer.submit(parent(1)) == 1


def test_the_queue_is_bounded_by_weight_too(bench: Bench) -> None:
    bench.hold()
    half = [bench.submit(parent(number), size=writer.QUEUE_BYTES // 2) for number in (1, 2)]
    with pytest.raises(Busy):
        bench.writer.submit(parent(3), size=1)
    ending = bench.submit(parent(4), ending=True, size=1)
    bench.release()
    assert [each.result(WAIT) for each in (*half, ending)] == [1, 2, 4]
    assert bench.writer._bytes == 0
    # A group weighs at most 4 MiB and one job: the ending with the first half, then the second, beside the job that held up the rest.
    assert bench.commits == 3


def test_a_job_that_waited_too_long_is_never_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "START_WITHIN", 0.05)
    bench.hold()
    late = bench.submit(parent(1))
    queued = time.monotonic()
    until(lambda: time.monotonic() - queued > 0.1)
    bench.release()
    with pytest.raises(Busy):
        late.result(WAIT)
    assert bench.rows() == []


def test_a_caller_waits_for_a_commit_no_longer_than_it_may(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "COMMIT_WITHIN", 0.05)
    bench.hold()
    with pytest.raises(OutcomeUnknown):
        bench.writer.submit(parent(1))
    bench.release()
    # Unknown, not undone: the job is still carried out.
    until(lambda: bench.rows() == [1])


def test_a_failed_commit_is_unknown_and_the_writer_goes_on(bench: Bench) -> None:
    bench.writer.submit(parent(1))
    assert bench.connections == 1
    bench.hold()
    orphan = bench.submit(lambda tx: tx.execute(text("INSERT INTO children VALUES (1, 99)")) and None)
    neighbour = bench.submit(parent(2))
    bench.release()
    for each in (orphan, neighbour):
        # The deferred foreign key fails the COMMIT itself, which nobody in the group can be told apart from.
        with pytest.raises(OutcomeUnknown):
            each.result(WAIT)
    assert bench.rows() == [1]
    assert bench.writer.submit(parent(2)) == 2
    assert bench.connections == 2
    assert bench.rows() == [1, 2]


def test_a_database_that_cannot_be_begun_on_refuses_without_effect(bench: Bench) -> None:
    with closing(sqlite3.connect(bench.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy):
            bench.writer.submit(parent(1))
        other.execute("ROLLBACK")
    assert bench.rows() == []
    assert bench.writer.submit(parent(1)) == 1


def test_an_ending_that_met_a_full_disk_while_it_ran_is_run_again_when_there_is_room(bench: Bench) -> None:
    """SQLite undoes the whole transaction itself then; what would fail next, the savepoint that is gone, must not hide why."""
    released: list[bool] = []
    bench.writer._release = lambda: not released.append(True)

    def large(tx: Connection) -> None:
        if not released:
            tx.exec_driver_sql("PRAGMA max_page_count = 5")
        tx.exec_driver_sql("INSERT INTO parents VALUES (?)", [(number,) for number in range(20000)])

    with pytest.raises(OutcomeUnknown):
        bench.writer.submit(large)
    assert (bench.rows(), released) == ([], [])
    bench.writer.submit(large, ending=True)
    assert len(bench.rows()) == 20000
    assert released == [True]


def test_close_drains_what_waits_and_takes_no_more(bench: Bench) -> None:
    bench.hold()
    waiting = [bench.submit(parent(number)) for number in range(10)]
    closing_ = bench.pool.submit(bench.writer.close)
    until(lambda: bench.writer._stopping)
    with pytest.raises(Busy):
        bench.writer.submit(parent(99))
    bench.release()
    closing_.result(WAIT)
    assert [each.result(WAIT) for each in waiting] == list(range(10))
    assert bench.rows() == list(range(10))
