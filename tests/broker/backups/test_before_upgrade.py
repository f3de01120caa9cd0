"""Before the stores' form changes they are copied, once; afterwards the copy of the keys goes. A store of a newer version stops the start, whichever it is (K95)."""

import logging
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker import migrations
from broker.config import Settings
from broker.db import DATA, KEYS, Store
from broker.migrations import SchemaTooNew
from broker.opening import Broker
from broker.opening import opened as opening
from broker.vault.backups import BackupRefused

Command = Callable[..., subprocess.CompletedProcess[str]]
STORES = ("data.db", "keys.db", "heads.db")
WHOLE = [*sorted(STORES), "unfinished"]
# What stood before the newest revision of each store that has one, and what undoes it.
OLDER = {
    "data.db": ("c4d1a7f05e92", ["DROP TABLE old_ledgers"]),
    "heads.db": ("c3a7f02d9be4", ["DROP TABLE times"]),
}


@contextmanager
def opened(settings: Settings) -> Iterator[Broker]:
    """As a command opens it, and lets go what it needs no more."""
    with opening(settings) as broker:
        migrations.let_go(Path(settings.backup_dir or settings.data_dir), broker.vault.broker_id)
        yield broker


def version(path: Path) -> str:
    with closing(sqlite3.connect(path)) as store:
        return str(store.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def take_back(settings: Settings) -> dict[str, str]:
    """Make the stores as the version before wrote them; returns what they are at now."""
    for name, (revision, undo) in OLDER.items():
        with closing(sqlite3.connect(settings.data_dir / name)) as store, store:
            for statement in undo:
                store.execute(statement)
            store.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    return {name: version(settings.data_dir / name) for name in STORES}


def copies(where: Path) -> dict[str, list[str]]:
    return {folder.name: sorted(file.name for file in folder.iterdir()) for folder in where.glob("before-upgrade-*")}


@pytest.mark.parametrize("elsewhere", [False, True])
def test_all_three_are_copied_first_and_the_keys_go_again(settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, *, elsewhere: bool) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    if elsewhere:
        settings = replace(settings, backup_dir=str(shelf))
    old = take_back(settings)
    where = shelf if elsewhere else settings.data_dir
    seen: list[dict[str, list[str]]] = []
    real = migrations.upgrade

    def upgrading(*args: Any) -> None:
        seen.append(copies(where))
        real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "upgrade", upgrading)
        with caplog.at_level(logging.WARNING), opened(settings) as broker, broker.reading() as tx:
            assert tx.exec_driver_sql("SELECT count(*) FROM people").scalar() == 3
    assert [sorted(found) for each in seen for found in each.values()] == [WHOLE] * 2, "before anything is changed"
    (folder,) = where.glob("before-upgrade-*")
    assert str(folder) in caplog.text
    assert copies(where) == {folder.name: ["data.db", "heads.db"]}
    assert {name: version(folder / name) for name in OLDER} == {name: old[name] for name in OLDER}
    assert all(version(settings.data_dir / name) != old[name] for name in OLDER)
    # The next start changes nothing, and the one after the next change keeps one copy.
    with opened(settings):
        assert list(copies(where)) == [folder.name]
    take_back(settings)
    with opened(settings):
        assert len(copies(where)) == 1
        assert list(copies(where)) != [folder.name]


def test_an_upgrade_that_fails_leaves_all_three(settings: Settings) -> None:
    take_back(settings)
    with closing(sqlite3.connect(settings.data_dir / "heads.db")) as store, store:
        store.execute("CREATE TABLE times (other INTEGER)")
    with pytest.raises(Exception, match="times"), opened(settings):
        pass
    assert list(copies(settings.data_dir).values()) == [WHOLE]
    with closing(sqlite3.connect(settings.data_dir / "heads.db")) as store, store:
        store.execute("DROP TABLE times")
    with opened(settings):
        assert list(copies(settings.data_dir).values()) == [["data.db", "heads.db"]]


def failing(patch: pytest.MonkeyPatch, name: str) -> None:
    """Starts end before this store is upgraded."""
    real = migrations.upgrade

    def upgrading(store: str, *args: Any) -> None:
        if store == name:
            raise InterruptedError
        real(store, *args)

    patch.setattr(migrations, "upgrade", upgrading)


def test_an_upgrade_that_is_cut_off_keeps_the_one_copy_that_is_whole(settings: Settings) -> None:
    """However often it starts: what it left half done, with heads.db new and data.db old, is no copy to go back to."""
    take_back(settings)
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, "data")
        for _ in range(3):
            with pytest.raises(InterruptedError), opened(settings):
                pass
    (folder,) = settings.data_dir.glob("before-upgrade-*")
    assert {name: version(folder / name) for name in OLDER} == {name: OLDER[name][0] for name in OLDER}
    assert version(settings.data_dir / "heads.db") != OLDER["heads.db"][0], "it must have been half done"
    with opened(settings):
        assert copies(settings.data_dir) == {folder.name: ["data.db", "heads.db"]}
    assert {name: version(folder / name) for name in OLDER} == {name: OLDER[name][0] for name in OLDER}
    # The next upgrade makes its own.
    take_back(settings)
    with opened(settings):
        assert list(copies(settings.data_dir)) > [folder.name]


def test_no_place_for_the_copy_is_told_and_nothing_is_left(settings: Settings, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    take_back(settings)
    monkeypatch.setenv("BROKER_BACKUP_DIR", str(tmp_path / "nowhere"))
    before = {name: version(settings.data_dir / name) for name in STORES}
    for arguments in (["keys", "list"], ["verify"]):
        run = command(settings, *arguments)
        assert (run.returncode, "Traceback" in run.stderr) == (1, False), run.stderr
        assert f"cannot be copied to {tmp_path / 'nowhere'} first: no such file or directory" in run.stderr
        assert "set BROKER_BACKUP_DIR to another one" in run.stderr
    shelf = tmp_path / "shelf"
    shelf.mkdir()

    def full(store: Store, path: Path) -> None:
        path.write_bytes(b"half")
        if store.path.name == "data.db":
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Store, "copy_to", full)
    with pytest.raises(BackupRefused, match="database or disk is full"), opened(replace(settings, backup_dir=str(shelf))):
        pass
    assert not list(shelf.iterdir())
    assert {name: version(settings.data_dir / name) for name in STORES} == before


def test_brokers_that_share_a_place_leave_each_others_copies(settings: Settings, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    others = replace(settings, data_dir=tmp_path / "other" / "data", key_file=tmp_path / "other" / "keys" / "key", backup_dir=str(shelf))
    with opened(others):
        pass
    take_back(others)
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, "data")
        with pytest.raises(InterruptedError), opened(others):
            pass
    theirs = copies(shelf)
    assert list(theirs.values()) == [WHOLE]
    take_back(settings)
    with opened(replace(settings, backup_dir=str(shelf))):
        assert len(copies(shelf)) == 2
        assert theirs.items() <= copies(shelf).items()


def test_the_keys_stay_until_a_key_has_opened_what_came_of_them(settings: Settings, command: Command) -> None:
    with opened(settings) as broker:
        recovery = broker.vault.add_recovery_key()
    take_back(settings)
    aside = settings.key_file.with_name("aside")
    settings.key_file.rename(aside)
    assert command(settings, "keys", "list").returncode == 0
    assert list(copies(settings.data_dir).values()) == [sorted(STORES)], "it is sealed, and nobody knows whether the keys open"
    (folder,) = settings.data_dir.glob("before-upgrade-*")
    with (folder / "keys.db").open("rb") as keys:
        assert command(settings, "unlock", typed=f"{recovery}\n").returncode == 0
        assert copies(settings.data_dir) == {folder.name: ["data.db", "heads.db"]}
        assert set(keys.read()) == {0}


def test_nothing_is_copied_where_nothing_is_kept_or_changes(settings: Settings, tmp_path: Path) -> None:
    fresh = replace(settings, data_dir=tmp_path / "fresh", key_file=tmp_path / "fresh-key")
    for each in (settings, fresh):
        with opened(each):
            assert copies(each.data_dir) == {}


@pytest.mark.parametrize("name", STORES)
def test_a_newer_store_stops_the_start_and_nothing_changes(settings: Settings, name: str) -> None:
    take_back(settings)
    with closing(sqlite3.connect(settings.data_dir / name)) as store, store:
        store.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    before = {each: version(settings.data_dir / each) for each in STORES}
    with pytest.raises(SchemaTooNew, match=f"{name} was written by a newer broker"), opened(settings):
        pass
    assert {each: version(settings.data_dir / each) for each in STORES} == before
    assert copies(settings.data_dir) == {}


def test_a_copy_is_a_whole_store_of_its_own(settings: Settings, tmp_path: Path) -> None:
    with opened(settings) as broker:
        broker.data.copy_to(tmp_path / "copy.db")
        with pytest.raises(FileExistsError):
            broker.data.copy_to(tmp_path / "copy.db")
    copy = Store(tmp_path / "copy.db", DATA)
    assert copy.sound()
    copy.close()
    raw = bytearray((tmp_path / "copy.db").read_bytes())
    raw[5000:9000] = bytes(4000)
    shutil.copy(tmp_path / "copy.db", tmp_path / "hurt.db")
    (tmp_path / "hurt.db").write_bytes(raw)
    hurt = Store(tmp_path / "hurt.db", KEYS)
    assert not hurt.sound()
    hurt.close()
