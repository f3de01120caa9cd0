"""`broker backup` and `broker restore`: made while the broker runs and writes, whole, private, one and not a series; and put back only where it may be."""

import datetime as dt
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from makers import Browser, purchase

from broker import close_app
from broker.backups import copies
from broker.config import Settings
from broker.opening import Broker, opened
from broker.restores import checks
from broker.vault import backups, heads
from broker.vault.backups import BackupRefused

PASSPHRASE = "five unrelated words in a row"


def command(settings: Settings, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BROKER_DATA_DIR": str(settings.data_dir), "BROKER_KEY_FILE": str(settings.key_file), "BROKER_PORT": str(settings.port)}
    run = [sys.executable, "-m", "broker", *arguments]
    return subprocess.run(run, env=environment, input=typed, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def broker(app: Flask, alice: Browser) -> Broker:
    """A running broker with five purchases of alice's."""
    alice.store(*[purchase(dt.datetime.now(dt.UTC) - dt.timedelta(days=3 + n)) for n in range(5)])
    found: Broker = app.extensions["broker"]
    return found


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A directory for backups."""
    made = tmp_path / "shelf"
    made.mkdir()
    return made


@pytest.fixture
def pair(broker: Broker, shelf: Path) -> tuple[copies.Pair, str]:
    """A backup sealed to a key, and that key."""
    private, public = backups.new_recipient()
    return copies.make(broker, shelf, backups.to_recipient(public)), private


def read(pair: copies.Pair, text: str, where: Path) -> tuple[Path, Path]:
    where.mkdir(exist_ok=True)
    copies.read(pair, text, where / "data.db", where / "keys.db")
    return where / "data.db", where / "keys.db"


def test_two_private_files_come_back_as_they_were(pair: tuple[copies.Pair, str], broker: Broker, tmp_path: Path, shelf: Path) -> None:
    made, private = pair
    assert sorted(path.name for path in shelf.iterdir()) == sorted([made.data.name, made.keys.name])
    assert {path.stat().st_mode & 0o777 for path in shelf.iterdir()} == {0o600}
    for path in (made.data, made.keys):
        raw = path.read_bytes()
        assert b"SQLite format" not in raw
        assert not any(table in raw for table in (b"person_keys", b"ledger_entries", b"ended_grants"))
    data, keys = read(made, private, tmp_path / "out")
    with closing(sqlite3.connect(data)) as store:
        assert store.execute("SELECT count(*) FROM events").fetchone() == (5,)
        assert store.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('ended_grants', 'checkpoints', 'slots')").fetchone() == (0,)
    with closing(sqlite3.connect(keys)) as store:
        assert store.execute("SELECT count(*) FROM processes").fetchone() == (0,)
        assert store.execute("SELECT count(*) FROM slots").fetchone() == (len(broker.vault.slots()),)
    assert not list(broker.settings.data_dir.glob("copying*"))


def test_files_of_two_backups_or_with_each_others_names_are_refused(pair: tuple[copies.Pair, str], broker: Broker, tmp_path: Path) -> None:
    made, private = pair
    kept = tmp_path / "kept"
    shutil.copytree(made.data.parent, kept)
    with pytest.raises(BackupRefused, match="changed their names"):
        read(copies.Pair(made.keys, made.data), private, tmp_path / "a")
    mine, theirs = backups.new_recipient()
    first = copies.make(broker, kept, backups.to_recipient(theirs))
    other = tmp_path / "other"
    other.mkdir()
    second = copies.make(broker, other, backups.to_recipient(theirs))
    with pytest.raises(BackupRefused, match="different backups"):
        read(copies.Pair(first.data, second.keys), mine, tmp_path / "b")
    with pytest.raises(BackupRefused, match="not the passphrase"):
        read(first, private, tmp_path / "c")


def test_only_the_newest_of_each_form_is_kept_and_others_brokers_stay(pair: tuple[copies.Pair, str], broker: Broker, shelf: Path) -> None:
    """A series of keys would open what was erased; but the broker's own backups and those made by hand do not replace each other."""
    foreign = shelf / "proffer-00000000-20260101T000000Z-00000000-keys.backup"
    foreign.write_bytes(b"another broker's")
    made, _ = pair
    own = copies.make(broker, shelf, None)
    assert not own.is_sealed
    assert sorted(path.name for path in shelf.iterdir()) == sorted(path.name for path in (made.data, made.keys, own.data, own.keys, foreign))
    again = copies.make(broker, shelf, backups.to_recipient(backups.new_recipient()[1]))
    own = copies.make(broker, shelf, None)
    assert sorted(path.name for path in shelf.iterdir()) == sorted(path.name for path in (again.data, again.keys, own.data, own.keys, foreign))


def test_what_cannot_be_done_leaves_the_old_backup(pair: tuple[copies.Pair, str], broker: Broker, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(path.name for path in shelf.iterdir())

    def full(*_args: Any) -> None:
        raise OSError(28, "No space left on device")

    for name in ("write", "new"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(copies.backups, "write", full) if name == "write" else patch.setattr(copies.os, "fsync", full)
            with pytest.raises(BackupRefused, match="it is full"):
                copies.make(broker, shelf, backups.to_recipient(backups.new_recipient()[1]))
        assert sorted(path.name for path in shelf.iterdir()) == before
    for place, why in ((shelf / "nowhere", "no such directory"), (broker.settings.data_dir, "inside the data directory")):
        with pytest.raises(BackupRefused, match=why):
            copies.make(broker, place, None)


def test_it_is_whole_while_events_come_in(broker: Broker, alice: Browser, shelf: Path, tmp_path: Path) -> None:
    """Every copy is one moment: its ledger holds, every event in it opens, and its count is one that there was."""
    stop, stored = threading.Event(), [5]

    def storing() -> None:
        while not stop.is_set():
            alice.store(*[purchase(dt.datetime.now(dt.UTC) - dt.timedelta(days=1 + len(stored) % 90, seconds=n)) for n in range(20)])
            stored.append(stored[-1] + 20)

    writer = threading.Thread(target=storing)
    writer.start()
    try:
        sizes = []
        for number in range(4):
            made = copies.make(broker, shelf, None)
            home = tmp_path / f"copy{number}"
            (home / "data").mkdir(parents=True, mode=0o700)
            read(made, "", home / "data")
            shutil.copy(broker.settings.key_file, home / "key")
            with opened(replace(broker.settings, data_dir=home / "data", key_file=home / "key")) as copy:
                report = checks.verified(copy)
                with copy.reading() as tx:
                    sizes.append(tx.exec_driver_sql("SELECT count(*) FROM events").scalar())
            assert report.problem == ""
    finally:
        stop.set()
        writer.join()
    assert set(sizes) <= set(stored)
    assert sizes[-1] > sizes[0], "it must have been written meanwhile"


def test_it_is_done_again_where_keys_went_meanwhile(broker: Broker, alice: Browser, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data from before and keys from after a destruction would lose the survivors."""
    taken: list[int] = []
    real = type(broker.data).copy_to

    def copying(store: Any, path: Path) -> None:
        real(store, path)
        taken.append(1)
        if len(taken) == 1:
            heads.note_destroyed(broker.heads, alice.person_id, [b"k" * 16], broker.now())

    monkeypatch.setattr(type(broker.data), "copy_to", copying)
    copies.make(broker, shelf, backups.to_recipient(backups.new_recipient()[1]))
    assert len(taken) == 2


def test_from_the_command_line_and_back(app: Flask, broker: Broker, alice: Browser, shelf: Path, tmp_path: Path, settings: Settings) -> None:
    """While the broker runs; then checked, refused where something is, and put back where nothing is."""
    made = command(settings, "backup", str(shelf), "--ask-passphrase", typed=f"{PASSPHRASE}\n")
    assert made.returncode == 0, made.stderr
    assert [Path(line).parent for line in made.stdout.splitlines()] == [shelf, shelf]
    checked = command(settings, "restore", str(shelf), "--check", typed=f"{PASSPHRASE}\n")
    assert (checked.returncode, "is whole: 3 people, 5 events" in checked.stdout) == (0, True), checked.stderr
    wrong = command(settings, "restore", str(shelf), "--check", typed="another passphrase\n")
    assert (wrong.returncode, "not the passphrase" in wrong.stderr) == (3, True)
    running = command(settings, "restore", str(shelf), typed=f"{PASSPHRASE}\n")
    assert (running.returncode, "A broker runs" in running.stderr) == (1, True)
    close_app(app)
    left = command(settings, "restore", str(shelf), typed=f"{PASSPHRASE}\n")
    assert (left.returncode, "is not empty" in left.stderr) == (1, True)
    for path in settings.data_dir.iterdir():
        if path.name != "heads.db":
            path.unlink()
    back = command(settings, "restore", str(shelf), typed=f"{PASSPHRASE}\n")
    assert back.returncode == 0, back.stderr
    assert "every grant will be paused" in back.stdout
    verified = command(settings, "verify")
    assert verified.returncode == 14, verified.stderr
    assert "There is a gap, and it is declared" in verified.stdout
    assert "older copy of the stores has come back" in verified.stderr
    assert "come back" not in command(settings, "verify").stderr, "a restore is settled once"


def test_without_the_key_file_it_asks_for_a_slot(app: Flask, broker: Broker, shelf: Path, settings: Settings, tmp_path: Path) -> None:
    recovery = broker.vault.add_recovery_key()
    private, public = backups.new_recipient()
    assert command(settings, "backup", str(shelf), "--to", public).returncode == 0
    elsewhere = replace(settings, data_dir=tmp_path / "elsewhere", key_file=tmp_path / "no" / "key")
    closed = command(elsewhere, "restore", str(shelf), "--check", typed=f"{private}\nwrong words\n")
    assert closed.returncode == 4, closed.stderr
    good = command(elsewhere, "restore", str(shelf), "--check", typed=f"{private}\n{recovery}\n")
    assert good.returncode == 0, good.stderr
    assert not elsewhere.data_dir.exists()
    assert not elsewhere.key_file.exists()


def test_wrong_use_is_told(settings: Settings, shelf: Path) -> None:
    for arguments, word in (
        (["backup"], "Name the directory"), (["backup", str(shelf), "--to", "nobody"], "new-recipient"), (["backup", str(shelf), "--ask-passphrase", "--to", "x"], "not to both"),
    ):  # fmt: skip
        run = command(settings, *arguments)
        assert (run.returncode, word in run.stderr) == (2, True), run.stderr
    assert command(settings, "backup", str(shelf), typed="short\n").returncode == 2
    none = command(settings, "restore", str(shelf), "--check")
    assert (none.returncode, "No backup is in" in none.stderr) == (3, True)
    pair = command(settings, "backup", "--new-recipient").stdout.split()
    assert backups.to_recipient(pair[0])
