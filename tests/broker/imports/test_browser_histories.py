"""Histories of real browsers, and of none: counts, exact times, derived searches and products, the same ids next time."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from broker.events import shape
from broker.imports import sources
from broker.imports.sources import Report, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = b"a key of the person"
CHROME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)


def imported(path: Path, now: datetime, key: bytes = KEY) -> tuple[list[dict[str, Any]], Report]:
    report = Report()
    events = list(sources.events(sources.recognise(path), report, now=now, key=key))
    assert [shape.check(event, now=now) for event in events] == events
    assert len({event["id"] for event in events}) == len(events)
    assert Counter(event["kind"] for event in events) == report.made
    return events, report


def chromium_file(path: Path, visits: list[tuple[Any, ...]], *, duration: bool = True) -> Path:
    """A small history: (url, microseconds since 1601, transition, duration, title) per visit."""
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE urls(id INTEGER PRIMARY KEY, url LONGVARCHAR, title LONGVARCHAR)")
        lasting = ", visit_duration INTEGER" if duration else ""
        made.execute(f"CREATE TABLE visits(id INTEGER PRIMARY KEY, url INTEGER, visit_time INTEGER, from_visit INTEGER, transition INTEGER{lasting})")
        for number, (url, at, transition, lasted, title) in enumerate(visits, 1):
            made.execute("INSERT INTO urls VALUES (?, ?, ?)", (number, url, title))
            row = (number, number, at, number - 1, transition, lasted)[: 6 if duration else 5]
            made.execute(f"INSERT INTO visits VALUES ({','.join('?' * len(row))})", row)
        made.commit()
    return path


def micro(at: datetime) -> int:
    return (at - CHROME_EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("name", "seen", "made"),
    [
        ("hindsight_chrome01_History", 46, {"page_visit": 46, "search": 6, "product_view": 3}),
        ("hindsight_chrome10_History", 84, {"page_visit": 84, "search": 6, "product_view": 3}),
        ("hindsight_chrome20_History", 58, {"page_visit": 58, "search": 6, "product_view": 3}),
        ("browserexport_chrome", 6, {"page_visit": 1}),
        ("browserexport_chromium", 1, {"page_visit": 1}),
        ("browserexport_brave", 2, {"page_visit": 2}),
        ("browserexport_vivaldi", 3, {"page_visit": 3}),
        ("browserexport_firefox", 4, {"page_visit": 4}),
    ],
)
def test_every_visit_of_a_real_history_is_accounted_for(real: Callable[[str], Path], now: datetime, name: str, seen: int, made: dict[str, int]) -> None:
    path = real(f"browser_history/{name}.sqlite.gz")
    assert sources.recognise(path).kind == ("firefox" if "firefox" in name else "chromium")
    events, report = imported(path, now)
    assert (report.seen, report.made) == (seen, made)
    assert report.seen == report.made["page_visit"] + report.skipped.total()
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)


def test_a_firefox_visit_has_its_exact_time(real: Callable[[str], Path], now: datetime) -> None:
    events, _ = imported(real("browser_history/browserexport_firefox.sqlite.gz"), now)
    assert (events[0]["time"], events[0]["url"]) == ("2020-06-27T09:29:54.513Z", "https://www.mozilla.org/privacy/firefox/")


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("hindsight_chrome01_History", "2013-06-05T04:28:55.498Z"),
        ("hindsight_chrome10_History", "2013-06-27T04:23:14.176Z"),
        ("hindsight_chrome20_History", "2013-06-30T21:26:13.162Z"),
    ],
)
def test_times_are_exact_to_the_millisecond(real: Callable[[str], Path], now: datetime, name: str, time: str) -> None:
    events, _ = imported(real(f"browser_history/{name}.sqlite.gz"), now)
    assert time in {event["time"] for event in events if event.get("url", "").endswith("/Computer_forensics")}


def test_searches_and_products_of_a_real_history(real: Callable[[str], Path], now: datetime) -> None:
    events, report = imported(real("browser_history/hindsight_chrome10_History.sqlite.gz"), now)
    assert [event["query"] for event in events if event["kind"] == "search"] == [
        "computer forensics",
        "3 tb hard drive",
        "write blocker",
        "file system forensic analysis",
        "facebook bill gates",
        "twitter colbert",
    ]
    assert [event["items"][0]["sku"] for event in events if event["kind"] == "product_view"] == ["B005T3GRLY", "B002MF68HA", "0321268172"]
    assert report.noted == {"loaded in a frame": 29, "redirected": 9, "same search again within a minute: kept as a page visit, not as another search": 2}


def test_visits_to_this_machine_are_skipped_and_counted(real: Callable[[str], Path], now: datetime) -> None:
    events, report = imported(real("browser_history/browserexport_chrome.sqlite.gz"), now)
    assert [event["site"] for event in events] == ["www.discogs.com"]
    assert report.skipped == {"private or malformed address": 5}


def test_a_second_import_makes_the_same_ids_and_another_key_others(real: Callable[[str], Path], now: datetime) -> None:
    path = real("browser_history/hindsight_chrome20_History.sqlite.gz")
    once, again, other = imported(path, now)[0], imported(path, now + timedelta(days=9))[0], imported(path, now, b"other")[0]
    assert once == again
    assert {event["id"] for event in once}.isdisjoint(event["id"] for event in other)


def test_two_identical_visits_both_stay(tmp_path: Path, now: datetime) -> None:
    at = micro(datetime(2026, 1, 1, tzinfo=UTC))
    events, _ = imported(chromium_file(tmp_path / "History", [("https://shop.example/", at, 0x30000000, 0, "x")] * 2), now)
    assert len(events) == 2


@pytest.mark.parametrize(("lasted", "dwell"), [(1_234_567, 1234), (0, None), (-5, None), (9 * 3_600_000_000, 3_600_000), ("x", None)])
def test_dwell_is_milliseconds_up_to_an_hour(tmp_path: Path, now: datetime, lasted: Any, dwell: int | None) -> None:
    at = micro(datetime(2026, 1, 1, tzinfo=UTC))
    events, _ = imported(chromium_file(tmp_path / "History", [("https://shop.example/", at, 0x30000000, lasted, "x")]), now)
    assert events[0].get("dwell") == dwell


def test_an_old_schema_without_duration_hides_dwell(tmp_path: Path, now: datetime) -> None:
    at = micro(datetime(2026, 1, 1, tzinfo=UTC))
    path = chromium_file(tmp_path / "History", [("https://shop.example/", at, 0x30000000, 99, "x")], duration=False)
    assert "dwell" not in imported(path, now)[0][0]


@pytest.mark.parametrize(
    ("url", "at", "reason"),
    [
        ("chrome://settings", micro(datetime(2026, 1, 1, tzinfo=UTC)), "not a web address"),
        ("http://192.168.1.1/", micro(datetime(2026, 1, 1, tzinfo=UTC)), "private or malformed address"),
        ("https://shop.example/", micro(datetime(1994, 1, 1, tzinfo=UTC)), "time outside 1995 to now"),
        ("https://shop.example/", micro(datetime(2027, 1, 1, tzinfo=UTC)), "time outside 1995 to now"),
        ("https://shop.example/", 2**62, "unreadable row"),
        ("https://shop.example/", "yesterday", "unreadable row"),
        (b"\xff\x00", 1, "unreadable row"),
        (None, 1, "unreadable row"),
    ],
)
def test_each_skipped_row_has_its_reason(tmp_path: Path, now: datetime, url: Any, at: Any, reason: str) -> None:
    good = ("https://shop.example/", micro(datetime(2026, 1, 1, tzinfo=UTC)), 0x30000000, 0, "x")
    events, report = imported(chromium_file(tmp_path / "History", [good, (url, at, 0, 0, "x")]), now)
    assert len(events) == 1
    assert report.seen == 2
    assert report.skipped == {reason: 1}


def test_secrets_do_not_come_in(tmp_path: Path, now: datetime) -> None:
    at = micro(datetime(2026, 1, 1, tzinfo=UTC))
    rows = [
        ("https://alice:pw@shop.example/reset/abc?token=1#x", at, 0x30000000, 0, "Mail of alice@mail.example"),
        ("https://www.bing.com/search?q=alice%40mail.example", at + 1, 0x30000000, 0, "a\x00b\ud7ff"),
    ]
    events, _ = imported(chromium_file(tmp_path / "History", rows), now)
    assert [event.get("url") for event in events] == ["https://shop.example/reset", "https://www.bing.com/search", "https://www.bing.com/search"]
    assert "alice" not in str(events)


def test_a_back_button_is_no_new_search_and_a_frame_shows_none(tmp_path: Path, now: datetime) -> None:
    at = micro(datetime(2026, 1, 1, tzinfo=UTC))
    hour = 3_600_000_000
    url = "https://www.bing.com/search?q=ink"
    rows = [(url, at + step * hour, transition, 0, "") for step, transition in enumerate([0x30000000, 0x31000000, 0x30000003, 0x10000000, 0x30000008])]
    _, report = imported(chromium_file(tmp_path / "History", rows), now)
    assert report.made == {"page_visit": 5, "search": 1}
    assert report.noted == {"loaded in a frame": 1, "redirected": 1}


def test_firefox_frames_and_downloads_are_skipped(tmp_path: Path, now: datetime) -> None:
    path = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE moz_places(id INTEGER PRIMARY KEY, url LONGVARCHAR, title LONGVARCHAR)")
        made.execute("CREATE TABLE moz_historyvisits(id INTEGER PRIMARY KEY, from_visit INTEGER, place_id INTEGER, visit_date INTEGER, visit_type INTEGER)")
        for number in range(1, 10):
            made.execute("INSERT INTO moz_places VALUES (?, ?, 'x')", (number, f"https://shop.example/{number}"))
            made.execute("INSERT INTO moz_historyvisits VALUES (?, ?, ?, ?, ?)", (number, number - 1, number, 1_700_000_000_000_000 + number, number))
        made.commit()
    events, report = imported(path, now)
    assert [event["url"][-1] for event in events] == list("123569")
    assert report.skipped == {"embedded in a page": 1, "download": 1, "loaded in a frame": 1}
    # 4 led to 5 and 5 to 6 by redirects; of those kept, 5 only passed on.
    assert [event["url"][-1] for event in events if event["confidence"] == "low"] == ["5"]


def test_a_log_beside_the_file_is_read_too(tmp_path: Path, now: datetime) -> None:
    at = micro(datetime(2026, 1, 1, tzinfo=UTC))
    path = chromium_file(tmp_path / "History", [("https://shop.example/", at, 0x30000000, 0, "x")])
    with closing(sqlite3.connect(path)) as browser:
        browser.execute("PRAGMA journal_mode=WAL")
        browser.execute("INSERT INTO visits SELECT 2, url, visit_time + 1, 0, transition, 0 FROM visits")
        browser.commit()
        before = path.read_bytes()
        assert len(imported(path, now)[0]) == 2
        assert path.read_bytes() == before
    # After the browser closed, the header still says WAL but there is no log.
    assert len(imported(path, now)[0]) == 2


def test_a_hot_journal_is_refused_and_never_played_back(tmp_path: Path) -> None:
    path = chromium_file(tmp_path / "History", [])
    journal = tmp_path / "History-journal"
    journal.write_bytes(b"")
    assert sources.recognise(path).kind == "chromium"
    journal.write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(504))
    with pytest.raises(Unreadable, match="Close the browser"):
        sources.recognise(path)
