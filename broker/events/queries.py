"""Reading events. For a vendor only `read(..., within=slice)` exists: SQL narrows the candidates, the policy judges each one."""

import datetime as dt
import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import itemgetter
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, not_, or_, select

from broker.db import AnyRow, Prepared, lots
from broker.events import stored
from broker.events.models import counts, events
from broker.events.sites import site_of_host
from broker.events.stored import Event, Opener
from broker.vault.keys import Keyring
from policies.slices import Judge, Slice
from policies.vocabulary import SENSITIVE_CLASSES

CANDIDATES: Final = 20_000
SECONDS: Final = 1.0
PREVIEW_CANDIDATES: Final = 2000
PREVIEW_ROWS: Final = 5
PAGE: Final = 50
TAGS: Final = 500
MONTH: Final = 7
DAY: Final = 10
COLUMNS: Final = (events.c.kind, events.c.day, events.c.event_tag, events.c.body)
_RANGE: Final = select(*COLUMNS).where(
    events.c.person_id == bindparam("person"), events.c.kind == bindparam("of_kind"), events.c.day.between(bindparam("first"), bindparam("last"))
)
_PER_DAY: Final = Prepared(
    select(counts.c.day, counts.c.kind, counts.c.number).where(
        counts.c.person_id == bindparam("person"), counts.c.day.between(bindparam("first"), bindparam("last"))
    )
)
# Beyond these SQL is asked less, and the policy judges more: a statement has its bounds.
VALUES: Final = 2000
PAIRS: Final = 50
FIRST_DAY: Final = dt.date(1995, 1, 1)
LAST_DAY: Final = dt.date(9999, 12, 31)

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


@lru_cache(maxsize=1024)
def _compiled(within: Slice) -> dict[str, tuple[Callable[[bytes], Event], Judge]]:
    """Decoder and judge for each kind. Made of a slice alone, so they can outlive neither a grant's version nor a standing deny."""
    return {kind: (stored.decoder(kind, each.members, each.item_members), each.judge) for kind, each in within.compiled().of_kind.items()}


def _carved(within: Slice, kind: str, ring: Keyring) -> list[ColumnElement[bool]]:
    """What leaves out rows that a deny takes away whole, for denies of kinds, sites and classes alone; gathered, since there may be a thousand."""
    outs = [each for each in within.except_ if each.fields is None and each.categories is None and (each.kinds is None or kind in each.kinds)]
    sites: frozenset[str] = frozenset().union(*(each.sites for each in outs if each.sites is not None and each.classes is None))
    classes: frozenset[str] = frozenset().union(*(each.classes for each in outs if each.classes is not None and each.sites is None))
    both = [(each.sites, each.classes) for each in outs if each.sites is not None and each.classes is not None]
    found = [not_(_sites(sites, kind, ring))] if 0 < len(sites) <= VALUES else []
    if classes:
        found.append(not_(_classes(classes, kind, ring)))
    return found + [not_(and_(_sites(some, kind, ring), _classes(such, kind, ring))) for some, such in both[:PAIRS] if len(some) <= VALUES]


def _classes(classes: Iterable[str], kind: str, ring: Keyring) -> ColumnElement[bool]:
    return events.c.class_tag.in_([ring.tag(kind, "events", "class")(each) for each in sorted(classes)])


def _sites(sites: Iterable[str], kind: str, ring: Keyring) -> ColumnElement[bool]:
    domain, host = ring.tag(kind, "events", "domain"), ring.tag(kind, "events", "host")
    hosts = [host(site[1:]) for site in sorted(sites) if site.startswith("=")]
    domains = [domain(site) for site in sorted(sites) if not site.startswith("=")]
    return or_(events.c.domain_tag.in_(domains), events.c.host_tag.in_(hosts))


def conditions(within: Slice, kind: str, ring: Keyring) -> list[ColumnElement[bool]]:
    """Necessary conditions only: SQL may keep a row the policy refuses, never drop one it would keep (policies.md section 8)."""
    found: list[ColumnElement[bool]] = []
    if "*" not in within.sites and len(within.sites) <= VALUES:
        found.append(_sites(within.sites, kind, ring))
    if "*" not in within.classes:
        # An unlisted sensitive class is excluded below; a listed one counts as inside.
        found.append(_classes(within.classes | within.sensitive, kind, ring))
    closed = set(SENSITIVE_CLASSES) - within.sensitive
    if closed:
        found.append(not_(_classes(closed, kind, ring)))
    if "*" not in within.categories:
        top = ring.tag(kind, "events", "category")
        tags = [top(each) for each in sorted({path.split("/")[0] for path in within.categories})]
        found.append(or_(events.c.category_tag.is_(None), events.c.category_tag.in_(tags)))
    return found + _carved(within, kind, ring)


def _statement(within: Slice, kind: str, ring: Keyring, *, newest: bool) -> Prepared:
    """The range of one kind under a slice's conditions; made once per slice, whatever its window, and kept with the keys it was made from."""
    asked = (kind, newest, within.sites, within.classes, within.sensitive, within.categories, within.except_)
    order = events.c.day.desc() if newest else events.c.day
    return ring.remember(asked, lambda: Prepared(_RANGE.where(*conditions(within, kind, ring)).order_by(order)))


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


# A row that the policy lets out: its position, the row, the event's own id, its day.
_Found = tuple[Position, Event, str, str]


def _page(found: list[_Found], limit: int, rest: Position | None) -> Page:
    """The first `limit` rows in order, to be continued after them, or at `rest` where all fit."""
    found.sort(key=itemgetter(0))
    shown = found[:limit]
    days = {each[3] for each in shown}
    after = shown[-1][0] if len(found) > limit else rest
    return Page([each[1] for each in shown], [each[2] for each in shown], after, min(days, default=""), max(days, default=""))


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
    compiled, plain, width = _compiled(within), Opener(ring).plain, MONTH if within.period() == "month" else DAY
    first, last = _days(within)
    if start is not None:
        first = max(first, dt.date.fromisoformat((start[0] + "-01")[:DAY]))
    found: list[_Found] = []
    period, last_day, seen, began = "", "", 0, clock()
    for kind, day, tag, body in _candidates(tx, ring, within, first, last):
        seen += 1
        if day != last_day:
            last_day = day
            if day[:width] != period:
                # A period's rows are judged whole before the first of them leaves.
                if len(found) > limit:
                    break
                if seen > CANDIDATES or clock() - began > SECONDS:
                    return _page(found, limit, (period, "~", "~"))
                period = day[:width]
        decode, judge = compiled[kind]
        event = decode(plain(kind, day, tag, body))
        row = judge(event, alias)
        if row is not None:
            position = (period, row.get("time", ""), row["id"])
            if start is None or position > start:
                found.append((position, row, event["id"], day))
    return _page(found, limit, None)


@dataclass(frozen=True, slots=True)
class Preview:
    """The newest rows as this vendor would get them, and how many match; `at_least` says that not everything was looked at."""

    rows: list[Event]
    number: int
    at_least: bool


def preview(tx: Connection, ring: Keyring, *, within: Slice) -> Preview:
    """At most five of the person's newest rows that `within` covers, trimmed by it; opens at most 2,000 candidates and writes nothing."""
    judge, opened = within.compiled(), Opener(ring)
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


def own_rows(tx: Connection, ring: Keyring, wanted: Wanted, last: dt.date) -> Iterator[AnyRow]:
    """Sealed rows of the person's own events up to a day, those of the newest day first, and of one day in no order."""
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

    for row in own_rows(tx, ring, wanted, last):
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


def tags_kept(tx: Connection, person_id: bytes, tags: Sequence[bytes]) -> list[bytes]:
    """Which of these tags of a person's events are here."""
    wanted = select(events.c.event_tag).where(events.c.person_id == person_id)
    return [tag for lot in lots(tags) for tag in tx.execute(wanted.where(events.c.event_tag.in_(lot))).scalars()]


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
    for row in own_rows(tx, ring, replace(wanted, kinds=("page_visit",)), wanted.last or LAST_DAY):
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
    """Whether the person bought anything at this domain, or at any host of the registrable domain it belongs to."""
    site = site_of_host(domain)
    tag = ring.tag("purchase", "events", "domain")(site.domain if site else domain)
    mine = (events.c.person_id == ring.person_id) & (events.c.kind == "purchase") & (events.c.domain_tag == tag)
    return tx.execute(select(events.c.day).where(mine).limit(1)).first() is not None


def per_day(tx: Connection, person_id: bytes, wanted: Wanted) -> dict[tuple[dt.date, str], int]:
    """How many events there are by day and kind, by the counters, which know days and kinds alone; days are UTC days."""
    days = (wanted.first or FIRST_DAY, wanted.last or LAST_DAY)
    found = _PER_DAY.run(tx, {"person": person_id, "first": days[0], "last": days[1]})
    return {(dt.date.fromisoformat(day), kind): number for day, kind, number in found if number and kind in wanted.kinds}


def totals(tx: Connection, person_id: bytes, first: dt.date | None = None, last: dt.date | None = None) -> dict[str, int]:
    """How many events of each kind, by the counters; days are UTC days, both included."""
    wanted = select(counts.c.kind, func.sum(counts.c.number)).where(
        counts.c.person_id == person_id, counts.c.day >= (first or FIRST_DAY), counts.c.day <= (last or LAST_DAY)
    )
    return {row[0]: int(row[1]) for row in tx.execute(wanted.group_by(counts.c.kind)) if row[1]}
