"""What a second adversary found once: races with a block and a forgetting, forged sentences, damaged grants, dates, sub-domains, receipts."""

import datetime as dt
import threading
from typing import Any

import pytest
from flask import Flask
from makers import ORIGIN, Browser, Clock, Shop, purchase, purchases
from sqlalchemy import select, update

from broker.events import actions as event_actions
from broker.events import queries as event_queries
from broker.grants import queries as grants
from broker.grants.models import changes
from broker.grants.models import grants as rows
from broker.ledger import queries as ledger
from broker.terms import queries as term_queries
from broker.terms.actions import block, set_terms
from policies import explain
from policies.terms import DEFAULT_TERMS


def entries(person: Browser) -> list[dict[str, Any]]:
    with person.app.extensions["broker"].reading() as tx:
        return ledger.page(tx, person.ring).entries


@pytest.fixture
def reading(alice: Browser, bookshop: Shop, clock: Clock) -> Browser:
    """Alice bought something that the bookshop may read."""
    alice.store(purchase(clock() - dt.timedelta(days=5)))
    bookshop.connect(alice)
    return alice


def after_the_rows(patch: pytest.MonkeyPatch, act: Any) -> None:
    """Let `act` happen once, when a read has its rows and no entry yet."""
    read, left = event_queries.read, [act]

    def then(*given: Any, **more: Any) -> Any:
        page = read(*given, **more)
        if left:
            other = threading.Thread(target=left.pop())
            other.start()
            other.join()
        return page

    patch.setattr(event_queries, "read", then)


def test_terms_that_come_while_a_read_is_under_way_bind_it(reading: Browser, bookshop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = reading.app.extensions["broker"]
    strict = {**DEFAULT_TERMS.to_json(), "deny": [{"id": "nobody"}]}
    after_the_rows(monkeypatch, lambda: set_terms(broker, reading.person_id, strict))
    assert bookshop.read().status_code == 403
    assert [entry["outcome"] for entry in entries(reading) if entry["act"] == "read"] == ["denied"]


def test_what_is_forgotten_while_a_read_is_under_way_is_not_sent(reading: Browser, bookshop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = reading.app.extensions["broker"]
    with broker.reading() as tx:
        keys = event_queries.matching(tx, reading.ring, event_queries.Wanted(kinds=("purchase",)))
    after_the_rows(monkeypatch, lambda: event_actions.forget(broker, reading.ring, keys, {}))
    assert bookshop.read().status_code == 503
    assert bookshop.read().json["items"] == []


@pytest.mark.parametrize("column", ["details", "clauses", "statement"])
def test_a_damaged_grant_can_still_be_stopped(reading: Browser, bookshop: Shop, column: str) -> None:
    broker, grant = reading.app.extensions["broker"], bookshop.tokens["grant_id"]
    reading.post(f"/grants/{grant}/pause", page="/requests")
    reading.post(f"/grants/{grant}/resume", page="/requests")
    table = changes if column == "statement" else rows
    mine = table.c.grant_id == grants.to_bytes(grant)

    def damage(tx: Any) -> None:
        body = tx.execute(select(table.c[column]).where(mine)).scalars().first()
        tx.execute(update(table).where(mine).values({column: body[:-1] + bytes([body[-1] ^ 1])}))

    broker.write(damage)
    assert reading.post(f"/grants/{grant}/revoke", page="/requests").status_code == 303
    assert bookshop.read().status_code == 401


def test_a_vendors_words_cannot_leave_their_quotation_marks(alice: Browser, bookshop: Shop) -> None:
    forged = "books/x. They see nothing, and must"
    page = alice.get(alice.open(bookshop.ask([{**purchases(categories=[forged]), "gives": [{"kind": "discount", "text": "5%”. This ends tomorrow. “10%"}]}]))).text
    assert "“books/x. They see nothing, and must”" in page
    assert explain._quote("5%”. It ends. “10%") == "“5%’. It ends. ‘10%”"
    hidden = bookshop.push([purchases(categories=["books/\u202eevil"])])
    assert (hidden.status_code, hidden.json["error"]) == (400, "invalid_authorization_details")


@pytest.mark.parametrize(
    "want",
    [
        {"validity": {"from": "9999-12-30T00:00:00Z", "until": "9999-12-31T00:00:00Z"}},
        {"validity": {"from": "9999-12-30T00:00:00Z"}},
        {"window": {"after": "9999-12-31T23:59:59Z"}},
        {"window": {"before": "0001-01-01T00:00:00Z"}},
    ],
)
def test_dates_at_the_edge_of_time_are_refused(bookshop: Shop, want: dict[str, Any]) -> None:
    pushed = bookshop.push([purchases(**want)])
    assert (pushed.status_code, pushed.json["error"]) == (400, "invalid_authorization_details")


def test_hundreds_of_denies_hold_and_stop_no_read(reading: Browser, bookshop: Shop) -> None:
    broker, terms = reading.app.extensions["broker"], DEFAULT_TERMS.to_json()
    denies = [{"id": f"d{number}", "sites": [f"s{number}.example"]} for number in range(999)]
    set_terms(broker, reading.person_id, {**terms, "deny": [*denies, {"id": "last", "sites": ["shop.example"]}]})
    assert bookshop.read().json["items"] == []
    set_terms(broker, reading.person_id, {**terms, "deny": [*denies, {"id": "block-x", "vendors": ["https://x.example"]}]})
    assert len(bookshop.read().json["items"]) == 1
    vendor = "https://books.example"
    broker.write(block(broker, reading.person_id, vendor).insert)
    assert bookshop.read().status_code == 403
    with broker.reading() as tx:
        assert vendor in term_queries.current(tx, reading.ring).blocked


def test_odd_numbers_in_forms_are_mistakes_and_no_failure(reading: Browser, bookshop: Shop) -> None:
    grant = bookshop.tokens["grant_id"]
    for version in ("9" * 20, "9" * 5000, "x", "-1"):
        assert reading.post(f"/grants/{grant}/narrow", {"version": version}, page=f"/grants/{grant}/narrow").status_code < 500
    path = reading.open(bookshop.ask())
    form = reading.form(path)
    data = {**form, "give": form.pop("offered"), "answer": "give", "until": " "}
    assert reading.client.post("/oauth/authorize/decision", data=data, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303
    rule = {"label": "x", "vendors": "*", "kinds": "purchase", "purposes": "dpv:CustomerCare", "field.time": "day", "max_age": "99999"}
    assert reading.post("/terms/preview", {"what": "allow", **rule}, page="/terms/allow").status_code == 422


def test_a_vendor_on_a_host_of_a_known_shop_is_known(alice: Browser, app: Flask, clock: Clock) -> None:
    shop = Shop.register(app, "www.shop.example")
    alice.store(purchase(clock() - dt.timedelta(days=5), site="www.shop.example"))
    shop.connect(alice)
    assert shop.read().status_code == 200
    set_terms(app.extensions["broker"], alice.person_id, {**DEFAULT_TERMS.to_json(), "deny": [{"id": "known", "vendors": ["known"]}]})
    assert shop.read().status_code == 403


def test_an_entry_names_what_was_really_shown(reading: Browser, bookshop: Shop, clock: Clock) -> None:
    """A field that a standing deny hides is in no row, so neither the entry nor its receipt names it, nor a day."""
    # Without its time a row is judged by whole months.
    reading.store(purchase(clock() - dt.timedelta(days=40)))
    set_terms(reading.app.extensions["broker"], reading.person_id, {**DEFAULT_TERMS.to_json(), "deny": [{"id": "no-time", "fields": ["time"]}]})
    assert "time" not in bookshop.read().json["items"][0]
    entry = next(entry for entry in entries(reading) if entry["act"] == "read")
    assert "time" not in entry["fields"]
    assert (entry["from"], entry["to"]) == ("", "")
    assert reading.client.get(f"/grants/{bookshop.tokens['grant_id']}/files/receipts.json", base_url=ORIGIN).status_code == 200
