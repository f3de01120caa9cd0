"""Turns the order lines of any shop's CSV export into purchases and returns, told by a mapping which column is what."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from broker.events import shape, sites
from broker.imports import money, tables, times
from broker.imports.reports import Ids, Report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

MAX_OPEN_LINES: Final = 100_000
"""How many lines may wait for the rest of their order; beyond this the oldest orders are closed."""
MAX_QUANTITY: Final = 99_999
_LIMITS: Final = {"product": 200, "sku": 64}
_MAX_ORDER_ID = 100
_FINER = "price finer than the minor unit, rounded half to even"


class Skip(Exception):
    """A row that makes no event, with the reason that is counted."""


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """What the columns of one file mean; columns by name, `None` where the file has none.

    `site` is the shop's host. Either `unit_price` or `line_total` names a column, either `currency_column` or `currency` (ISO 4217) is
    given. `category` is fixed, `category_column` holds the shop's words. `decimal` is the decimal mark of prices and quantities.
    Rows whose order id begins with `cancelled_prefix`, or whose quantity is negative, are returns. Raises ValueError.
    """

    site: str
    time: str
    zone: str = "UTC"
    day_first: bool = False
    decimal: str = "."
    order_id: str | None = None
    product: str | None = None
    sku: str | None = None
    quantity: str | None = None
    unit_price: str | None = None
    line_total: str | None = None
    currency: str | None = None
    currency_column: str | None = None
    category: str | None = None
    category_column: str | None = None
    cancelled_prefix: str = ""

    def __post_init__(self) -> None:
        if sites.site_of_host(self.site) is None:
            raise ValueError("The shop's site must be a host name such as www.shop.example.")
        if (self.unit_price is None) == (self.line_total is None):
            raise ValueError("Name one column: the price per piece or the total of the line.")
        if (self.currency is None) == (self.currency_column is None):
            raise ValueError("Give one of a currency and a column of currencies.")
        if self.currency is not None and self.currency not in shape.EXPONENTS:
            raise ValueError("The currency must be an ISO 4217 code such as EUR.")
        if self.decimal not in {".", ","}:
            raise ValueError("The decimal mark is a dot or a comma.")
        if self.category is not None and self.category.partition("/")[0] not in shape.TOPS:
            raise ValueError("The category must begin with one of the top categories.")
        times.zone_named(self.zone)

    def columns(self) -> dict[str, str]:
        """Role → name of each column the mapping uses."""
        roles = ("time", "order_id", "product", "sku", "quantity", "unit_price", "line_total", "currency_column", "category_column")
        return {role: name for role in roles if (name := getattr(self, role)) is not None}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an order, ready to be grouped; money in minor units of `currency`, never negative."""

    site: str
    at: datetime
    order_id: str
    currency: str
    returned: bool
    total: int
    item: dict[str, Any]
    row: tuple[str, ...]
    extras: dict[str, int] = field(default_factory=dict)
    """Any of `tax`, `shipping`, `discount`."""


def events(table: tables.Table, mapping: Mapping, report: Report, *, now: datetime, key: bytes = b"") -> Iterator[shape.Event]:
    """The purchases and returns of a file: lines of one order become one event, from 201 items on several with the same order id.

    Raises `Unreadable` if a mapped column is missing or the file is not CSV to its end.
    """
    places = {role: table.place(name) for role, name in mapping.columns().items()}
    report.ignored_columns = tuple(name for number, name in enumerate(table.header) if number not in places.values())
    orders = Orders(report, now=now, key=key)
    for row in table.rows():
        report.seen += 1
        if len(row) < len(table.header):
            report.skipped["fewer columns than the header"] += 1
            continue
        try:
            line = _line(mapping, {role: row[place].strip() for role, place in places.items()}, tuple(row), report)
        except Skip as reason:
            report.skipped[str(reason)] += 1
            continue
        yield from orders.add(line)
    yield from orders.close()


class Orders:
    """Gathers lines by order and makes one event of each, however the lines are spread over the file."""

    def __init__(self, report: Report, *, now: datetime, key: bytes) -> None:
        self._report = report
        self._now = now
        self._ids = Ids(key)
        self._open: OrderedDict[tuple[str, str, str, bool], list[Line]] = OrderedDict()
        self._lines = 0

    def add(self, line: Line) -> Iterator[shape.Event]:
        """Take a line; yields the events of orders closed to make room, or of a line that belongs to no order."""
        if not line.order_id:
            yield from self._events([line])
            return
        self._open.setdefault((line.site, line.order_id, line.currency, line.returned), []).append(line)
        self._lines += 1
        while self._lines > MAX_OPEN_LINES:
            _, lines = self._open.popitem(last=False)
            self._lines -= len(lines)
            yield from self._events(lines)

    def close(self) -> Iterator[shape.Event]:
        """The events of all orders that are still open."""
        while self._open:
            yield from self._events(self._open.popitem(last=False)[1])

    def _events(self, lines: list[Line]) -> Iterator[shape.Event]:
        at = min(line.at for line in lines)
        for start in range(0, len(lines), shape.MAX_ITEMS):
            if start:
                self._report.noted["order of more than 200 lines, split"] += 1
            yield from self._event(at, lines[start : start + shape.MAX_ITEMS])

    def _event(self, at: datetime, lines: list[Line]) -> Iterator[shape.Event]:
        first = lines[0]
        kind = "return" if first.returned else "purchase"
        # The shop's own number survives a later export with other columns; the parts of a long order are told apart by their count.
        own = (first.order_id, first.currency) if first.order_id else (at.isoformat(), *first.row)
        raw = {
            "id": self._ids.event_id(at, kind, first.site, *own),
            "kind": kind,
            "time": shape.written(at),
            "site": first.site,
            "total": _money(sum(line.total for line in lines), first.currency),
            "items": [line.item for line in lines],
            "detected_by": "import",
            "confidence": "confirmed",
        }
        if first.order_id:
            raw["order_id"] = first.order_id
        for name in ("tax", "shipping", "discount"):
            if amount := sum(line.extras.get(name, 0) for line in lines):
                raw[name] = _money(amount, first.currency)
        try:
            event = shape.check(raw, now=self._now)
        except shape.Invalid:
            self._report.skipped["not a possible event"] += len(lines)
            return
        self._report.made[kind] += 1
        yield event


def item_of(words: dict[str, str], category: str | None) -> dict[str, Any]:
    """An item from the texts of its columns `product` and `sku`: on one line, cut to their limits, left out where empty."""
    item: dict[str, Any] = {"category": category} if category else {}
    for name, limit in _LIMITS.items():
        if text := clean(words.get(name, ""))[:limit].strip():
            item[name] = text
    return item


def clean(text: str) -> str:
    """A text on one line without control characters."""
    words = " ".join(text.split())
    return words if words.isprintable() else "".join(sign for sign in words if sign >= " ")


def minor(amount: money.Exact, currency: str, report: Report) -> int:
    """An amount in minor units; what is lost by rounding is noted."""
    units, exact = money.minor(amount, shape.EXPONENTS[currency])
    if not exact:
        report.noted[_FINER] += 1
    return units


def whole(text: str, decimal: str = ".") -> int:
    """A quantity: a whole number, negative for a return. Raises `Skip` for others, for 0 and for more than 99,999."""
    number = money.read(text, decimal)
    if number is None or number.units % 10**number.places:
        raise Skip("quantity not a whole number")
    count = number.units // int(10**number.places)
    if count == 0 or abs(count) > MAX_QUANTITY:
        raise Skip("quantity 0 or above 99,999")
    return count


def moment(text: str, zone: str, report: Report, *, day_first: bool) -> datetime:
    """The time of a row. Raises `Skip`."""
    at = times.read(text, zone, day_first=day_first)
    if at is None:
        raise Skip("time not readable")
    if not times.has_clock(text):
        report.noted["no time of day, noon taken"] += 1
    return at


def _line(mapping: Mapping, cells: dict[str, str], row: tuple[str, ...], report: Report) -> Line:
    currency = mapping.currency or cells["currency_column"].upper()
    if currency not in shape.EXPONENTS:
        raise Skip("no ISO 4217 currency")
    count = whole(cells["quantity"], mapping.decimal) if "quantity" in cells else 1
    order_id = clean(cells.get("order_id", ""))[:_MAX_ORDER_ID]
    price, total, negative = _prices(mapping, cells, currency, abs(count), report)
    item = item_of(cells, _category(mapping, cells))
    item |= {"price": _money(price, currency), "quantity": abs(count)}
    cancelled = bool(mapping.cancelled_prefix) and order_id.startswith(mapping.cancelled_prefix)
    at = moment(cells["time"], mapping.zone, report, day_first=mapping.day_first)
    return Line(mapping.site, at, order_id, currency, negative or count < 0 or cancelled, total, item, row)


def _prices(mapping: Mapping, cells: dict[str, str], currency: str, count: int, report: Report) -> tuple[int, int, bool]:
    """Price per piece and total of a line in minor units, and whether the total was negative. Raises `Skip` where a price is none."""
    amount = money.read(cells["unit_price" if mapping.unit_price else "line_total"], mapping.decimal)
    if amount is None:
        raise Skip("price not readable")
    if mapping.line_total:
        total = abs(minor(amount, currency, report))
        price, exact = money.divide(total, count)
        if not exact:
            report.noted["price per piece rounded half to even"] += 1
        return price, total, amount.units < 0
    if amount.units < 0:
        raise Skip("negative price")
    if amount.units == 0:
        report.noted["price 0"] += 1
    # The line is multiplied before it is rounded, so that eight pieces at 0.125 cost exactly 1.00.
    return money.minor(amount, shape.EXPONENTS[currency])[0], minor(amount.times(count), currency, report), False


def _category(mapping: Mapping, cells: dict[str, str]) -> str | None:
    """The fixed category, or the shop's words below `other` unless they begin with a top category themselves."""
    if mapping.category_column is None:
        return mapping.category
    words = [segment for part in clean(cells["category_column"]).split("/") if (segment := part.strip()[: shape.MAX_SEGMENT].strip())]
    if not words:
        return mapping.category
    path = [words[0].lower(), *words[1:]] if words[0].lower() in shape.TOPS else ["other", *words]
    return "/".join(path[: shape.MAX_DEPTH + 1])


def _money(amount_minor: int, currency: str) -> dict[str, Any]:
    return {"amount_minor": amount_minor, "currency": currency}
