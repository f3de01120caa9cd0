"""How long things are kept: shown before it happens, a month at a time, for good (K113)."""

import datetime as dt

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from makers import Browser, Clock, page_visit, purchase

from broker.exports import actions
from broker.exports.periods import first_kept, goes_on, last_day


@given(today=st.dates(dt.date(2000, 1, 1), dt.date(2090, 1, 1)), days=st.integers(1, 4000), back=st.integers(0, 6000))
def test_nothing_goes_before_its_time(today: dt.date, days: int, back: int) -> None:
    """A day goes exactly from the day on that the page names, and never while it is younger than the person wants."""
    day = today - dt.timedelta(days=back)
    gone = day < first_kept(today, days)
    assert gone == (today >= goes_on(day.replace(day=1), days))
    assert not gone or (today - day).days > days
    assert day.replace(day=1) <= day <= last_day(day)


@pytest.fixture
def old(alice: Browser, clock: Clock) -> Browser:
    now = clock()
    alice.store(*[page_visit(now - dt.timedelta(days=70 + n), title=f"Old {n}") for n in range(3)], page_visit(now - dt.timedelta(days=2), title="New"))
    alice.store(purchase(now - dt.timedelta(days=400)))
    return alice


def test_it_shows_what_would_go_first(app: Flask, old: Browser, bob: Browser, clock: Clock) -> None:
    asked = old.post("/keep", {"kind": "page_visit", "period": "31"}, page="/keep")
    assert asked.status_code == 200
    assert "3 events" in asked.text
    assert "This cannot be undone" in asked.text
    assert actions.expire(app.extensions["broker"]) == 0
    assert "Old 0" in old.get("/activity").text
    done = old.post("/keep", {"kind": "page_visit", "period": "31", "number": "3"}, page="/keep")
    assert done.status_code == 303
    assert actions.expire(app.extensions["broker"]) == 3
    text = old.get("/activity").text
    assert "Old 0" not in text
    assert "New" in text
    assert "which were older than you want to keep them" in old.get("/ledger").text
    assert "Next, 1 event of" in old.get("/keep").text
    erased = 0
    # Not at one leap, which would be followed slowly.
    for _ in range(12):
        clock.advance(days=6)
        erased += actions.expire(app.extensions["broker"])
    assert erased == 1
    assert "A Study in Ink" in Browser.of(app, "alice").get("/activity?kind=purchase").text
    assert "Next, " not in bob.get("/keep").text


def test_for_ever_again(app: Flask, old: Browser) -> None:
    old.post("/keep", {"kind": "search", "period": "366"}, page="/keep")
    assert old.post("/keep", {"kind": "search", "period": ""}, page="/keep").status_code == 303
    assert "You chose how long to keep what you searched for: for ever." in old.get("/ledger").text
    assert actions.expire(app.extensions["broker"]) == 0


@pytest.mark.parametrize("form", [{}, {"kind": "page_visit", "period": "7"}, {"kind": "secrets", "period": "31"}, {"kind": "page_visit", "period": "-1"}])
def test_it_refuses(old: Browser, form: dict[str, str]) -> None:
    assert old.post("/keep", form, page="/keep").status_code == 400
