"""Erasing: what goes and what stays, in what order, after a kill too; and erasing a person whole (K40, K110)."""

import datetime as dt
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pytest
from damage import damaged
from flask import Flask
from makers import ORIGIN, Browser, Clock, Extension, Shop, page_visit, purchase
from signing_in import PASSWORD
from sqlalchemy import select
from test_isolation import PERSONAL

from broker import db
from broker.errors import Unsealable
from broker.events import actions as event_actions
from broker.events import shape
from broker.events.models import shreds
from broker.exports import actions
from broker.ledger import actions as ledger_actions
from broker.ledger import queries as ledger
from broker.people import actions as people
from broker.vault import heads
from broker.vault.vault import Vault


def under_way(app: Flask) -> list[Any]:
    with app.extensions["broker"].reading() as tx:
        return list(tx.execute(select(shreds)).all())


@pytest.fixture
def forgotten(alice: Browser, clock: Clock) -> Browser:
    """Alice forgot one of three visits of a day, and all of another month."""
    start = clock() - dt.timedelta(days=40)
    alice.store(*[page_visit(start + dt.timedelta(minutes=n), url=f"https://www.shop.example/{n}", title=f"Visit number {n}") for n in range(3)])
    alice.store(page_visit(start - dt.timedelta(days=60), url="https://www.old.example/", title="Old"))
    for site in ("old.example",):
        done = alice.post("/activity/forget", {"kind": "page_visit", "site": site, "number": "1"}, page="/activity")
        assert done.status_code == 303, done.text[-2000:]
    tag = alice.get("/activity").text.split('action="/activity/forget/')[1][:32]
    assert alice.post(f"/activity/forget/{tag}", page="/activity").status_code == 303
    return alice


def test_survivors_stay_and_the_ledger_says_it(app: Flask, forgotten: Browser) -> None:
    """Two months are noted with the rows that went; afterwards two events are left, and every key of before is gone."""
    broker = app.extensions["broker"]
    assert len(under_way(app)) == 2
    with broker.keys.reading() as tx:
        before = {row[0] for row in tx.exec_driver_sql("SELECT key_id FROM person_keys WHERE kind = 'page_visit'")}
    assert "keys are being destroyed" in forgotten.get("/keep").text
    assert actions.shred(broker) == 2
    assert under_way(app) == []
    text = forgotten.get("/activity").text
    assert sum(f"Visit number {n}" in text for n in range(3)) == 2
    with broker.keys.reading() as tx:
        after = {row[0] for row in tx.exec_driver_sql("SELECT key_id FROM person_keys WHERE kind = 'page_visit'")}
    assert not before & after
    with broker.heads.reading() as tx:
        assert before <= {row[0] for row in tx.exec_driver_sql("SELECT key_id FROM destroyed_keys")}
    with broker.reading() as tx:
        entry = ledger.page(tx, forgotten.ring, limit=1).entries[0]
        assert ledger.verify(tx, forgotten.ring)[0].problem == ""
    assert (entry["act"], len(entry["months"])) == ("key_destroyed", 2)
    assert "The broker destroyed the keys of what was forgotten, of 2 months in all." in forgotten.get("/ledger").text
    assert actions.shred(broker) == 0


STEPS: dict[str, Callable[[pytest.MonkeyPatch, Any], None]] = {
    "before anything": lambda patch, die: patch.setattr(Vault, "retire", die),
    "before survivors": lambda patch, die: patch.setattr(actions, "_reseal", die),
    "before the note": lambda patch, die: patch.setattr(heads, "note_destroyed", die),
    "before the end of keys": lambda patch, die: patch.setattr(Vault, "destroy", die),
    "before the person's key": lambda patch, die: patch.setattr(Vault, "renew_person", die),
    "before the files": lambda patch, die: patch.setattr(db.Store, "vacuum", die),
    "before the epoch": lambda patch, die: patch.setattr(Vault, "rotate", die),
    "before the entry": lambda patch, die: patch.setattr(actions, "_finish", die),
}


class Cut(Exception):
    """The process ends here."""


@pytest.mark.parametrize("step", STEPS)
def test_it_goes_on_where_it_was_cut_off(app: Flask, forgotten: Browser, step: str) -> None:
    def die(*_args: object, **_kwargs: object) -> None:
        raise Cut

    broker = app.extensions["broker"]
    with pytest.MonkeyPatch.context() as patch:
        STEPS[step](patch, die)
        with pytest.raises(Cut):
            actions.shred(broker)
    assert under_way(app)
    # Whatever was done by then, nothing that stays is lost.
    assert forgotten.get("/activity").text.count("www.shop.example") >= 2
    actions.shred(broker)
    assert under_way(app) == []
    assert sum(f"Visit number {n}" in forgotten.get("/activity").text for n in range(3)) == 2


def test_damaged_keys_keep_the_note(app: Flask, forgotten: Browser) -> None:
    """Somebody whose keys do not open now is not somebody without keys: what is to be destroyed is not forgotten, and goes once they do."""
    broker = app.extensions["broker"]
    with damaged(broker, forgotten.person_id):
        assert actions.shred(broker) == 0
        assert len(under_way(app)) == 2
    assert actions.shred(broker) == 2


def test_a_note_stays_while_somebody_reads_what_it_is_about(app: Flask, forgotten: Browser) -> None:
    """The log beside data.db cannot be emptied under a reader: the notes stay until the next sweep, and so does the sentence on the page."""
    broker = app.extensions["broker"]
    reader = sqlite3.connect(broker.settings.data_dir / "data.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchone()
    assert actions.shred(broker) == 0
    assert under_way(app)
    reader.close()
    assert actions.shred(broker) == 2


def test_what_is_forgotten_while_a_month_is_shredded_is_shredded_too(app: Flask, forgotten: Browser, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The month's note has a later time by then, and is still there afterwards."""
    broker, real = app.extensions["broker"], heads.note_destroyed

    def meanwhile(*args: Any) -> None:
        monkeypatch.undo()
        tag = forgotten.get("/activity").text.split('action="/activity/forget/')[1][:32]
        clock.advance(seconds=5)
        assert forgotten.post(f"/activity/forget/{tag}", page="/activity").status_code == 303
        real(*args)

    monkeypatch.setattr(heads, "note_destroyed", meanwhile)
    actions.shred(broker)
    left = under_way(app)
    assert len(left) == 1
    assert left[0].destroyed_at is None
    assert actions.shred(broker) == 1


def test_uploads_meanwhile_are_not_lost(app: Flask, alice: Browser, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sealed under a key that is about to go is sealed anew, and the extension hears of nothing."""
    broker, extension = app.extensions["broker"], Extension.connect(alice)
    start = clock() - dt.timedelta(hours=3)
    for n in range(2):
        assert extension.upload(page_visit(start + dt.timedelta(minutes=n), title=f"First {n}")).status_code == 200
    tag = alice.get("/activity").text.split('action="/activity/forget/')[1][:32]
    assert alice.post(f"/activity/forget/{tag}", page="/activity").status_code == 303
    sent, real = [], actions._reseal

    def while_resealing(*args: Any) -> int:
        if len(sent) < 5:
            sent.append(extension.upload(page_visit(start + dt.timedelta(minutes=30 + len(sent)), title=f"Late {len(sent)}")))
        return real(*args)

    monkeypatch.setattr(actions, "_reseal", while_resealing)
    thread = threading.Thread(target=actions.shred, args=(broker,))
    thread.start()
    thread.join()
    assert [each.status_code for each in sent] == [200] * len(sent)
    assert sent
    assert extension.upload(page_visit(clock(), title="After")).status_code == 200
    text = alice.get("/activity").text
    assert all(f"Late {n}" in text for n in range(len(sent)))
    assert "After" in text


def test_what_was_sealed_before_the_end_of_its_key_is_sealed_anew(app: Flask, alice: Browser, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sealed by another process a moment before, stored a moment after: it is refused under that key, and nothing is lost."""
    broker, start = app.extensions["broker"], (clock() - dt.timedelta(days=40)).replace(day=15)
    alice.store(*[page_visit(start + dt.timedelta(minutes=n), title=f"First {n}") for n in range(2)])
    ring = alice.ring
    late = shape.check(page_visit(start + dt.timedelta(minutes=30), title="In flight"), now=clock(), own=True)
    ready = event_actions.seal(ring, [event_actions.place_of(late)], "test", clock())
    tag = alice.get("/activity").text.split('action="/activity/forget/')[1][:32]
    assert alice.post(f"/activity/forget/{tag}", page="/activity").status_code == 303
    refused: list[BaseException] = []
    real, real_seal = actions._reseal, event_actions.seal

    def meanwhile(*args: Any) -> int:
        if not refused:
            with pytest.raises(event_actions.KeyRetired) as told:
                broker.write(lambda tx: event_actions.insert_ready(tx, ring, ready))
            refused.append(told.value)
            given = iter([ready])
            monkeypatch.setattr(event_actions, "seal", lambda *what: next(given, None) or real_seal(*what))
            event_actions.take_in(broker, ring, [late], origin="test", within=None, entry=ledger_actions.Entry("import", clock()))
        return real(*args)

    monkeypatch.setattr(actions, "_reseal", meanwhile)
    actions.shred(broker)
    assert refused
    assert "In flight" in alice.get("/activity").text


def test_a_stale_process_writes_nothing_it_could_not_open(app: Flask, forgotten: Browser, clock: Clock) -> None:
    """A keyring from before its person's key was renewed makes keys that the next one opens."""
    stale = forgotten.ring
    actions.shred(app.extensions["broker"])
    sealed = stale.key_for("cart", "2020-01").seal(b"here", b"kept")
    assert forgotten.ring is not stale
    assert forgotten.ring.unseal(b"here", sealed) == b"kept"


def test_a_person_erases_everything(app: Flask, alice: Browser, bob: Browser, bookshop: Shop, clock: Clock) -> None:
    """Their grants end, every row of every table goes, and their keys; bob keeps what is his."""
    broker = app.extensions["broker"]
    for person in (alice, bob):
        person.store(purchase(clock() - dt.timedelta(days=2)))
    bookshop.connect(alice)
    Extension.connect(alice)
    refused = alice.post("/erase", {"name": "Bob"}, page="/erase")
    assert refused.status_code == 422
    assert "Nothing was erased" in refused.text
    clock.advance(minutes=10)
    link = f"/sign-up/{people.make_link(broker, alice.person_id).text}"
    assert alice.app.test_client().get(link, base_url=ORIGIN).status_code == 200
    assert "Is it you?" in alice.post("/erase", {"name": " Alice "}, page="/erase").text
    answer = alice.post("/erase", {"name": " Alice ", "confirm": "erase", "confirm_password": PASSWORD}, page="/erase")
    assert (answer.status_code, answer.location) == (303, "/sign-in")
    # What the question renewed is not handed out again.
    assert [each.partition(";")[0] for each in answer.headers.getlist("Set-Cookie") if each.startswith("session-")] == ["session-8440="]
    assert alice.app.test_client().get(link, base_url=ORIGIN).status_code == 404
    assert alice.get("/activity").status_code == 303
    assert bookshop.read().status_code == 401
    actions.shred(broker)
    for store in (broker.data, broker.keys):
        with store.reading() as tx:
            tables = {row[0] for row in tx.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")} & PERSONAL
            assert tables
            for table in tables:
                assert tx.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE person_id = ?", (alice.person_id,)).scalar() == 0, table
    with pytest.raises(Unsealable):
        broker.keyring(alice.person_id)
    again = Browser.of(app, "bob")
    assert "A Study in Ink" in again.get("/activity").text


def test_an_erased_person_does_not_come_back(app: Flask, alice: Browser) -> None:
    """A kill between the note and the rows: the next sweep goes on."""
    broker = app.extensions["broker"]
    heads.note_erased(broker.heads, alice.person_id, broker.now())
    assert alice.get("/activity").status_code == 200
    actions.shred(broker)
    assert alice.get("/activity").status_code == 303
