"""What an event must look like (policies.md section 4): each field's success beside its refusal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.events import shape

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
EUR = {"amount_minor": 2450, "currency": "EUR"}
BASE: dict[str, Any] = {"id": "01a1fa21-3e80-78e1-b80b-d70ae0784c78", "time": "2026-11-20T18:04:05.120Z", "site": "www.shop.example"}
KINDS: dict[str, dict[str, Any]] = {
    "page_visit": {
        "url": "https://www.shop.example/a",
        "title": "A page",
        "referrer": "search.example",
        "dwell": 1200,
        "visit": "b7Yq0mVJ3kS9wQpXc5tR2A",
        "device": "desktop",
        "offset": 60,
        "rule": "r1",
    },
    "search": {"url": "https://www.shop.example/s", "referrer": "shop.example", "engine": "www.shop.example", "query": "ink"},
    "product_view": {"url": "https://www.shop.example/p", "title": "Ink", "items": [{"sku": "1"}]},
    "cart": {"action": "add", "total": EUR, "items": [{"product": "Ink", "quantity": 1, "price": EUR}]},
    "checkout": {"action": "payment", "coupon": "SAVE", "items": []},
    "purchase": {
        "order_id": "A-1007",
        "total": EUR,
        "tax": EUR,
        "shipping": EUR,
        "discount": EUR,
        "coupon": "SAVE",
        "payment": "card",
        "ship_to": "DE-BE",
        "items": [
            {
                "category": "books/crime",
                "brand": "Inkwell",
                "product": "A Study in Ink",
                "variant": "paperback",
                "gtin": "4006381333931",
                "sku": "x",
                "price": EUR,
                "quantity": 99_999,
                "availability": "in_stock",
            },
        ],
    },
    "return": {"order_id": "A-1007", "total": EUR, "items": [{"product": "Ink"}]},
    "subscription": {"action": "renew", "period": "P1M", "total": EUR, "items": [{"product": "Paper"}]},
    "cart_abandoned": {"total": EUR, "items": [{"product": "Ink"}]},
}


def event(kind: str, **changes: Any) -> dict[str, Any]:
    whole = {**BASE, "kind": kind, **KINDS[kind], "confidence": "medium", "detected_by": "datalayer", **changes}
    return {name: value for name, value in whole.items() if value is not ...}


def pointers(raw: Any, **options: Any) -> list[str]:
    with pytest.raises(shape.Invalid) as refused:
        shape.check(raw, now=NOW, **options)
    assert all(fault.keys() == {"pointer", "detail"} and fault["detail"].endswith(".") for fault in refused.value.errors)
    return [fault["pointer"] for fault in refused.value.errors]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_with_every_field_passes_unchanged(kind: str) -> None:
    assert shape.check(event(kind), now=NOW, own=True) == event(kind)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_unknown_fields_are_refused_by_name(kind: str) -> None:
    assert pointers(event(kind, **{"e/mail~": "x"}), own=True) == ["/e~1mail~0"]


def test_every_fault_is_named_at_once() -> None:
    raw = event("purchase", id="x", total={"amount_minor": -1, "currency": "EUR"}, items=[{"quantity": 0}], ship_to="Berlin")
    assert sorted(pointers(raw)) == ["/id", "/items/0/quantity", "/ship_to", "/total/amount_minor"]


@pytest.mark.parametrize("raw", [None, 3, [], {}, {"kind": "page_view"}, {"kind": ["cart"]}, {1: 2}])
def test_what_is_no_event_is_refused(raw: Any) -> None:
    assert pointers(raw) == ["/kind"]


@pytest.mark.parametrize("name", ["id", "time", "site"])
def test_what_every_event_needs_is_asked_for(name: str) -> None:
    assert pointers(event("page_visit", **{name: ...})) == [f"/{name}"]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("2026-11-20T18:04:05Z", "2026-11-20T18:04:05.000Z"),
        ("2026-11-20T18:04:05.1239999Z", "2026-11-20T18:04:05.123Z"),
        ("2026-11-20T00:30:00+05:30", "2026-11-19T19:00:00.000Z"),
        ("1995-01-01T00:00:00Z", "1995-01-01T00:00:00.000Z"),
        ("2026-11-23T12:00:00Z", "2026-11-23T12:00:00.000Z"),
    ],
)
def test_times_become_utc_with_three_digits(written: str, kept: str) -> None:
    assert shape.check(event("cart", time=written), now=NOW)["time"] == kept


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-20T18:04:05",
        "2026-11-20",
        "2026-11-20 18:04:05Z",
        "2026-02-30T00:00:00Z",
        "1994-12-31T23:59:59.999Z",
        "2026-11-23T12:00:00.001Z",
        "0001-01-01T00:00:00+23:59",
        "2026-11-20T18:04:60Z",
        "\uff12\uff10\uff12\uff16-11-20T18:04:05Z",
    ],
)
def test_times_without_zone_or_out_of_range_are_refused(written: str) -> None:
    assert pointers(event("cart", time=written)) == ["/time"]


@pytest.mark.parametrize(
    "host", ["localhost", "shop", "127.0.0.1", "[::1]", "Shop.example", "shop.example.", "a.local", "bücher.example", "0x7f.1", "a..example"]
)
def test_only_public_host_names_are_sites(host: str) -> None:
    assert pointers(event("return", site=host)) == ["/site"]


def test_the_address_is_stripped_and_must_be_on_the_site() -> None:
    stripped = shape.check(event("page_visit", url="https://u:p@www.shop.example/a;s=1?page=2&token=x#f"), now=NOW)
    assert stripped["url"] == "https://www.shop.example/a?page=2"
    assert pointers(event("page_visit", url="https://bank.example/a")) == ["/url"]
    assert pointers(event("page_visit", url="ftp://www.shop.example/a")) == ["/url"]
    assert pointers(event("page_visit", url="https://www.shop.example/" + "a" * 2048)) == ["/url"]


def test_a_title_or_query_with_a_secret_loses_that_field() -> None:
    assert "title" not in shape.check(event("page_visit", title="Inbox of alice@mail.example"), now=NOW)
    assert "query" not in shape.check(event("search", query="+49 30 1234567 who called"), now=NOW)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "01A1FA21-3E80-78E1-B80B-D70AE0784C78"),
        ("id", "01a1fa21-3e80-48e1-b80b-d70ae0784c78"),
        ("offset", 841),
        ("visit", "b7Yq0mVJ3kS9wQpXc5tR2B"),
        ("device", "fridge"),
        ("dwell", 3_600_001),
        ("dwell", True),
        ("dwell", 1.0),
        ("title", ""),
        ("title", "x" * 201),
        ("title", "a\x00b"),
        ("title", "a\ud800"),
        ("title", None),
        ("referrer", "www.shop.example"),
        ("received", "2026-11-20T18:04:05.120Z"),
        ("detected_by", "guess"),
        ("confidence", "sure"),
        ("order_id", "A-1"),
        ("rule", "x" * 65),
    ],
)
def test_fields_of_a_visit_have_limits(field: str, value: Any) -> None:
    assert pointers(event("page_visit", **{field: value})) == [f"/{field}"]


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        ("gtin", "4006381333932", "/gtin"),
        ("gtin", "400638133393", "/gtin"),
        ("gtin", "123456789", "/gtin"),
        ("category", "shirts/red", "/category"),
        ("category", "books//x", "/category"),
        ("category", "books/a/b/c/d/e", "/category"),
        ("category", "books/" + "x" * 41, "/category"),
        ("quantity", 0, "/quantity"),
        ("quantity", 100_000, "/quantity"),
        ("price", {"amount_minor": 10**12 + 1, "currency": "EUR"}, "/price/amount_minor"),
        ("price", {"amount_minor": 1, "currency": "eur"}, "/price/currency"),
        ("price", {"amount_minor": 1, "currency": "EUR", "vat": 1}, "/price/vat"),
        ("price", {"currency": "EUR"}, "/price/amount_minor"),
        ("price", 24.5, "/price"),
        ("availability", "soon", "/availability"),
        ("sku", "x" * 65, "/sku"),
    ],
)
def test_fields_of_an_item_have_limits(field: str, value: Any, pointer: str) -> None:
    assert pointers(event("product_view", items=[{"sku": "a"}, {field: value}])) == [f"/items/1{pointer}"]


@pytest.mark.parametrize("gtin", ["96385074", "036000291452", "4006381333931", "00012345600012"])
def test_gtins_with_the_right_check_digit_pass(gtin: str) -> None:
    assert shape.check(event("product_view", items=[{"gtin": gtin}]), now=NOW)["items"] == [{"gtin": gtin}]


def test_items_number_1_to_200_but_a_look_at_a_cart_may_be_empty() -> None:
    assert pointers(event("purchase", items=[])) == ["/items"]
    assert pointers(event("purchase", items=[{}] * 201)) == ["/items"]
    assert len(shape.check(event("purchase", items=[{}] * 200), now=NOW)["items"]) == 200
    assert shape.check(event("cart", action="view", items=[]), now=NOW)["items"] == []
    assert pointers(event("cart", items=[])) == ["/items"]
    assert pointers(event("cart", items=...)) == ["/items"]


def test_only_the_broker_makes_abandoned_carts_and_says_when_it_received() -> None:
    assert pointers(event("cart_abandoned")) == ["/kind"]
    kept = shape.check(event("cart", received="2026-11-20T18:05:00Z"), now=NOW, own=True)
    assert kept["received"] == "2026-11-20T18:05:00.000Z"


@pytest.mark.parametrize(("field", "value"), [("action", "steal"), ("period", "P1S"), ("period", "P0D"), ("period", "1M")])
def test_actions_and_periods_are_closed_lists(field: str, value: str) -> None:
    assert pointers(event("subscription", **{field: value})) == [f"/{field}"]


def test_countries_and_currencies_are_the_standards() -> None:
    assert pointers(event("purchase", ship_to="XX")) == ["/ship_to"]
    assert pointers(event("purchase", total={"amount_minor": 1, "currency": "ABC"})) == ["/total/currency"]
    assert (shape.EXPONENTS["JPY"], shape.EXPONENTS["EUR"], shape.EXPONENTS["KWD"]) == (0, 2, 3)


def test_details_repeat_no_value() -> None:
    with pytest.raises(shape.Invalid) as refused:
        shape.check(event("page_visit", device="alice@mail.example", id="alice@mail.example"), now=NOW)
    assert "alice" not in str(refused.value)


@given(st.binary(min_size=10, max_size=10), st.integers(0, 3_000_000_000_000).map(lambda ms: shape.EARLIEST + timedelta(milliseconds=ms)))
def test_ids_are_uuidv7_of_their_time(entropy: bytes, at: datetime) -> None:
    made = shape.uuid7(at, entropy)
    assert shape.check(event("return", id=made), now=NOW)["id"] == made == shape.uuid7(at, entropy)
    milliseconds = int(made.replace("-", "")[:12], 16)
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds) == at


def test_ids_need_a_zone_and_ten_bytes() -> None:
    with pytest.raises(ValueError, match="zone"):
        shape.uuid7(datetime(2026, 1, 1), b"0123456789")  # noqa: DTZ001 - the refusal under test
    with pytest.raises(ValueError, match="10 bytes"):
        shape.uuid7(NOW, b"012345678")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(KINDS)), st.dictionaries(st.sampled_from(["id", "time", "site", "url", "title", "items", "total", "action", "x"]), json_values))
def test_nothing_but_invalid_is_raised_and_a_second_check_changes_nothing(kind: str, changes: dict[str, Any]) -> None:
    try:
        once = shape.check(event(kind, **changes), now=NOW, own=True)
    except shape.Invalid:
        return
    assert shape.check(once, now=NOW, own=True) == once
