"""A running grant can be narrowed: at once, in words, and never the other way."""

import datetime as dt
import re

import pytest
from makers import Browser, Clock, Extension, Shop, purchases
from running_grants import clauses_of, content_of, grant_of, kept, less

from broker.errors import Conflict, Unprocessable
from broker.grants import actions, agreed, queries
from policies.clauses import Clause
from policies.vocabulary import FIELDS


def test_a_narrowed_grant_shows_less_at_once(reading: Browser, bookshop: Shop) -> None:
    """Row 85: for reads that start later and tokens issued later; the agreement stays as it was signed, the vendor is told."""
    before = bookshop.read().json["items"]
    assert all("price" in item for row in before for item in row["items"])
    (clause,), version = clauses_of(reading, bookshop)
    grant = bookshop.tokens["grant_id"]
    form = {"version": str(version), "c1.field.price": "hidden", "c1.field.category": "top", "until": ""}
    assert reading.post(f"/grants/{grant}/narrow", form, page=f"/grants/{grant}/narrow").status_code == 303
    after = bookshop.read().json["items"]
    assert [row["id"] for row in after] == [row["id"] for row in before]
    assert {key for row in after for item in row["items"] for key in item} == {"category"}
    assert {item["category"] for row in after for item in row["items"]} == {"books"}
    told = bookshop.call("GET").json
    assert told["authorization_details"][0]["fields"] == {"category": "top", "time": "day"}
    assert {"clause": "c1", "dim": "fields.price", "asked": "exact", "given": "hidden", "code": "coarser"} in told["narrowed"]
    assert Clause.parse(content_of(reading, bookshop)["clauses"][0]) == clause
    assert bookshop.refresh().json["authorization_details"][0]["fields"] == {"category": "top", "time": "day"}
    assert "You narrowed the grant of books.example." in reading.get("/ledger").text
    # What was sent before is shown as it was sent.
    first = reading.get("/ledger?act=read").text.rpartition('href="/ledger/')[2].partition('"')[0]
    assert "A Study" not in reading.get(f"/ledger/{first}").text
    assert "20.00 to" in reading.get(f"/ledger/{first}").text


def test_a_narrowing_is_told_in_words(reading: Browser, bookshop: Shop, clock: Clock) -> None:
    """From what to what, and when: beside each statement on the grant's page, and in the ledger."""
    bookshop.connect(reading, [purchases(), purchases(fields={"time": "month", "category": "top"})])
    clauses, version = clauses_of(reading, bookshop)
    grant, page = bookshop.tokens["grant_id"], f"/grants/{bookshop.tokens['grant_id']}/narrow"
    until, before = (clock() + dt.timedelta(days=10)).date(), clauses[0].validity.until
    assert before
    reading.post(page, {"version": str(version), "c1.field.price": "band", "c1.field.category": "hidden", "until": until.isoformat()}, page=page)
    reading.post(page, {"version": str(version + 1), "c1.field.price": "hidden", "without": "c2"}, page=page)
    first = [
        "Part 1. Price: now the price as a rough range, before the price in steps of 10.", "Part 1. Category: now nothing, before the category.",
        f"Part 1. How long it lasts: now until {until.day} {until:%B %Y}, before until {before.day} {before:%B %Y}.",
    ]  # fmt: skip
    second = [
        "Part 1. Price: now nothing, before the price as a rough range.",
        "Part 2 was taken away whole. Before, books.example could see what you bought, on any site.",
    ]  # fmt: skip
    shown = reading.get(f"/grants/{grant}").text
    ledger = reading.get(f"/ledger?grant={grant}&act=narrow").text
    for text in (shown, ledger):
        for sentence in (*first, *second):
            assert sentence in text, sentence
    entries = [reading.get(f"/ledger/{seq}").text for seq in re.findall(r'href="/ledger/(\d+)"', ledger)]
    assert [all(sentence in entry for sentence in said) for entry, said in zip(entries, (second, first), strict=True)] == [True, True]
    assert first[0] not in entries[0]


def test_a_narrowing_of_every_kind_is_told(reading: Browser, bookshop: Shop) -> None:
    """Also what no form offers today, and of the extension's grant, which has no statements."""
    (clause,), version = clauses_of(reading, bookshop)
    form = clause.to_json() | {"rate": {"reads": "4/P1D", "rows": "100/P1D"}, "sites": ["shop.example"], "window": {"max_age": "P30D", "min_age": "P1D"}}
    actions.narrow(reading.app.extensions["broker"], reading.person_id, grant_of(reading, bookshop), [Clause.parse(form)], version=version)
    text = reading.get("/ledger").text
    for said in ("Sites: now shop.example, before any.", "How often: now 4 in 1 day, before 24 in 1 day.", "How far back: now 30 days, before 90 days."):
        assert said in text
    grant = Extension.connect(reading).tokens["grant_id"]
    reading.post(f"/grants/{grant}/narrow", {"version": "1", "c1.without": ["page_visit"]}, page=f"/grants/{grant}/narrow")
    assert "Kinds of event: no longer pages you visited, still what you put in" in reading.get(f"/grants/{grant}").text


def test_a_part_taken_away_is_refused_and_the_others_work(reading: Browser, bookshop: Shop) -> None:
    """Row 92."""
    bookshop.connect(reading, [purchases(), purchases(fields={"time": "month", "category": "top"})])
    _, version = clauses_of(reading, bookshop)
    grant = bookshop.tokens["grant_id"]
    assert bookshop.read("?clause=c1").status_code == bookshop.read("?clause=c2").status_code == 200
    reading.post(f"/grants/{grant}/narrow", {"version": str(version), "without": "c1"}, page=f"/grants/{grant}/narrow")
    assert bookshop.read("?clause=c1").json["type"] == "/problems/not-granted"
    assert bookshop.read("?clause=c2").status_code == 200
    lines = bookshop.call("GET").json["narrowed"]
    assert {"clause": "i1", "dim": "action", "asked": "read", "given": None, "code": "fewer"} in lines


def test_a_grant_can_only_become_smaller(reading: Browser, bookshop: Shop) -> None:
    broker, grant_id = reading.app.extensions["broker"], grant_of(reading, bookshop)
    (clause,), version = clauses_of(reading, bookshop)
    empty = Clause.parse(clause.to_json() | {"validity": {"from": "2027-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}})
    for clauses in ([], [clause], [less(clause, price="exact")], [clause.with_id("c2")], [less(clause, price="band")] * 2, [empty]):
        with pytest.raises(Unprocessable):
            actions.narrow(broker, reading.person_id, grant_id, clauses, version=version)
    with pytest.raises(Conflict):
        actions.narrow(broker, reading.person_id, grant_id, [less(clause, price="band")], version=version - 1)
    assert kept(reading, bookshop) == []
    actions.narrow(broker, reading.person_id, grant_id, [less(clause, price="band")], version=version)
    assert clauses_of(reading, bookshop)[1] == version + 1


def test_the_page_says_what_was_mistyped(reading: Browser, bob: Browser, bookshop: Shop) -> None:
    grant = bookshop.tokens["grant_id"]
    page = f"/grants/{grant}/narrow"
    _, version = clauses_of(reading, bookshop)
    for form, words in (
        ({"until": "soon"}, "Write the end as a day"),
        ({"c1.without": "purchase"}, "Nothing would be left of this part"),
        ({"c1.field.price": "hidden", "c1.field.time": "hidden", "c1.field.category": "hidden"}, "Nothing would be left of this part"),
        ({}, "Nothing is less than before"),
        ({"without": "c1"}, "something of it must be left"),
        ({"c1.field.price": "exact"}, "something of it must be left"),
    ):
        answer = reading.post(page, {"version": str(version), **form}, page=page)
        assert answer.status_code == 422, form
        assert words in answer.text
        assert "<title>Error:" in answer.text
    assert reading.post(page, {"version": "9", "c1.field.price": "band"}, page=page).status_code == 409
    assert reading.post(page, {"c1.field.price": "band"}, page=page).status_code == 409
    assert bob.get(page).status_code == bob.post(page, {}, page="/").status_code == 404
    assert kept(reading, bookshop) == []
    reading.post(f"/grants/{grant}/revoke", page="/grants")
    assert reading.get(page).status_code == 409


def test_an_earlier_end_and_fewer_kinds(reading: Browser, clock: Clock) -> None:
    """The extension's own grant can be narrowed too; nothing is signed, since nobody else is party to it."""
    extension = Extension.connect(reading)
    grant = extension.tokens["grant_id"]
    until = (clock() + dt.timedelta(days=10)).date().isoformat()
    form = {"version": "1", "own.x": "", "c1.without": ["page_visit", "search"], "until": until}
    assert reading.post(f"/grants/{grant}/narrow", form, page=f"/grants/{grant}/narrow").status_code == 303
    with reading.app.extensions["broker"].reading() as tx:
        found = queries.one(tx, reading.ring, queries.to_bytes(grant))
        assert agreed.changes_of(tx, reading.ring, found.grant_id) == []
    assert not {"page_visit", "search"} & found.clauses[0].slice.kinds
    assert found.expires_at == dt.datetime.fromisoformat(f"{until}T23:59:59+00:00")
    clock.advance(days=11)
    assert extension.upload().status_code == 401


def test_what_narrows_nothing_says_why(reading: Browser, bookshop: Shop, clock: Clock) -> None:
    """An end that is no earlier is a mistake of its field; a form sent as it stands is none of any field."""
    grant = bookshop.tokens["grant_id"]
    page = f"/grants/{grant}/narrow"
    today, found = clock().date(), grant_of(reading, bookshop)
    version = str(clauses_of(reading, bookshop)[1])
    with reading.app.extensions["broker"].reading() as tx:
        last = queries.one(tx, reading.ring, found).expires_at.date()
    for until, said in (
        (last, f"It ends on {last.day} {last:%B %Y} as it is."),
        (last + dt.timedelta(days=30), f"It ends on {last.day} {last:%B %Y} as it is."),
        (today - dt.timedelta(days=1), "This day is over."),
    ):
        answer = reading.post(page, {"version": version, "until": until.isoformat()}, page=page)
        assert answer.status_code == 422
        assert f'<span class="error" id="f-until-error">{said}' in answer.text
        assert f'value="{until.isoformat()}"' in answer.text
    answer = reading.post(page, {"version": version}, page=page)
    assert (answer.status_code, "Nothing is less than before" in answer.text, 'class="error"' in answer.text) == (422, True, False)
    assert reading.post(page, {"version": version, "until": (last - dt.timedelta(days=1)).isoformat()}, page=page).status_code == 303


def test_levels_stand_in_the_order_of_the_consent_page(reading: Browser, bookshop: Shop) -> None:
    """From not shown up to what was given."""
    grant = bookshop.tokens["grant_id"]
    text = reading.get(f"/grants/{grant}/narrow").text
    select = re.search(r'<select id="l-c1-time".*?</select>', text, re.DOTALL)
    assert select
    values = re.findall(r'value="([^"]+)"', select[0])
    assert values == list(FIELDS["time"].levels[: len(values)])
    assert len(values) > 1
