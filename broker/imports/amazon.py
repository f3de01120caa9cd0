"""Reads the order history of Amazon's data export, in both forms of its header."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.events import products, shape, sites
from broker.imports import money, purchases
from broker.imports.reports import Report, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from broker.imports.tables import Table

HOME: Final = "www.amazon.com"
NOTHING: Final = frozenset({"", "not available", "not applicable", "n/a"})
CANCELLED: Final = frozenset({"cancelled", "canceled"})

# Role → the names it has had, lower case: Retail.OrderHistory.1.csv first, then the newer Order History.csv.
_ROLES: Final[dict[str, tuple[str, ...]]] = {
    "website": ("website",),
    "order_id": ("order id",),
    "time": ("order date",),
    "currency": ("currency",),
    "unit_price": ("unit price",),
    "unit_tax": ("unit price tax",),
    "shipping": ("shipping charge",),
    "discount": ("total discounts",),
    "owed": ("total owed", "total amount"),
    "sku": ("asin",),
    "quantity": ("quantity", "original quantity"),
    "status": ("order status",),
    "product": ("product name",),
}
_NEEDED: Final = frozenset({"order_id", "time", "currency", "unit_price", "sku", "product"})

# Known, and left behind on purpose: where and to whom things went, how they were paid, what was written on them.
_DROPPED: Final = frozenset(
    {
        "purchase order number",
        "payment instrument type",
        "payment method type",
        "ship date",
        "shipment status",
        "shipment item subtotal",
        "shipment item subtotal tax",
        "shipping option",
        "shipping address",
        "billing address",
        "carrier name & tracking number",
        "gift message",
        "gift sender name",
        "gift recipient contact",
        "gift recipient contact details",
        "item serial number",
        "product condition",
    },
)


def places_in(header: tuple[str, ...]) -> dict[str, int]:
    """Role → place of the columns known here, whatever their order; empty if the header is not Amazon's."""
    names = [name.strip().casefold() for name in header]
    places = {role: names.index(known) for role, aliases in _ROLES.items() for known in aliases if known in names}
    return places if places.keys() >= _NEEDED else {}


def events(table: Table, report: Report, *, now: datetime, key: bytes = b"") -> Iterator[shape.Event]:
    """One purchase per order, without addresses, gift and payment details; cancelled orders are skipped and counted.

    `price` is per unit without tax, `total` what was owed for the order with tax, shipping and discounts. Raises `Unreadable`.
    """
    places = places_in(table.header)
    if not places:
        raise Unreadable("This file lacks the columns of Amazon's order history. Choose its “Order History” CSV, or tell which column is what.")
    _say_what_is_left(table.header, report)
    orders = purchases.Orders(report, now=now, key=key)
    for row in table.rows():
        report.seen += 1
        if len(row) < len(table.header):
            report.skipped["fewer columns than the header"] += 1
            continue
        cells = {role: _said(row[place]) for role, place in places.items()}
        try:
            line = _line(cells, tuple(row), report)
        except purchases.Skip as reason:
            report.skipped[str(reason)] += 1
            continue
        yield from orders.add(line)
    yield from orders.close()


def _say_what_is_left(header: tuple[str, ...], report: Report) -> None:
    known = {alias for aliases in _ROLES.values() for alias in aliases}
    report.dropped_columns = tuple(name for name in header if name.casefold() in _DROPPED)
    report.ignored_columns = tuple(name for name in header if name.casefold() not in known | _DROPPED)


def _said(cell: str) -> str:
    """A cell's text, or nothing where Amazon says that it has none."""
    text = cell.strip()
    return "" if text.casefold() in NOTHING else text


def _line(cells: dict[str, str], row: tuple[str, ...], report: Report) -> purchases.Line:
    if cells.get("status", "").casefold() in CANCELLED:
        raise purchases.Skip("cancelled order")
    currency = cells["currency"].upper()
    if currency not in shape.EXPONENTS:
        raise purchases.Skip("no ISO 4217 currency")
    count = purchases.whole(cells.get("quantity") or "1")
    if count < 0:
        raise purchases.Skip("negative quantity")
    price = money.read(cells["unit_price"])
    if price is None or price.units < 0:
        raise purchases.Skip("price not readable")
    at = purchases.moment(cells["time"], "UTC", report, day_first=False)
    extras = {name: abs(_minor(cells.get(name, ""), currency)) for name in ("shipping", "discount")}
    extras["tax"] = _minor(cells.get("unit_tax", ""), currency) * count
    owed = money.read(cells.get("owed", ""))
    if owed is None:
        report.noted["total computed, none given"] += 1
        total = purchases.minor(price.times(count), currency, report) + extras["tax"] + extras["shipping"] - extras["discount"]
    else:
        total = purchases.minor(owed, currency, report)
    item = _item(cells) | {"price": {"amount_minor": money.minor(price, shape.EXPONENTS[currency])[0], "currency": currency}, "quantity": count}
    return purchases.Line(
        _site(cells, report), at, purchases.clean(cells["order_id"])[:100], currency, returned=False, total=total, item=item, row=row, extras=extras
    )


def _minor(text: str, currency: str) -> int:
    amount = money.read(text)
    return 0 if amount is None else money.minor(amount, shape.EXPONENTS[currency])[0]


def _item(cells: dict[str, str]) -> dict[str, Any]:
    """An ASIN that is an ISBN says for certain that the thing is a book, and which."""
    gtin = products.isbn13(cells["sku"])
    item = purchases.item_of(cells, "books" if gtin else None)
    return item | {"gtin": gtin} if gtin else item


def _site(cells: dict[str, str], report: Report) -> str:
    """`Amazon.de` is www.amazon.de; Amazon's other names for its outlets count as its home."""
    name = cells.get("website", "").casefold()
    host = f"www.{name}"
    if name.startswith("amazon.") and sites.site_of_host(host) is not None:
        return host
    report.noted["website unknown, www.amazon.com taken"] += 1
    return HOME
