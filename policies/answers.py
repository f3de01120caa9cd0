"""Answers in place of rows (F9): how long ago, how often and how much somebody bought, from covered, trimmed purchases."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from policies.precision import coarse
from policies.slices import NONE, Slice

Row = Mapping[str, Any]

NEEDS: Mapping[str, Mapping[str, str]] = {"frequency": {"time": "day"}, "monetary": {"time": "day", "total": "exact"}, "recency": {"time": "day"}}
"""Answer -> the fields that it is worked out from, each at the level it needs. A deny of one of them leaves nothing to answer from."""

DAYS = ((16, "16+"), (8, "8-15"), (4, "4-7"))
_band = coarse("money", "band")


def basis(part: Slice) -> Slice:
    """Return the purchases that the answers of a Permitted slice are worked out from, trimmed to what these need."""
    fields = {field: level for name in part.answers for field, level in NEEDS[name].items()}
    return replace(part, kinds=part.kinds & {"purchase"}, form="rows", answers=NONE, fields=fields).normal()


def work_out(names: Collection[str], rows: Iterable[Row], today: date) -> dict[str, Any]:
    """Return the named answers from the rows of `basis`, on a UTC day.

    What is hidden and what never happened look alike: `recency` None, `frequency` "0", `monetary` {}.
    """
    dated = [row for row in rows if "time" in row]
    return {name: _ANSWERS[name](dated, today) for name in sorted(names)}


def _recency(rows: Collection[Row], today: date) -> int | None:
    """Whole weeks since the last purchase."""
    newest = max((row["time"][:10] for row in rows), default=None)
    # A clock that is ahead may have dated one tomorrow.
    return None if newest is None else max(0, (today - date.fromisoformat(newest)).days // 7)


def _frequency(rows: Collection[Row], _today: date) -> str:
    """Days with a purchase in the window."""
    number = len({row["time"][:10] for row in rows})
    return next((name for least, name in DAYS if number >= least), str(number))


def _monetary(rows: Collection[Row], _today: date) -> dict[str, dict[str, Any]]:
    """Band of the mean total per day with a purchase, by currency."""
    spent: dict[str, dict[str, int]] = {}
    for row in rows:
        if "total" in row:
            days = spent.setdefault(row["total"]["currency"], {})
            days[row["time"][:10]] = days.get(row["time"][:10], 0) + row["total"]["amount_minor"]
    return {currency: _band({"currency": currency, "amount_minor": sum(days.values()) // len(days)}) for currency, days in sorted(spent.items())}


_ANSWERS: Mapping[str, Callable[[Collection[Row], date], Any]] = {"frequency": _frequency, "monetary": _monetary, "recency": _recency}
