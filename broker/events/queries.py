"""Reading events. For a vendor only `read(..., within=slice)` exists: SQL narrows the candidates, the policy judges each one.

The stored body is the event with its registrable domain, its site's class and the broker's time of receipt; `host` is its site.
"""

import datetime as dt
import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, not_, or_, select

from broker.db import AnyRow, Prepared
from broker.events.models import counts, events
from broker.vault.envelope import HEADER_BYTES, Place
from broker.vault.keys import Keyring
from policies.slices import CarveOut, Slice
from policies.vocabulary import SENSITIVE_CLASSES

Event = dict[str, Any]
CANDIDATES: Final = 20_000
SECONDS: Final = 1.0
PREVIEW_CANDIDATES: Final = 2000
PREVIEW_ROWS: Final = 5
PAGE: Final = 50
TAGS: Final = 500
MONTH: Final = 7
DAY: Final = 10
TAG_BYTES: Final = 16
_BEFORE_DAY, _BEFORE_TAG = DAY.to_bytes(4), TAG_BYTES.to_bytes(4)
_DAY_AND_TAG: Final = len(_BEFORE_DAY) + DAY + len(_BEFORE_TAG) + TAG_BYTES
STATEMENTS: Final = 200
COLUMNS: Final = (events.c.kind, events.c.day, events.c.event_tag, events.c.body)
_RANGE: Final = select(*COLUMNS).where(
    events.c.person_id == bindparam("person"), events.c.kind == bindparam("of_kind"), events.c.day.between(bindparam("first"), bindparam("last"))
)
FIRST_DAY: Final = dt.date(1995, 1, 1)
LAST_DAY: Final = dt.date(9999, 12, 31)

# A judge is made of a slice alone, so it can outlive neither a grant's version nor a standing deny.
_compiled: Final = lru_cache(maxsize=1024)(Slice.compiled)

Position = tuple[str, str, str]
# Kind, day as text, event tag, sealed body.
Candidate = tuple[str, str, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Page:
    """Rows as the vendor gets them, the events' own ids beside them for the ledger, and where to go on (None at the end)."""

    rows: list[Event]
    event_ids: list[str]
    next: Position | None
    first_day: str = ""
    last_day: str = ""


@lru_cache(maxsize=STATEMENTS)
def _around(person_id: bytes, kind: str) -> tuple[bytes, bytes]:
    return Place(person_id, "events").around(kind, rest=_DAY_AND_TAG)


def place(person_id: bytes, kind: str, day: dt.date, event_tag: bytes) -> bytes:
    """Where an event's body is sealed."""
    head, tail = _around(person_id, kind)
    return head + _day_and_tag(day, event_tag) + tail


def _day_and_tag(day: dt.date | str, event_tag: bytes) -> bytes:
    """The same as `parts((day, event_tag))`."""
    return _BEFORE_DAY + str(day).encode() + _BEFORE_TAG + event_tag


class Opener:
    """Opens event rows of one person; what rows of one kind under one key have in common is put together once."""

    def __init__(self, ring: Keyring) -> None:
        self._ring = ring
        self._known: dict[tuple[str, bytes], Callable[[bytes, bytes], bytes]] = {}

    def __call__(self, kind: str, day: dt.date | str, tag: bytes, body: bytes) -> Event:
        """The event in a row of `COLUMNS`, with `host` set; the day as a date or as its text."""
        common = (kind, body[:HEADER_BYTES])
        unseal = self._known.get(common)
        if unseal is None:
            unseal = self._known[common] = self._ring.key_of(body).between(*_around(self._ring.person_id, kind))
        event: Event = orjson.loads(unseal(_day_and_tag(day, tag), body))
        event["host"] = event["site"]
        return event


def _carved(out: CarveOut, kind: str, ring: Keyring) -> ColumnElement[bool] | None:
    """The condition that leaves out what a deny takes away whole; only for denies of kinds, sites and classes alone."""
    if out.fields is not None or out.categories is not None or (out.kinds is not None and kind not in out.kinds):
        return None
    parts: list[ColumnElement[bool]] = []
    if out.sites is not None:
        parts.append(_sites(out.sites, kind, ring))
    if out.classes is not None:
        parts.append(events.c.class_tag.in_([ring.tag(kind, "events", "class")(each) for each in sorted(out.classes)]))
    return not_(and_(True, *parts)) if parts else None


def _sites(sites: Iterable[str], kind: str, ring: Keyring) -> ColumnElement[bool]:
    domain, host = ring.tag(kind, "events", "domain"), ring.tag(kind, "events", "host")
    hosts = [host(site[1:]) for site in sorted(sites) if site.startswith("=")]
    domains = [domain(site) for site in sorted(sites) if not site.startswith("=")]
    return or_(events.c.domain_tag.in_(domains), events.c.host_tag.in_(hosts))


def conditions(within: Slice, kind: str, ring: Keyring) -> list[ColumnElement[bool]]:
    """Necessary conditions only: SQL may keep a row the policy refuses, never drop one it would keep (policies.md section 8)."""
    found: list[ColumnElement[bool]] = []
    if "*" not in within.sites:
        found.append(_sites(within.sites, kind, ring))
    site_class = ring.tag(kind, "events", "class")
    if "*" not in within.classes:
        # An unlisted sensitive class is excluded below; a listed one counts as inside.
        found.append(events.c.class_tag.in_([site_class(each) for each in sorted(within.classes | within.sensitive)]))
    closed = sorted(set(SENSITIVE_CLASSES) - within.sensitive)
    if closed:
        found.append(events.c.class_tag.not_in([site_class(each) for each in closed]))
    if "*" not in within.categories:
        top = ring.tag(kind, "events", "category")
        tags = [top(each) for each in sorted({path.split("/")[0] for path in within.categories})]
        found.append(or_(events.c.category_tag.is_(None), events.c.category_tag.in_(tags)))
    found.extend(each for out in within.except_ if (each := _carved(out, kind, ring)) is not None)
    return found


def _statement(within: Slice, kind: str, ring: Keyring, *, newest: bool) -> Prepared:
    """The range of one kind under a slice's conditions; made once per slice, whatever its window, and kept with the keys it was made from."""
    asked = (kind, newest, within.sites, within.classes, within.sensitive, within.categories, within.except_)
    known: Prepared | None = ring.remembered.get(asked)
    if known is None:
        if len(ring.remembered) > STATEMENTS:
            ring.remembered.clear()
        known = Prepared(_RANGE.where(*conditions(within, kind, ring)).order_by(events.c.day.desc() if newest else events.c.day))
        ring.remembered[asked] = known
    return known


def _candidates(tx: Connection, ring: Keyring, within: Slice, first: dt.date, last: dt.date, *, newest: bool = False) -> Iterator[Candidate]:
    """Rows that SQL cannot rule out, by day over all kinds; each is fetched when it is asked for."""
    ranges: list[Iterable[Candidate]] = []
    for kind in sorted(within.kinds):
        known = _statement(within, kind, ring, newest=newest)
        ranges.append(known.run(tx, {"person": ring.person_id, "of_kind": kind, "first": first, "last": last}))
    return iter(ranges[0]) if len(ranges) == 1 else heapq.merge(*ranges, key=itemgetter(1), reverse=newest)


def _days(within: Slice) -> tuple[dt.date, dt.date]:
    after, before = within.window.after, within.window.before
    return (after.date() if after else FIRST_DAY), (before.date() if before else LAST_DAY)


@dataclass(slots=True)
class _Gathering:
    """One page in the making: a period's rows are judged whole before the first of them leaves."""

    limit: int
    start: Position | None
    rows: list[Event] = field(default_factory=list)
    event_ids: list[str] = field(default_factory=list)
    days: set[str] = field(default_factory=set)
    period: list[tuple[str, str, Event, str, str]] = field(default_factory=list)
    last: Position | None = None

    def close_period(self, name: str) -> bool:
        """Take the period's rows in the order of (time as the vendor sees it, row id); True once the page is full."""
        self.period.sort(key=lambda each: each[:2])
        for seen_time, row_id, row, event_id, day in self.period:
            position = (name, seen_time, row_id)
            if self.start is not None and position <= self.start:
                continue
            if len(self.rows) == self.limit:
                return True
            self.rows.append(row)
            self.event_ids.append(event_id)
            self.days.add(day)
            self.last = position
        self.period.clear()
        return False

    def page(self, position: Position | None) -> Page:
        """What was gathered, to be continued at `position`."""
        return Page(self.rows, self.event_ids, position, min(self.days, default=""), max(self.days, default=""))


def read(
    tx: Connection,
    ring: Keyring,
    *,
    within: Slice,
    alias: Callable[[str], str],
    limit: int,
    start: Position | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Page:
    """The next `limit` rows of the person's events that `within` covers, each trimmed by it; the only way a vendor's rows are made.

    `within` has an absolute window (`Slice.at`). Work stops after 20,000 candidates or one second, between periods only.
    """
    judge, opened, width = _compiled(within), Opener(ring), MONTH if within.period() == "month" else DAY
    first, last = _days(within)
    if start is not None:
        first = max(first, dt.date.fromisoformat((start[0] + "-01")[:DAY]))
    gathering, current, seen, began = _Gathering(limit, start), "", 0, clock()
    last_day, keep = "", gathering.period.append
    for kind, day, tag, body in _candidates(tx, ring, within, first, last):
        seen += 1
        if day != last_day:
            last_day = day
            if day[:width] != current:
                if gathering.close_period(current):
                    return gathering.page(gathering.last)
                if seen > CANDIDATES or clock() - began > SECONDS:
                    return gathering.page((current, "~", "~"))
                current = day[:width]
        event = opened(kind, day, tag, body)
        trimmed = judge(event, alias)
        if trimmed is not None:
            keep((trimmed.get("time", ""), trimmed["id"], trimmed, event["id"], day))
    full = gathering.close_period(current)
    return gathering.page(gathering.last if full else None)


@dataclass(frozen=True, slots=True)
class Preview:
    """The newest rows as this vendor would get them, and how many match; `at_least` says that not everything was looked at."""

    rows: list[Event]
    number: int
    at_least: bool


def preview(tx: Connection, ring: Keyring, *, within: Slice) -> Preview:
    """At most five of the person's newest rows that `within` covers, trimmed by it; opens at most 2,000 candidates and writes nothing."""
    judge, opened = _compiled(within), Opener(ring)
    first, last = _days(within)
    found: list[Event] = []
    seen = 0
    for row in _candidates(tx, ring, within, first, last, newest=True):
        if seen == PREVIEW_CANDIDATES:
            break
        seen += 1
        trimmed = judge(opened(*row), None)
        if trimmed is not None:
            found.append(trimmed)
    else:
        return Preview(_newest(found), len(found), at_least=False)
    return Preview(_newest(found), len(found), at_least=True)


def newest(tx: Connection, ring: Keyring, *, within: Slice) -> Iterator[Event]:
    """The person's own events that SQL cannot rule out for `within`, whole and newest first by day; each is opened when it is asked for."""
    opened = Opener(ring)
    return (opened(*row) for row in _candidates(tx, ring, within, *_days(within), newest=True))


def _newest(rows: list[Event]) -> list[Event]:
    return sorted(rows, key=lambda row: row.get("time", ""), reverse=True)[:PREVIEW_ROWS]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the person's own list is filtered by; empty means any. Days are UTC days, both included."""

    kinds: tuple[str, ...]
    first: dt.date | None = None
    last: dt.date | None = None
    site: str = ""
    site_class: str = ""
    category: str = ""

    def conditions(self, kind: str, ring: Keyring) -> list[ColumnElement[bool]]:
        """The filter on blind columns, all of them index conditions."""
        found: list[ColumnElement[bool]] = []
        if self.site:
            found.append(_sites([self.site, f"={self.site}"], kind, ring))
        if self.site_class:
            found.append(events.c.class_tag == ring.tag(kind, "events", "class")(self.site_class))
        if self.category:
            found.append(events.c.category_tag == ring.tag(kind, "events", "category")(self.category))
        return found


@dataclass(frozen=True, slots=True)
class Own:
    """A page of the person's own events, newest first; `older` is where to go on."""

    events: list[Event]
    older: tuple[str, str, str] | None


def _own_rows(tx: Connection, ring: Keyring, wanted: Wanted, last: dt.date) -> Iterator[AnyRow]:
    ranges = []
    for kind in wanted.kinds:
        statement = _RANGE.where(*wanted.conditions(kind, ring)).order_by(events.c.day.desc())
        ranges.append(tx.execute(statement, {"person": ring.person_id, "of_kind": kind, "first": wanted.first or FIRST_DAY, "last": last}))
    return heapq.merge(*ranges, key=lambda row: row.day, reverse=True)


def own(tx: Connection, ring: Keyring, wanted: Wanted, below: tuple[str, str, str] | None = None) -> Own:
    """The person's own events, 50 a page; `below` is (day, time, event tag as hex) of the last one shown."""
    last = min(wanted.last or LAST_DAY, dt.date.fromisoformat(below[0]) if below else LAST_DAY)
    opened, current = Opener(ring), None
    shown: list[tuple[str, str, Event]] = []
    day: list[tuple[str, str, Event]] = []

    def close() -> bool:
        day.sort(key=lambda each: each[:2], reverse=True)
        for at, tag, event in day:
            if below is None or (event["time"][:10], at, tag) < below:
                shown.append((at, tag, event))
        day.clear()
        return len(shown) > PAGE

    for row in _own_rows(tx, ring, wanted, last):
        if row.day != current:
            if close():
                break
            current = row.day
        event = opened(*row)
        event["tag"] = row.event_tag.hex()
        day.append((event["time"], event["tag"], event))
    close()
    page = [event for _, _, event in shown[:PAGE]]
    return Own(page, (page[-1]["time"][:10], page[-1]["time"], page[-1]["tag"]) if len(shown) > PAGE else None)


def matching(tx: Connection, ring: Keyring, wanted: Wanted) -> list[tuple[str, dt.date, bytes]]:
    """The keys (kind, day, event tag) of all the person's events that match, without opening any."""
    found: list[tuple[str, dt.date, bytes]] = []
    for kind in wanted.kinds:
        statement = _RANGE.where(*wanted.conditions(kind, ring)).with_only_columns(events.c.day, events.c.event_tag)
        first, last = wanted.first or FIRST_DAY, wanted.last or LAST_DAY
        found += [(kind, row.day, row.event_tag) for row in tx.execute(statement, {"person": ring.person_id, "of_kind": kind, "first": first, "last": last})]
    return found


def by_tag(tx: Connection, ring: Keyring, tag: bytes) -> tuple[str, dt.date, bytes] | None:
    """The key of one event of this person."""
    row = tx.execute(select(*COLUMNS).where(events.c.person_id == ring.person_id, events.c.event_tag == tag)).first()
    return (row.kind, row.day, row.event_tag) if row else None


def kept(tx: Connection, ring: Keyring, tags: Sequence[bytes]) -> list[Event]:
    """The person's own events with these tags, as far as they are still kept, oldest first."""
    opened, found = Opener(ring), []
    for start in range(0, len(tags), TAGS):
        mine = (events.c.person_id == ring.person_id) & events.c.event_tag.in_(tags[start : start + TAGS])
        found += [opened(row.kind, row.day, row.event_tag, row.body) for row in tx.execute(select(*COLUMNS).where(mine))]
    return sorted(found, key=lambda event: event["time"])


@dataclass(frozen=True, slots=True)
class Visited:
    """A site (its registrable domain) in the newest visits: how often, how long in milliseconds, the first and the last time seen."""

    domain: str
    visits: int
    dwell: int
    first: str
    last: str


def sites(tx: Connection, ring: Keyring, wanted: Wanted) -> tuple[list[Visited], bool]:
    """The sites of the newest 2,000 visits that match, the most visited first; and whether there were more visits than that."""
    opened, seen = Opener(ring), 0
    found: dict[str, Visited] = {}
    for row in _own_rows(tx, ring, replace(wanted, kinds=("page_visit",)), wanted.last or LAST_DAY):
        if seen == PREVIEW_CANDIDATES:
            break
        seen += 1
        event = opened(row.kind, row.day, row.event_tag, row.body)
        old = found.get(event["domain"], Visited(event["domain"], 0, 0, event["time"], event["time"]))
        times = (old.first, old.last, event["time"])
        found[old.domain] = Visited(old.domain, old.visits + 1, old.dwell + event.get("dwell", 0), min(times), max(times))
    else:
        return sorted(found.values(), key=lambda site: (-site.visits, site.domain)), False
    return sorted(found.values(), key=lambda site: (-site.visits, site.domain)), True


def by_origin(tx: Connection, ring: Keyring, origin: str) -> list[tuple[str, dt.date, bytes]]:
    """The keys of all events that came by one origin (an import batch, an extension's grant)."""
    mine = (events.c.person_id == ring.person_id) & (events.c.origin_tag == ring.tag("", "events", "origin")(origin))
    return [(row.kind, row.day, row.event_tag) for row in tx.execute(select(*COLUMNS[:3]).where(mine))]


def bought_at(tx: Connection, ring: Keyring, domain: str) -> bool:
    """Whether the person bought anything at this domain."""
    tag = ring.tag("purchase", "events", "domain")(domain)
    mine = (events.c.person_id == ring.person_id) & (events.c.kind == "purchase") & (events.c.domain_tag == tag)
    return tx.execute(select(events.c.day).where(mine).limit(1)).first() is not None


def totals(tx: Connection, person_id: bytes, first: dt.date | None = None, last: dt.date | None = None) -> dict[str, int]:
    """How many events of each kind, by the counters; days are UTC days, both included."""
    wanted = select(counts.c.kind, func.sum(counts.c.number)).where(
        counts.c.person_id == person_id, counts.c.day >= (first or FIRST_DAY), counts.c.day <= (last or LAST_DAY)
    )
    return {row[0]: int(row[1]) for row in tx.execute(wanted.group_by(counts.c.kind)) if row[1]}
