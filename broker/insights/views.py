"""What the pages of insights show, put together from what was read: days that end, what a page was worked out from, plots. Pure."""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from broker import plots
from broker.insights.belongings import Thing
from broker.insights.queries import Loaded, Shop, last_day
from broker.insights.recurring import Every
from broker.rows import NOUNS
from broker.words import joined, many

SOON: Final = dt.timedelta(days=7)
MOST_PARTS: Final = 5
REST: Final = "all others"
# Longer times, in days, are shown by the year.
MOST_BY_MONTH: Final = 2 * 366


@dataclass(frozen=True, slots=True)
class Basis:
    """What a page was worked out from, in words, its days, and what is still to be counted."""

    words: str
    days: tuple[dt.date, dt.date] | None
    counting: str = ""
    waiting: int = 0


def basis(loaded: Loaded, kinds: Sequence[str], word: Callable[[dt.date], str]) -> Basis:
    """The basis of totals; `word` writes a month."""
    numbers = loaded.numbers()
    said = joined(many(numbers.get(kind, 0), *NOUNS[kind]) for kind in kinds if numbers.get(kind) or kind == kinds[0])
    months = sorted({month for _, month in loaded.counting})
    shown = [word(dt.date.fromisoformat(f"{month}-01")) for month in months]
    counting = f"{len(shown)} months from {shown[0]} to {shown[-1]}" if len(shown) > MOST_PARTS else joined(shown)
    return Basis(said, loaded.days(), counting, loaded.waiting)


@dataclass(frozen=True, slots=True)
class Kept:
    """A thing with the days that matter: bought, can be sent back until, warranty until (None: not said)."""

    thing: Thing
    day: dt.date
    back: dt.date | None
    warranty: dt.date | None

    def is_soon(self, today: dt.date) -> bool:
        """Whether its time to be sent back ends within seven days, today included."""
        return self.back is not None and today <= self.back <= today + SOON


def kept(thing: Thing, shop: Shop | None, zone: ZoneInfo) -> Kept:
    """A thing with what its person said of the shop, in days of their zone."""
    day = thing.at.date() if thing.day_only else thing.at.astimezone(zone).date()
    back = day + dt.timedelta(days=shop.days) if shop and shop.days else None
    warranty = Every(shop.months, "month", 0).after(day) if shop and shop.months else None
    return Kept(thing, day, back, warranty)


def _stacked(numbers: Mapping[tuple[str, str], int]) -> tuple[dict[tuple[dt.date, str], int], list[str]]:
    """By the first day of the month and the five largest names, the rest together; and those names, the largest first."""
    whole: Counter[str] = Counter()
    for (_, name), number in numbers.items():
        whole[name] += number
    largest = [name for name, number in sorted(whole.items(), key=lambda each: (-each[1], each[0])) if number]
    names = largest if len(largest) <= MOST_PARTS + 1 else [*largest[:MOST_PARTS], REST]
    found: Counter[tuple[dt.date, str]] = Counter()
    for (month, name), number in numbers.items():
        found[dt.date.fromisoformat(f"{month}-01"), name if name in names else REST] += number
    return dict(found), names


def plot(numbers: Mapping[tuple[str, str], int], closer: Callable[[dt.date, dt.date], str], say: Callable[[int], str]) -> dict[str, Any] | None:
    """The plot of numbers by month (`2026-11`) and name; `closer` gives the address of some days, `say` writes a number. None for a single month."""
    stacked, names = _stacked(numbers)
    months = sorted(month for month, number in numbers.items() if number)
    if not months or months[0][0] == months[-1][0]:
        return None
    first, last = dt.date.fromisoformat(f"{months[0][0]}-01"), last_day(months[-1][0])
    drawn = plots.over_time(stacked, names, first, last, least="month" if (last - first).days <= MOST_BY_MONTH else "year")
    zoomed = {bar.first: closer(bar.first, bar.last) for bar in drawn.bars if bar.total}
    return {"it": drawn, "names": names, "zoomed": zoomed, "most": max(drawn.bars, key=lambda bar: bar.total), "say": say}


def by_year(months: Iterable[tuple[str, Any]], make: Callable[[], Any], add: Callable[[Any, Any], None]) -> list[tuple[str, Any]]:
    """What lies in months put together by year, the newest first."""
    found: dict[str, Any] = {}
    for month, each in months:
        add(found.setdefault(month[:4], make()), each)
    return sorted(found.items(), reverse=True)
