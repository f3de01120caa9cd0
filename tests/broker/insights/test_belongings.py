"""What is left of what was bought: a return takes from its own order, else from the newest before it, and never more than there was."""

import datetime as dt
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.insights.belongings import Known, things


def event(kind: str, minute: int, *lines: tuple[str, int], order_id: str = "", domain: str = "shop.example") -> Known:
    """Something bought or returned: (product, quantity) in euro."""
    at = (dt.datetime(2026, 3, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=minute)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    items = [{"product": name, "quantity": number, "price": {"amount_minor": 100, "currency": "EUR"}} for name, number in lines]
    made: dict[str, Any] = {"kind": kind, "time": at, "site": f"www.{domain}", "domain": domain, "items": items}
    return Known(f"{minute:032x}", made | ({"order_id": order_id} if order_id else {}))


def left(*known: Known) -> list[tuple[str, int, int]]:
    return [(thing.name, int(thing.tag, 16), thing.left) for thing in things(known)[0]]


def test_newest_first_and_returns_taken_away() -> None:
    known = (event("purchase", 1, ("Ink", 1), ("Pen", 2)), event("purchase", 5, ("Ink", 1)), event("return", 9, ("Ink", 1)), event("return", 9, ("Pen", 1)))
    assert left(*known) == [("Pen", 1, 1), ("Ink", 1, 1)]
    assert things(known)[1] == 2


def test_a_return_takes_from_its_own_order() -> None:
    known = (event("purchase", 1, ("Ink", 1), order_id="A"), event("purchase", 5, ("Ink", 1), order_id="B"), event("return", 9, ("Ink", 1), order_id="A"))
    assert left(*known) == [("Ink", 5, 1)]


def test_it_takes_nothing_bought_later_or_elsewhere() -> None:
    assert left(event("return", 1, ("Ink", 1)), event("purchase", 5, ("Ink", 1))) == [("Ink", 5, 1)]
    assert left(event("purchase", 1, ("Ink", 1)), event("return", 5, ("Ink", 1), domain="other.example")) == [("Ink", 1, 1)]


def test_one_return_may_take_from_several() -> None:
    assert left(event("purchase", 1, ("Ink", 2)), event("purchase", 2, ("Ink", 2)), event("return", 5, ("Ink", 3))) == [("Ink", 1, 1)]


def test_the_total_of_an_order_of_one_thing_is_its_price() -> None:
    known = event("purchase", 1, ("Ink", 1))
    bare = Known(known.tag, {**known.event, "items": [{"product": "Ink"}], "total": {"amount_minor": 700, "currency": "EUR"}})
    assert things([bare])[0][0].price == {"amount_minor": 700, "currency": "EUR"}
    two = Known(known.tag, {**bare.event, "items": [{"product": "Ink"}, {"product": "Pen"}]})
    assert [thing.price for thing in things([two])[0]] == [None, None]


@given(st.lists(st.tuples(st.sampled_from(["purchase", "return"]), st.sampled_from("abc"), st.integers(1, 5)), max_size=20))
def test_nothing_is_owned_that_was_not_bought(said: list[tuple[str, str, int]]) -> None:
    known = [event(kind, minute, (name, number)) for minute, (kind, name, number) in enumerate(said)]
    owned, returned = things(known)
    bought = sum(number for kind, _, number in said if kind == "purchase")
    assert sum(thing.left for thing in owned) == bought - returned
    assert returned <= sum(number for kind, _, number in said if kind == "return")
    assert all(0 < thing.left <= thing.bought for thing in owned)
    assert [thing.key for thing in owned] == sorted((thing.key for thing in owned), reverse=True)
