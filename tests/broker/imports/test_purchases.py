"""Orders from any shop's CSV: exact money, grouped lines, returns, and the same ids next time."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.events import shape
from broker.imports import money, purchases, sources, tables, times
from broker.imports.purchases import Mapping
from broker.imports.sources import Report, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

UCI = Mapping(
    site="www.gifts.example",
    time="InvoiceDate",
    zone="Europe/London",
    order_id="InvoiceNo",
    product="Description",
    sku="StockCode",
    quantity="Quantity",
    unit_price="UnitPrice",
    currency="GBP",
    cancelled_prefix="C",
)
SMALL = Mapping(site="www.shop.example", time="date", order_id="order", product="what", sku="sku", quantity="n", unit_price="price", currency_column="money")
HEADER = "order,date,what,sku,n,price,money\n"


def imported(path: Path, mapping: Mapping, now: datetime) -> tuple[list[dict[str, Any]], Report]:
    report = Report()
    events = list(sources.events(sources.recognise(path), report, now=now, key=b"key", mapping=mapping))
    assert [shape.check(event, now=now) for event in events] == events
    assert len({event["id"] for event in events}) == len(events)
    return events, report


def small(tmp_path: Path, now: datetime, *rows: str, mapping: Mapping = SMALL, header: str = HEADER) -> tuple[list[dict[str, Any]], Report]:
    path = tmp_path / "orders.csv"
    path.write_bytes((header + "\n".join(rows) + "\n").encode())
    return imported(path, mapping, now)


def test_a_real_shops_year_comes_out_to_the_penny(real: Callable[[str], Path], now: datetime) -> None:
    events, report = imported(real("uci_online_retail/online_retail_customers_hash8.csv.gz"), UCI, now)
    bought = [event for event in events if event["kind"] == "purchase"]
    returned = [event for event in events if event["kind"] == "return"]
    assert report.seen == 54_672 == sum(len(event["items"]) for event in events)
    assert report.skipped.total() == 0
    assert len({event["order_id"] for event in bought}) == 2510
    assert sum(event["total"]["amount_minor"] for event in bought) == 150_756_481
    assert 150_756_481 - sum(event["total"]["amount_minor"] for event in returned) == 145_814_080
    assert all(event["order_id"].startswith("C") for event in returned)
    assert report.noted == {"price 0": 8}
    assert report.ignored_columns == ("CustomerID", "Country")


def test_lines_of_one_order_become_one_purchase_wherever_they_stand(tmp_path: Path, now: datetime) -> None:
    rows = ("A1,2026-01-02 10:00,Ink,s1,2,1.25,EUR", "A2,2026-01-03,Pen,s2,1,9,EUR", "A1,2026-01-02 09:59,Paper,s3,1,0.50,EUR")
    events, report = small(tmp_path, now, *rows)
    assert events[0] == {
        "kind": "purchase",
        "id": events[0]["id"],
        "time": "2026-01-02T09:59:00.000Z",
        "site": "www.shop.example",
        "confidence": "confirmed",
        "detected_by": "import",
        "order_id": "A1",
        "total": {"amount_minor": 300, "currency": "EUR"},
        "items": [
            {"product": "Ink", "sku": "s1", "price": {"amount_minor": 125, "currency": "EUR"}, "quantity": 2},
            {"product": "Paper", "sku": "s3", "price": {"amount_minor": 50, "currency": "EUR"}, "quantity": 1},
        ],
    }
    assert events[1]["time"] == "2026-01-03T12:00:00.000Z"
    assert report.noted == {"no time of day, noon taken": 1}


def test_a_second_import_has_the_same_ids_and_identical_rows_both_stay(tmp_path: Path, now: datetime) -> None:
    rows = [",2026-01-02 10:00,Ink,s1,1,1,EUR"] * 2 + ["A1,2026-01-02 10:00,Ink,s1,1,1,EUR"] * 2
    first, second = small(tmp_path, now, *rows)[0], small(tmp_path, now, *rows)[0]
    assert [event["id"] for event in first] == [event["id"] for event in second]
    assert [len(event["items"]) for event in first] == [1, 1, 2]


def test_negative_quantities_and_cancelled_orders_are_returns_with_positive_totals(tmp_path: Path, now: datetime) -> None:
    rows = ("A1,2026-01-02 10:00,Ink,s1,2,3,EUR", "A1,2026-01-09 10:00,Ink,s1,-1,3,EUR", "C9,2026-01-09 10:00,Pen,s2,1,4,EUR")
    events, _ = small(tmp_path, now, *rows)
    assert [(event["kind"], event["total"]["amount_minor"]) for event in events] == [("purchase", 600), ("return", 300), ("purchase", 400)]
    mapping = Mapping(**{name: getattr(SMALL, name) for name in SMALL.__dataclass_fields__} | {"cancelled_prefix": "C"})
    events, _ = small(tmp_path, now, *rows, mapping=mapping)
    assert [event["kind"] for event in events] == ["purchase", "return", "return"]


def test_long_orders_are_split_and_none_is_lost(tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"A1,2026-01-02 10:00,Ink {number},s,1,1,EUR" for number in range(450)]
    events, report = small(tmp_path, now, *rows)
    assert [len(event["items"]) for event in events] == [200, 200, 50]
    assert {event["order_id"] for event in events} == {"A1"}
    assert report.noted == {"order of more than 200 lines, split": 2}
    monkeypatch.setattr(purchases, "MAX_OPEN_LINES", 100)
    events, _ = small(tmp_path, now, *rows)
    assert sum(len(event["items"]) for event in events) == 450


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("A2,2026-01-02,Ink,s,1,1,XXX", "no ISO 4217 currency"),
        ("A2,2026-01-02,Ink,s,1,,EUR", "price not readable"),
        ("A2,2026-01-02,Ink,s,1,1e9,EUR", "price not readable"),
        ("A2,2026-01-02,Ink,s,1,-1,EUR", "negative price"),
        ("A2,2026-01-02,Ink,s,0,1,EUR", "quantity 0 or above 99,999"),
        ("A2,2026-01-02,Ink,s,100000,1,EUR", "quantity 0 or above 99,999"),
        ("A2,2026-01-02,Ink,s,1.5,1,EUR", "quantity not a whole number"),
        ("A2,2026-13-02,Ink,s,1,1,EUR", "time not readable"),
        ("A2,1990-01-02,Ink,s,1,1,EUR", "not a possible event"),
        ("A2,2026-01-02,Ink,s,1,99999999999,EUR", "not a possible event"),
        ("A2,2026-01-02,Ink", "fewer columns than the header"),
    ],
)
def test_each_skipped_row_has_its_reason(tmp_path: Path, now: datetime, row: str, reason: str) -> None:
    events, report = small(tmp_path, now, "A1,2026-01-02,Ink,s,1,1,EUR", row)
    assert [event["order_id"] for event in events] == ["A1"]
    assert report.skipped == {reason: 1}


@pytest.mark.parametrize(
    ("currency", "price", "minor"), [("JPY", "1250", 1250), ("JPY", "12.5", 12), ("KWD", "1.2345", 1234), ("EUR", "0.125", 12), ("EUR", "0.135", 14)]
)
def test_money_has_the_currencys_own_minor_unit_and_rounds_half_to_even(tmp_path: Path, now: datetime, currency: str, price: str, minor: int) -> None:
    events, report = small(tmp_path, now, f"A1,2026-01-02 10:00,Ink,s,1,{price},{currency}")
    assert events[0]["total"] == {"amount_minor": minor, "currency": currency}
    assert report.noted.total() == (0 if price == "1250" else 1)


def test_a_line_is_rounded_once_after_it_was_multiplied(tmp_path: Path, now: datetime) -> None:
    events, report = small(tmp_path, now, "A1,2026-01-02 10:00,Ink,s,8,0.125,EUR")
    assert events[0]["total"]["amount_minor"] == 100
    assert report.noted.total() == 0


def test_totals_of_lines_a_comma_and_a_category_column(tmp_path: Path, now: datetime) -> None:
    mapping = Mapping(
        site="www.shop.example", time="Datum", line_total="Summe", quantity="Menge", currency="EUR", decimal=",", category_column="Art", zone="Europe/Berlin"
    )
    rows = ("03.02.2026 00:30;1.234,56 €;2;Books/Crime", "03.02.2026 10:00;-5,00;1;Schuhe", "03.02.2026 10:00;1,00;3;")
    events, report = small(tmp_path, now, *rows, mapping=mapping, header="Datum;Summe;Menge;Art\n")
    assert events[0]["time"] == "2026-02-02T23:30:00.000Z"
    assert events[0]["items"] == [{"category": "books/Crime", "price": {"amount_minor": 61728, "currency": "EUR"}, "quantity": 2}]
    assert (events[1]["kind"], events[1]["items"][0]["category"]) == ("return", "other/Schuhe")
    assert "category" not in events[2]["items"][0]
    assert report.noted == {"price per piece rounded half to even": 1}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"site": "localhost"}, "host name"),
        ({"line_total": "x"}, "one column"),
        ({"unit_price": None}, "one column"),
        ({"currency": "EUR"}, "one of a currency"),
        ({"currency_column": None, "currency": "Euro"}, "ISO 4217"),
        ({"decimal": "x"}, "dot or a comma"),
        ({"category": "shirts"}, "top categories"),
        ({"zone": "Mars/Base"}, "time zone"),
        ({"zone": "../../etc/passwd"}, "time zone"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(changes: dict[str, str | None], says: str) -> None:
    whole = {name: getattr(SMALL, name) for name in SMALL.__dataclass_fields__}
    with pytest.raises(ValueError, match=says):
        Mapping(**whole | changes)


def test_a_mapped_column_must_stand_there_once(tmp_path: Path, now: datetime) -> None:
    with pytest.raises(Unreadable, match="no column named “n”"):
        small(tmp_path, now, "1,2,3", header="order,date,what\n".replace("what", "price,money,sku,what"))
    with pytest.raises(Unreadable, match="more than one column named “n”"):
        small(tmp_path, now, "1,2,3", header=HEADER.strip() + ",N\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_encodings_and_delimiters_are_found(tmp_path: Path, now: datetime, encoding: str, delimiter: str) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes((HEADER + 'A1,2026-01-02 10:00,"Crème\n brûlée",s,1,1,EUR\n').replace(",", delimiter).encode(encoding))
    events, _ = imported(path, SMALL, now)
    assert events[0]["items"][0]["product"] == "Crème brûlée"


def test_a_missing_quotation_mark_is_found_before_it_swallows_the_file(tmp_path: Path, now: datetime) -> None:
    with pytest.raises(Unreadable):
        small(tmp_path, now, 'A1,2026-01-02,"Ink,s,1,1,EUR', *["A2,2026-01-02,Ink,s,1,1,EUR"] * 5_000)


@pytest.mark.parametrize(
    ("text", "decimal", "value"),
    [
        ("1,234.50", ".", "1234.50"),
        ("-2.1", ".", "-2.1"),
        ("(3.00)", ".", "-3.00"),
        ("EUR 12", ".", "12"),
        ("1.234,50 €", ",", "1234.50"),
        ("£0.125", ".", "0.125"),
        ("'-1.5'", ".", "-1.5"),
        ("5-", ".", "-5"),
        ("US$ .50", ".", "0.50"),
        ("1\u202f234,5", ",", "1234.5"),
        ("1'234.50", ".", "1234.50"),
    ],
)
def test_money_is_read_as_shops_write_it(text: str, decimal: str, value: str) -> None:
    found = money.read(text, decimal)
    assert found is not None
    assert Decimal(found.units).scaleb(-found.places) == Decimal(value)


@pytest.mark.parametrize("text", ["", "-", "abc", "1,2999", "12,34", "1.2.3", "1e5", "١٢", "1 2", "NaN", "0x10", "9" * 19, "12 34 56"])
def test_money_that_would_be_a_guess_is_not_read(text: str) -> None:
    assert money.read(text) is None


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=4), st.sampled_from([0, 2, 3]))
def test_rounding_agrees_with_the_decimal_module(value: Decimal, exponent: int) -> None:
    found = money.read(f"{value:,}")
    assert found is not None
    expected = value.scaleb(exponent).quantize(Decimal(1), ROUND_HALF_EVEN)
    assert money.minor(found, exponent) == (int(expected), expected == value.scaleb(exponent))


@pytest.mark.parametrize(
    ("text", "day_first", "utc"),
    [
        ("2010-12-01 08:26:00", False, "2010-12-01T08:26:00.000Z"),
        ("2020-01-05T10:11:12.123456Z", False, "2020-01-05T10:11:12.123Z"),
        ("2020-01-05 10:11:12 UTC", False, "2020-01-05T10:11:12.000Z"),
        ("2020-01-05T10:11:12+02:00", False, "2020-01-05T08:11:12.000Z"),
        ("12/1/2010 8:26 PM", False, "2010-12-01T20:26:00.000Z"),
        ("12/1/10 12:05 a.m.", False, "2010-12-01T00:05:00.000Z"),
        ("1/12/2010 8:26", True, "2010-12-01T08:26:00.000Z"),
        ("1.12.2010", False, "2010-12-01T12:00:00.000Z"),
        ("2010/12/01", False, "2010-12-01T12:00:00.000Z"),
    ],
)
def test_times_are_read_as_shops_write_them(text: str, day_first: bool, utc: str) -> None:  # noqa: FBT001 - a column of the table
    found = times.read(text, day_first=day_first)
    assert found is not None
    assert shape.written(found) == utc


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2010-02-30", "13/13/2010", "2010-12-01 25:00", "12/1/2010 13:00 PM", "2010-12/01", "2010-12-01 08:26:00 PST"]
)
def test_times_that_would_be_a_guess_are_not_read(text: str) -> None:
    assert times.read(text) is None


cells = st.one_of(
    st.text(max_size=12), st.sampled_from(["A1", "2026-01-02", "1", "-1", "1.5", "EUR", '"', "\r", "99999999999999", "((", "0.0000001", "\ud800"])
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.lists(cells, max_size=9), max_size=6))
def test_hostile_rows_give_events_or_a_refusal(tmp_path: Path, now: datetime, rows: list[list[str]]) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes((HEADER + "\n".join(",".join(row) for row in rows)).encode("utf-8", "surrogatepass"))
    try:
        table = tables.look(path)
        report = Report()
        for event in purchases.events(table, SMALL, report, now=now):
            assert shape.check(event, now=now) == event
    except Unreadable:
        return
    assert report.seen >= report.skipped.total()
