"""What comes again and again: found by its days, told by events, dearer, ended; and what is none."""

import datetime as dt
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.insights.recurring import FOUND, Charge, Every, Recurring, every_of, recurring, regular
from broker.insights.totals import Order, order_of

FIRST = dt.date(2025, 1, 31)
MONTHS = [dt.date(2025, 1, 31), dt.date(2025, 2, 28), dt.date(2025, 3, 31), dt.date(2025, 4, 30), dt.date(2025, 5, 31)]


def order(day: dt.date, minor: int = 999, *names: str, action: str = "", period: str = "", currency: str = "EUR") -> tuple[str, Order]:
    """An order of one thing of that price, or of several."""
    money = {"amount_minor": minor, "currency": currency}
    event: dict[str, Any] = {"total": money, "items": [{"product": name, "price": money} for name in names or ("Films",)]}
    if action:
        event |= {"action": action, "period": period}
    made = order_of(day.isoformat(), event)
    assert made
    return "films.example", made


def one(found: list[Recurring]) -> Recurring:
    assert len(found) == 1, found
    return found[0]


def test_a_monthly_charge_with_a_rise() -> None:
    found = one(recurring([order(day, 999 if day.month < 4 else 1199) for day in MONTHS], []))
    assert (found.name, found.site, found.currency, found.every, found.told) == ("Films", "films.example", "EUR", Every(1, "month", 10), False)
    assert (found.minor, found.month, found.year) == (1199, 1199, 14388)
    assert found.next == dt.date(2025, 6, 30)
    assert found.rises == found.changes == [(dt.date(2025, 4, 30), 999, 1199)]
    assert not found.is_over(dt.date(2025, 7, 10))
    assert found.is_over(dt.date(2025, 7, 11))


@pytest.mark.parametrize(("days", "every"), [(7, "week"), (30, "month"), (91, "3 months"), (365, "year")])
def test_every_length_is_found_by_three(days: int, every: str) -> None:
    dates = [FIRST + dt.timedelta(days=days * number) for number in range(3)]
    assert one(recurring([order(day) for day in dates], [])).every.words == f"every {every}"  # type: ignore[union-attr]
    assert recurring([order(day) for day in dates[:2]], []) == []


@pytest.mark.parametrize("gaps", [(3, 3, 3), (14, 14, 14), (30, 91, 30), (30, 50, 30), (200, 200), (1, 1, 1, 1)])
def test_what_is_not_regular_is_not_found(gaps: tuple[int, ...]) -> None:
    day, orders = FIRST, [order(FIRST)]
    for gap in gaps:
        day += dt.timedelta(days=gap)
        orders.append(order(day))
    assert recurring(orders, []) == []


def test_what_is_mostly_bought_when_it_is_needed_is_not_found() -> None:
    """Three charges a month apart among many others are a chance."""
    days = [*MONTHS[:3], *(MONTHS[2] + dt.timedelta(days=number * 15) for number in range(1, 5))]
    assert recurring([order(day) for day in days], []) == []


def test_other_shops_other_things_and_other_currencies_are_others() -> None:
    orders = [("other.example", order(MONTHS[0])[1]), order(MONTHS[1], 999, "Songs"), order(MONTHS[2], currency="USD"), order(MONTHS[3])]
    assert recurring(orders, []) == []


def test_whole_orders_of_the_same_things_are_one_charge() -> None:
    """And their things are not found a second time."""
    found = one(recurring([order(day, 3000, "Carrots", "Leek") for day in MONTHS], []))
    assert (found.name, found.minor) == ("Carrots and Leek", 3000)
    many = one(recurring([order(day, 3000, *map(str, range(9))) for day in MONTHS], []))
    assert many.name == "The same 9 things"


def test_a_thing_among_few_others_is_found() -> None:
    orders = [order(day, 500, "Coffee", f"Something else {number}") for number, day in enumerate(MONTHS)]
    found = one(recurring(orders, []))
    assert (found.name, found.minor) == ("Coffee", 500)
    baskets = [order(day, 500, "Coffee", *(f"{number} of {day}" for number in range(5))) for day in MONTHS]
    assert recurring(baskets, []) == []


def test_two_charges_on_a_day_are_one_of_both() -> None:
    found = one(recurring([order(day) for day in MONTHS for _ in range(2)], []))
    assert (len(found.charges), found.minor) == (5, 1998)


def test_events_tell_with_one_charge_and_are_not_found_twice() -> None:
    told = [order(MONTHS[0], action="start", period="P1Y")]
    found = one(recurring([order(day) for day in MONTHS], told))
    assert (found.told, found.every, found.next, found.year, found.month) == (True, Every(1, "year", 45), dt.date(2026, 1, 31), 999, 83)


def test_events_tell_that_it_ended_and_began_again() -> None:
    events = [order(MONTHS[0], action="start", period="P1M"), order(MONTHS[1], action="renew", period="P1M"), order(MONTHS[2], 0, action="end")]
    found = one(recurring([], events))
    assert (found.ended_on, found.is_over(MONTHS[2])) == (MONTHS[2], True)
    assert len(found.charges) == 2
    again = one(recurring([], [*events, order(MONTHS[3], action="start", period="P1M")]))
    assert (again.ended_on, again.is_over(MONTHS[3])) == (None, False)
    assert recurring([], [order(MONTHS[0], action="end")]) == []


def test_without_a_period_how_often_is_told_by_the_days_or_not_known() -> None:
    assert one(recurring([], [order(day, action="renew") for day in MONTHS])).every == Every(1, "month", 10)
    unknown = one(recurring([], [order(MONTHS[0], action="renew")]))
    assert (unknown.every, unknown.next, unknown.month, unknown.year) == (None, None, 0, 0)
    assert not unknown.is_over(dt.date(2035, 1, 1))


@pytest.mark.parametrize(
    ("period", "words", "year"),
    [
        ("P1W", "every week", 52_000), ("P7D", "every week", 52_000), ("P14D", "every 2 weeks", 26_000), ("P30D", "every month", 12_000), ("P3M", "every 3 months", 4000),
        ("P1Y", "every year", 1000), ("P2Y", "every 2 years", 500), ("P10D", "every 10 days", 36_500),
    ],
)  # fmt: skip
def test_periods_of_events(period: str, words: str, year: int) -> None:
    every = every_of(period)
    assert every
    assert (every.words, every.in_a_year(1000)) == (words, year)


def test_a_period_in_hours_is_none() -> None:
    assert every_of("PT5H") is None
    assert every_of("") is None


@given(st.sampled_from(FOUND), st.data(), st.integers(3, 12), st.dates(dt.date(1995, 1, 1), dt.date(2060, 1, 1)))
def test_any_run_within_the_tolerances_is_found_whole(kind: tuple[int, int, Every], data: st.DataObject, number: int, first: dt.date) -> None:
    least, most, every = kind
    charges = [Charge(first, 1)]
    for _ in range(number - 1):
        charges.append(Charge(charges[-1].day + dt.timedelta(days=data.draw(st.integers(least, most))), 1))
    assert regular(charges) == (every, charges)


@given(st.lists(st.dates(dt.date(2020, 1, 1), dt.date(2024, 1, 1)), unique=True, max_size=30))
def test_a_run_is_regular_or_there_is_none(days: list[dt.date]) -> None:
    found = regular([Charge(day, 1) for day in sorted(days)])
    if found:
        every, run = found
        least, most = next((least, most) for least, most, each in FOUND if each == every)
        assert len(run) >= 3
        assert all(least <= (after.day - before.day).days <= most for before, after in pairwise(run))
        assert 3 * len(run) >= 2 * len(days)
