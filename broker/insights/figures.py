"""Money and time, put together from totals by month, shop, site and class of site: pure. Money of two currencies is never added."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

BOUGHT = ("purchase", "subscription")


@dataclass(slots=True)
class Flow:
    """Money one way and back, in minor units of one currency."""

    spent: int = 0
    returned: int = 0

    @property
    def left(self) -> int:
        """What was spent and did not come back; below 0 where more came back."""
        return self.spent - self.returned

    def add(self, kind: str, minor: int) -> None:
        """More of it."""
        if kind == "return":
            self.returned += minor
        else:
            self.spent += minor


@dataclass(slots=True)
class Money:
    """The money of one currency: altogether, by month, by shop, and what was spent by both."""

    currency: str
    whole: Flow = field(default_factory=Flow)
    by_month: dict[str, Flow] = field(default_factory=dict)
    by_shop: dict[str, Flow] = field(default_factory=dict)
    spent: Counter[tuple[str, str]] = field(default_factory=Counter)

    def shops(self) -> list[tuple[str, Flow]]:
        """Shops, where most was spent first."""
        return sorted(self.by_shop.items(), key=lambda each: (-each[1].spent, each[1].returned, each[0]))

    def months(self) -> list[tuple[str, Flow]]:
        """Months, the newest first."""
        return sorted(self.by_month.items(), reverse=True)


def money(rows: Iterable[Any]) -> tuple[list[Money], dict[str, int]]:
    """By currency, the one with most purchases and returns first; and of how many events of each kind no price is known."""
    found: dict[str, Money] = {}
    often: Counter[str] = Counter()
    unpriced: Counter[str] = Counter()
    for row in rows:
        unpriced[row.kind] += row.body.unpriced
        for currency, minor in row.body.sums.items():
            of = found.setdefault(currency, Money(currency))
            often[currency] += row.body.number
            of.whole.add(row.kind, minor)
            of.by_month.setdefault(row.month, Flow()).add(row.kind, minor)
            of.by_shop.setdefault(row.body.site, Flow()).add(row.kind, minor)
            if row.kind in BOUGHT:
                of.spent[row.month, row.body.site] += minor
    return [found[currency] for currency in sorted(found, key=lambda each: (-often[each], each))], {kind: number for kind, number in unpriced.items() if number}


@dataclass(slots=True)
class Spell:
    """Visits, their milliseconds, and of how many of them those are known."""

    visits: int = 0
    dwell: int = 0
    known: int = 0

    def add(self, visits: int, dwell: int, known: int) -> None:
        """More of it."""
        self.visits += visits
        self.dwell += dwell
        self.known += known


@dataclass(slots=True)
class Time:
    """Where time goes: altogether, by class of site, by site, by month, and visits by month and class."""

    whole: Spell = field(default_factory=Spell)
    by_class: defaultdict[str, Spell] = field(default_factory=lambda: defaultdict(Spell))
    by_site: defaultdict[str, Spell] = field(default_factory=lambda: defaultdict(Spell))
    by_month: defaultdict[str, Spell] = field(default_factory=lambda: defaultdict(Spell))
    visits: Counter[tuple[str, str]] = field(default_factory=Counter)


def time(rows: Iterable[Any]) -> Time:
    """Visits and their time, from totals of page visits."""
    found, by_both = Time(), defaultdict[tuple[str, str], Spell](Spell)
    for row in rows:
        for site_class, visits, dwell, known in row.body.classes():
            found.by_site[row.body.site].add(visits, dwell, known)
            by_both[row.month, site_class].add(visits, dwell, known)
    # Of months and classes there are few, of sites many.
    for (month, site_class), spell in by_both.items():
        for each in (found.whole, found.by_class[site_class], found.by_month[month]):
            each.add(spell.visits, spell.dwell, spell.known)
        found.visits[month, site_class] = spell.visits
    return found


def longest(by: Mapping[str, Spell]) -> list[tuple[str, Spell]]:
    """What took the most time first, or had the most visits where no time is known."""
    return sorted(by.items(), key=lambda each: (-each[1].dwell, -each[1].visits, each[0]))
