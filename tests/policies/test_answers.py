"""Answers (F9) by example; P14 holds for all."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from policies.answers import NEEDS, basis, work_out
from policies.clauses import Clause
from policies.decide import Asked, Denied, Filters, Permitted, decide
from policies.slices import Slice
from policies.terms import Deny
from policies.vocabulary import ANSWERS, FIELDS
from tests.policies.properties import grant_of
from tests.policies.worlds import NOW

EVERY = ["frequency", "monetary", "recency"]
TODAY = date(2026, 12, 3)


def row(day: int, amount: int | None = None, currency: str = "EUR") -> dict[str, Any]:
    found: dict[str, Any] = {"kind": "purchase", "time": f"2026-11-{day:02}T00:00:00.000Z"}
    return found if amount is None else found | {"total": {"amount_minor": amount, "currency": currency}}


@pytest.mark.parametrize(("days", "weeks"), [([], None), ([30], 0), ([27], 0), ([26], 1), ([1, 12], 3), ([12, 1], 3)])
def test_recency_is_in_whole_weeks(days: list[int], weeks: int | None) -> None:
    assert work_out(["recency"], [row(day) for day in days], TODAY) == {"recency": weeks}


def test_what_is_dated_tomorrow_was_bought_no_weeks_ago() -> None:
    """Found by the schema of answers: an event may be dated up to a day ahead."""
    assert work_out(["recency"], [row(30)], date(2026, 11, 29)) == {"recency": 0}


@pytest.mark.parametrize(("number", "step"), [(0, "0"), (1, "1"), (2, "2"), (3, "3"), (4, "4-7"), (7, "4-7"), (8, "8-15"), (15, "8-15"), (16, "16+"), (28, "16+")])
def test_frequency_counts_days(number: int, step: str) -> None:
    rows = [row(day + 1) for day in range(number)]
    assert work_out(["frequency"], rows + rows, TODAY) == {"frequency": step}


def test_monetary_is_the_band_of_the_mean_per_day_by_currency() -> None:
    rows = [row(1, 4000), row(1, 4000), row(2, 1999), row(3), row(4, 60_000, "JPY"), row(5, 0, "KWD")]
    found = work_out(["monetary"], rows, TODAY)["monetary"]
    assert list(found) == ["EUR", "JPY", "KWD"]
    assert found["EUR"] == {"currency": "EUR", "from_minor": 1000, "to_minor": 5000}
    assert found["JPY"] == {"currency": "JPY", "from_minor": 50_000, "to_minor": 100_000}
    assert found["KWD"] == {"currency": "KWD", "from_minor": 0, "to_minor": 10_000}
    assert work_out(["monetary"], [row(1, 4000), row(1, 4000), row(2, 2000)], TODAY)["monetary"]["EUR"]["from_minor"] == 5000


def test_a_row_without_its_time_tells_nothing() -> None:
    hidden = {"kind": "purchase", "total": {"amount_minor": 5000, "currency": "EUR"}}
    assert work_out(EVERY, [hidden], TODAY) == {"frequency": "0", "monetary": {}, "recency": None}


def test_what_each_needs_is_in_the_vocabulary() -> None:
    assert NEEDS.keys() == ANSWERS.keys()
    assert all(level in FIELDS[field].levels for fields in NEEDS.values() for field, level in fields.items())


def habits(**members: Any) -> Clause:
    form = {"id": "c1", "action": "read", "base": "SD-BASE", "purposes": ["dpv:CustomerRelationshipManagement"], "kinds": ["purchase"], "form": "answers", "answers": EVERY}
    return Clause.parse({**form, **members})


def permitted(clause: Clause, now: datetime = NOW, denies: Any = (), **asked: Any) -> Slice:
    decision = decide(grant_of(clause), [Deny.parse({"id": "d", **each}) for each in denies], Asked("books-web", form="answers", **{"answers": frozenset(EVERY), **asked}), now)
    assert isinstance(decision, Permitted), decision
    return decision.slice


def test_the_window_moves_once_a_day_and_by_days() -> None:
    """Caution 2: seen at any time of a day, the same events count."""
    clause = habits(window={"max_age": "P90D", "min_age": "PT5H"})
    found = {permitted(clause, NOW.replace(hour=hour)).window for hour in (0, 4, 6, 23)}
    (window,) = found
    assert (window.after, window.before) == (datetime(2026, 9, 4, tzinfo=UTC), datetime(2026, 12, 2, tzinfo=UTC))
    assert permitted(clause, denies=[{"fields": ["time"]}]).window.before == datetime(2026, 12, 1, tzinfo=UTC)


def test_the_basis_is_purchases_with_what_is_needed() -> None:
    part = basis(permitted(habits(kinds=["cart", "purchase"]), answers=frozenset({"recency"}), denies=[{"sites": ["clinic.example"]}]))
    assert (part.kinds, part.form, part.fields) == ({"purchase"}, "rows", {"time": "day"})
    assert [carve.to_json() for carve in part.except_] == [{"sites": ["clinic.example"]}]
    assert basis(permitted(habits())).fields == {"time": "day", "total": "exact"}


def test_without_purchases_there_is_nothing_to_answer_from() -> None:
    part = Slice.parse({"kinds": ["cart"], "form": "answers", "answers": EVERY})
    assert part.answers == frozenset()
    assert part.is_empty()


@pytest.mark.parametrize(
    ("clause", "asked", "reasons"),
    [
        (habits(), {"answers": frozenset()}, ("wrong-form",)),
        (habits(answers=["recency"]), {}, ("wrong-form",)),
        (habits(), {"form": "rows"}, ("wrong-form",)),
        (habits(form="rows", fields={"time": "day"}, answers=[]), {}, ("wrong-form",)),
        (habits(), {"filters": Filters(sites=frozenset({"shop.example"}))}, ("filter-too-fine",)),
        (habits(), {"used_reads": 24}, ("rate",)),
    ],
)
def test_what_is_refused(clause: Clause, asked: dict[str, Any], reasons: tuple[str, ...]) -> None:
    permitted(habits())
    decision = decide(grant_of(clause), [], Asked("books-web", **{"form": "answers", "answers": frozenset(EVERY), **asked}), NOW)
    assert decision == Denied(reasons)
