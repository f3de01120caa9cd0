"""A full disk (K89): uploads are refused in time, and a revoke succeeds within a second from the ballast; on a small file system of our own."""

import datetime as dt
import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from makers import Browser, Extension, Shop, page_visit, purchase, settings_in

from broker import ballast, close_app, create_app
from broker.config import Settings
from broker.grants import actions as grants
from broker.grants import queries
from broker.ledger import queries as ledger
from broker.people import actions as people

MIB = 2**20
DISK = 64
SECONDS = 1.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB, which only root can make."""
    where = tmp_path / "disk"
    where.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("Making a small file system needs root on Linux.")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}m,mode=0700", "tmpfs", str(where)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"No small file system can be made here: {made.stderr.strip()}")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


@pytest.fixture
def home(disk: Path) -> Iterator[Flask]:
    """A broker on it, with alice, and its ballast."""
    settings = Settings(**{**{name: getattr(settings_in(disk), name) for name in Settings.__dataclass_fields__}, "data_dir": disk / "data"})
    app = create_app(settings)
    broker = app.extensions["broker"]
    broker.vault.add_recovery_key()
    people.add(broker, "alice", "correct horse battery staple")
    assert ballast.keep(settings.data_dir)
    yield app
    close_app(app)


def fill(disk: Path) -> bool:
    """Write until nothing more goes; whether the disk said so."""
    with (disk / "filler").open("ab", buffering=0) as file:
        size = MIB
        while size:
            try:
                file.write(b"\1" * size)
            except OSError as full:
                if full.errno != errno.ENOSPC:
                    raise
                size //= 2
        return True


@pytest.fixture
def alice(home: Flask) -> Browser:
    return Browser.of(home, "alice")


@pytest.fixture
def shop(home: Flask, alice: Browser, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop that reads; the room that uploads leave is smaller here, as the disk is."""
    from broker.events import actions as events

    monkeypatch.setattr(events, "ROOM_KEPT", 8 * MIB)
    made = Shop.register(home, "books.example")
    alice.store(purchase(dt.datetime.now(dt.UTC) - dt.timedelta(days=3)))
    made.connect(alice)
    assert made.read().json["items"]
    return made


def test_a_revoke_succeeds_within_a_second(home: Flask, disk: Path, alice: Browser, shop: Shop) -> None:
    extension = Extension.connect(alice)
    assert fill(disk)
    data = home.extensions["broker"].settings.data_dir
    refused = extension.upload(page_visit(dt.datetime.now(dt.UTC)))
    assert (refused.status_code, refused.json["type"]) == (507, "/problems/storage-full")
    assert (data / ballast.NAME).exists()
    token = alice.csrf("/requests")
    began = time.monotonic()
    done = alice.client.post(
        f"/grants/{shop.tokens['grant_id']}/revoke", data={"csrf_token": token}, base_url="http://localhost:8440", headers={"Sec-Fetch-Site": "same-origin"}
    )
    assert done.status_code == 303
    assert time.monotonic() - began < SECONDS
    assert not (data / ballast.NAME).exists()
    assert shop.read().status_code == 401
    with home.extensions["broker"].reading() as tx:
        acts = [entry["act"] for entry in ledger.page(tx, alice.ring).entries]
        assert ledger.verify(tx, alice.ring)[0].problem == ""
    assert "revoke" in acts[:3]
    (disk / "filler").unlink()
    assert extension.upload(page_visit(dt.datetime.now(dt.UTC))).status_code == 200
    assert ballast.keep(data)


def test_the_first_ending_of_a_month_finds_room_for_its_key(home: Flask, disk: Path, alice: Browser, shop: Shop) -> None:
    """Its ledger key is made before anything is entered, in another file than the one that is found full: that write needs room too."""
    broker = home.extensions["broker"]
    with broker.keys.writing() as tx:
        retired = "UPDATE person_keys SET state = 'retired' WHERE person_id = ? AND kind = 'ledger' AND role = 'data'"
        assert tx.exec_driver_sql(retired, (alice.person_id,)).rowcount
    broker.vault._rings.clear()
    assert fill(disk)
    assert grants.revoke(broker, alice.person_id, queries.to_bytes(shop.tokens["grant_id"]))
    assert not (broker.settings.data_dir / ballast.NAME).exists()
    assert shop.read().status_code == 401


def test_without_ballast_it_fails(home: Flask, disk: Path, alice: Browser, shop: Shop) -> None:
    """The control: the same without it."""
    data = home.extensions["broker"].settings.data_dir
    assert ballast.release(data)
    assert fill(disk)
    statuses = {alice.post(f"/grants/{shop.tokens['grant_id']}/revoke").status_code for _ in range(3)}
    assert statuses & {500, 503}
    (disk / "filler").unlink()
    assert alice.post(f"/grants/{shop.tokens['grant_id']}/revoke").status_code == 303
    assert shop.read().status_code == 401


def test_no_ballast_where_there_is_no_room(disk: Path) -> None:
    assert ballast.keep(disk)
    assert (disk / ballast.NAME).stat().st_size == ballast.BYTES
    assert ballast.release(disk)
    assert not ballast.release(disk)
    fill(disk)
    assert not ballast.keep(disk)
    assert not (disk / ballast.NAME).exists()
