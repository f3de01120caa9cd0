"""Erasing with `BROKER_BACKUP_DIR`: what is left is backed up and opened before the old keys go; no backup, a day's wait, and then erasure wins."""

import datetime as dt
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from makers import ORIGIN, Browser, Clock, page_visit

from broker import close_app, create_app
from broker.backups import copies, names
from broker.config import Settings, WrongSetting
from broker.db import KEYS, Store
from broker.errors import Unsealable
from broker.exports import actions
from broker.vault import epochs, heads
from broker.vault.vault import Vault


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    made = tmp_path / "shelf"
    made.mkdir()
    return made


@pytest.fixture
def app(settings: Settings, clock: Clock, shelf: Path) -> Iterator[Flask]:
    made = create_app(replace(settings, backup_dir=str(shelf)), clock)
    yield made
    close_app(made)


@pytest.fixture
def forgotten(alice: Browser, clock: Clock) -> Browser:
    """Two of three visits of a month are left."""
    start = clock() - dt.timedelta(days=40)
    alice.store(*[page_visit(start + dt.timedelta(minutes=n), title=f"Visit number {n}") for n in range(3)])
    forget(alice)
    return alice


def forget(alice: Browser) -> None:
    tag = alice.get("/activity").text.split('action="/activity/forget/')[1][:32]
    assert alice.post(f"/activity/forget/{tag}", page="/activity").status_code == 303


def states(app: Flask) -> list[str]:
    with app.extensions["broker"].keys.reading() as tx:
        return [row[0] for row in tx.exec_driver_sql("SELECT state FROM epochs ORDER BY epoch")]


def test_the_old_epoch_goes_only_after_a_backup_that_opens(app: Flask, forgotten: Browser, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = app.extensions["broker"]
    order: list[str] = []

    def noted(where: Any, name: str) -> None:
        real = getattr(where, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            order.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(where, name, call)

    for where, name in ((Vault, "destroy"), (Vault, "renew_person"), (epochs, "begin"), (epochs, "move"), (copies, "try_opening"), (epochs, "finish"), (copies, "renew_keys")):
        noted(where, name)
    assert actions.shred(broker) == 1
    assert order == ["destroy", "renew_person", "begin", "move", "try_opening", "finish", "renew_keys", "try_opening"]
    assert len(list(shelf.iterdir())) == 2
    pair = names.find(shelf)
    store = Store(pair.keys, KEYS)
    with store.reading() as tx:
        assert [row[0] for row in tx.exec_driver_sql("SELECT state FROM epochs ORDER BY epoch")] == states(app) == ["destroyed", "active"]
    assert broker.vault.opens(store) == 3
    store.close()
    # The survivors are in it, and nothing of it is a series.
    first = {path.name for path in shelf.iterdir()}
    forget(forgotten)
    assert actions.shred(broker) == 1
    assert len(list(shelf.iterdir())) == 2
    assert not first & {path.name for path in shelf.iterdir()}


def test_without_a_place_it_waits_a_day_and_then_goes(app: Flask, forgotten: Browser, shelf: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    broker = app.extensions["broker"]
    shelf.rmdir()
    with broker.keys.reading() as tx:
        keys = {row[0] for row in tx.exec_driver_sql("SELECT key_id FROM person_keys WHERE kind = 'page_visit'")}
    with caplog.at_level(logging.WARNING):
        assert actions.shred(broker) == 0
    assert "there is no such directory" in caplog.text
    # What was forgotten is closed already; only the epoch waits.
    assert not keys & broker.vault.keys_of(forgotten.person_id)
    assert forgotten.get("/activity").text.count("Visit number") == 2
    assert "destroyed" not in states(app)
    clock.advance(hours=23)
    assert actions.shred(broker) == 0
    assert "destroyed" not in states(app)
    clock.advance(hours=2)
    with caplog.at_level(logging.CRITICAL):
        assert actions.shred(broker) == 1
    assert "destroyed without one" in caplog.text
    assert states(app)[-2:] == ["destroyed", "active"]
    assert heads.mark(broker.heads, heads.SHREDDING) is None


def test_it_goes_on_as_soon_as_there_is_a_place(app: Flask, forgotten: Browser, shelf: Path) -> None:
    broker = app.extensions["broker"]
    shelf.rmdir()
    assert actions.shred(broker) == 0
    shelf.mkdir()
    assert actions.shred(broker) == 1
    assert len(list(shelf.iterdir())) == 2


def test_a_backup_that_does_not_open_does_not_count(app: Flask, forgotten: Browser, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_args: Any) -> int:
        raise Unsealable

    broker = app.extensions["broker"]
    with monkeypatch.context() as patch:
        patch.setattr(Vault, "opens", closed)
        assert actions.shred(broker) == 0
        assert "destroyed" not in states(app)
    assert actions.shred(broker) == 1


def test_an_erased_person_waits_too_and_is_not_lost_sight_of(app: Flask, alice: Browser, bob: Browser, shelf: Path) -> None:
    """Whose rows and keys are gone already is remembered until the epoch has ended."""
    broker = app.extensions["broker"]
    shelf.rmdir()
    actions.erase_person(broker, bob.person_id)
    assert actions.shred(broker) == 0
    assert not broker.vault.has_keys(bob.person_id)
    before = broker.vault.epoch
    shelf.mkdir()
    actions.shred(broker)
    assert states(app)[-1] == "active"
    assert heads.mark(broker.heads, heads.SHREDDING) is None
    assert broker.vault.epoch >= before
    assert "destroyed" in states(app)
    assert b"bob" not in b"".join(path.read_bytes() for path in shelf.iterdir())


def test_the_pages_say_whether_there_is_a_backup(app: Flask, forgotten: Browser) -> None:
    said = "makes no backup of its own first"
    assert said not in forgotten.get("/erase").text
    broker = app.extensions["broker"]
    object.__setattr__(broker, "settings", replace(broker.settings, backup_dir=""))
    assert said in forgotten.get("/erase").text
    assert said in forgotten.get("/activity/forget?kind=page_visit&site=shop.example").text


def test_the_page_and_the_how_to_say_what_opens_nevertheless(app: Flask, alice: Browser) -> None:
    """A sealed backup from before an erasure holds what was erased."""
    assert "a sealed backup from before</strong> still opens" in alice.get("/erase").text
    how_to = app.test_client().get("/docs/how-to/erase", base_url=ORIGIN, follow_redirects=True).text
    assert "before the erasure</strong> still opens" in how_to
    assert "proffer-…-keys.backup" in how_to


def test_a_backup_beside_the_data_is_refused(settings: Settings) -> None:
    with pytest.raises(WrongSetting, match="inside BROKER_DATA_DIR"):
        replace(settings, backup_dir=str(settings.data_dir / "backups"))
