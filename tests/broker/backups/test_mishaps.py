"""Backups while something is in the way: another one, a link, a kill, a full disk, a ledger that takes nothing, a broker with one key."""

import logging
import os
import shutil
import subprocess
import threading
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from makers import Browser, settings_in

from broker import close_app, create_app
from broker.backups import copies
from broker.config import Settings
from broker.opening import Broker
from broker.vault import backups
from broker.vault.backups import BackupRefused, To

Command = Callable[..., subprocess.CompletedProcess[str]]
PASSPHRASE = "five unrelated words in a row"


@pytest.fixture
def to() -> To:
    return backups.to_recipient(backups.new_recipient()[1])


def names(shelf: Path) -> set[str]:
    return {path.name for path in shelf.iterdir()}


def of(pair: copies.Pair) -> set[str]:
    return {pair.data.name, pair.keys.name}


def test_of_two_at_once_one_is_refused_and_one_is_left(broker: Broker, shelf: Path, to: To, monkeypatch: pytest.MonkeyPatch) -> None:
    copies.make(broker, shelf, to)
    inside, go_on = threading.Event(), threading.Event()
    real, made = type(broker.data).copy_to, list[copies.Pair]()

    def slow(store: Any, path: Path) -> None:
        real(store, path)
        if threading.current_thread().name == "slow":
            inside.set()
            assert go_on.wait(30)

    monkeypatch.setattr(type(broker.data), "copy_to", slow)
    thread = threading.Thread(target=lambda: made.append(copies.make(broker, shelf, to)), name="slow")
    thread.start()
    try:
        assert inside.wait(30)
        with pytest.raises(BackupRefused, match="Another backup is being made"):
            copies.make(broker, shelf, to)
    finally:
        go_on.set()
        thread.join()
    assert names(shelf) == of(made[0])
    assert not list(broker.settings.data_dir.glob("copying*"))


def test_what_a_kill_left_is_wiped_by_the_next_one(broker: Broker, shelf: Path, to: To) -> None:
    left = broker.settings.data_dir / "copying"
    left.mkdir()
    (left / "data.db").write_bytes(b"cut off")
    mine = broker.vault.broker_id.hex()[:8]
    (shelf / f"proffer-{mine}-20990101T000000Z-00000000-keys.part").write_bytes(b"cut off")
    made = copies.make(broker, shelf, to)
    assert names(shelf) == of(made)
    assert not left.exists()


def test_one_that_is_dated_later_stays_and_is_named(broker: Broker, shelf: Path, to: To, caplog: pytest.LogCaptureFixture) -> None:
    mine = broker.vault.broker_id.hex()[:8]
    later = shelf / f"proffer-{mine}-20990101T000000Z-00000000-keys.backup"
    later.write_bytes(b"of a clock that was wrong")
    made = copies.make(broker, shelf, to)
    assert names(shelf) == {*of(made), later.name}
    assert f"{later} is dated later" in caplog.text


def test_nothing_that_is_linked_is_overwritten(broker: Broker, shelf: Path, to: To, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever can write into the directory does not choose what is zeroed."""
    mine = broker.vault.broker_id.hex()[:8]
    stems = [shelf / f"proffer-{mine}-20260101T000000Z-0000000{number}-keys.backup" for number in range(3)]
    victim, twin, alone = tmp_path / "victim", tmp_path / "twin", tmp_path / "alone"
    for path in (victim, twin, alone):
        path.write_bytes(b"precious")
    stems[0].symlink_to(victim)
    stems[1].hardlink_to(twin)
    alone.rename(stems[2])
    with stems[2].open("rb") as content:
        assert of(copies.make(broker, shelf, to)) == names(shelf)
        assert content.read() == bytes(8), "the control: what is a file of its own is overwritten"
    assert victim.read_bytes() == twin.read_bytes() == b"precious"
    assert "another name elsewhere" in caplog.text
    assert not any(path.exists() or path.is_symlink() for path in stems)


def test_the_new_keys_are_in_place_before_the_old_ones_go(broker: Broker, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = copies.make(broker, shelf, None)
    before = pair.keys.read_bytes()

    class Cut(Exception):
        """Power goes."""

    def cut(*_args: Any) -> None:
        raise Cut

    for where, name in ((copies, "try_opening"), (Path, "replace")):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, cut)
            with pytest.raises(Cut):
                copies.renew_keys(broker, pair)
        assert pair.keys.read_bytes() == before
    with pair.keys.open("rb") as old:
        copies.renew_keys(broker, pair)
        assert set(old.read()) == {0}, "the old ones are overwritten at last"
    copies.try_opening(broker, pair)
    assert names(shelf) == of(pair)


def test_a_backup_that_does_not_open_leaves_the_older_one(broker: Broker, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = copies.make(broker, shelf, None)

    def closed(*_args: Any) -> None:
        raise BackupRefused("does not open")

    monkeypatch.setattr(copies, "try_opening", closed)
    with pytest.raises(BackupRefused, match="does not open"):
        copies.make(broker, shelf, None)
    assert names(shelf) == of(pair)


def size(broker: Broker, person_id: bytes) -> int:
    with broker.reading() as tx:
        return int(tx.exec_driver_sql("SELECT size FROM ledger_heads WHERE person_id = ?", (person_id,)).scalar() or 0)


def test_one_alarmed_ledger_stops_no_backup(command: Command, broker: Broker, alice: Browser, bob: Browser, shelf: Path, settings: Settings) -> None:
    broker.write(lambda tx: tx.exec_driver_sql("UPDATE ledger_heads SET alarm = 'x' WHERE person_id = ?", (alice.person_id,)))
    before = size(broker, bob.person_id)
    made = command(settings, "backup", str(shelf), typed=f"{PASSPHRASE}\n")
    assert made.returncode == 0, made.stderr
    assert {Path(line).name for line in made.stdout.splitlines()} == names(shelf)
    assert "not entered in one person's ledger" in made.stderr
    assert "nothing was sent" not in made.stderr
    assert size(broker, bob.person_id) == before + 1


def test_it_stands_in_the_ledger_before_it_leaves(broker: Broker, alice: Browser, shelf: Path, to: To, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cut(Exception):
        """Power goes."""

    def cut(*_args: Any) -> None:
        raise Cut

    monkeypatch.setattr(copies, "_put", cut)
    for form in (to, None):
        before = size(broker, alice.person_id)
        with pytest.raises(Cut):
            copies.make(broker, shelf, form)
        assert size(broker, alice.person_id) == before + 1
    assert names(shelf) == set()


def test_one_that_only_the_key_file_opens_says_so(command: Command, settings: Settings, broker: Broker, shelf: Path, to: To, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert "key file as it is now" not in command(settings, "backup", str(shelf), typed=f"{PASSPHRASE}\n").stderr
    with broker.keys.writing() as tx:
        tx.exec_driver_sql("DELETE FROM slots WHERE kind != 'key_file'")
    made = command(settings, "backup", str(shelf), typed=f"{PASSPHRASE}\n")
    assert made.returncode == 0, made.stderr
    assert "opens with the key file as it is now, and with nothing else" in made.stderr
    assert "broker keys add recovery-key" in made.stderr
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            copies.make(broker, shelf, None)
    assert caplog.text.count("key file as it is now") == 1


Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil's


def test_both_disks_need_room(broker: Broker, shelf: Path, to: To, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy that is made first lies in the data directory."""
    data, keys = (store.path.stat().st_size for store in (broker.data, broker.keys))
    free = {"shelf": 2 * data + keys - 1, "data": 10 * data}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free[Path(path).name]))
    assert os.stat(shelf).st_dev == os.stat(broker.settings.data_dir).st_dev  # noqa: PTH116 - replaced below
    with pytest.raises(BackupRefused, match=r"MiB left\. Make it"):
        copies.make(broker, shelf, to)
    assert not copies.possible(broker, shelf)
    free["shelf"] += 1
    assert copies.possible(broker, shelf)
    real = Path.stat

    def elsewhere(path: Path, **how: Any) -> os.stat_result:
        found = real(path, **how)
        return os.stat_result((*found[:2], found[2] + 1, *found[3:])) if path == shelf else found

    monkeypatch.setattr(Path, "stat", elsewhere)
    free.update(shelf=data + keys, data=data - 1)
    with pytest.raises(BackupRefused, match=r"The data directory .* needs there for a moment"):
        copies.make(broker, shelf, to)
    free["data"] += 1
    copies.make(broker, shelf, to)


def test_an_older_one_that_stays_is_named_and_the_new_one_is_good(broker: Broker, shelf: Path, to: To, caplog: pytest.LogCaptureFixture) -> None:
    mine = broker.vault.broker_id.hex()[:8]
    stubborn = shelf / f"proffer-{mine}-20260101T000000Z-00000000-keys.backup"
    stubborn.mkdir()
    made = copies.make(broker, shelf, to)
    assert names(shelf) == {*of(made), stubborn.name}
    assert f"The new backup {made.data.name} is good, but the older {stubborn} could not be taken away" in caplog.text


def test_the_passphrase_is_no_argument(command: Command, settings: Settings, shelf: Path) -> None:
    """Typed behind an option it would be in the shell's history, and be taken for the directory."""
    for given in (["--passphrase", "hunter2 hunter2"], ["--passphrase=hunter2 hunter2"]):
        run = command(settings, "backup", str(shelf), *given)
        assert run.returncode == 2
        assert "--ask-passphrase" in run.stderr
        assert "hunter2" not in run.stderr
    assert names(shelf) == set()


def test_two_brokers_keep_theirs_beside_each_other(broker: Broker, shelf: Path, to: To, tmp_path: Path) -> None:
    other = create_app(settings_in(tmp_path / "other"))
    ours, theirs = copies.make(broker, shelf, to), copies.make(other.extensions["broker"], shelf, to)
    close_app(other)
    assert names(shelf) == of(ours) | of(theirs)
