"""Reading totals: those that are kept, and those of months that changed since, worked out on the spot as far as they are few events."""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, select, tuple_, union_all

from broker.errors import Unsealable
from broker.events import queries as events
from broker.events import stored
from broker.events.models import events as event_rows
from broker.events.models import stale, totals
from broker.events.queries import Wanted
from broker.insights.belongings import Known, Thing, things
from broker.insights.models import shop_periods
from broker.insights.totals import ITEM_MEMBERS, MEMBERS, Body, Tally, decoder
from broker.vault.envelope import HEADER_BYTES, Place
from broker.vault.keys import Keyring

# So many events are added up for one page at most; a month with more waits for the sweep.
ON_THE_SPOT: Final = 3000
CHUNK: Final = 1000
# How many of the newest purchases and returns are looked at for a page of what a person owns; thrice as many while they do not fill it.
FIRST_LOOK, LAST_LOOK = 400, 10_800
TAG_BYTES: Final = 16
_BEFORE_TAG: Final = TAG_BYTES.to_bytes(4)
FIRST_MONTH, LAST_MONTH = "0000-00", "9999-99"


def place(person_id: bytes, kind: str, month: str) -> tuple[bytes, bytes]:
    """Where a month's totals are sealed, before and after the domain's tag (with its length, 16)."""
    return Place(person_id, "event_totals").around(kind, month, rest=len(_BEFORE_TAG) + TAG_BYTES)


def place_of(person_id: bytes, kind: str, month: str, tag: bytes) -> bytes:
    """Where the totals of one domain are sealed."""
    head, tail = place(person_id, kind, month)
    return head + _BEFORE_TAG + tag + tail


class Row(msgspec.Struct, frozen=True, gc=False):
    """What is added up of one kind, month and site."""

    kind: str
    month: str
    body: Any


@dataclass(frozen=True, slots=True)
class Loaded:
    """Totals, and what is not in them yet: months of more events than are added up for one page, and how many events those are."""

    rows: tuple[Row, ...]
    counting: tuple[tuple[str, str], ...] = ()
    waiting: int = 0

    def of(self, *kinds: str) -> list[Row]:
        """The rows of these kinds."""
        return [row for row in self.rows if row.kind in kinds]

    def numbers(self) -> dict[str, int]:
        """How many events of each kind are in it."""
        found: Counter[str] = Counter()
        for row in self.rows:
            found[row.kind] += row.body.number
        return dict(found)

    def days(self) -> tuple[dt.date, dt.date] | None:
        """The first and the last day of which there are events in it."""
        if not self.rows:
            return None
        first, last = min(row.body.first for row in self.rows), max(row.body.last for row in self.rows)
        return dt.date.fromisoformat(first), dt.date.fromisoformat(last)


def load(tx: Connection, ring: Keyring, kinds: Sequence[str], first: str = FIRST_MONTH, last: str = LAST_MONTH, *, orders: bool = False) -> Loaded:
    """The totals of these kinds in months (`2026-11`) from `first` to `last`; with `orders`, each order of purchases and each charge."""
    rows = [row for kind in kinds for row in _kept(tx, ring, kind, first, last, orders=orders)]
    mine = (stale.c.person_id == ring.person_id) & stale.c.kind.in_(kinds) & stale.c.month.between(first, last)
    due = tx.execute(select(stale.c.month, stale.c.kind).where(mine).order_by(stale.c.month.desc(), stale.c.kind)).all()
    numbers = _numbers(tx, ring, kinds, [row.month for row in due]) if due else {}
    left, counting, waiting = ON_THE_SPOT, [], 0
    for month, kind in due:
        number = numbers.get((kind, month), 0)
        if number <= left:
            left -= number
            rows += [Row(kind, month, body) for body in tally(tx, ring, kind, month).rows.values()]
        else:
            counting.append((kind, month))
            waiting += number
    return Loaded(tuple(rows), tuple(counting), waiting)


def _kept(tx: Connection, ring: Keyring, kind: str, first: str, last: str, *, orders: bool) -> Iterator[Row]:
    decode = decoder(kind, orders=orders).decode
    mine = (totals.c.person_id == ring.person_id) & (totals.c.kind == kind) & totals.c.month.between(first, last)
    known: tuple[str, bytes] = ("", b"")
    for month, tag, body in tx.execute(select(totals.c.month, totals.c.domain_tag, totals.c.body).where(mine)):
        if known != (month, body[:HEADER_BYTES]):
            # What a month's rows have in common is put together once.
            known = (month, body[:HEADER_BYTES])
            unseal = ring.key_of(body).between(*place(ring.person_id, kind, month))
        yield Row(kind, month, decode(unseal(_BEFORE_TAG + tag, body)))


def _numbers(tx: Connection, ring: Keyring, kinds: Sequence[str], months: Sequence[str]) -> Counter[tuple[str, str]]:
    """How many events of each kind and month there are, by the counters."""
    days = dt.date.fromisoformat(f"{min(months)}-01"), last_day(max(months))
    found: Counter[tuple[str, str]] = Counter()
    for (day, kind), number in events.per_day(tx, ring.person_id, Wanted(tuple(kinds), *days)).items():
        found[kind, f"{day:%Y-%m}"] += number
    return found


def last_day(month: str) -> dt.date:
    """The last day of a month (`2026-11`)."""
    first = dt.date.fromisoformat(f"{month}-01")
    return (first + dt.timedelta(days=31)).replace(day=1) - dt.timedelta(days=1)


def tally(tx: Connection, ring: Keyring, kind: str, month: str) -> Tally:
    """The totals of one month, worked out from its events."""
    found, after = Tally(kind), None
    while True:
        after, _ = add(tx, ring, found, kind, month, after)
        if after is None:
            return found


def add(
    tx: Connection, ring: Keyring, found: Tally, kind: str, month: str, after: tuple[dt.date, bytes] | None
) -> tuple[tuple[dt.date, bytes] | None, int]:  # fmt: skip
    """Add the month's next events to a tally: (where to go on, None at the end; how many of them do not open, and are left out)."""
    first = dt.date.fromisoformat(f"{month}-01")
    key = (event_rows.c.day, event_rows.c.event_tag)
    wanted = select(*key, event_rows.c.body).where(
        event_rows.c.person_id == ring.person_id, event_rows.c.kind == kind, event_rows.c.day.between(after[0] if after else first, last_day(month))
    )
    if after:
        wanted = wanted.where(tuple_(*key) > tuple_(*after))
    rows = tx.execute(wanted.order_by(*key).limit(CHUNK)).all()
    opened, damaged = stored.Opener(ring), 0
    decode = stored.decoder(kind, MEMBERS[kind], ITEM_MEMBERS)
    for row in rows:
        try:
            found.add(row.day.isoformat(), decode(opened.plain(kind, row.day, row.event_tag, row.body)))
        except Unsealable:
            damaged += 1
    return ((rows[-1].day, rows[-1].event_tag) if len(rows) == CHUNK else None), damaged


def span(tx: Connection, person_id: bytes, kinds: Iterable[str]) -> tuple[str, str] | None:
    """The first and the last month (`2026-11`) with anything to add up; None where there is nothing."""
    found: list[str] = []
    for kind in kinds:
        bounds = [
            select(bound(table.c.month)).where(table.c.person_id == person_id, table.c.kind == kind)
            for table in (totals, stale)
            for bound in (func.min, func.max)
        ]
        found += [month for month in tx.execute(union_all(*bounds)).scalars() if month]
    return (min(found), max(found)) if found else None


# What a person says of shops


class Shop(msgspec.Struct, frozen=True):
    """What a person said of a shop: days to send something back, months of warranty (0: not said), and a note."""

    domain: str
    days: int = 0
    months: int = 0
    note: str = ""


def shop_place(person_id: bytes, tag: bytes) -> bytes:
    """Where what is said of a shop is sealed."""
    return Place(person_id, "shop_periods").at(tag)


def shop_tag(ring: Keyring, domain: str) -> bytes:
    """The blind tag of a shop of which something is said."""
    return ring.tag("", "shop_periods", "domain")(domain)


_SHOP: Final = msgspec.json.Decoder(Shop)


def shops(tx: Connection, ring: Keyring) -> dict[str, Shop]:
    """What the person said of shops, by domain."""
    rows = tx.execute(select(shop_periods.c.domain_tag, shop_periods.c.body).where(shop_periods.c.person_id == ring.person_id))
    found = [_SHOP.decode(ring.unseal(shop_place(ring.person_id, row.domain_tag), row.body)) for row in rows]
    return {shop.domain: shop for shop in sorted(found, key=lambda shop: shop.domain)}


# What a person owns


@dataclass(frozen=True, slots=True)
class Owned:
    """What was bought and not sent back, newest first, from so many of the newest purchases and returns; `more`: there are older ones."""

    things: list[Thing]
    numbers: dict[str, int]
    returned: int
    first: dt.date | None
    more: bool


def owned(tx: Connection, ring: Keyring, wanted: Callable[[Thing], bool], number: int, since: dt.date) -> Owned:
    """The newest things, until `number` of them are `wanted`, as far as there are so many; and all that were bought since a day."""
    look = FIRST_LOOK
    while True:
        found = _look(tx, ring, look)
        enough = sum(map(wanted, found.things)) >= number and (found.first is None or found.first < since)
        if enough or not found.more or look >= LAST_LOOK:
            return found
        look *= 3


def _look(tx: Connection, ring: Keyring, look: int) -> Owned:
    rows = events.own_rows(tx, ring, Wanted(("purchase", "return")), events.LAST_DAY)
    opened, known = stored.Opener(ring), []
    numbers: Counter[str] = Counter()
    oldest: dt.date | None = None
    for row in islice(rows, look):
        known.append(Known(row.event_tag.hex(), opened(*row)))
        numbers[row.kind] += 1
        oldest = row.day
    left, returned = things(known)
    return Owned(left, dict(numbers), returned, oldest, next(rows, None) is not None)


__all__ = [
    "FIRST_MONTH", "LAST_LOOK", "LAST_MONTH", "ON_THE_SPOT", "Body", "Loaded", "Owned", "Row", "Shop", "add", "last_day", "load", "owned", "place_of",
    "shop_place", "shop_tag", "shops", "span", "tally",
]  # fmt: skip
