"""What they saw, made again and held against the entry's hashes; what nobody uses, with the one tap that takes it away; and entries by day."""

import datetime as dt
import re
from typing import Any

import pytest
from makers import Browser, Clock, Shop, purchase, purchases
from sqlalchemy import update
from test_list import act_of, sentences_on

from broker.ledger import actions, models, proofs, queries, replays


def replayed(person: Browser, seq: int) -> replays.Replay:
    with person.app.extensions["broker"].reading() as tx:
        return replays.replay(tx, person.ring, queries.one(tx, person.ring, seq))


def reads(person: Browser) -> list[dict[str, Any]]:
    with person.app.extensions["broker"].reading() as tx:
        return queries.page(tx, person.ring, queries.Wanted(act="read", outcome="permitted")).entries


@pytest.fixture
def bought(alice: Browser, clock: Clock) -> Browser:
    """Alice with five purchases."""
    alice.store(*[purchase(clock() - dt.timedelta(days=3 + number), minor=990 + 500 * number) for number in range(5)])
    return alice


def test_a_read_is_replayed_byte_for_byte(bought: Browser, bookshop: Shop) -> None:
    """Each page of it, also the last, and with filters."""
    bookshop.connect(bought)
    sent = [bookshop.read("?limit=2").json]
    while "next" in sent[-1]:
        sent.append(bookshop.read(f"?limit=2&cursor={sent[-1]['next']}").json)
    sent.append(bookshop.read("?kind=purchase&category=books").json)
    for answer, entry in zip(sent, reversed(reads(bought)), strict=True):
        replay = replayed(bought, entry["seq"])
        assert (replay.rows, replay.sent, replay.word) == (answer["items"], len(answer["items"]), replays.EXACT)
    assert "exactly as they were sent" in bought.get(f"/ledger/{reads(bought)[0]['seq']}").text


def test_what_changed_since_does_not_change_what_was_seen(bought: Browser, bookshop: Shop) -> None:
    """The grant was narrowed, and a rule hides more now: what they saw then is shown as it was."""
    grant = bookshop.connect(bought)["grant_id"]
    sent = bookshop.read().json["items"]
    seq = reads(bought)[0]["seq"]
    bought.post(f"/grants/{grant}/revoke", page="/grants")
    replay = replayed(bought, seq)
    assert (replay.rows, replay.word) == (sent, replays.EXACT)


def test_what_was_forgotten_is_gone(bought: Browser, bookshop: Shop) -> None:
    bookshop.connect(bought)
    bookshop.read()
    seq = reads(bought)[0]["seq"]
    bought.post("/activity/forget", {"tab": "purchases", "number": "5"}, page="/activity")
    assert (replayed(bought, seq).rows, replayed(bought, seq).sent) == ([], 5)


def test_a_swapped_list_of_rows_is_noticed(bought: Browser, bookshop: Shop) -> None:
    """Sealed with the right key at the right place, and still not what the entry was made with."""
    bookshop.connect(bought)
    bookshop.read()
    seq = reads(bought)[0]["seq"]
    with bought.app.extensions["broker"].reading() as tx:
        log = bytes(tx.execute(models.heads.select().where(models.heads.c.person_id == bought.person_id)).one().log_id)
        found = queries.served(tx, bought.ring, log, seq)
        row = queries.one(tx, bought.ring, seq)
    assert found
    log_id = models.rows.c.log_id
    forged = actions.Entry("read", bought.app.extensions["broker"].now(), sent=found.ids[1:], within=b"{}")
    key = actions.entry_key(bought.ring, forged.at)
    with bought.app.extensions["broker"].data.writing() as tx:
        body = key.seal(proofs.place(bought.person_id, "ledger_rows", log, seq), actions._served(forged))
        tx.execute(update(models.rows).where(models.rows.c.person_id == bought.person_id, log_id == log, models.rows.c.seq == seq).values(body=body))
    assert row["count"] == 5
    assert replayed(bought, seq).word == replays.STRANGE
    assert "Have your ledger verified" in bought.get(f"/ledger/{seq}").text


def aged(bought: Browser, bookshop: Shop, clock: Clock) -> str:
    """A grant that is a hundred days old, and whose old rows are out of its window."""
    grant = bookshop.connect(bought, [purchases()])["grant_id"]
    for _ in range(5):
        clock.advance(days=20)
        assert bookshop.refresh().status_code == 200
    return grant


def again(person: Browser) -> Browser:
    """Signed in anew: a session does not outlive months."""
    return Browser.of(person.app, person.name)


def test_fields_that_nobody_saw_go_by_one_tap(bought: Browser, bookshop: Shop, clock: Clock) -> None:
    grant = aged(bought, bookshop, clock)
    bought = again(bought)
    bought.store({**purchase(clock() - dt.timedelta(days=5)), "items": [{"category": "books/crime", "quantity": 1}]})
    assert bookshop.read().json["items"]
    page = bought.get("/ledger/unused").text
    assert "none showed: <strong>price</strong>" in page
    hidden = re.findall(r'<input type="hidden" name="(version|field)" value="([^"]+)"', page)
    form = {name: [value for each, value in hidden if each == name] for name in ("version", "field")}
    refused = bought.post(f"/ledger/unused/{grant}", {**form, "field": []}, page="/ledger/unused")
    assert refused.status_code == 409
    assert bought.post(f"/ledger/unused/{grant}", form, page="/ledger/unused").status_code == 303
    assert "books.example can no longer see: price." in bought.get("/ledger/unused").text
    assert "You narrowed the grant of books.example." in sentences_on(bought.get("/ledger").text)
    assert "price" not in str(bookshop.call("GET").json["authorization_details"])
    assert bookshop.read().status_code == 200
    assert bought.post(f"/ledger/unused/{grant}", form, page="/grants").status_code == 409


def test_it_refuses_another_person(bought: Browser, bob: Browser, bookshop: Shop, clock: Clock) -> None:
    grant = aged(bought, bookshop, clock)
    bookshop.read()
    bob = again(bob)
    assert "books.example" not in bob.get("/ledger/unused").text
    assert bob.post(f"/ledger/unused/{grant}", {"version": "1"}).status_code == bob.post(f"/ledger/unused/{'A' * 22}", {"version": "1"}).status_code == 404


def test_grants_that_nobody_uses_are_named_for_a_pause(bought: Browser, bookshop: Shop, clock: Clock) -> None:
    grant = bookshop.connect(bought)["grant_id"]
    assert "Every grant that is 90 days old is used" in bought.get("/ledger/unused").text
    clock.advance(days=91)
    bought = again(bought)
    page = bought.get("/ledger/unused").text
    assert "Never read." in page
    assert f'action="/grants/{grant}/pause"' in page
    assert bought.post(f"/grants/{grant}/pause", page="/ledger/unused").status_code == 303
    assert "Never read." not in bought.get("/ledger/unused").text


def test_entries_by_day(bought: Browser, bookshop: Shop, clock: Clock) -> None:
    bookshop.connect(bought)
    first = clock().date()
    clock.advance(days=2)
    bookshop.refresh()
    bookshop.read()
    today = clock().date()
    assert [each for each in sentences_on(bought.get(f"/ledger?from={today}").text) if "read" in each] == ["books.example read 5 rows of what you bought, to recommend products to you."]
    assert not [each for each in sentences_on(bought.get(f"/ledger?to={first}").text) if "read" in each]
    assert "You let books.example" in bought.get(f"/ledger?from={first}&to={first}").text
    assert "is in your ledger" in bought.get(f"/ledger?from={today + dt.timedelta(days=1)}").text
    assert "The last day is before the first one." in bought.get(f"/ledger?from={today}&to={first}").text
    assert "This is no day." in bought.get("/ledger?from=yesterday").text


def test_a_clock_that_went_back_hides_no_entry(bought: Browser, clock: Clock) -> None:
    """A day's entries need not stand together, where an operator has set time back after a clock that went ahead."""
    clock.advance(days=5)
    bought.store(purchase(clock() - dt.timedelta(days=1)))
    clock.advance(days=-4)
    bought.app.extensions["broker"].now.set_back()
    bought.store(purchase(clock() - dt.timedelta(days=1)))
    clock.advance(days=4)
    bought.store(purchase(clock() - dt.timedelta(days=1)))
    of_day = [entry["at"][:10] for entry in in_days(bought, clock().date())]
    assert of_day == [str(clock().date())] * 2
    assert len(in_days(bought, clock().date() - dt.timedelta(days=4))) == 1


def in_days(person: Browser, day: dt.date) -> list[dict[str, Any]]:
    start = dt.datetime.combine(day, dt.time(), dt.UTC)
    with person.app.extensions["broker"].reading() as tx:
        return queries.page(tx, person.ring, queries.Wanted(since=start, until=start + dt.timedelta(days=1))).entries


def test_the_rows_page_is_reached_from_the_list(bought: Browser, bookshop: Shop) -> None:
    bookshop.connect(bought)
    bookshop.read()
    assert "All 5 rows" in bought.get(act_of(bought, "books.example read 5 rows")).text
