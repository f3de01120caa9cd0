"""Which backup is meant, and what is not one: said in sentences, before a secret is typed; and nothing of it lies about afterwards."""

import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from makers import settings_in

from broker import close_app, create_app
from broker.backups import copies, names
from broker.config import Settings
from broker.opening import Broker
from broker.vault import backups
from broker.vault.backups import BackupRefused

Command = Callable[..., subprocess.CompletedProcess[str]]


def named(broker: Broker, stamp: str, file: str, form: str = "backup") -> str:
    return f"proffer-{broker.vault.broker_id.hex()[:8]}-{stamp}-00000000-{file}.{form}"


def test_a_backup_is_named_before_its_secret_is_asked_for(command: Command, broker: Broker, settings: Settings, shelf: Path) -> None:
    private, public = backups.new_recipient()
    made = copies.make(broker, shelf, backups.to_recipient(public))
    (shelf / named(broker, "20990101T000000Z", "data")).write_bytes(b"half")
    checked = command(settings, "restore", str(shelf), "--check", typed=f"{private}\n")
    assert checked.returncode == 0, checked.stderr
    assert made.made_at is not None
    assert f"The backup is {made.data} with {made.keys.name}, by its name of {made.made_at:%Y-%m-%d %H:%M} UTC." in checked.stderr
    assert f"A newer one is not whole, and is passed over. Of it there is only: {named(broker, '20990101T000000Z', 'data')}" in checked.stderr
    by_file = command(settings, "restore", str(made.keys), "--check", typed=f"{private}\n")
    assert by_file.returncode == 0, by_file.stderr


def test_where_several_lie_it_asks_which(command: Command, broker: Broker, settings: Settings, shelf: Path, tmp_path: Path) -> None:
    """A planted pair that is not sealed, or another broker's, is never taken because it is newer."""
    private, public = backups.new_recipient()
    made = copies.make(broker, shelf, backups.to_recipient(public))
    planted = [shelf / named(broker, "20990101T000000Z", file, "db") for file in ("data", "keys")]
    for path in planted:
        path.write_bytes(b"planted")
    refused = command(settings, "restore", str(shelf), "--check", typed=f"{private}\n")
    assert refused.returncode == 3
    assert "Name one file of the one you mean" in refused.stderr
    assert str(made.data) in refused.stderr
    assert f"{planted[0]}  (not sealed)" in refused.stderr
    chosen = command(settings, "restore", str(planted[0]), "--check")
    assert "It is not sealed: whoever could write there can have made it" in chosen.stderr
    for path in planted:
        path.unlink()
    other = create_app(settings_in(tmp_path / "other"))
    theirs = copies.make(other.extensions["broker"], shelf, backups.to_recipient(public))
    close_app(other)
    with pytest.raises(BackupRefused, match="several brokers"):
        names.find(shelf)
    assert names.find(theirs.keys) == theirs
    theirs.data.unlink()
    with pytest.raises(BackupRefused, match="is missing beside"):
        names.find(theirs.keys)
    for path, why in ((tmp_path / "nowhere", "There is no"), (broker.settings.key_file, "is not the name")):
        with pytest.raises(BackupRefused, match=why):
            names.find(path)


def planted(shelf: Path, content: bytes | None, form: str = "db") -> None:
    for path in shelf.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for file in ("data", "keys"):
        path = shelf / f"proffer-00000000-20260101T000000Z-00000000-{file}.{form}"
        path.mkdir() if content is None else path.write_bytes(content)


def no_traceback(run: subprocess.CompletedProcess[str], code: int) -> str:
    assert run.returncode == code, run.stderr
    assert "Traceback" not in run.stderr
    return run.stderr.splitlines()[-1]


def test_what_is_no_backup_is_told_in_a_sentence(command: Command, settings: Settings, shelf: Path, tmp_path: Path) -> None:
    elsewhere = replace(settings, data_dir=tmp_path / "elsewhere", key_file=tmp_path / "keys" / "new")
    for content, form, why in (
        (b"garbage" * 1000, "db", "no store of Proffer"), (b"", "db", "it holds nothing"), (None, "backup", "No backup is in"), (b"", "backup", "no backup of Proffer"),
        (backups.MAGIC + (4000).to_bytes(4, "big") + b"[" * 4000, "backup", "was cut, altered"),
    ):  # fmt: skip
        planted(shelf, content, form)
        assert why in no_traceback(command(elsewhere, "restore", str(shelf), "--check", typed="some passphrase\n"), 3)
        assert why in no_traceback(command(elsewhere, "restore", str(shelf), typed="some passphrase\n"), 1)
    assert not elsewhere.key_file.exists(), "looking makes no key"
    assert not list(elsewhere.data_dir.iterdir())


def test_stores_of_nobody_are_not_whole(command: Command, settings: Settings, shelf: Path, tmp_path: Path) -> None:
    other = settings_in(tmp_path / "other")
    app = create_app(other)
    pair = copies.make(app.extensions["broker"], shelf, None)
    close_app(app)
    assert "it holds no people" in no_traceback(command(other, "restore", str(shelf), "--check"), 3)
    with closing(sqlite3.connect(pair.keys)) as store, store:
        store.execute("DELETE FROM slots")
    elsewhere = replace(settings, data_dir=tmp_path / "elsewhere", key_file=tmp_path / "keys" / "new")
    assert "it holds no keys" in no_traceback(command(elsewhere, "restore", str(shelf), "--check"), 3)
    assert not elsewhere.key_file.exists()
    assert not elsewhere.data_dir.exists()


def test_a_full_disk_is_told_and_nothing_is_left(broker: Broker, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = copies.make(broker, shelf, None)

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(BackupRefused, match=r"it is full\. Nothing was changed"):
        copies.read(pair, "", tmp_path / "data.db", tmp_path / "keys.db")


STOPPED = """
import os, signal, sys
import broker.restores.checks as checks
def stop(*_args, **_more):
    os.kill(os.getpid(), signal.{signal})
    while True:
        signal.pause()
checks.{where} = stop
from broker.__main__ import main
main()
"""


def keys_in(*where: Path) -> list[Path]:
    """Every copy of a keys.db below these folders but the broker's own."""
    return [path for folder in where for path in folder.rglob("keys.db*") if path.parent != folder]


@pytest.mark.parametrize(("how", "code"), [("SIGTERM", 128 + signal.SIGTERM), ("SIGINT", 1), ("SIGHUP", 128 + signal.SIGHUP), ("SIGKILL", -signal.SIGKILL)])
def test_a_check_leaves_no_keys(command: Command, broker: Broker, settings: Settings, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, code: int) -> None:
    """Not in the system's temporary folder, and not after a signal; what a kill leaves the next command wipes, whichever it is."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    private, public = backups.new_recipient()
    copies.make(broker, shelf, backups.to_recipient(public))
    stopped = STOPPED.format(signal=how, where="verified")
    assert command(settings, "restore", str(shelf), "--check", typed=f"{private}\n", code=stopped).returncode == code
    left = keys_in(settings.data_dir)
    assert bool(left) == (how == "SIGKILL")
    assert {path.parents[1].stat().st_mode & 0o777 for path in left} <= {0o700}
    assert command(settings, "keys", "list").returncode == 0
    assert keys_in(settings.data_dir) == []
    assert not list(settings.data_dir.glob("checking-*"))
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_a_restore_that_is_cut_off_leaves_no_keys(command: Command, broker: Broker, settings: Settings, shelf: Path, tmp_path: Path, how: str) -> None:
    private, public = backups.new_recipient()
    copies.make(broker, shelf, backups.to_recipient(public))
    elsewhere = replace(settings, data_dir=tmp_path / "elsewhere", key_file=tmp_path / "keys" / "new", port=settings.port + 1)
    assert command(elsewhere, "restore", str(shelf), typed=f"{private}\n", code=STOPPED.format(signal=how, where="put_in_place")).returncode != 0
    assert bool(keys_in(elsewhere.data_dir)) == (how == "SIGKILL")
    # The operator gives up, and starts a new broker there.
    assert command(elsewhere, "keys", "list").returncode == 0
    assert keys_in(elsewhere.data_dir) == []
    assert not (elsewhere.data_dir / "restoring").exists()


def test_a_check_under_way_is_left_alone(settings: Settings) -> None:
    from broker.vault.files import scratch, wipe_left

    with scratch(settings.data_dir / "checking-1") as folder:
        (folder / "keys.db").write_bytes(b"in use")
        wipe_left(settings.data_dir)
        assert (folder / "keys.db").read_bytes() == b"in use"
        with pytest.raises(BlockingIOError), scratch(folder):
            pass
    assert not folder.exists()


def test_a_link_among_what_is_to_be_wiped_leads_nowhere(settings: Settings, tmp_path: Path) -> None:
    from broker.vault.files import wipe_left

    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "keys.db").write_bytes(b"precious")
    (settings.data_dir / "checking-1").symlink_to(victim)
    with suppress(OSError):
        wipe_left(settings.data_dir)
    assert (victim / "keys.db").read_bytes() == b"precious"
