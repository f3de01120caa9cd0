"""`GET /v1/answers`: what a vendor learns in place of rows, once a day, and what it never learns (policies.md, F9; P14)."""

import base64
import datetime as dt
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from makers import Browser, Clock, Shop, purchase

from broker import errors
from broker.events import actions, queries
from broker.grants import actions as grant_actions
from broker.grants import agreements, statements
from broker.ledger import queries as ledger
from broker.terms.actions import set_terms

RULE: dict[str, Any] = {
    "id": "habits", "label": "How long ago, how often, how much", "vendors": ["*"], "action": "read", "purposes": ["dpv:CustomerRelationshipManagement"],
    "kinds": ["purchase"], "form": "answers", "answers": ["frequency", "monetary", "recency"], "window": {"max_age": "P365D", "min_age": "P1D"},
}  # fmt: skip
ROWS: dict[str, Any] = {
    "id": "rows", "vendors": ["*"], "action": "read", "purposes": ["dpv:CustomerCare"], "kinds": ["purchase"], "form": "rows", "fields": {"time": "day"},
}
TERMS: dict[str, Any] = {
    "type": "Terms", "version": 1, "vocabulary": 1, "base": "SD-BASE", "requests": "AgentAllowsRequests", "auto_accept": "never",
    "allow": [RULE, ROWS], "deny": [],
}  # fmt: skip
HABITS: dict[str, Any] = {
    "type": "personal_data_access", "actions": ["read"], "datatypes": ["purchase"], "purposes": ["dpv:CustomerRelationshipManagement"],
    "why": "To thank good customers", "want": {"form": "answers", "answers": ["frequency", "monetary", "recency"], "window": {"max_age": "P365D"}},
}  # fmt: skip
SHOWN: dict[str, Any] = {**HABITS, "purposes": ["dpv:CustomerCare"], "want": {"form": "rows", "fields": {"time": "day"}}}


@pytest.fixture
def noon(alice: Browser, clock: Clock) -> dt.datetime:
    """The clock stands at noon (UTC), so that a test stays within one day; alice has just signed in."""
    clock.advance(seconds=(12 * 3600 - clock().timestamp()) % 86400)
    alice.sign_in_again()
    return clock()


@pytest.fixture
def bought(alice: Browser, bookshop: Shop, noon: dt.datetime) -> list[dict[str, Any]]:
    """Alice bought on five days, twice on one of them, last three weeks ago; the bookshop may learn her habits."""
    set_terms(alice.app.extensions["broker"], alice.person_id, TERMS)
    events = [purchase(noon - dt.timedelta(days=22 + 10 * n), minor=3000) for n in range(5)]
    events.append(purchase(noon - dt.timedelta(days=22, hours=1), minor=15_000))
    alice.store(*events)
    bookshop.connect(alice, [HABITS])
    return events


def entries(person: Browser) -> list[dict[str, Any]]:
    with person.app.extensions["broker"].reading() as tx:
        return ledger.page(tx, person.ring).entries


def eur(least: int, most: int) -> dict[str, Any]:
    return {"EUR": {"currency": "EUR", "from_minor": least, "to_minor": most}}


def test_it_answers(alice: Browser, bookshop: Shop, bought: list[dict[str, Any]], noon: dt.datetime) -> None:
    """5 days with 300.00 in all: 60.00 a day, in the band of 50 to 100."""
    answer = bookshop.answers()
    assert answer.status_code == 200, answer.text
    assert answer.json == {"answers": {"frequency": "4-7", "monetary": eur(5000, 10_000), "recency": 3}, "as_of": noon.date().isoformat()}
    entry = entries(alice)[0]
    assert (entry["act"], entry["outcome"], entry["answers"], entry["clause"]) == ("read", "permitted", ["frequency", "monetary", "recency"], "c1")
    assert entry["request"] == answer.headers["Request-Id"]
    assert "books.example learned how often you bought" in alice.get("/ledger").text


def test_without_purchases_it_answers_nothing(alice: Browser, bookshop: Shop, noon: dt.datetime) -> None:
    set_terms(alice.app.extensions["broker"], alice.person_id, TERMS)
    bookshop.connect(alice, [HABITS])
    assert bookshop.answers().json["answers"] == {"frequency": "0", "monetary": {}, "recency": None}


def test_it_is_worked_out_once_a_day(alice: Browser, bookshop: Shop, bought: list[dict[str, Any]], noon: dt.datetime, clock: Clock) -> None:
    """Caution 2: a purchase that arrives later shows the day after, not by the difference of two calls."""
    first = bookshop.answers().json
    alice.store(purchase(noon - dt.timedelta(days=8), minor=90_000))
    assert bookshop.answers().json == first
    clock.advance(hours=11, minutes=30)
    bookshop.refresh()
    assert bookshop.answers().json == first
    clock.advance(hours=1)
    bookshop.refresh()
    later = bookshop.answers().json
    assert (later["answers"]["recency"], later["as_of"] > first["as_of"]) == (1, True)


def test_what_was_forgotten_is_told_no_more(alice: Browser, bookshop: Shop, bought: list[dict[str, Any]]) -> None:
    assert bookshop.answers().json["answers"]["frequency"] == "4-7"
    forget_all(alice)
    assert bookshop.answers().json["answers"] == {"frequency": "0", "monetary": {}, "recency": None}


def forget_all(person: Browser) -> None:
    broker = person.app.extensions["broker"]
    with broker.reading() as tx:
        keys = queries.matching(tx, person.ring, queries.Wanted(kinds=("purchase",)))
    assert actions.forget(broker, person.ring, keys, {}) > 0


def racing(app: Flask, act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `act` happen once, between the working out of answers and their entry."""
    count_use, done = grant_actions.count_use, []

    def late(*args: Any, **kwargs: Any) -> Any:
        if not done:
            done.append(True)
            # On a thread of its own, as another call would be: in this one it would meet the proof of the call under way.
            other = threading.Thread(target=act)
            other.start()
            other.join()
        return count_use(*args, **kwargs)

    monkeypatch.setattr(grant_actions, "count_use", late)


def test_forgetting_while_it_is_worked_out(alice: Browser, bookshop: Shop, bought: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers of a moment ago neither leave nor are kept."""
    racing(alice.app, lambda: forget_all(alice), monkeypatch)
    assert bookshop.answers().json["answers"]["frequency"] == "0"
    assert bookshop.answers().json["answers"]["frequency"] == "0"


def test_two_at_once_get_the_same(alice: Browser, bookshop: Shop, bought: list[dict[str, Any]], noon: dt.datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A purchase stored and a second call answered, while the first is worked out: both say what the second said."""
    found: list[Any] = []

    def second() -> None:
        alice.store(purchase(noon - dt.timedelta(days=8)))
        found.append(bookshop.answers().json)

    racing(alice.app, second, monkeypatch)
    assert bookshop.answers().json == found[0]
    assert found[0]["answers"]["recency"] == 1


def test_standing_denies_bind_at_once(alice: Browser, bookshop: Shop, bought: list[dict[str, Any]]) -> None:
    """O5; and what is hidden looks like what never happened (caution 4)."""
    broker = alice.app.extensions["broker"]
    assert bookshop.answers().json["answers"]["monetary"] == eur(5000, 10_000)
    for deny, left in (
        ({"fields": ["total"]}, {"frequency": "4-7", "monetary": {}, "recency": 3}),
        ({"fields": ["time"]}, {"frequency": "0", "monetary": {}, "recency": None}),
        ({"sites": ["shop.example"]}, {"frequency": "0", "monetary": {}, "recency": None}),
        ({"categories": ["books"], "fields": ["total"]}, {"frequency": "4-7", "monetary": {}, "recency": 3}),
    ):
        set_terms(broker, alice.person_id, {**TERMS, "deny": [{"id": "d", **deny}]})
        assert bookshop.answers().json["answers"] == left, deny
    set_terms(broker, alice.person_id, {**TERMS, "deny": [{"id": "d", "kinds": ["purchase"]}]})
    assert bookshop.answers().status_code == 403
    set_terms(broker, alice.person_id, TERMS)
    assert bookshop.answers().json["answers"]["monetary"] == eur(5000, 10_000)


def test_the_rate_binds(alice: Browser, bookshop: Shop, noon: dt.datetime, clock: Clock) -> None:
    """Each answer counts as a read, durably; then 429 until the next UTC midnight."""
    set_terms(alice.app.extensions["broker"], alice.person_id, {**TERMS, "allow": [{**RULE, "rate": {"reads": "2/P1D"}}]})
    bookshop.connect(alice, [HABITS])
    assert [bookshop.answers().status_code for _ in range(3)] == [200, 200, 429]
    refused = bookshop.answers()
    assert refused.json["type"] == "/problems/rate-limit"
    assert 0 <= 12 * 3600 - int(refused.headers["Retry-After"]) <= clock().timestamp() - noon.timestamp() + 1
    assert entries(alice)[0]["reasons"] == ["rate"]
    clock.advance(seconds=int(refused.headers["Retry-After"]) + 1)
    bookshop.refresh()
    assert bookshop.answers().status_code == 200


def test_without_an_entry_no_answer(bookshop: Shop, bought: list[dict[str, Any]], app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 2."""
    assert bookshop.answers().status_code == 200

    def full(*_args: Any, **_kwargs: Any) -> None:
        raise errors.Busy(retry_after=1)

    monkeypatch.setattr(type(app.extensions["broker"]), "write", full)
    answer = bookshop.answers()
    assert (answer.status_code, answer.json["type"]) == (503, "/problems/ledger-unavailable")
    assert "answers" not in answer.json


REFUSED = {
    "?colour=blue": (422, "unprocessable", "bad-request"),
    "?kind=purchase": (422, "unprocessable", "bad-request"),
    "?clause=c1&clause=c2": (400, "bad-request", "bad-request"),
    "?purpose=dpv:Advertising": (403, "not-granted", "wrong-purpose"),
    "?clause=c9": (403, "not-granted", "no-clause"),
    "?clause=c2": (403, "not-granted", "wrong-form"),
}


@pytest.mark.parametrize("query", REFUSED)
def test_it_refuses(alice: Browser, bookshop: Shop, bought: list[dict[str, Any]], query: str) -> None:
    status, slug, reason = REFUSED[query]
    bookshop.connect(alice, [HABITS, SHOWN])
    assert bookshop.answers().status_code == bookshop.read("?clause=c2").status_code == 200
    answer = bookshop.answers(query)
    assert (answer.status_code, answer.json["type"]) == (status, f"/problems/{slug}")
    assert entries(alice)[0]["reasons"] == [reason]


def test_a_grant_of_rows_gives_no_answers_nor_the_other_way(alice: Browser, bookshop: Shop, otherstore: Shop, bought: list[dict[str, Any]]) -> None:
    assert bookshop.read().json["type"] == "/problems/not-granted"
    assert entries(alice)[0]["reasons"] == ["wrong-form"]
    otherstore.connect(alice, [SHOWN])
    assert otherstore.answers().json["type"] == "/problems/not-granted"
    assert entries(alice)[0]["reasons"] == ["wrong-form"]


def test_after_a_pause_and_a_revoke(alice: Browser, bookshop: Shop, bought: list[dict[str, Any]]) -> None:
    assert bookshop.answers().status_code == 200
    grant = bookshop.tokens["grant_id"]
    alice.post(f"/grants/{grant}/pause")
    assert bookshop.answers().json["type"] == "/problems/grant-paused"
    alice.post(f"/grants/{grant}/resume")
    assert bookshop.answers().status_code == 200
    alice.post(f"/grants/{grant}/revoke")
    assert bookshop.answers().status_code == 401


def test_each_answer_has_its_receipt(alice: Browser, bookshop: Shop, bought: list[dict[str, Any]]) -> None:
    """A receipt says that answers were told, and of no row: the person can give it to anybody."""
    body = bookshop.answers().data
    grant = bookshop.tokens["grant_id"]
    signed = alice.get(f"/grants/{grant}/files/agreement.json").json
    content = json.loads(base64.urlsafe_b64decode(signed["payload"] + "=="))
    made = alice.get(f"/grants/{grant}/files/receipts.json").json["statements"]
    (receipt,) = statements.verify(made, statements.RECEIPT, content, count=1)
    assert (receipt["answers"], receipt["rows"], receipt["fields"], receipt["oldest"]) == (["frequency", "monetary", "recency"], 0, [], None)
    assert receipt["body"] == agreements.digest(body)


def test_a_token_limited_to_rows(alice: Browser, bookshop: Shop, bought: list[dict[str, Any]]) -> None:
    """D5."""
    bookshop.connect(alice, [HABITS, SHOWN])
    assert bookshop.refresh(authorization_details='[{"type":"personal_data_access","identifier":"c2"}]').status_code == 200
    assert bookshop.answers().json["type"] == "/problems/not-granted"


def test_the_consent_page_shows_what_would_be_learned(alice: Browser, bookshop: Shop, bought: list[dict[str, Any]]) -> None:
    """C6 for answers: the sentence of the clause, its answers as of today, and a control for each."""
    text = alice.get(alice.open(bookshop.ask([HABITS]))).text
    assert "books.example may learn how often you bought, roughly how much you spent on a day with purchases and how many weeks ago you last bought" in text
    for line in ("You bought on 4-7 days in this time.", "On such a day you spent €50.00 to €100.00 on average.", "You last bought 3 weeks ago."):
        assert line in text
    assert text.count('name="1.without_answer"') == 3


def test_the_person_leaves_answers_out(alice: Browser, bookshop: Shop, bought: list[dict[str, Any]]) -> None:
    given = bookshop.connect(alice, [HABITS], **{"1.without_answer": ["monetary", "frequency"]})
    assert given["authorization_details"][0]["answers"] == ["recency"]
    assert bookshop.answers().json["answers"] == {"recency": 3}


def test_leaving_out_every_answer_is_a_mistake(alice: Browser, bookshop: Shop, bought: list[dict[str, Any]]) -> None:
    path = alice.open(bookshop.ask([HABITS]))
    form = alice.form(path)
    offered = form.pop("offered")
    every = ["monetary", "frequency", "recency"]
    answer = alice.post("/oauth/authorize/decision", {**form, "give": offered, "answer": "give", "1.without_answer": every}, page=path)
    assert answer.status_code == 422
    assert "You left out every answer." in answer.text


def test_answers_in_place_of_rows_where_both_were_proposed(alice: Browser, bookshop: Shop, bought: list[dict[str, Any]]) -> None:
    both = {**RULE, "form": "rows", "fields": {"time": "day"}}
    set_terms(alice.app.extensions["broker"], alice.person_id, {**TERMS, "allow": [both]})
    wanted = {**HABITS, "want": {**HABITS["want"], "form": "rows", "fields": {"time": "day"}}}
    text = alice.get(alice.open(bookshop.ask([wanted]))).text
    assert "They may also learn how often you bought" in text
    assert "Answers only" in text
    assert "You last bought 3 weeks ago." in text
    given = bookshop.connect(alice, [wanted])["authorization_details"][0]
    assert (given["form"], len(given["answers"])) == ("rows", 3)
    assert (bookshop.read().status_code, bookshop.answers().status_code) == (200, 200)
    given = bookshop.connect(alice, [wanted], **{"1.form": "answers"})["authorization_details"][0]
    assert (given["form"], given["fields"]) == ("answers", {})
    assert (bookshop.read().status_code, bookshop.answers().status_code) == (403, 200)
