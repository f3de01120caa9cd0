"""Importing as a whole: real files through the broker and back, twice, undone, forgotten, and hostile ones that leave nothing."""

import gzip
import os
import sqlite3
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from makers import Browser, Clock
from sqlalchemy import select

from broker import errors
from broker.db import metadata
from broker.events import actions as events
from broker.events import queries as event_queries
from broker.imports import actions, files, incoming, queries, rooms
from broker.imports.findings import Findings
from broker.ledger import queries as ledger
from broker.opening import Broker

CHROME = "browser_history/hindsight_chrome10_History.sqlite.gz"


@pytest.fixture
def broker(alice: Browser) -> Broker:
    """The open broker behind alice's browser."""
    opened: Broker = alice.app.extensions["broker"]
    return opened


def rows(broker: Broker) -> dict[str, int]:
    """How many rows each table has."""
    with broker.reading() as tx:
        return {name: len(tx.execute(select(table)).all()) for name, table in metadata.tables.items()}


def totals(broker: Broker, person: Browser) -> dict[str, int]:
    with broker.reading() as tx:
        return event_queries.totals(tx, person.person_id)


def import_file(broker: Broker, person: Browser, path: Path) -> tuple[Findings, str]:
    return actions.take_in_file(broker, person.person_id, path)


def upload(broker: Broker, person: Browser, path: Path) -> queries.Batch:
    with path.open("rb") as stream:
        return actions.upload(broker, person.person_id, stream, files.recognise(broker, path), path.name)


def undo(broker: Broker, person: Browser, batch: str) -> int:
    raw = queries.to_bytes(batch)
    actions.begin_undo(broker, person.person_id, raw)
    return actions.undo(broker, person.person_id, raw)


def test_every_visit_of_a_chrome_history_is_kept(broker: Broker, alice: Browser, bob: Browser, real: Callable[[str], Path]) -> None:
    found, batch = import_file(broker, alice, real(CHROME))
    assert found.fresh == found.found
    assert found.fresh["page_visit"] == 84
    assert totals(broker, alice) == found.fresh
    assert totals(broker, bob) == {}
    with broker.reading() as tx:
        entry = ledger.page(tx, alice.ring).entries[0]
        assert [verdict.code for verdict in ledger.verify(tx, alice.ring)] == [0]
        assert queries.one(tx, alice.ring, queries.to_bytes(batch)).state == "done"
    assert (entry["act"], entry["batch"], entry["source"], entry["count"], entry["kinds"]) == ("import", batch, "chromium", found.added, found.fresh)


def test_what_is_kept_is_what_the_database_held(broker: Broker, alice: Browser, real: Callable[[str], Path]) -> None:
    path = real(CHROME)
    import_file(broker, alice, path)
    with sqlite3.connect(path) as connection:
        titles = {title for (title,) in connection.execute("SELECT u.title FROM visits v JOIN urls u ON u.id = v.url WHERE u.url LIKE 'http%' AND u.title != ''")}
    connection.close()
    with broker.reading() as tx:
        kept = event_queries.own(tx, alice.ring, event_queries.Wanted(("page_visit",))).events
    assert kept
    assert {event["title"] for event in kept if "title" in event} <= {" ".join(title.split())[:200] for title in titles}


@pytest.mark.parametrize("name", ["hindsight_chrome10_History", "browserexport_firefox", "browserexport_brave", "hindsight_chrome01_History"])
def test_a_second_import_adds_nothing(broker: Broker, alice: Browser, real: Callable[[str], Path], name: str) -> None:
    path = real(f"browser_history/{name}.sqlite.gz")
    first, _ = import_file(broker, alice, path)
    assert first.added == first.total > 0
    before = totals(broker, alice)
    again, _ = import_file(broker, alice, path)
    assert (again.added, again.known) == (0, first.total)
    assert totals(broker, alice) == before


def test_two_people_of_one_household_get_ids_of_their_own(broker: Broker, alice: Browser, bob: Browser, real: Callable[[str], Path]) -> None:
    path = real(CHROME)
    import_file(broker, alice, path)
    found, _ = import_file(broker, bob, path)
    assert found.added == found.total
    assert alice.ring.import_key() != bob.ring.import_key()
    assert len(alice.ring.import_key()) == 32


def test_undo_takes_back_what_came_and_nothing_else(broker: Broker, alice: Browser, real: Callable[[str], Path]) -> None:
    import_file(broker, alice, real("browser_history/browserexport_firefox.sqlite.gz"))
    before = totals(broker, alice)
    found, batch = import_file(broker, alice, real(CHROME))
    assert undo(broker, alice, batch) == found.added
    assert totals(broker, alice) == before
    with broker.reading() as tx:
        entry = ledger.page(tx, alice.ring).entries[0]
    assert (entry["act"], entry["undo"], entry["count"]) == ("forget", batch, found.added)
    again, _ = import_file(broker, alice, real(CHROME))
    assert again.added == found.added, "an undo leaves no tombstones"


def test_what_was_forgotten_stays_forgotten(broker: Broker, alice: Browser, real: Callable[[str], Path]) -> None:
    path = real(CHROME)
    found, batch = import_file(broker, alice, path)
    with broker.reading() as tx:
        keys = event_queries.by_origin(tx, alice.ring, batch)[:5]
    assert events.forget(broker, alice.ring, keys, {}) == 5
    again, _ = import_file(broker, alice, path)
    assert (again.added, again.forgotten, again.known) == (0, 5, found.total - 5)
    undo(broker, alice, batch)
    third, _ = import_file(broker, alice, path)
    assert (third.added, third.forgotten) == (found.total - 5, 5)


def test_a_file_that_breaks_midway_leaves_nothing(broker: Broker, alice: Browser, real: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path, before = real(CHROME), rows(broker)
    batch = upload(broker, alice, path)
    actions.try_out(broker, alice.person_id, batch.batch_id)
    actions.claim(broker, alice.person_id, batch.batch_id)
    # The second run over the file meets the damage, after its first chunks were stored.
    whole = files.sources.events

    def broken(*args: Any, **kwargs: Any) -> Any:
        yield from list(whole(*args, **kwargs))[:70]
        raise actions.Unreadable("This database is damaged.")

    monkeypatch.setattr(files.sources, "events", broken)
    monkeypatch.setattr(files, "CHUNK", 10)
    monkeypatch.setattr(files, "RUN", 20)
    actions.take(broker, alice.person_id, batch.batch_id)
    with broker.reading() as tx:
        ended = queries.one(tx, alice.ring, batch.batch_id)
    assert (ended.state, ended.details["why"]) == ("failed", "This database is damaged.")
    assert totals(broker, alice) == {}
    assert rows(broker)["events"] == before["events"] == 0
    assert incoming.size(broker, batch.batch_id) == 0


def test_an_undo_ends_an_import_that_runs(broker: Broker, alice: Browser, real: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK", 10)
    stopped: list[int] = []

    def stop(done: int) -> None:
        if done == 30:
            with broker.reading() as tx:
                (batch,) = queries.every(tx, alice.ring)
            stopped.append(undo(broker, alice, batch.id))

    with pytest.raises(errors.Conflict):
        actions.take_in_file(broker, alice.person_id, real(CHROME), progress=stop)
    assert stopped == [30]
    assert totals(broker, alice) == {}


def test_a_worker_that_dies_leaves_a_batch_that_can_be_taken_in_again(
    broker: Broker, alice: Browser, clock: Clock, real: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = real(CHROME)
    batch = upload(broker, alice, path)
    actions.try_out(broker, alice.person_id, batch.batch_id)
    actions.claim(broker, alice.person_id, batch.batch_id)
    monkeypatch.setattr(files, "CHUNK", 10)
    monkeypatch.setattr(files, "RUN", 20)
    whole = files.sources.events

    def dying(*args: Any, **kwargs: Any) -> Any:
        yield from list(whole(*args, **kwargs))[:40]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files.sources, "events", dying)
        with pytest.raises(KeyboardInterrupt):
            actions.take(broker, alice.person_id, batch.batch_id)
    assert sum(totals(broker, alice).values()) == 40
    with pytest.raises(errors.Conflict):
        actions.claim(broker, alice.person_id, batch.batch_id)
    clock.advance(seconds=61)
    actions.claim(broker, alice.person_id, batch.batch_id)
    actions.take(broker, alice.person_id, batch.batch_id)
    with broker.reading() as tx:
        ended = queries.one(tx, alice.ring, batch.batch_id)
    assert (ended.state, ended.found.known, ended.total, ended.done) == ("done", 40, ended.found.total, ended.total)
    assert sum(totals(broker, alice).values()) == ended.total


def test_files_that_wait_are_gone_after_a_day(broker: Broker, alice: Browser, clock: Clock, real: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path, before = real(CHROME), rows(broker)
    batch = upload(broker, alice, path)
    actions.sweep(broker)
    assert incoming.size(broker, batch.batch_id) > 0
    clock.advance(hours=25)
    actions.sweep(broker)
    assert incoming.size(broker, batch.batch_id) == 0
    assert rows(broker) == before
    monkeypatch.setattr(incoming, "SECONDS", -1.0)
    orphan = broker.settings.data_dir / "incoming" / f"{bytes(16).hex()}.sealed"
    orphan.write_bytes(b"")
    actions.sweep(broker)
    assert not orphan.exists()


@pytest.mark.parametrize("damage", ["cut off", "altered", "swapped"])
def test_a_sealed_file_that_was_tampered_with_does_not_open(broker: Broker, alice: Browser, tmp_path: Path, damage: str) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(bytes(range(256)) * 10_000)
    with plain.open("rb") as stream:
        incoming.keep(broker, alice.ring, bytes(16), stream, plain.stat().st_size)
    incoming.unseal(broker, alice.ring, bytes(16), tmp_path / "opened")
    assert (tmp_path / "opened").read_bytes() == plain.read_bytes()
    (path,) = (broker.settings.data_dir / "incoming").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    content = bytearray(path.read_bytes())
    first = 4 + int.from_bytes(content[:4], "big")
    if damage == "cut off":
        content = content[: 2 * first]
    elif damage == "altered":
        content[first + 100] ^= 1
    else:
        content = content[first : 2 * first] + content[:first] + content[2 * first :]
    path.write_bytes(content)
    with pytest.raises(errors.Unsealable):
        incoming.unseal(broker, alice.ring, bytes(16), tmp_path / "opened")


def hostile(tmp_path: Path, kind: str, real: Callable[[str], Path]) -> Path:
    path = tmp_path / "hostile"
    if kind == "sparse":
        with path.open("wb") as stream:
            stream.write(b"a,b\n")
            stream.truncate(2 * 2**30)
    elif kind == "zip bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("History", bytes(20 * 2**20))
    elif kind == "gzip":
        path.write_bytes(gzip.compress(bytes(20 * 2**20)))
    elif kind == "foreign":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE contacts(name TEXT)")
        connection.close()
    elif kind == "truncated":
        whole = real(CHROME).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "quotes":
        path.write_text('a,b\n"never closed\n' + "x,y\n" * 5000)
    else:
        path.write_bytes(b"")
    return path


@pytest.mark.parametrize("kind", ["sparse", "zip bomb", "gzip", "foreign", "truncated", "empty"])
def test_hostile_files_are_refused_with_a_sentence_and_store_nothing(broker: Broker, alice: Browser, tmp_path: Path, real: Callable[[str], Path], kind: str) -> None:
    before = rows(broker)
    with pytest.raises(errors.ImportRefused) as refused:
        import_file(broker, alice, hostile(tmp_path, kind, real))
    assert refused.value.detail.endswith(".")
    assert "Traceback" not in refused.value.detail
    assert rows(broker) == before
    assert not (broker.settings.data_dir / "incoming").exists()


def test_a_nearly_full_disk_takes_nothing_in(broker: Broker, alice: Browser, real: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path, before = real(CHROME), rows(broker)
    whole = files.shutil.disk_usage(path)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _where: whole._replace(free=64 * 2**20))
    with pytest.raises(errors.StorageFull):
        import_file(broker, alice, path)
    assert rows(broker) == before


def test_rooms_of_ended_processes_are_swept_and_living_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "MEMORY", tmp_path)
    with subprocess.Popen(["/bin/true"]) as ended:
        ended.wait()
    left = [tmp_path / f"{rooms.PREFIX}{process}-{token}-x" for process, token in ((ended.pid, "aa"), (os.getpid(), "aa"), (os.getppid(), "aa"))]
    for folder in left:
        folder.mkdir()
        (folder / "plain").write_text("secret")
    with rooms.room() as mine:
        assert mine.stat().st_mode & 0o777 == 0o700
        rooms.sweep()
        assert mine.is_dir()
    assert [folder.exists() for folder in left] == [False, False, True]
    assert not mine.exists()
