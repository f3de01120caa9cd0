"""Events and recipients as CSV for spreadsheets: flat, one row per item, and no cell that a spreadsheet would work out as a formula."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from broker.events import shape
from broker.events.leaving import MEMBERS
from broker.events.stored import Event

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a cell begins that a spreadsheet may run (OWASP, CSV Injection)."""
MONEY: Final = ("total", "tax", "shipping", "discount", "price")
# Without it some spreadsheets take UTF-8 for something else.
START: Final = "\N{ZERO WIDTH NO-BREAK SPACE}"
_ITEM: Final = shape.Item.__struct_fields__


def _columns(names: Iterable[str], before: str = "") -> list[str]:
    return [f"{before}{name}{more}" for name in names for more in (("", "_currency") if name in MONEY else ("",))]


def columns(kind: str) -> list[str]:
    """The columns of a kind."""
    names = MEMBERS[kind]
    own = _columns(name for name in names if name != "items")
    return [*own, *(_columns(_ITEM, "item_") if "items" in names else []), "received", "came_by"]


def safe(value: Any) -> str:
    """A cell: text that a spreadsheet would take for a formula gets an apostrophe before it."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _cells(members: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    found: list[Any] = []
    for name in names:
        value = members.get(name)
        if name not in MONEY:
            found.append(value)
        elif value is None:
            found += ["", ""]
        else:
            found += [Decimal(value["amount_minor"]).scaleb(-shape.EXPONENTS[value["currency"]]), value["currency"]]
    return [safe(value) for value in found]


def _rows(event: Event, kind: str, came_by: Mapping[str, str]) -> Iterator[list[str]]:
    own = _cells(event, (name for name in MEMBERS[kind] if name != "items"))
    end = [safe(event["received"]), safe(came_by.get(event["origin"], event["origin"]))]
    if "items" not in MEMBERS[kind]:
        yield [*own, *end]
        return
    for item in event.get("items") or [{}]:
        yield [*own, *_cells(item, _ITEM), *end]


def written(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as CSV (RFC 4180)."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def sheet(kind: str, days: Iterable[Iterable[Event]], came_by: Mapping[str, str]) -> Iterator[bytes]:
    """The events of a kind as CSV, piece by piece."""
    yield START.encode() + written([columns(kind)])
    for day in days:
        yield written(row for event in day for row in _rows(event, kind, came_by))
