"""Cases over HTTP: reads and their floor, uploads, memory, revokes under load, pages."""

import json
import os
import random
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import load
from granted import READ, Granted, granted
from processes import Server, call, command, free_port
from report import Line, cost, in_turn, rate
from stores import Event, Store, fresh_quota, in_order, scattered

from broker.db import DATA, utcnow
from broker.opening import opened

HERE = Path(__file__).parent
COOKIE_PAGE = "/requests"
# More than any read here comes to.
READS_A_SECOND = 2000


@contextmanager
def broker(store: Store, threads: int) -> Iterator[Server]:
    """The true command with granian, one worker."""
    server = command(store.settings, BROKER_THREADS=str(threads))
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def bare(body: Path, threads: int) -> Iterator[int]:
    """The port of a bare route that returns the same bytes."""
    port = free_port()
    process = subprocess.Popen([sys.executable, str(HERE / "bare.py"), str(port), str(threads), str(body)], start_new_session=True, cwd=HERE)
    try:
        until = time.monotonic() + 30
        while call(port, "GET", "/healthz", {}) is None:
            assert time.monotonic() < until
            time.sleep(0.02)
        yield port
    finally:
        Server(process.pid, port, command=process).kill()  # type: ignore[arg-type]


def memory(group: int) -> float:
    """MiB that the processes of a group hold."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[2]) == group:
                found = re.search(r"VmRSS:\s+(\d+)", (stat.parent / "status").read_text())
                total += int(found[1]) if found else 0
        except OSError:
            continue
    return total / 1024


def processor(group: int) -> float:
    """Seconds of processor time that the processes of a group have used."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            told = stat.read_text().rpartition(")")[2].split()
            ticks += int(told[11]) + int(told[12]) if int(told[2]) == group else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def reads(store: Store, work: Path, threads: int, seconds: float, turns: int) -> tuple[list[float], list[float], str]:
    """Reads per second of 100 events, those of the bare route, and a note."""
    with broker(store, threads) as server:
        answer = call(server.port, "GET", "/v1/events", store.vendor.headers("GET", "/v1/events"))
        assert answer is not None
        assert len(json.loads(answer.body)["items"]) == 100
        body = work / "body"
        body.write_bytes(answer.body)
        shares: list[float] = []

        def ours() -> float:
            fresh_quota(store)
            found = load.reads(server.port, _shown(work, store.vendor, "GET", round(seconds * READS_A_SECOND)), seconds, 4)
            assert found.wrong == 0, found
            shares.append(found.share)
            return found.per_second

        with bare(body, threads) as port:
            floors: list[float] = []

            def floor() -> float:
                found = load.reads(port, work / "shown-GET", seconds, 4)
                floors.append(found.share)
                return found.per_second

            found = in_turn(ours, floor, turns)
        note = f"{len(answer.body)} bytes; wrk took {max(shares):.0%} and {max(floors):.0%} of a core; broker {memory(server.pid):.0f} MiB"
        return *found, note


def _shown(work: Path, grant: Granted, method: str, number: int) -> Path:
    """A file of the token and of that many proofs, made beforehand: signing is the client's work."""
    made = [grant.headers(method, "/v1/events") for _ in range(number)]
    where = work / f"shown-{method}"
    where.write_text("\n".join([f"DPoP {grant.token}", *(each["DPoP"] for each in made)]) + "\n")
    return where


def _bodies(where: Path, found: list[Event]) -> Path:
    envelope = {
        "schema": "events/1", "batch": "0b5f2e0e-6a7a-4e6f-9d5b-0d7f8b7a1c11", "client": {"version": "1", "browser": "bench"}, "notice_version": "1",
        "collection_version": 1,
    }  # fmt: skip
    where.write_text("\n".join(json.dumps({**envelope, "events": found[start : start + 100]}) for start in range(0, len(found), 100)))
    return where


def uploads(store: Store, work: Path, batches: int, turns: int, floor: Callable[[list[Event]], float]) -> list[Line]:
    """Uploaded events per second over HTTP, in batches of 100, against `floor` on the same rows."""
    chance, lines = random.Random(1), []
    with broker(store, 4) as server:
        for name, make in (("in order", in_order), ("scattered", scattered)):

            shares: list[float] = []

            def ours(make: Callable[..., list[Event]] = make, shares: list[float] = shares) -> float:
                found = load.uploads(server.port, _shown(work, store.device, "POST", batches), _bodies(work / "bodies", make(100 * batches, utcnow(), chance)), 4)
                assert found.wrong == 0, found
                shares.append(found.share)
                return 100 * found.per_second

            ours()
            found = in_turn(ours, lambda make=make: floor(make(100 * batches, utcnow(), chance)), turns)
            lines.append(rate(f"upload over HTTP, {name}", "events/s", found, 0.25, f"client took {max(shares):.0%} of a core; broker {memory(server.pid):.0f} MiB"))
    return lines


def _browser(server: Server, store: Store) -> tuple[str, bytes]:
    page = call(server.port, "GET", COOKIE_PAGE, {"Cookie": f"session-8440={store.session}", "Sec-Fetch-Site": "same-origin"})
    assert page is not None
    token = re.search(rb'name="csrf_token" value="([^"]+)"', page.body)
    assert token
    return f"session-8440={store.session}; {page.headers['set-cookie'].split(';')[0]}", token[1]


def _one_commit(where: Path) -> float:
    """Milliseconds of one bare durable commit."""
    with closing(sqlite3.connect(where, isolation_level=None)) as connection:
        for name in ("journal_mode", "synchronous"):
            connection.execute(f"PRAGMA {name} = {DATA[name]}")
        connection.execute("CREATE TABLE IF NOT EXISTS one (id INTEGER PRIMARY KEY)")
        began = time.perf_counter()
        connection.execute("INSERT INTO one DEFAULT VALUES")
        return (time.perf_counter() - began) * 1000


def revokes(store: Store, work: Path, number: int) -> Line:
    """The 99th percentile of revokes while reads and uploads run."""
    with opened(store.settings) as stores:
        grants = granted(stores, store.person_id, store.client_id, READ, number)
    with broker(store, 4) as server:
        cookies, csrf = _browser(server, store)
        headers = {"Cookie": cookies, "Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
        fresh_quota(store)
        bodies = _bodies(work / "bodies", in_order(40_000, utcnow(), random.Random(2)))
        loads = [
            threading.Thread(target=load.uploads, args=(server.port, _shown(work, store.device, "POST", 400), bodies, 1), daemon=True),
            threading.Thread(target=load.reads, args=(server.port, _shown(work, store.vendor, "GET", 8 * READS_A_SECOND), 8, 2), daemon=True),
        ]
        for each in loads:
            each.start()
        took, floor = [], []
        for grant in grants:
            began = time.perf_counter()
            answer = call(server.port, "POST", f"/grants/{grant.grant}/revoke", headers, b"csrf_token=" + csrf)
            took.append((time.perf_counter() - began) * 1000)
            assert answer is not None
            assert answer.status == 303, answer
            floor.append(_one_commit(work / "commit.db"))
        under = sum(each.is_alive() for each in loads)
    for each in loads:
        each.join()
    p99 = sorted(took)[int(len(took) * 0.99)]
    note = f"p50 {sorted(took)[len(took) // 2]:.1f} ms of {number}; {under} of 2 loads still ran at the end"
    return cost("revoke p99 under load", "ms", ([p99], floor), 100, note)


def pages(store: Store, turns: int) -> list[Line]:
    """Milliseconds of each page against the least page there is."""
    lines = []
    with broker(store, 1) as server, closing(HTTPConnection("127.0.0.1", server.port)) as connection:
        headers = {"Host": load.HOST, "Cookie": f"session-8440={store.session}", "Sec-Fetch-Site": "same-origin"}

        def get(path: str) -> float:
            began = time.perf_counter()
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, (path, answer.status)
            return (time.perf_counter() - began) * 1000

        for path in ("/", "/activity", "/grants", "/ledger"):
            get(path)
            lines.append(cost(f"page {path}", "ms", in_turn(lambda path=path: get(path), lambda: get("/healthz"), 4 * turns), 50))
    return lines
