"""`broker import` as a person at a terminal meets it: results on stdout, words on stderr, and the exit codes of the design."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from broker.__main__ import main
from broker.config import Settings
from broker.events import queries as events
from broker.events.actions import forget
from broker.opening import opened
from broker.people import queries as people

CHROME = "browser_history/hindsight_chrome10_History.sqlite.gz"


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command against the household."""
    monkeypatch.setenv("BROKER_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("BROKER_KEY_FILE", str(settings.key_file))

    def running(*arguments: str | Path, **more: Any) -> Result:
        return CliRunner().invoke(main, ["import", *map(str, arguments)], **more)

    return running


def test_it_takes_a_history_in_and_undoes_it(run: Callable[..., Result], real: Callable[[str], Path]) -> None:
    path = real(CHROME)
    tried = run(path, "--person", "alice", "--dry-run", "--json")
    assert tried.exit_code == 0, tried.output
    said = json.loads(tried.stdout)
    assert (said["dry_run"], said["batch"], said["new"], said["found"]["page_visit"], said["source"]) == (True, None, 93, 84, "chromium")

    taken = json.loads(run(path, "--person", "alice", "--json").stdout)
    assert (taken["added"], taken["known"], taken["dry_run"]) == (93, 0, False)
    again = json.loads(run(path, "--person", "alice", "--json").stdout)
    assert (again["added"], again["known"]) == (0, 93)

    assert run("--undo", taken["batch"], "--person", "alice", input="n\n").exit_code == 1
    undone = run("--undo", taken["batch"], "--person", "alice", "--yes", "--json")
    assert json.loads(undone.stdout) == {"undone": taken["batch"], "count": 93}
    assert json.loads(run(path, "--person", "alice", "--json").stdout)["added"] == 93


def test_it_says_what_it_did_in_words(run: Callable[..., Result], real: Callable[[str], Path]) -> None:
    taken = run(real(CHROME), "--person", "alice")
    assert taken.exit_code == 0
    assert "84 page visits, 6 searches, 3 product looks" in taken.stdout
    assert "Added: 93 events. Here already: 0." in taken.stdout
    assert "broker import --undo " in taken.stdout


def test_what_was_forgotten_is_said_only_where_it_was(run: Callable[..., Result], real: Callable[[str], Path], settings: Settings) -> None:
    path = real(CHROME)
    batch = json.loads(run(path, "--person", "alice", "--json").stdout)["batch"]
    assert "forgot" not in run(path, "--person", "alice", "--dry-run").stdout
    with opened(settings) as broker:
        with broker.reading() as tx:
            ring = broker.keyring(bytes(people.by_name(broker, tx, "alice").person_id))
            keys = events.by_origin(tx, ring, batch)[:5]
        forget(broker, ring, keys, {})
    assert "Here already: 88. You forgot 5 events of it before; they stay away." in run(path, "--person", "alice").stdout


def test_nobody_undoes_anothers_import(run: Callable[..., Result], real: Callable[[str], Path]) -> None:
    batch = json.loads(run(real(CHROME), "--person", "alice", "--json").stdout)["batch"]
    refused = run("--undo", batch, "--person", "bob", "--yes")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert run("--undo", "nonsense", "--person", "alice", "--yes").exit_code == 1


def test_a_shops_table_is_guessed_and_told(run: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("Date;Order;Artikel;Menge;Preis;Summe\n24.12.2025;A1;Lamp;2;1.234,50;x\n25.12.2025;A2;Cup;1;3,00;x\n", "utf-8")
    told = run(path, "--person", "alice", "--dry-run")
    assert told.exit_code == 2
    assert "--shop: " in told.stderr
    assert "Date, Order, Artikel, Menge, Preis, Summe" in told.stderr
    arguments = ("--shop", "shop.example", "--currency", "EUR", "--zone", "Europe/Berlin")
    taken = run(path, "--person", "alice", "--json", *arguments)
    assert taken.exit_code == 0, taken.output
    said = json.loads(taken.stdout)
    assert (said["found"], said["source"], said["first"], said["last"]) == ({"purchase": 2}, "csv", "2025-12-24", "2025-12-25")
    none = run(path, "--person", "alice", "--dry-run", *arguments, "--order-id-column", "none", "--time-column", "Nowhere")
    assert (none.exit_code, "no column “Nowhere”" in none.stderr) == (2, True)


@pytest.mark.parametrize("arguments", [(), ("--undo", "x", "--browsers"), ("--browsers", "file")])
def test_wrong_usage_ends_with_two(run: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_unreadable_file_ends_with_one_and_a_sentence(run: Callable[..., Result], tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("pdf", b"%PDF-1.7"), ("database", b"SQLite format 3\0" + bytes(4096))):
        (tmp_path / name).write_bytes(content)
        refused = run(tmp_path / name, "--person", "alice")
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert refused.stderr.startswith("broker: This ")
    with (tmp_path / "sparse.csv").open("wb") as stream:
        stream.truncate(2 * 2**30)
    assert "256 MiB is the most" in run(tmp_path / "sparse.csv", "--person", "alice").stderr
    assert "no such file" in run(tmp_path / "missing", "--person", "alice").stderr


def test_a_source_that_the_file_is_not(run: Callable[..., Result], real: Callable[[str], Path]) -> None:
    refused = run(real(CHROME), "--person", "alice", "--source", "firefox")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert run(real(CHROME), "--person", "alice", "--source", "chromium", "--dry-run").exit_code == 0


def test_it_lists_the_browsers_of_this_computer(run: Callable[..., Result], real: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "person")
    nothing = run("--browsers")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    profile = tmp_path / "person" / ".config" / "chromium" / "Default"
    profile.mkdir(parents=True)
    real(CHROME).rename(profile / "History")
    assert run("--browsers").stdout == f"Chromium\tDefault\t{profile / 'History'}\n"
    (listed,) = json.loads(run("--browsers", "--json").stdout)["browsers"]
    assert (listed["browser"], listed["path"]) == ("Chromium", str(profile / "History"))
    assert run(listed["path"], "--person", "alice").exit_code == 0


def test_its_messages_name_its_options(run: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("a,b\n1,2\n")
    refused = run(path, "--shop", "shop.example", "--person", "alice")
    assert refused.exit_code == 2
    assert {line.partition(":")[0] for line in refused.stderr.splitlines() if line.startswith("--")} == {
        "--time-column", "--unit-price-column", "--line-total-column", "--currency", "--currency-column",
    }  # fmt: skip
    assert "Column of a CSV with how many" in run("--help").stdout
