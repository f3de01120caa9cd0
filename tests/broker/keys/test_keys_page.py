"""What opens the broker: two keys before anything is given, each losable alone, looked after by its first person (K80)."""

import re
from pathlib import Path

import pytest
from flask import Flask
from makers import Browser, Clock, Shop, settings_in

from broker import close_app, create_app
from broker.config import Settings
from broker.errors import Conflict, Unsealable
from broker.people import actions as people
from broker.vault import epochs, slots
from broker.vault.slots import NoKey


def test_it_lists_and_adds(alice: Browser, bob: Browser, clock: Clock) -> None:
    """The first person alone changes anything, with a fresh sign-in; a recovery key is shown once."""
    made = alice.post("/keys/recovery", page="/keys")
    found = re.search(r"[0-9a-z]{4}(?:-[0-9a-z]{4}){7}", made.text)
    assert found
    assert slots.read_recovery_key(found[0]) is not None
    assert found[0] not in alice.get("/keys").text
    refused = alice.post("/keys/passphrase", {"passphrase": "short", "again": "other"}, page="/keys")
    assert refused.status_code == 422
    assert "Use 12 to 256 characters" in refused.text
    assert "differ" in refused.text
    assert "looks after its keys" in bob.get("/keys").text
    for path in ("/keys/recovery", "/keys/passphrase", "/keys/remove"):
        assert bob.post(path, {"slot": "00"}).status_code == 404
    clock.advance(minutes=10)
    assert "Is it you?" in alice.post("/keys/recovery", page="/keys").text


def test_two_are_left(app: Flask, alice: Browser) -> None:
    vault = app.extensions["broker"].vault
    (one, *_) = vault.slots()
    assert alice.post("/keys/remove", {"slot": one.id}, page="/keys").status_code == 409
    vault.add_recovery_key()
    assert alice.post("/keys/remove", {"slot": "ff" * 16}, page="/keys").status_code == 404
    assert alice.post("/keys/remove", {"slot": one.id}, page="/keys").status_code == 303
    assert len(vault.slots()) == 2
    assert "What opens this broker changed" in alice.get("/ledger").text


@pytest.fixture
def alone(tmp_path: Path) -> Settings:
    """Settings of a broker with one key and one person."""
    settings = settings_in(tmp_path / "alone")
    app = create_app(settings)
    people.add(app.extensions["broker"], "alice", "correct horse battery staple")
    close_app(app)
    return settings


def test_nothing_is_given_with_one_key_alone(alone: Settings) -> None:
    app = create_app(alone)
    try:
        alice, shop = Browser.of(app, "alice"), Shop.register(app, "books.example")
        form = alice.form(alice.open(shop.ask()))
        data = {**form, "give": form.pop("offered"), "answer": "give"}
        refused = alice.client.post("/oauth/authorize/decision", data=data, base_url="http://localhost:8440", headers={"Sec-Fetch-Site": "same-origin"})
        assert refused.status_code == 303
        assert refused.location.startswith("/keys?next=/requests/")
        page = alice.get(refused.location).text
        assert "Nothing was given yet" in page
        assert "No vendor may read anything" in alice.get("/grants").text
        back = refused.location.partition("next=")[2]
        assert back in alice.post("/keys/recovery", {"next": back}, page="/keys").text
        assert "code" in alice.give(shop.ask())
    finally:
        close_app(app)


def opens(settings: Settings) -> bool:
    app = create_app(settings)
    try:
        alice = Browser.of(app, "alice")
        return not app.extensions["broker"].vault.sealed and alice.get("/activity").status_code == 200
    finally:
        close_app(app)


def test_losing_any_one_loses_nothing(alone: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of three is lost in turn, and each of the others opens everything."""
    monkeypatch.setattr(slots, "START", dict(slots.FLOOR))
    monkeypatch.setattr(slots, "LEAST_SECONDS", 0.0)
    app = create_app(alone)
    vault = app.extensions["broker"].vault
    recovery = vault.add_recovery_key()
    vault.add_passphrase("five unrelated words in a row")
    close_app(app)
    assert opens(alone)
    alone.key_file.rename(alone.key_file.with_suffix(".lost"))
    app = create_app(alone)
    vault = app.extensions["broker"].vault
    assert vault.sealed
    assert not vault.unlock(slots.PASSPHRASE, "another one, just as long as it")
    assert vault.unlock(slots.PASSPHRASE, "five unrelated words in a row")
    for lost in (slots.PASSPHRASE, slots.KEY_FILE):
        vault.remove_slot(next(slot.id for slot in vault.slots() if slot.kind == lost)) if len(vault.slots()) > 2 else None
    vault.lock()
    assert not vault.unlock(slots.PASSPHRASE, "five unrelated words in a row")
    secret = slots.read_recovery_key(recovery)
    assert secret
    assert vault.unlock(slots.RECOVERY_KEY, secret)
    assert Browser.of(app, "alice").get("/activity").status_code == 200
    close_app(app)


def test_without_another_key_a_lost_key_file_stops_the_start(alone: Settings) -> None:
    alone.key_file.rename(alone.key_file.with_suffix(".lost"))
    with pytest.raises(NoKey, match="is missing"):
        create_app(alone)


def test_a_key_that_was_taken_away_opens_nothing(alone: Settings) -> None:
    """Not even with the row of keys.db that it had: ROOT and the epoch are new, and the old epoch's key is gone."""
    app = create_app(alone)
    broker = app.extensions["broker"]
    broker.vault.add_recovery_key()
    known = {slot.id for slot in broker.vault.slots()}
    secret = slots.read_recovery_key(broker.vault.add_recovery_key()) or b""
    with broker.keys.reading() as tx:
        before = slots.opened(tx, slots.RECOVERY_KEY, secret)
    assert before == broker.vault._root
    assert broker.vault.remove_slot(({slot.id for slot in broker.vault.slots()} - known).pop())
    assert broker.vault._root != before
    with broker.keys.reading() as tx:
        assert slots.opened(tx, slots.RECOVERY_KEY, secret) is None
        with pytest.raises(Unsealable):
            epochs.opened(tx, before or b"")
        assert tx.exec_driver_sql("SELECT count(*) FROM epochs WHERE wrapped_kek != x''").scalar() == 1
    assert Browser.of(app, "alice").get("/activity").status_code == 200
    close_app(app)


def test_a_passphrase_costs_what_it_must() -> None:
    """K85: Argon2id takes at least 150 ms here, and a row that was made cheaper opens nothing."""
    params = slots.tuned()
    assert all(params[name] >= least for name, least in slots.START.items())
    for name, least in slots.FLOOR.items():
        with pytest.raises(Unsealable):
            slots.private_of(slots.PASSPHRASE, "x", {**params, name: least - 1})
    with pytest.raises(Unsealable):
        slots.private_of(slots.PASSPHRASE, "x", {})


@pytest.mark.parametrize("place", range(32))
def test_every_wrong_letter_of_a_recovery_key_is_noticed(place: int) -> None:
    """But for one in a thousand, which then opens nothing."""
    plain = slots.new_recovery_key().replace("-", "")
    wrong = plain[:place] + ("2" if plain[place] != "2" else "3") + plain[place + 1 :]
    missed = slots.read_recovery_key(wrong)
    assert missed is None or missed != slots.read_recovery_key(plain)
    assert slots.read_recovery_key(plain[:place] + plain[place + 1 :]) is None


def test_the_key_file_has_one_slot(app: Flask) -> None:
    with pytest.raises(Conflict):
        app.extensions["broker"].vault.add_key_file()
