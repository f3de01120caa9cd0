"""What a file is, by its content, and plain sentences for everything that cannot be imported."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import time
import zipfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.imports import databases, sources
from broker.imports.sources import Report, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

HISTORY = (
    "CREATE TABLE urls(id INTEGER PRIMARY KEY, url LONGVARCHAR, title LONGVARCHAR)",
    "CREATE TABLE visits(id INTEGER PRIMARY KEY, url INTEGER, visit_time INTEGER, from_visit INTEGER, transition INTEGER)",
)


def database(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as made:
        for statement in statements:
            made.execute(statement)
        made.commit()
    return path


def refusal(path: Path, **options: int) -> str:
    with pytest.raises(Unreadable) as refused:
        sources.recognise(path, **options)
    sentence = str(refused.value)
    assert sentence.endswith(".")
    return sentence


def test_a_history_is_recognised_whatever_its_name(tmp_path: Path) -> None:
    assert sources.recognise(database(tmp_path / "orders.csv", *HISTORY)).kind == "chromium"


def test_a_table_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "History"
    path.write_text("order;date;price\n1;2026-01-01;2,50\n", "utf-8")
    found = sources.recognise(path)
    assert (found.kind, found.size, found.table and found.table.header) == ("csv", path.stat().st_size, ("order", "date", "price"))
    with pytest.raises(Unreadable, match="which column"):
        list(sources.events(found, Report(), now=None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty"),
        (b"SQLite form", "cut off"),
        (b"SQLite format 3\0", "damaged"),
        (b"SQLite format 3\0" + bytes(4096), "damaged"),
        (b"PK\x03\x04rest", "[Uu]npack"),
        (b"\x1f\x8b\x08rest", "[Uu]npack"),
        (b"7z\xbc\xaf\x27\x1c", "[Uu]npack"),
        (b"%PDF-1.7", "PDF"),
        (b'{"a":1}', "JSON"),
        (b'\xef\xbb\xbf [{"a":1}]', "JSON"),
        (b"<html>", "web page"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"a,b\n\0\0,2\n", "not a text file"),
        (b"a,b\n" + b"x" * 70_000, "longer than"),
        (b"one column\n1\n", "no column names"),
        (b"1,2\n3,4\n", "no column names"),
        (b"\n\n", "no column names"),
        (b",,,\n", "no column names"),
    ],
)
def test_what_is_neither_is_refused_with_what_to_do(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=sentence):
        sources.recognise(path)


def test_places_that_are_no_files_are_refused(tmp_path: Path) -> None:
    assert "folder" in refusal(tmp_path)
    assert "no such file" in refusal(tmp_path / "missing")
    assert "no such file" in refusal(Path("a\0b"))
    os.mkfifo(tmp_path / "pipe")
    assert "not an ordinary file" in refusal(tmp_path / "pipe")
    assert "not an ordinary file" in refusal(Path("/dev/zero"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = database(tmp_path / "History", *HISTORY)
    path.chmod(0)
    assert "may not be read" in refusal(path)


def test_the_limit_is_checked_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    with path.open("wb") as stream:
        stream.truncate(2 * 1024**3)
    began = time.monotonic()
    assert "2048 MiB" in refusal(path)
    # Where the limit is higher, a binary file is refused at its first bytes.
    assert "not a text file" in refusal(path, limit=4 * 1024**3)
    assert time.monotonic() - began < 1
    path.unlink()


def test_a_zip_is_named_and_never_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("Retail.OrderHistory.1.csv", "x")
    before = set(tmp_path.iterdir())
    assert "zip" in refusal(tmp_path / "a.zip")
    assert set(tmp_path.iterdir()) == before


RECURSION = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id, 'https://x.example/' || i AS url, 'x' AS title"


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TABLE other(id)",),
        (HISTORY[0],),
        (HISTORY[0].replace("title", "name"), HISTORY[1]),
        (HISTORY[1], f"CREATE VIEW urls AS {RECURSION} FROM n"),
        (HISTORY[0], f"CREATE VIEW visits AS {RECURSION}, 0 AS from_visit, 0 AS transition, i AS visit_time FROM n"),
        (HISTORY[1], "CREATE VIRTUAL TABLE urls USING fts5(id, url, title)"),
        (HISTORY[1], "CREATE TABLE urls(id INTEGER PRIMARY KEY, title, url TEXT GENERATED ALWAYS AS (hex(zeroblob(1000000))) VIRTUAL)"),
    ],
)
def test_foreign_and_posing_tables_are_refused(tmp_path: Path, statements: tuple[str, ...]) -> None:
    assert "not a browser's history" in refusal(database(tmp_path / "History", *statements))


def test_triggers_and_foreign_tables_beside_a_history_do_nothing(tmp_path: Path) -> None:
    path = database(
        tmp_path / "History", *HISTORY, "CREATE TRIGGER t AFTER INSERT ON urls BEGIN DELETE FROM visits; END", f"CREATE VIEW v AS {RECURSION} FROM n"
    )
    assert sources.recognise(path).kind == "chromium"


def test_a_huge_cell_is_refused(tmp_path: Path, now: datetime) -> None:
    rows = ("INSERT INTO urls VALUES (1, hex(zeroblob(4000000)), 'x')", "INSERT INTO visits VALUES (1, 1, 13300000000000000, 0, 805306368)")
    path = database(tmp_path / "History", *HISTORY, *rows)
    with pytest.raises(Unreadable):
        list(sources.events(sources.recognise(path), Report(), now=now))


def test_reading_is_bounded_in_time(tmp_path: Path) -> None:
    # Without a key on visits.from_visit each visit looks at all others: 20,000 of them would take minutes.
    path = database(
        tmp_path / "places.sqlite",
        "CREATE TABLE moz_places(id INTEGER PRIMARY KEY, url LONGVARCHAR, title LONGVARCHAR)",
        "CREATE TABLE moz_historyvisits(id INTEGER PRIMARY KEY, from_visit INTEGER, place_id INTEGER, visit_date INTEGER, visit_type INTEGER)",
        "INSERT INTO moz_historyvisits WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i, i, 1, i, 1 FROM n",
    )
    began = time.monotonic()
    with databases.opened(path, seconds=0.3) as opened, pytest.raises(Unreadable, match="too long"):
        list(opened.query("SELECT count(*) FROM moz_historyvisits a, moz_historyvisits b, moz_historyvisits c"))
    assert time.monotonic() - began < 5


def test_the_copy_is_private_and_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.imports.rooms.MEMORY", tmp_path / "temp")
    (tmp_path / "temp").mkdir()
    path = database(tmp_path / "History", *HISTORY)
    with databases.opened(path):
        (folder,) = (tmp_path / "temp").iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not list((tmp_path / "temp").iterdir())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["History", "temp"]


@pytest.mark.parametrize("seed", range(150))
def test_flipped_bytes_give_events_or_a_refusal(real: Callable[[str], Path], now: datetime, seed: int) -> None:
    chosen = random.Random(seed)
    name = chosen.choice(["hindsight_chrome10_History", "browserexport_vivaldi", "browserexport_firefox"])
    path = real(f"browser_history/{name}.sqlite.gz")
    content = bytearray(path.read_bytes())
    for _ in range(chosen.choice([1, 20, 400])):
        content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
    if seed % 5 == 0:
        del content[chosen.randrange(len(content)) :]
    path.write_bytes(content)
    with contextlib.suppress(Unreadable):
        list(sources.events(sources.recognise(path), Report(), now=now))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300) | st.text(alphabet='ab1,;"\n\r\t\0é', max_size=200).map(lambda text: text.encode("cp1252", "replace")))
def test_no_bytes_break_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    try:
        found = sources.recognise(path)
        if found.table:
            list(found.table.rows())
    except Unreadable:
        pass
