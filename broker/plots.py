"""Bars over time: what a plot shows, worked out on the server. Days are UTC days; nothing here knows what is counted."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 960
HEIGHT: Final = 160
GAP: Final = 0.2
# The longest time, in days, that is shown by the day and by the week; longer ones by the month, the longest by the year.
DAYS, WEEKS, MONTHS = 62, 420, 3700
STEPS: Final = ("day", "week", "month", "year")
_ROUND: Final = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Part:
    """One kind's share of a bar: `place` is its place among all kinds, the rest is in the units of the drawing."""

    place: int
    number: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One period, both days included, with the parts that stand on each other in it."""

    first: dt.date
    last: dt.date
    total: int
    x: float
    width: float
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """Bars of one `step` (day, week, month or year), the oldest first; `top` is the number at the upper edge."""

    step: str
    top: int
    bars: tuple[Bar, ...]


def step_of(first: dt.date, last: dt.date) -> str:
    """How long the periods are for the bars to be told apart."""
    days = (last - first).days
    return "day" if days <= DAYS else "week" if days <= WEEKS else "month" if days <= MONTHS else "year"


def begin_of(day: dt.date, step: str) -> dt.date:
    """The first day of the period that a day lies in; weeks begin on Monday (ISO 8601)."""
    if step == "week":
        return day - dt.timedelta(days=day.weekday())
    return {"day": day, "month": day.replace(day=1), "year": day.replace(month=1, day=1)}[step]


def _next(begin: dt.date, step: str) -> dt.date:
    if step in {"day", "week"}:
        return begin + dt.timedelta(days=7 if step == "week" else 1)
    later = begin + dt.timedelta(days=32 if step == "month" else 370)
    return begin_of(later, step)


def _round_up(number: int) -> int:
    """The next number with one digit before its zeros that is 1, 2 or 5."""
    size = 1
    while size * _ROUND[-1] < number:
        size *= 10
    return next(size * each for each in _ROUND if size * each >= number)


def over_time(numbers: Mapping[tuple[dt.date, str], int], kinds: Sequence[str], first: dt.date, last: dt.date, *, least: str = "day") -> Plot:
    """A plot of how much there was of each kind from `first` to `last`, both included; days beyond these are left out.

    Bars are of the step `least` or longer.
    """
    step = max(step_of(first, last), least, key=STEPS.index)
    periods: dict[dt.date, dict[str, int]] = {}
    for (day, kind), number in numbers.items():
        if first <= day <= last:
            of_period = periods.setdefault(begin_of(day, step), {})
            of_period[kind] = of_period.get(kind, 0) + number
    top = _round_up(max((sum(each.values()) for each in periods.values()), default=1))
    begins = list(_begins(first, last, step))
    wide = WIDTH / len(begins)
    bars = []
    for at, begin in enumerate(begins):
        found, end = periods.get(begin, {}), _next(begin, step) - dt.timedelta(days=1)
        bars.append(Bar(max(begin, first), min(end, last), sum(found.values()), at * wide, wide * (1 - GAP), _stacked(found, kinds, top)))
    return Plot(step, top, tuple(bars))


def _begins(first: dt.date, last: dt.date, step: str) -> Iterator[dt.date]:
    begin = begin_of(first, step)
    while begin <= last:
        yield begin
        begin = _next(begin, step)


def _stacked(found: Mapping[str, int], kinds: Sequence[str], top: int) -> tuple[Part, ...]:
    parts, below = [], 0
    for place, kind in enumerate(kinds):
        if number := found.get(kind, 0):
            below += number
            parts.append(Part(place, number, HEIGHT * (1 - below / top), HEIGHT * number / top))
    return tuple(parts)
