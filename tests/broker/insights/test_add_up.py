"""Totals: equal to the events whatever was taken in and forgotten, gone with them, never kept from before a change, never under a dead key."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from makers import Browser, Clock
from sqlalchemy import select

from broker import migrations, serving
from broker.db import DATA, WRITE, Store
from broker.errors import Unsealable
from broker.events import actions as event_actions
from broker.events import queries as event_queries
from broker.events.models import retired_keys
from broker.events.queries import Wanted
from broker.exports import actions as exports
from broker.imports import actions as imports
from broker.imports.purchases import Mapping
from broker.insights import actions, queries
from broker.insights.actions import add_up
from broker.vault.envelope import key_id_of

# Fixed moments in three months, so that the same months are hit again and again.
MOMENTS = [dt.datetime(2026, month, day, 10, minute, tzinfo=dt.UTC) for month in (3, 4, 5) for day in (1, 17) for minute in (0, 30)]


def _events(trading: Any) -> list[dict[str, Any]]:
    """Some of every kind in every month, at several sites, in two currencies."""
    found = []
    for place, at in enumerate(MOMENTS):
        site = ("www.shop.example", "books.example")[place % 2]
        found += [
            trading.visited(at, ("mail.letters.example", site)[place % 3 == 0], dwell=place * 1000 if place % 2 else None),
            trading.purchase(at, f"Thing {place % 3}", site=site, minor=100 + place),
            trading.returned(at, f"Thing {place % 3}", site=site, minor=50 + place),
            trading.charged(at, "Films", ("renew", "start", "change", "end")[place % 4], minor=999),
        ]
    for event in found[::5]:
        if "total" in event:
            event["total"] = {**event["total"], "currency": "JPY"}
            event["items"] = [{**item, "price": {**item["price"], "currency": "JPY"}} for item in event["items"]]
    return found


def _forget_all(person: Browser) -> None:
    broker = person.app.extensions["broker"]
    with broker.reading() as tx:
        keys = event_queries.matching(tx, person.ring, Wanted(tuple(event_actions.TOTALLED)))
    # Without tombstones, so that the next example may take the same in again.
    broker.write(lambda tx: event_actions.delete_keys(tx, person.person_id, keys, forget=False, at=broker.now()))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(["take", "forget", "add up"]), st.sets(st.integers(0, 47), min_size=1, max_size=12)), min_size=1, max_size=8))
def test_totals_are_those_of_the_events(alice: Browser, trading: Any, steps: list[tuple[str, set[int]]]) -> None:
    """Whatever is taken in and forgotten, in whatever order, and whenever the sweep comes between."""
    broker, events = alice.app.extensions["broker"], _events(trading)
    _forget_all(alice)
    for step, places in steps:
        if step == "take":
            alice.store(*[events[place] for place in sorted(places)])
        elif step == "forget":
            keys = [(events[place]["kind"], dt.date.min, event_actions.tag_of(alice.ring, events[place]["id"])) for place in places]
            broker.write(lambda tx, keys=keys: event_actions.delete_keys(tx, alice.person_id, keys, forget=False, at=broker.now()))
        else:
            add_up(broker)
        assert trading.sums(trading.load(alice)) == trading.from_scratch(alice)
    add_up(broker)
    rows, due = trading.kept(alice)
    assert due == []
    assert trading.sums(trading.load(alice)) == trading.from_scratch(alice)
    assert bool(rows) == bool(trading.from_scratch(alice))


@pytest.fixture
def full(alice: Browser, trading: Any) -> Browser:
    """Alice with events of three months, added up."""
    alice.store(*_events(trading))
    assert add_up(alice.app.extensions["broker"]) == 12
    return alice


def test_a_change_takes_the_totals_of_its_month_along(full: Browser, trading: Any) -> None:
    before = {(row.kind, row.month) for row in trading.kept(full)[0]}
    assert len(before) == 12
    full.store(trading.purchase(MOMENTS[0], "Late"))
    rows, due = trading.kept(full)
    assert {(row.kind, row.month) for row in rows} == before - {("purchase", "2026-03")}
    assert [(row.kind, row.month) for row in due] == [("purchase", "2026-03")]


def test_forgetting_takes_them_along(full: Browser, trading: Any) -> None:
    answer = full.post("/activity/forget", {"from": "2026-04-01", "to": "2026-04-30", "number": "16"}, page="/activity")
    assert answer.status_code == 303
    rows, due = trading.kept(full)
    assert {row.month for row in rows} == {"2026-03", "2026-05"}
    assert {row.month for row in due} == {"2026-04"}
    assert trading.sums(trading.load(full)) == trading.from_scratch(full)
    assert add_up(full.app.extensions["broker"]) == 4
    assert {row.month for row in trading.kept(full)[0]} == {"2026-03", "2026-05"}


def test_retention_takes_them_along(full: Browser, trading: Any, clock: Clock) -> None:
    clock.advance(days=(dt.datetime(2026, 12, 1, tzinfo=dt.UTC) - clock()).days)
    broker = full.app.extensions["broker"]
    exports.keep_for(broker, full.person_id, "purchase", 31)
    assert exports.expire(broker) == 12
    assert "purchase" not in {row.kind for row in trading.kept(full)[0]}
    assert trading.sums(trading.load(full)) == trading.from_scratch(full)


def test_undoing_an_import_takes_them_along(alice: Browser, trading: Any, tmp_path: Path) -> None:
    broker, file = alice.app.extensions["broker"], tmp_path / "orders.csv"
    file.write_text("date,what,price\n2026-01-02 10:00,Ink,1.25\n")
    mapping = Mapping(site="www.shop.example", time="date", product="what", unit_price="price", currency="EUR")
    _, batch = imports.take_in_file(broker, alice.person_id, file, mapping)
    add_up(broker)
    assert [row.body.sums for row in trading.load(alice).rows] == [{"EUR": 125}]
    imports.begin_undo(broker, alice.person_id, bytes.fromhex(batch))
    imports.undo(broker, alice.person_id, bytes.fromhex(batch))
    assert trading.load(alice).rows == ()
    assert trading.kept(alice)[0] == []


def test_erasing_everything_takes_them_along(full: Browser, trading: Any, bob: Browser) -> None:
    broker = full.app.extensions["broker"]
    bob.store(trading.purchase(MOMENTS[0], "Bob's"))
    actions.keep_shop(broker, full.person_id, queries.Shop("shop.example", 30))
    full.store(trading.purchase(MOMENTS[1], "Not added up"))
    exports.erase_person(broker, full.person_id)
    assert trading.kept(full) == ([], [])
    assert trading.sums(trading.load(bob)) == trading.from_scratch(bob) != {}


def test_what_was_worked_out_before_a_change_is_not_kept(full: Browser, trading: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something is taken in, and something forgotten and taken in, between reading a month and keeping its totals."""
    broker, sealed = full.app.extensions["broker"], actions._sealed
    full.store(trading.purchase(MOMENTS[0], "First"))

    def meanwhile(*given: Any) -> Any:
        found = sealed(*given)
        monkeypatch.setattr(actions, "_sealed", sealed)
        full.store(trading.purchase(MOMENTS[0], "Meanwhile"))
        # Whatever swept in between must not make an old mark good again.
        add_up(broker)
        full.store(trading.purchase(MOMENTS[0], "And again"))
        return found

    monkeypatch.setattr(actions, "_sealed", meanwhile)
    assert add_up(broker) == 0
    assert ("purchase", "2026-03") not in {(row.kind, row.month) for row in trading.kept(full)[0]}
    assert trading.sums(trading.load(full)) == trading.from_scratch(full)
    assert add_up(broker) == 1
    assert trading.sums(trading.load(full)) == trading.from_scratch(full)


def _key_ids(rows: list[Any]) -> set[bytes]:
    return {key_id_of(row.body) for row in rows}


def test_shredding_leaves_nothing_under_a_destroyed_key(full: Browser, trading: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where a sweep seals totals in the middle of it, under the key that is just going."""
    broker = full.app.extensions["broker"]
    before, _ = trading.kept(full)
    old = [row for row in before if (row.kind, row.month) == ("purchase", "2026-03")]
    key = full.ring.key_of(old[0].body)
    with broker.reading() as tx:
        keys = event_queries.matching(tx, full.ring, Wanted(("purchase",), last=dt.date(2026, 3, 31)))[:1]
    event_actions.forget(broker, full.ring, keys, {"kinds": ["purchase"]})
    retire = broker.vault.retire

    def retired(*given: Any) -> Any:
        found = retire(*given)
        # Sealed under the retired key, since this process had it open.
        assert add_up(broker) == 1
        assert key.key_id in _key_ids(trading.kept(full)[0])
        return found

    def destroyed(person_id: bytes, key_ids: Any) -> Any:
        # A page that looks at this moment must not meet what cannot be opened.
        assert not _key_ids(trading.kept(full)[0]) & set(key_ids)
        return destroy(person_id, key_ids)

    destroy = broker.vault.destroy
    monkeypatch.setattr(broker.vault, "retire", retired)
    monkeypatch.setattr(broker.vault, "destroy", destroyed)
    assert exports.shred(broker) == 1
    rows, due = trading.kept(full)
    with broker.reading() as tx:
        gone = set(tx.execute(select(retired_keys.c.key_id).where(retired_keys.c.person_id == full.person_id)).scalars())
    assert key.key_id in gone
    assert not _key_ids(rows) & gone
    assert [(row.kind, row.month) for row in due] == [("purchase", "2026-03")]
    assert trading.sums(trading.load(full)) == trading.from_scratch(full)
    assert add_up(broker) == 1
    assert trading.sums(trading.load(full)) == trading.from_scratch(full)
    fresh = broker.keyring(full.person_id)
    fresh._by_id.clear()
    with pytest.raises(Unsealable):
        fresh.key_of(old[0].body)


def test_nothing_is_kept_under_a_retired_key(full: Browser, trading: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that sealed totals before the month was shredded comes too late with them."""
    broker, sealed = full.app.extensions["broker"], actions._sealed
    full.store(trading.purchase(MOMENTS[0], "One more"))
    late: list[Any] = []

    def retiring(ring: Any, kind: str, month: str, found: Any) -> Any:
        rows = sealed(ring, kind, month, found)
        key_ids = _key_ids([type("Row", (), row) for row in rows])
        gone = [{"person_id": full.person_id, "key_id": each} for each in key_ids]
        broker.write(lambda tx: tx.execute(retired_keys.insert(), gone))
        late.extend(rows)
        return rows

    monkeypatch.setattr(actions, "_sealed", retiring)
    assert add_up(broker) == 0
    assert late
    assert ("purchase", "2026-03") not in {(row.kind, row.month) for row in trading.kept(full)[0]}
    assert ("purchase", "2026-03") in {(row.kind, row.month) for row in trading.kept(full)[1]}


def test_after_a_restore_everything_is_worked_out_anew(full: Browser, trading: Any) -> None:
    broker = full.app.extensions["broker"]
    broker.write(lambda tx: event_actions.outdate_all(tx, full.person_id))
    rows, due = trading.kept(full)
    assert rows == []
    assert len(due) == 12
    assert trading.sums(trading.load(full)) == trading.from_scratch(full)
    assert add_up(broker) == 12


def test_one_that_does_not_open_keeps_nobody_from_theirs(full: Browser, bob: Browser, trading: Any) -> None:
    broker = full.app.extensions["broker"]
    bob.store(trading.purchase(MOMENTS[0], "Bob's"))
    full.store(trading.purchase(MOMENTS[0], "Alice's"))
    broker.vault.destroy(full.person_id)
    assert add_up(broker) == 1
    assert trading.kept(bob)[1] == []


def test_long_months_are_added_up_in_chunks(alice: Browser, trading: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "CHUNK", 7)
    alice.store(*_events(trading))
    for _ in range(2):
        assert trading.sums(trading.load(alice)) == trading.from_scratch(alice)
        add_up(alice.app.extensions["broker"])


def test_the_sweep_does_it() -> None:
    assert add_up in serving.STEPS


def test_an_older_store_has_all_its_months_noted(tmp_path: Path) -> None:
    store = Store(tmp_path / "data.db", DATA)
    with store.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql(WRITE)
        command.upgrade(migrations.config("data", connection), "832a710fc332")
    days = (("2026-03-01", "purchase", 2), ("2026-03-09", "purchase", 1), ("2026-04-01", "purchase", 0), ("2026-03-09", "search", 4), ("2026-05-01", "page_visit", 1))
    with store.writing() as tx:
        for day, kind, number in days:
            tx.exec_driver_sql("INSERT INTO event_counts VALUES (?, ?, ?, ?)", (bytes(16), day, kind, number))
    migrations.upgrade("data", store)
    with store.reading() as tx:
        rows = tx.exec_driver_sql("SELECT kind, month, length(mark) FROM stale_totals").all()
    assert sorted(map(tuple, rows)) == [("page_visit", "2026-05", 16), ("purchase", "2026-03", 16)]
    store.close()
