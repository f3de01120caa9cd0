"""Two processes on one vault, damage to one person, stores that come back: the rest goes on, and nothing is said to be kept that cannot be read."""

import datetime as dt
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from damage import damaged
from flask import Flask
from makers import Browser, Clock, Extension, Shop, page_visit, purchase, settings_in

from broker import close_app, create_app
from broker.config import Settings
from broker.db import Store
from broker.errors import Unsealable
from broker.exports import actions as exports
from broker.grants import actions as grants
from broker.keys import actions as keys
from broker.ledger import actions as ledger
from broker.ledger import queries as ledger_queries
from broker.opening import open_broker, opened
from broker.people import actions as people
from broker.vault import slots
from broker.vault import vault as vaults
from broker.vendors import queries as vendors

PASSWORD = "correct horse battery staple"


@pytest.fixture
def other(settings: Settings, app: Flask, clock: Clock) -> Iterator[Flask]:
    """A second process of the same broker, as far as it remembers things of its own."""
    made = create_app(settings, clock)
    yield made
    close_app(made)


def test_a_rotation_in_another_process_stays(tmp_path: Path) -> None:
    """The server hands nothing old round after a rotation by command: it reads on, rotates, starts again, and new keys open it."""
    settings = settings_in(tmp_path)
    server = open_broker(settings)
    person_id = people.add(server, "alice", PASSWORD)
    with opened(settings) as command:
        command.vault.rotate()
    server.vault.share()
    recovery = server.vault.add_recovery_key()
    server.vault.rotate()
    assert server.keyring(person_id)
    server.close()
    settings.key_file.rename(tmp_path / "lost")
    again = open_broker(settings)
    keys.unlock(again, recovery)
    assert again.keyring(person_id)
    again.close()


def test_a_rotation_that_could_not_be_cleaned_up_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when keys.db is written anew: what opens the broker opens it still, and the next rotation works."""
    settings = settings_in(tmp_path)
    broker = open_broker(settings)
    person_id = people.add(broker, "alice", PASSWORD)

    def full(_store: Store) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "vacuum", full)
        broker.vault.rotate()
    broker.vault.rotate()
    broker.close()
    again = open_broker(settings)
    assert again.keyring(person_id)
    again.close()


def test_what_opens_the_broker_goes_to_whoever_waits_and_to_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sealed processes, one of them unlocked: the other is handed it, once; and neither is sealed for want of use while one of them is used."""
    monkeypatch.setattr(slots, "START", dict(slots.FLOOR))
    monkeypatch.setattr(slots, "LEAST_SECONDS", 0.0)
    settings = settings_in(tmp_path)
    with opened(settings) as first:
        first.vault.add_passphrase("five unrelated words in a row")
        first.vault.add_recovery_key()
        first.vault.remove_slot(next(slot.id for slot in first.vault.slots() if slot.kind == slots.KEY_FILE))
    with opened(settings) as one, opened(settings) as other:
        assert (one.vault.sealed, other.vault.sealed) == (True, True)
        keys.unlock(one, "five unrelated words in a row")
        other.vault._looked = 0.0
        assert not other.vault.sealed
        with opened(settings) as late:
            one.vault.share()
            late.vault._looked = 0.0
            assert not late.vault.sealed
        written = files_of(settings)
        one.vault.share()
        assert files_of(settings) == written
        now = vaults._now()
        monkeypatch.setattr(vaults, "_now", lambda: now + 600)
        other.vault.used()
        other.vault.lock_idle(5)
        one.vault.lock_idle(5)
        assert not one.vault.sealed
        monkeypatch.setattr(vaults, "_now", lambda: now + 1200)
        for broker in (one, other):
            broker.vault.lock_idle(5)
        assert one.vault.sealed


def files_of(settings: Settings) -> bytes:
    return (settings.data_dir / "keys.db").read_bytes()


def test_damage_to_one_person_keeps_no_client_in_service(app: Flask, alice: Browser, bob: Browser, bookshop: Shop) -> None:
    """Alice's keys do not open: the client goes all the same, and bob reads of it."""
    broker = app.extensions["broker"]
    for person in (alice, bob):
        bookshop.connect(person)
    with damaged(broker, alice.person_id):
        assert grants.remove_client(broker, bookshop.client_id)
    assert bookshop.read().status_code == 401
    with broker.reading() as tx:
        assert "operator" in [entry["act"] for entry in ledger_queries.page(tx, bob.ring, limit=5).entries]


def test_an_upload_at_another_process_after_an_erasure_is_kept(app: Flask, other: Flask, alice: Browser, clock: Clock) -> None:
    """That process still holds the month's key of before: what it acknowledges can be read."""
    extension = Extension.connect(alice)
    here, extension.client = extension.client, other.test_client()
    at = clock() - dt.timedelta(days=3)
    for number in (1, 2):
        assert extension.upload(page_visit(at + dt.timedelta(minutes=number), title=f"Visit {number}")).status_code == 200
    extension.client = here
    tag = alice.get("/activity").text.split('action="/activity/forget/')[1][:32]
    assert alice.post(f"/activity/forget/{tag}", page="/activity").status_code == 303
    assert exports.shred(app.extensions["broker"]) == 1
    extension.client = other.test_client()
    assert extension.upload(page_visit(at + dt.timedelta(minutes=9), title="Afterwards")).status_code == 200
    assert "Afterwards" in alice.get("/activity").text


def test_another_process_ends_a_grant_after_an_erasure(app: Flask, other: Flask, alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """Its person's key was renewed: it ends the grant, at the first time of asking, all the same."""
    alice.store(purchase(clock() - dt.timedelta(days=2)))
    bookshop.connect(alice)
    mine = other.extensions["broker"].keyring(alice.person_id)
    tag = alice.get("/activity").text.split('action="/activity/forget/')[1][:32]
    assert alice.post(f"/activity/forget/{tag}", page="/activity").status_code == 303
    exports.shred(app.extensions["broker"])
    assert other.extensions["broker"].keyring(alice.person_id) is mine
    assert grants.revoke(other.extensions["broker"], alice.person_id, bytes.fromhex(_hex(app)))
    assert bookshop.read().status_code == 401


def _hex(app: Flask) -> str:
    with app.extensions["broker"].reading() as tx:
        return bytes(tx.exec_driver_sql("SELECT grant_id FROM grants").scalar_one()).hex()


def test_damage_to_one_person_keeps_nobody_from_erasing(app: Flask, alice: Browser, bob: Browser, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """An event of alice's does not open: her month is shredded all the same, and bob's keys go."""
    broker = app.extensions["broker"]
    at = clock() - dt.timedelta(days=40)
    alice.store(*[page_visit(at + dt.timedelta(minutes=n), title=f"Visit {n}") for n in range(3)])
    bob.store(purchase(at))
    tag = alice.get("/activity").text.split('action="/activity/forget/')[1][:32]
    damage = "UPDATE events SET body = CAST(substr(body, 1, length(body) - 1) || x'01' AS BLOB) WHERE person_id = ? AND event_tag = (SELECT max(event_tag) FROM events WHERE person_id = ?)"
    assert alice.post(f"/activity/forget/{tag}", page="/activity").status_code == 303
    broker.write(lambda tx: tx.exec_driver_sql(damage, (alice.person_id, alice.person_id)))
    exports.erase_person(broker, bob.person_id)
    assert exports.shred(broker) == 1
    assert not broker.vault.has_keys(bob.person_id)
    assert "do not open" in caplog.text


def test_an_erased_person_stays_erased_when_an_older_store_comes_back(settings: Settings, clock: Clock, tmp_path: Path) -> None:
    """An older data.db is put back: the start takes what was theirs out of it, before anything reads it."""
    app = create_app(settings, clock)
    alice = Browser.of(app, "alice")
    shop = Shop.register(app, "books.example")
    shop.connect(alice)
    close_app(app)
    data = settings.data_dir / "data.db"
    shutil.copy(data, tmp_path / "older.db")
    app = create_app(settings, clock)
    exports.erase_person(app.extensions["broker"], alice.person_id)
    exports.shred(app.extensions["broker"])
    close_app(app)
    for each in settings.data_dir.glob("data.db*"):
        each.unlink()
    shutil.copy(tmp_path / "older.db", data)
    app = create_app(settings, clock)
    with app.extensions["broker"].reading() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM grants").scalar_one() == 0
        assert tx.exec_driver_sql("SELECT count(*) FROM people WHERE person_id = ?", (alice.person_id,)).scalar_one() == 0
    close_app(app)


def test_a_denial_of_somebody_erased_keeps_no_other_from_being_entered(app: Flask, alice: Browser, bob: Browser, bookshop: Shop, clock: Clock) -> None:
    """Repeats are counted for two; one erases everything; the other's are entered, and the broker closes."""
    denials = app.extensions["denials"]

    def denied(person: Browser) -> None:
        denials.record(person.person_id, ledger.Entry("read", clock(), outcome="denied", reasons=("paused",), by={"role": "vendor", "id": "x"}))

    for person in (alice, alice, bob, bob):
        denied(person)
    exports.erase_person(app.extensions["broker"], alice.person_id)
    exports.shred(app.extensions["broker"])
    denials.flush(everything=True)
    with app.extensions["broker"].reading() as tx:
        found = tx.exec_driver_sql("SELECT count(*) FROM ledger_entries WHERE person_id = ?", (bob.person_id,)).scalar_one()
    assert found >= 2
    assert not denials._pending


def test_a_log_with_an_alarm_keeps_nobody_from_adding_a_key(app: Flask, alice: Browser, bob: Browser) -> None:
    broker = app.extensions["broker"]
    broker.write(lambda tx: tx.exec_driver_sql("UPDATE ledger_heads SET alarm = 'x' WHERE person_id = ?", (bob.person_id,)))
    before = len(broker.vault.slots())
    assert alice.post("/keys/recovery", page="/keys").status_code == 200
    assert len(broker.vault.slots()) == before + 1


def test_a_client_goes_while_the_broker_is_sealed(app: Flask, alice: Browser, bookshop: Shop) -> None:
    bookshop.connect(alice)
    broker = app.extensions["broker"]
    broker.vault.lock()
    assert grants.remove_client(broker, bookshop.client_id)
    with broker.reading() as tx:
        client = vendors.client(tx, bookshop.client_id)
    assert client
    assert not client.enabled


def test_a_grant_that_ended_stays_so_though_its_persons_keys_are_damaged(app: Flask, alice: Browser, bookshop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older data.db with a live grant, and keys that do not open: the broker starts, and the grant is over."""
    broker = app.extensions["broker"]
    bookshop.connect(alice)
    grant_id = bytes.fromhex(_hex(app))
    assert grants.revoke(broker, alice.person_id, grant_id)
    broker.write(lambda tx: tx.exec_driver_sql("UPDATE grants SET status = 'active', ended_at = NULL"))

    def damaged(*_: Any) -> Any:
        raise Unsealable

    monkeypatch.setattr(type(broker), "appender", damaged)
    assert grants.end_again(broker) == 1
    with broker.reading() as tx:
        assert tx.exec_driver_sql("SELECT status FROM grants").scalar_one() == "revoked"
