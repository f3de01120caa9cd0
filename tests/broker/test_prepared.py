"""A prepared statement does what Core does with the same statement."""

import contextlib
import datetime as dt
import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Date, Engine, Integer, LargeBinary, MetaData, Table, bindparam, insert, select, update

from broker.db import DATA, READ, DatabaseFailed, Moment, Prepared, Store, open_engine, transaction

things = Table("things", MetaData(), Column("id", Integer, primary_key=True), Column("day", Date), Column("at", Moment), Column("tag", LargeBinary))
AT = dt.datetime(2027, 3, 2, 18, 4, 11, 500, tzinfo=dt.timezone(dt.timedelta(hours=2)))
ROWS = [{"id": number, "day": dt.date(2027, 3, number), "at": AT, "tag": bytes([number])} for number in range(1, 6)]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_engine(tmp_path / "data.db", DATA)
    with made.connect() as connection, transaction(connection):
        things.metadata.create_all(connection)
    yield made
    made.dispose()


def test_what_it_inserts_core_reads(engine: Engine) -> None:
    with engine.connect() as connection, transaction(connection):
        Prepared(insert(things)).run(connection, ROWS[0])
        Prepared(insert(things)).run_many(connection, ROWS[1:])
    with engine.connect() as connection, transaction(connection):
        assert [row._asdict() for row in connection.execute(select(things).order_by(things.c.id))] == ROWS


def test_lists_and_fixed_values_are_written_out_once(engine: Engine) -> None:
    with engine.connect() as connection, transaction(connection):
        connection.execute(insert(things), ROWS)
        wanted = Prepared(select(things.c.id, things.c.day).where(things.c.tag.in_([b"\1", b"\3"]), things.c.id > 0, things.c.day >= bindparam("first")))
        assert wanted.run(connection, {"first": dt.date(2027, 3, 2)}).fetchall() == [(3, "2027-03-03")]
        assert wanted.run(connection, {"first": dt.date(2027, 3, 1)}).fetchall() == [(1, "2027-03-01"), (3, "2027-03-03")]


def test_the_first_row_has_its_types_and_names(engine: Engine) -> None:
    wanted = select(things, (things.c.id + 1).label("next")).where(things.c.id == bindparam("which"))
    with engine.connect() as connection, transaction(connection):
        connection.execute(insert(things), ROWS)
        row = Prepared(wanted).first(connection, {"which": 2})
        assert row._asdict() == connection.execute(wanted, {"which": 2}).one()._asdict()
        assert Prepared(wanted).first(connection, {"which": 9}) is None


def test_an_empty_list_matches_nothing(engine: Engine) -> None:
    with engine.connect() as connection, transaction(connection):
        connection.execute(insert(things), ROWS)
        assert Prepared(select(things.c.id).where(things.c.tag.in_([]))).run(connection, {}).fetchall() == []
        assert len(Prepared(select(things.c.id).where(things.c.tag.not_in([]))).run(connection, {}).fetchall()) == len(ROWS)


def test_an_update_says_how_many_and_rolls_back_with_the_transaction(engine: Engine) -> None:
    later = Prepared(update(things).where(things.c.id == bindparam("which")), ("tag",))
    with engine.connect() as connection:
        with transaction(connection):
            connection.execute(insert(things), ROWS)
        with contextlib.suppress(ZeroDivisionError), transaction(connection):
            assert later.run(connection, {"which": 2, "tag": b"new"}).rowcount == 1
            assert later.run(connection, {"which": 9, "tag": b"new"}).rowcount == 0
            raise ZeroDivisionError
        with transaction(connection, READ):
            assert connection.execute(select(things.c.tag).where(things.c.id == 2)).scalar() == b"\2"


def test_what_goes_wrong_is_a_failure_of_the_database(engine: Engine) -> None:
    with engine.connect() as connection, transaction(connection):
        Prepared(insert(things)).run(connection, ROWS[0])
        with pytest.raises(DatabaseFailed):
            Prepared(insert(things)).run(connection, ROWS[0])
        with pytest.raises(KeyError, match="at"):
            Prepared(insert(things)).run(connection, {"id": 7, "day": None, "tag": None})
        with pytest.raises(ValueError, match="zone"):
            Prepared(insert(things)).run(connection, {**ROWS[1], "at": dt.datetime(2027, 1, 1)})  # noqa: DTZ001 - what is refused


def test_the_connections_of_threads_that_ended_are_let_go(tmp_path: Path) -> None:
    """A server starts and ends threads as it likes; no file may stay open for each."""
    store = Store(tmp_path / "data.db", DATA)

    def read() -> None:
        with store.reading() as tx:
            tx.exec_driver_sql("SELECT 1")

    for _ in range(30):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    gc.collect()
    held = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink() and path.readlink().name.startswith("data.db")]
    assert len(held) < 10
    store.close()


def test_a_transaction_that_cannot_commit_leaves_nothing_behind(engine: Engine) -> None:
    with engine.connect() as connection:
        with transaction(connection):
            connection.exec_driver_sql("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
            connection.exec_driver_sql("CREATE TABLE children (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
        with pytest.raises(DatabaseFailed), transaction(connection):
            connection.exec_driver_sql("INSERT INTO children VALUES (1)")
        with transaction(connection, READ):
            assert connection.exec_driver_sql("SELECT count(*) FROM children").scalar() == 0
