"""Amazon's order history in both forms of its header; all rows are made up."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import pytest

from broker.events import shape
from broker.imports import amazon, sources, tables
from broker.imports.sources import Report, Unreadable

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

OLD = next(
    csv.reader(
        [
            (
                "Website,Order ID,Order Date,Purchase Order Number,Currency,Unit Price,Unit Price Tax,Shipping Charge,Total Discounts,Total Owed,"
                "Shipment Item Subtotal,Shipment Item Subtotal Tax,ASIN,Product Condition,Quantity,Payment Instrument Type,Order Status,Shipment Status,"
                "Ship Date,Shipping Option,Shipping Address,Billing Address,Carrier Name & Tracking Number,Product Name,Gift Message,Gift Sender Name,"
                "Gift Recipient Contact Details,Item Serial Number"
            )
        ]
    )
)
NEW = next(
    csv.reader(
        [
            (
                "ASIN,Billing Address,Currency,Gift Message,Loyalty Points,Order Date,Order ID,Order Status,Original Quantity,Payment Method Type,"
                "Product Name,Shipping Address,Shipping Charge,Total Amount,Total Discounts,Unit Price,Unit Price Tax,Website"
            )
        ]
    )
)
ROW = {
    "Website": "Amazon.de",
    "Order ID": "123-1234567-1234567",
    "Order Date": "2026-01-02T10:11:12Z",
    "Currency": "EUR",
    "Unit Price": "1,010.00",
    "Unit Price Tax": "190",
    "Shipping Charge": "3.99",
    "Total Discounts": "'-5.99'",
    "Total Owed": "2398.00",
    "Total Amount": "2398.00",
    "ASIN": "B005T3GRLY",
    "Quantity": "2",
    "Original Quantity": "2",
    "Order Status": "Closed",
    "Product Name": "Fountain  pen",
    "Payment Instrument Type": "Visa - 1234",
    "Payment Method Type": "Visa - 1234",
    "Shipping Address": "Alice Example 1 Hidden Street",
    "Billing Address": "Alice Example 1 Hidden Street",
    "Gift Message": "Happy birthday Bob",
}


def imported(path: Path, header: list[str], now: datetime, *changes: dict[str, str]) -> tuple[list[dict[str, Any]], Report]:
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, header, restval="Not Available", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(ROW | change for change in changes)
    found = sources.recognise(path)
    assert found.kind == "amazon"
    report = Report()
    events = list(sources.events(found, report, now=now))
    assert [shape.check(event, now=now) for event in events] == events
    return events, report


@pytest.mark.parametrize("header", [OLD, NEW, OLD[::-1]])
def test_an_order_comes_in_without_addresses_gifts_and_payment(tmp_path: Path, now: datetime, header: list[str]) -> None:
    events, report = imported(tmp_path / "x.csv", header, now, {})
    (event,) = events
    assert {name: value for name, value in event.items() if name != "id"} == {
        "kind": "purchase",
        "time": "2026-01-02T10:11:12.000Z",
        "site": "www.amazon.de",
        "confidence": "confirmed",
        "detected_by": "import",
        "order_id": "123-1234567-1234567",
        "total": {"amount_minor": 239_800, "currency": "EUR"},
        "tax": {"amount_minor": 38_000, "currency": "EUR"},
        "shipping": {"amount_minor": 399, "currency": "EUR"},
        "discount": {"amount_minor": 599, "currency": "EUR"},
        "items": [{"product": "Fountain pen", "sku": "B005T3GRLY", "price": {"amount_minor": 101_000, "currency": "EUR"}, "quantity": 2}],
    }
    assert "Shipping Address" in report.dropped_columns
    assert report.ignored_columns == (("Loyalty Points",) if header is NEW else ())


def test_the_case_of_column_names_does_not_matter(tmp_path: Path, now: datetime) -> None:
    path = tmp_path / "x.csv"
    events, _ = imported(path, OLD, now, {})
    header, rows = path.read_text("utf-8-sig").split("\n", 1)
    path.write_text(header.upper() + "\n" + rows, "utf-8")
    assert list(sources.events(sources.recognise(path), Report(), now=now)) == events


def test_items_of_one_order_are_one_purchase_and_a_book_is_known(tmp_path: Path, now: datetime) -> None:
    events, _ = imported(tmp_path / "x.csv", OLD, now, {}, {"Order ID": "2"}, {"ASIN": "0321268172", "Total Owed": "10.00"})
    assert [len(event["items"]) for event in events] == [2, 1]
    assert events[0]["total"]["amount_minor"] == 240_800
    assert events[0]["items"][1]["gtin"] == "9780321268174"
    assert events[0]["items"][1]["category"] == "books"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Order Status": "Cancelled"}, "cancelled order"),
        ({"Currency": "Not Applicable"}, "no ISO 4217 currency"),
        ({"Unit Price": "Not Available"}, "price not readable"),
        ({"Quantity": "0"}, "quantity 0 or above 99,999"),
        ({"Order Date": "Not Available"}, "time not readable"),
        ({"Total Owed": "-1.00"}, "not a possible event"),
    ],
)
def test_each_skipped_order_has_its_reason(tmp_path: Path, now: datetime, change: dict[str, str], reason: str) -> None:
    events, report = imported(tmp_path / "x.csv", OLD, now, {}, {"Order ID": "2"} | change)
    assert len(events) == 1
    assert report.skipped == {reason: 1}


def test_a_missing_total_is_computed_and_an_unknown_outlet_is_noted(tmp_path: Path, now: datetime) -> None:
    events, report = imported(tmp_path / "x.csv", OLD, now, {"Total Owed": "Not Available", "Website": "panda01"})
    assert events[0]["total"]["amount_minor"] == 2 * 101_000 + 38_000 + 399 - 599
    assert events[0]["site"] == "www.amazon.com"
    assert report.noted == {"total computed, none given": 1, "website unknown, www.amazon.com taken": 1}


def test_another_shops_table_is_not_amazons(tmp_path: Path, now: datetime) -> None:
    path = tmp_path / "x.csv"
    path.write_text("Order ID,Order Date,Price\n1,2026-01-01,2\n", "utf-8")
    assert sources.recognise(path).kind == "csv"
    with pytest.raises(Unreadable, match="Amazon"):
        list(amazon.events(tables.look(path), Report(), now=now))
