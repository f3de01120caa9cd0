"""Plots: every number stands in one bar, bars tell their own days, and the drawing keeps to its edges."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.plots import HEIGHT, WIDTH, begin_of, over_time, step_of

KINDS = ("visits", "searches", "purchases")
days = st.dates(dt.date(1995, 1, 1), dt.date(2090, 12, 31))


@given(st.dictionaries(st.tuples(days, st.sampled_from(KINDS)), st.integers(1, 10**7), min_size=1, max_size=30))
def test_nothing_is_lost_and_nothing_sticks_out(numbers: dict[tuple[dt.date, str], int]) -> None:
    first, last = min(day for day, _ in numbers), max(day for day, _ in numbers)
    plot = over_time(numbers, KINDS, first, last)
    assert sum(bar.total for bar in plot.bars) == sum(numbers.values())
    assert (plot.bars[0].first, plot.bars[-1].last) == (first, last)
    for bar, after in zip(plot.bars, plot.bars[1:], strict=False):
        assert bar.last + dt.timedelta(days=1) == after.first
    for bar in plot.bars:
        assert bar.total == sum(number for (day, _), number in numbers.items() if bar.first <= day <= bar.last) == sum(part.number for part in bar.parts)
        assert bar.x + bar.width <= WIDTH + 1e-6
        assert all(part.y >= -1e-6 and part.y + part.height <= HEIGHT + 1e-6 for part in bar.parts)
    assert max(bar.total for bar in plot.bars) <= plot.top
    assert len(plot.bars) <= 130


@pytest.mark.parametrize(
    ("length", "step"), [(0, "day"), (62, "day"), (63, "week"), (420, "week"), (421, "month"), (3700, "month"), (3701, "year")],
)  # fmt: skip
def test_steps_are_as_long_as_there_is_room_for(length: int, step: str) -> None:
    first = dt.date(2020, 2, 29)
    assert step_of(first, first + dt.timedelta(days=length)) == step


def test_where_periods_begin() -> None:
    day = dt.date(2026, 12, 31)
    assert [begin_of(day, step) for step in ("day", "week", "month", "year")] == [day, dt.date(2026, 12, 28), dt.date(2026, 12, 1), dt.date(2026, 1, 1)]


def test_parts_stand_on_each_other_in_the_order_of_kinds() -> None:
    day = dt.date(2026, 3, 1)
    (bar,) = over_time({(day, "purchases"): 1, (day, "visits"): 3, (dt.date(2026, 3, 2), "visits"): 9}, KINDS, day, day).bars
    assert [(part.place, part.number) for part in bar.parts] == [(0, 3), (2, 1)]
    assert bar.parts[0].y + bar.parts[0].height == HEIGHT
    assert bar.parts[1].y + bar.parts[1].height == pytest.approx(bar.parts[0].y)


def test_bars_can_be_longer_than_they_need_to_be() -> None:
    first, last = dt.date(2026, 1, 15), dt.date(2026, 3, 3)
    assert over_time({}, KINDS, first, last).step == "day"
    plot = over_time({(first, "visits"): 2, (last, "visits"): 1}, KINDS, first, last, least="month")
    assert [(bar.first, bar.last, bar.total) for bar in plot.bars] == [
        (first, dt.date(2026, 1, 31), 2), (dt.date(2026, 2, 1), dt.date(2026, 2, 28), 0), (dt.date(2026, 3, 1), last, 1),
    ]  # fmt: skip
    assert over_time({}, KINDS, first, first + dt.timedelta(days=4000), least="month").step == "year"
