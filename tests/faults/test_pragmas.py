"""Start-up refuses a connection whose pragmas do not read back: a store that syncs less than it should is never served from."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from broker import db
from broker.__main__ import main
from broker.config import Settings
from broker.db import DATA, KEYS, PragmaRefused, set_pragmas
from broker.opening import open_broker, opened


def test_every_connection_has_its_pragmas(settings: Settings) -> None:
    with opened(settings) as broker:
        for store, wanted in ((broker.data, DATA), (broker.keys, KEYS), (broker.heads, KEYS)):
            with store.engine.connect() as connection:
                found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}
            assert found == wanted


def test_the_pragmas_are_those_of_the_design() -> None:
    assert (DATA["journal_mode"], DATA["synchronous"]) == ("wal", 2)
    assert (KEYS["journal_mode"], KEYS["synchronous"]) == ("delete", 3)
    always = {"foreign_keys": 1, "secure_delete": 1, "busy_timeout": 5000, "trusted_schema": 0}
    assert always.items() <= DATA.items()
    assert always.items() <= KEYS.items()


@pytest.mark.parametrize("where", [":memory:", "file:{path}?vfs=unix-none"])
def test_a_database_that_cannot_be_wal_is_refused(tmp_path: Path, where: str) -> None:
    # In memory there is no log to write ahead to; without locks there is no shared memory for it.
    with closing(sqlite3.connect(where.format(path=tmp_path / "data.db"), uri=True)) as connection:
        with pytest.raises(PragmaRefused, match=r"journal_mode = '(memory|delete)' where 'wal' is needed\. The broker does not start on it\."):
            set_pragmas(connection, DATA)
        set_pragmas(connection, {**DATA, "journal_mode": "memory" if where == ":memory:" else "delete"})


@pytest.mark.parametrize(("name", "value"), [("synchronous", 7), ("busy_timeout", "soon"), ("no_such_pragma", 1)])
def test_a_value_that_does_not_hold_is_refused(name: str, value: Any) -> None:
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(PragmaRefused, match=name):
        set_pragmas(connection, {name: value})


@pytest.mark.parametrize(("pragmas", "file"), [(DATA, "data.db"), (KEYS, "keys.db")])
def test_start_up_stops_with_the_sentence(settings: Settings, monkeypatch: pytest.MonkeyPatch, pragmas: dict[str, Any], file: str) -> None:
    monkeypatch.setitem(pragmas, "journal_mode", "sideways")
    with pytest.raises(PragmaRefused, match="'sideways' is needed"):
        open_broker(settings)
    monkeypatch.setenv("BROKER_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("BROKER_KEY_FILE", str(settings.key_file))
    ended = CliRunner().invoke(main, ["verify"])
    assert ended.exit_code == 1
    assert ended.output.startswith("broker: The database answers journal_mode = ")
    assert (settings.data_dir / file).exists()
    assert db.PragmaRefused is PragmaRefused
