"""Charges that come again and again: told by `subscription` events, or found in purchases by their regular days. Pure."""

import calendar
import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final, TypeVar

from broker.insights.totals import CHARGED, Order

T = TypeVar("T")
LEAST: Final = 3
# Of all charges of a thing so large a part must be regular: else it is bought when it is needed.
SHARE: Final = Fraction(2, 3)
_IN_A_YEAR: Final = {"day": 365, "week": 52, "month": 12, "year": 1}
_PERIOD: Final = re.compile(r"P(\d+)([YMWD])")
_UNITS: Final = {"Y": "year", "M": "month", "W": "week", "D": "day"}


@dataclass(frozen=True, slots=True)
class Every:
    """How often: every so many days, weeks, months or years; and how many days late a charge may be before it is taken for ended."""

    number: int
    unit: str
    late: int

    @property
    def words(self) -> str:
        """Such as "every month"."""
        return f"every {self.unit}" if self.number == 1 else f"every {self.number} {self.unit}s"

    def after(self, day: dt.date) -> dt.date:
        """The day a charge is expected on after one on this day; the last of the month where it has no such day."""
        if self.unit in {"day", "week"}:
            return day + dt.timedelta(days=self.number * (7 if self.unit == "week" else 1))
        months = day.year * 12 + day.month - 1 + self.number * (12 if self.unit == "year" else 1)
        year, month = divmod(months, 12)
        return dt.date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))

    def in_a_year(self, minor: int) -> Fraction:
        """What charges of so much come to in a year."""
        return Fraction(minor * _IN_A_YEAR[self.unit], self.number)


# How many days apart, at least and at most, and what that is taken for.
FOUND: Final = (
    (5, 9, Every(1, "week", 4)), (26, 35, Every(1, "month", 10)), (84, 98, Every(3, "month", 21)), (351, 379, Every(1, "year", 45)),
)  # fmt: skip


def every_of(period: str) -> Every | None:
    """How often, by a subscription's own period (ISO 8601), such as `P1M`."""
    found = _PERIOD.fullmatch(period)
    if found is None:
        return None
    number, unit = int(found[1]), _UNITS[found[2]]
    if unit == "day" and number % 7 == 0:
        number, unit = number // 7, "week"
    if unit == "day" and number in {28, 30, 31}:
        number, unit = 1, "month"
    return Every(number, unit, {"day": 3, "week": 4, "month": 10, "year": 45}[unit])


@dataclass(frozen=True, slots=True)
class Charge:
    """What was charged on a day, in minor units."""

    day: dt.date
    minor: int


@dataclass(frozen=True, slots=True)
class Recurring:
    """A charge that comes again and again, its charges oldest first, `what` a digest of the things; `told` by events of its own, not found by its days."""

    site: str
    what: str
    name: str
    currency: str
    every: Every | None
    charges: tuple[Charge, ...]
    told: bool
    ended_on: dt.date | None = None

    @property
    def minor(self) -> int:
        """What it cost last."""
        return self.charges[-1].minor

    @property
    def next(self) -> dt.date | None:
        """When the next charge is expected."""
        return self.every.after(self.charges[-1].day) if self.every else None

    def is_over(self, today: dt.date) -> bool:
        """Whether it ended, or its next charge is so late that it must have."""
        late = self.next and self.every and today > self.next + dt.timedelta(days=self.every.late)
        return self.ended_on is not None or bool(late)

    @property
    def year(self) -> int:
        """What it comes to in a year, at its last price."""
        return round(self.every.in_a_year(self.minor)) if self.every else 0

    @property
    def month(self) -> int:
        """What it comes to in a month."""
        return round(self.every.in_a_year(self.minor) / 12) if self.every else 0

    @property
    def changes(self) -> list[tuple[dt.date, int, int]]:
        """When its price changed, from what and to what, the newest first."""
        return [(after.day, before.minor, after.minor) for before, after in pairwise(self.charges) if before.minor != after.minor][::-1]

    @property
    def rises(self) -> list[tuple[dt.date, int, int]]:
        """Those changes that made it dearer."""
        return [change for change in self.changes if change[2] > change[1]]


def _by_day(charges: Iterable[Charge]) -> list[Charge]:
    """One charge a day: what was charged twice on a day is one charge of both."""
    found: Counter[dt.date] = Counter()
    for charge in charges:
        found[charge.day] += charge.minor
    return [Charge(day, minor) for day, minor in sorted(found.items())]


def _kind_of_gap(days: int) -> int | None:
    return next((place for place, (least, most, _) in enumerate(FOUND) if least <= days <= most), None)


def regular(charges: Sequence[Charge]) -> tuple[Every, list[Charge]] | None:
    """The newest run of at least three charges at regular distances, where that is most of them; charges by day, oldest first."""
    gaps = [_kind_of_gap((after.day - before.day).days) for before, after in pairwise(charges)]
    end = len(gaps)
    while end:
        start = end - 1
        while start and gaps[start - 1] == gaps[end - 1]:
            start -= 1
        kind, run = gaps[end - 1], charges[start : end + 1]
        if kind is not None and len(run) >= LEAST:
            return (FOUND[kind][2], list(run)) if Fraction(len(run), len(charges)) >= SHARE else None
        end = start
    return None


Orders = Iterable[tuple[str, Order]]
"""Orders with their shop's domain."""
_Key = tuple[str, str, str]


def _groups(pairs: Iterable[tuple[_Key, T]]) -> list[tuple[_Key, list[T]]]:
    """By what is charged, what was charged at least three times."""
    found: dict[_Key, list[T]] = {}
    for key, each in pairs:
        found.setdefault(key, []).append(each)
    return [(key, found[key]) for key in sorted(key for key, each in found.items() if len(each) >= LEAST)]


def _charge(order: Order) -> Charge:
    return Charge(dt.date.fromisoformat(order.day), order.minor)


def _found(key: _Key, named: Iterable[tuple[str, Charge]]) -> list[Recurring]:
    """What is regular of a thing's charges, if anything is; of several names the newest."""
    listed = list(named)
    run = regular(_by_day(charge for _, charge in listed))
    name = max(listed, key=lambda each: (each[1].day, each[0]))[0]
    return [Recurring(key[0], key[1], name, key[2], run[0], tuple(run[1]), told=False)] if run else []


def found_in(purchases: Orders) -> list[Recurring]:
    """What is regular among purchases: first whole orders of the same things, then single things of what is left."""
    listed = list(purchases)
    whole: list[Recurring] = []
    for key, orders in _groups(((site, order.shape, order.currency), order) for site, order in listed if order.shape):
        whole += _found(key, ((order.name, _charge(order)) for order in orders))
    taken = {(each.site, each.what, each.currency, charge.day.isoformat()) for each in whole for charge in each.charges}
    # A thing that is always bought alone was looked at with the whole orders.
    several = {(site, line.what) for site, order in listed for line in order.lines or ()}
    lines = _groups(
        ((site, line.what, line.currency), (order.day, line))
        for site, order in listed if order.lines or (site, order.shape) in several
        for line in order.parts()
        if line.what and line.currency and (site, order.shape, order.currency, order.day) not in taken
    )  # fmt: skip
    known = {(each.site, each.what) for each in whole}
    for key, charged in lines:
        if key[:2] not in known:
            whole += _found(key, ((line.name, Charge(dt.date.fromisoformat(day), line.minor)) for day, line in charged))
    return whole


def told_by(orders: Orders) -> list[Recurring]:
    """What `subscription` events tell, whether it was charged once or often."""
    by_thing: dict[tuple[str, str], list[Order]] = {}
    for site, order in orders:
        by_thing.setdefault((site, order.shape), []).append(order)
    found = []
    for (site, what), events in sorted(by_thing.items()):
        events.sort(key=lambda order: order.day)
        charged = [order for order in events if order.action in CHARGED and order.currency]
        if not charged:
            continue
        last, currency = events[-1], charged[-1].currency
        charges = _by_day(_charge(order) for order in charged if order.currency == currency)
        period = next((order.period for order in reversed(events) if order.period), "")
        by_days = regular(charges)
        every = every_of(period) or (by_days[0] if by_days else None)
        ended = dt.date.fromisoformat(last.day) if last.action == "end" else None
        found.append(Recurring(site, what, charged[-1].name, currency, every, tuple(charges), told=True, ended_on=ended))
    return found


def recurring(purchases: Orders, subscriptions: Orders) -> list[Recurring]:
    """Everything that comes again and again, by when it is next expected; what events tell is not found a second time among purchases."""
    told = told_by(subscriptions)
    known = {(each.site, each.what) for each in told}
    found = told + [each for each in found_in(purchases) if (each.site, each.what) not in known]
    return sorted(found, key=lambda each: (each.next or dt.date.max, each.site, each.name))
