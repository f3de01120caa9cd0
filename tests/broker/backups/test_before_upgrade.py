"""Before the stores' form changes they are copied; afterwards the copy of the keys goes. A store of a newer version stops the start, whichever it is (K95)."""

import logging
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker import migrations
from broker.config import Settings
from broker.db import DATA, KEYS, Store
from broker.migrations import SchemaTooNew
from broker.opening import opened

STORES = ("data.db", "keys.db", "heads.db")
# What stood before the newest revision of each store that has one, and what undoes it.
OLDER = {
    "data.db": ("832a710fc332", ["DROP TABLE event_totals", "DROP TABLE stale_totals", "DROP TABLE shop_periods"]),
    "heads.db": ("350daec7205f", ["DROP TABLE marks"]),
}


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
    assert [sorted(found) for each in seen for found in each.values()] == [sorted(STORES)] * 2, "before anything is changed"
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
        store.execute("CREATE TABLE marks (other INTEGER)")
    with pytest.raises(Exception, match="marks"), opened(settings):
        pass
    assert list(copies(settings.data_dir).values()) == [sorted(STORES)]
    with closing(sqlite3.connect(settings.data_dir / "heads.db")) as store, store:
        store.execute("DROP TABLE marks")
    with opened(settings):
        assert list(copies(settings.data_dir).values()) == [["data.db", "heads.db"]]


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
