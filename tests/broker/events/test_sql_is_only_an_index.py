"""P11, P7 and K27 over a real database: SQL never drops a covered row, and what is not covered changes nothing of the answer."""

import datetime as dt
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from makers import Browser

from broker.events import actions, queries
from broker.events.answering import answer
from policies import windows
from policies.slices import Slice
from policies.windows import ALWAYS

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "policies"))

import properties
import worlds

EXAMPLES = 2000 if os.environ.get("PROFFER_DEEP") else 200
IN_A_LOOP = settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
)
Event = dict[str, Any]


def alias(value: str) -> str:
    return f"alias of {value}"


def put(person: Browser, events: list[Event]) -> None:
    """Replace what the person has by these events, as they are: they are already placed."""
    broker, ring = person.app.extensions["broker"], person.ring
    ready = actions.seal(ring, events, "test", worlds.NOW)

    def job(tx: Any) -> None:
        with broker.reading() as before:
            keys = queries.matching(before, ring, queries.Wanted(kinds=tuple(sorted({*worlds.KINDS}))))
        actions.delete_keys(tx, ring.person_id, keys, forget=False, at=broker.now())
        status = actions.insert_ready(tx, ring, ready)
        assert set(status.values()) <= {"accepted"}

    broker.write(job)


def pages(person: Browser, part: Slice, limit: int, give: Callable[[str], str] = alias) -> list[tuple[list[Event], Any]]:
    """All pages of a read, with their positions."""
    found, start = [], None
    with person.app.extensions["broker"].reading() as tx:
        while True:
            page = queries.read(tx, person.ring, within=part, alias=give, limit=limit, start=start)
            found.append((page.rows, page.next))
            if page.next is None:
                return found
            start = page.next


def naive(events: list[Event], part: Slice) -> list[Event]:
    """A loop over the whole store, row by row, in order."""
    width = 7 if part.period() == "month" else 10
    rows = [(event["time"][:width], part.trim(event, alias)) for event in events if part.covers(event)]
    return [row for _, row in sorted(rows, key=lambda each: (each[0], each[1].get("time", ""), each[1]["id"]))]


def unique(events: list[Event]) -> list[Event]:
    return [{**event, "id": f"{event['id']}-{number}"} for number, event in enumerate(events)]


WORLDS = {"events": st.lists(worlds.events(), max_size=12).map(unique), "part": worlds.slices, "limit": st.integers(1, 5)}


@IN_A_LOOP
@given(**WORLDS)
def test_a_read_equals_a_loop_over_the_store(alice: Browser, events: list[Event], part: Slice, limit: int) -> None:
    put(alice, events)
    within = part.at(worlds.NOW)
    found = pages(alice, within, limit)
    assert [row for rows, _ in found for row in rows] == naive(events, within)
    assert all(len(rows) == limit for rows, following in found if following is not None)


@IN_A_LOOP
@given(**WORLDS)
def test_what_is_not_covered_changes_nothing(alice: Browser, events: list[Event], part: Slice, limit: int) -> None:
    within = part.at(worlds.NOW)
    put(alice, events)
    everything = pages(alice, within, limit)
    put(alice, [event for event in events if within.covers(event)])
    assert pages(alice, within, limit) == everything


def twins(events: list[Event], part: Slice, dropped: int, minutes: int) -> list[Event]:
    """The same events at other times of their periods, without some of what is hidden: as far as `part` shows them alike."""
    whole, level = replace(part, window=ALWAYS), part.fields.get("time", "hidden")
    others = [properties.twin(event, level, dropped, minutes) for event in events]
    return [other if looks(whole, event) == looks(whole, other) else event for event, other in zip(events, others, strict=True)]


def looks(part: Slice, event: Event) -> Event | None:
    return part.trim(event, alias) if part.covers(event) else None


def bytes_of(person: Browser, part: Slice, limit: int, hours: int) -> bytes:
    """What leaves, some hours on: all pages with their positions, so their number too, and the answers."""
    now = worlds.NOW + dt.timedelta(hours=hours)
    habits = replace(part, kinds=part.kinds | {"purchase"}, form="answers", answers=frozenset({"frequency"})).normal().at(now)
    with person.app.extensions["broker"].reading() as tx:
        answers = answer(tx, person.ring, within=habits, today=now.date()) if part.fields.get("time") == "day" else {}
    return orjson.dumps([pages(person, part.at(now), limit), answers])


@IN_A_LOOP
@given(**WORLDS, dropped=st.integers(0, 4095), minutes=st.integers(0, 45_000), hours=st.integers(-600, 600))
def test_what_is_hidden_changes_nothing(alice: Browser, events: list[Event], part: Slice, limit: int, dropped: int, minutes: int, hours: int) -> None:
    """P7: two stores that look the same through the slice give the same bytes, at every time. Refusals never look at the store: `decide` has none."""
    others = twins(events, part, dropped, minutes)
    found = []
    for store in (events, others):
        put(alice, store)
        found.append([bytes_of(alice, part, limit, hours + more) for more in (0, 7, 300)])
    assert found[0] == found[1]


def test_sharp_edges_are_found(alice: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted defect: a window that is not rounded tells by polling when a row enters."""
    part = Slice.parse({"kinds": ["purchase"], "fields": {"time": "day"}, "window": {"min_age": "P1D"}})
    event = {**worlds_event(0), "time": f"{worlds.NOW - dt.timedelta(days=1, hours=2):%Y-%m-%dT%H:%M:%S}.000Z"}
    (other,) = twins([event], part, 0, 14 * 60)
    assert other["time"] != event["time"]

    def differ() -> bool:
        found = []
        for store in (event, other):
            put(alice, [store])
            found.append(bytes_of(alice, part, 5, 0))
        return found[0] != found[1]

    assert not differ()
    monkeypatch.setattr(windows, "period_start", lambda at, _level: at)
    assert differ()


def test_the_property_can_fail(alice: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted defect: SQL that treats a coarse filter as exact drops rows, and the loop over the store shows it."""
    event = next(event for event in unique([worlds_event(n) for n in range(3)]) if event["kind"] == "purchase")
    within = Slice.parse({"kinds": ["purchase"], "sites": ["shop.example"], "fields": {"time": "day"}, "window": {}}).at(worlds.NOW)
    put(alice, [event])
    assert [row for rows, _ in pages(alice, within, 5) for row in rows] == naive([event], within) != []
    monkeypatch.setattr(queries, "_sites", lambda sites, kind, ring: queries.events.c.host_tag.in_([ring.tag(kind, "events", "host")(site) for site in sites]))
    alice.ring._remembered.clear()
    assert [row for rows, _ in pages(alice, within, 5) for row in rows] != naive([event], within)


def worlds_event(number: int) -> Event:
    at = worlds.NOW - dt.timedelta(days=10 + number)
    return {
        "id": f"e{number}", "kind": "purchase", "time": f"{at:%Y-%m-%dT%H:%M:%S}.000Z", "site": "www.shop.example", "host": "www.shop.example",
        "domain": "shop.example", "class": "shop", "items": [{"category": "books"}],
    }  # fmt: skip


def test_work_is_bounded_between_periods(alice: Browser) -> None:
    """One second of work at most, cut between days only; the next page goes on without loss."""
    events = unique([worlds_event(number) for number in range(40)])
    put(alice, events)
    within = Slice.parse({"kinds": ["purchase"], "fields": {"time": "day"}, "window": {}}).at(worlds.NOW)
    ticks = iter(range(10_000))
    rows: list[Event] = []
    start, calls = None, 0
    with alice.app.extensions["broker"].reading() as tx:
        while True:
            page = queries.read(tx, alice.ring, within=within, alias=alias, limit=1000, start=start, clock=lambda: next(ticks) * 0.3)
            rows += page.rows
            calls += 1
            if page.next is None:
                break
            start = page.next
    assert calls > 3
    assert rows == naive(events, within)
