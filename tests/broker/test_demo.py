"""`broker demo` from the outside: it starts, shows a year, and leaves nothing behind; and the year itself is sound."""

import datetime as dt
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from broker import synthetic
from broker.events import shape, sites

NOW = dt.datetime(2026, 11, 22, 18, 0, tzinfo=dt.UTC)
ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture
def demo(ports: tuple[int, int], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A running demo whose temporary directory lies in `tmp_path`."""
    command = [sys.executable, "-m", "broker", "demo", "--port", str(ports[0]), "--shop-port", str(ports[1])]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        yield running
        if running.poll() is None:
            running.kill()


def story(demo: subprocess.Popen[str]) -> str:
    """What it prints, up to its third step."""
    assert demo.stdout
    said = ""
    for line in demo.stdout:
        said += line
        if "the ledger shows every read" in line:
            return said
    raise AssertionError((said, demo.stderr and demo.stderr.read()))


def get(client: httpx.Client, url: str) -> httpx.Response:
    """Ask until the server listens: it starts after the story is printed."""
    for _ in range(200):
        try:
            return client.get(url)
        except httpx.ConnectError:
            threading.Event().wait(0.1)
    raise AssertionError(f"nobody listens at {url}")


def test_it_shows_the_story_and_leaves_nothing(demo: subprocess.Popen[str], ports: tuple[int, int], tmp_path: Path) -> None:
    said = story(demo)
    assert [line.strip()[0] for line in said.splitlines() if re.match(r"  \d\. ", line)] == ["1", "2", "3"]
    password = re.search(r"Alice with the password (\S+)", said)
    assert password
    (folder,) = tmp_path.glob("proffer-demo-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    home = f"http://localhost:{ports[0]}"
    with httpx.Client(headers={"Sec-Fetch-Site": "same-origin"}, follow_redirects=True) as client:
        form = get(client, f"{home}/sign-in").text
        token = re.search(r'name="csrf_token" value="([^"]+)"', form)
        assert token
        page = client.post(f"{home}/sign-in", data={"csrf_token": token[1], "name": "Alice", "password": password[1]})
        assert page.status_code == 200
        assert "Sandbox" in page.text
        activity = client.get(f"{home}/activity").text
        assert ".example" in activity
        assert "page visits" in activity
    with httpx.Client() as client:
        assert "Connect my Proffer" in get(client, f"http://127.0.0.1:{ports[1]}/").text
    demo.send_signal(signal.SIGINT)
    assert demo.wait(20) == 0
    assert not list(tmp_path.glob("proffer-demo-*"))
    for port in ports:
        with socket.socket() as probe, pytest.raises(OSError, match="refused"):
            probe.connect(("127.0.0.1", port))


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "broker", "demo", "--port", str(taken.getsockname()[1])]
        ended = subprocess.run(command, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "is in use" in ended.stderr
    assert not list(tmp_path.iterdir())


def test_the_year_is_the_same_for_the_same_seed() -> None:
    first = synthetic.year(7, NOW)
    assert first == synthetic.year(7, NOW)
    assert first != synthetic.year(8, NOW)
    assert len({event["id"] for event in first}) == len(first)


@pytest.mark.parametrize("seed", range(5))
def test_every_event_is_sound_and_about_nobody(seed: int) -> None:
    events = synthetic.year(seed, NOW)
    assert 5000 < len(events) < 7000
    assert [shape.check(event, now=NOW) for event in events] == events
    assert all((site := sites.site_of_host(event["site"])) and site.domain.endswith(".example") for event in events)
    assert events[0]["time"][:10] >= "2025-11-23"
    assert events[-1]["time"][:10] == "2026-11-22"
    assert {"page_visit", "search", "product_view", "cart", "checkout", "purchase", "return", "subscription"} == {event["kind"] for event in events}


@pytest.mark.parametrize("seed", [7, *range(10)])
def test_books_were_bought_in_the_last_ninety_days(seed: int) -> None:
    first, last = shape.written(NOW - dt.timedelta(days=88)), shape.written(NOW - dt.timedelta(days=2))
    books = [item for event in synthetic.year(seed, NOW) if event["kind"] == "purchase" and first < event["time"] < last for item in event["items"]]
    assert sum(item["category"].startswith("books/") for item in books) >= 3


def test_prices_and_the_rhythm_of_the_week_hold() -> None:
    events = synthetic.year(7, NOW)
    prices: dict[tuple[str, str], set[int]] = {}
    for event in events:
        for item in event.get("items", ()):
            prices.setdefault((item["product"], event["time"][:7]), set()).add(item["price"]["amount_minor"])
            assert item["price"]["currency"] == "EUR"
    # A return names the price of the month it was bought in.
    bought = {key for key, found in prices.items() if len(found) > 1}
    returned = {(item["product"], event["time"][:7]) for event in events if event["kind"] == "return" for item in event["items"]}
    assert bought <= returned
    for event in events:
        if "total" in event:
            assert event["total"]["amount_minor"] == sum(item["price"]["amount_minor"] * item["quantity"] for item in event["items"])
    hours = Counter(int(event["time"][11:13]) for event in events)
    assert sum(hours[hour] for hour in range(17, 23)) > 3 * sum(hours[hour] for hour in range(6))
