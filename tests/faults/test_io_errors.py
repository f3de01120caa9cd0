"""The n-th write, sync, cut, opening or deletion of a file fails (K88): once, twice or from then on; also while the broker starts after a loss (K93).

Whoever asks is told so with 503 or 507, nothing acknowledged is lost, the ledger and what it tells of agree, and afterwards everything works, in the same
process and in the next. With `--deep` every n is tried, until one comes that is never reached.
"""

import copy
import logging
import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count, product
from pathlib import Path
from typing import Any, Final

import pytest
from acts import Acts, Home, Line, Refused, judge, judged
from crash_vfs import library, watch
from flask import Flask
from lab import Lab, as_it_is
from loads import Heard
from makers import settings_in
from power import forked

from broker import ballast, close_app, create_app, terminal
from broker.config import Settings
from broker.db import DatabaseFailed
from broker.errors import BrokerError, OutcomeUnknown
from broker.opening import opened
from broker.writer import Writer

POINTS: Final = 100
STARTS: Final = 30
BATCH: Final = 20
# Batches before a new home: the oracle looks at everything.
FOR_EACH_HOME: Final = 5
LOSSES: Final = 5
CALLS: Final = 300
TOO_HIGH: Final = 10**6
STORY: Final = ("upload", "read", "revoke", "ready", "forget", "upload", "sign", "shred", "read", "rotate", "ready", "upload", "connect")
AFTERWARDS: Final = ("upload", "read", "revoke", "forget", "sign", "ready")
UNAVAILABLE: Final = {503, 507}
# SQLite's result codes by the call that fails with them: IOERR_WRITE and FULL, IOERR_FSYNC, IOERR_TRUNCATE, CANTOPEN, IOERR_DELETE.
CODES: Final = {"write": (778, 13), "sync": (1034,), "truncate": (1546,), "open": (14,), "delete": (2570,)}
WAYS: Final = [(call, code, how) for call, codes in CODES.items() for code, how in product(codes, ("once", "twice", "for ever"))]

pytestmark = pytest.mark.skipif(library() is None, reason="This Python has SQLite built in: there is no library to put a layer into.")


@dataclass(frozen=True)
class Point:
    """One fault: the n-th call of a kind fails with a code; once, or twice (the second time soon after, while the first is dealt with), or for ever."""

    call: str
    code: int
    how: str
    n: int

    def __str__(self) -> str:
        return f"{self.call} {self.n} fails with {self.code} {self.how}"

    def hits(self, number: int) -> bool:
        """Whether this call fails."""
        return number == self.n or (self.how == "for ever" and number > self.n) or (self.how == "twice" and number == self.n + 1 + self.n % 5)


class Faults:
    """A watcher that lets the calls of one point fail, and counts all."""

    def __init__(self) -> None:
        self.point: Point | None = None
        self.seen: Counter[str] = Counter()
        self.fired = 0

    def arm(self, point: Point | None) -> None:
        """Count from here on; with None nothing fails."""
        self.point, self.fired = point, 0
        self.seen.clear()

    def refused(self, call: str, _path: Path | None) -> int:
        self.seen[call] += 1
        if self.point is None or self.point.call != call:
            return 0
        if not self.point.hits(self.seen[call]):
            return 0
        self.fired += 1
        return self.point.code

    def opened(self, path: Path, *, created: bool) -> None:
        """Nothing to note."""

    def wrote(self, path: Path, offset: int, old: bytes, new: bytes) -> None:
        """Nothing to note."""

    def cut(self, path: Path, size: int, tail: bytes) -> None:
        """Nothing to note."""

    def synced(self, path: Path, *, name_too: bool) -> None:
        """Nothing to note."""

    def removed(self, path: Path, *, durably: bool) -> None:
        """Nothing to note."""


def statuses_of(app: Flask) -> list[int]:
    """A list that each answer's status is added to."""
    statuses: list[int] = []
    answer = app.wsgi_app

    def heard(environ: dict[str, Any], begin: Callable[..., Any]) -> Any:
        def begun(status: str, *more: Any) -> Any:
            statuses.append(int(status[:3]))
            return begin(status, *more)

        return answer(environ, begun)

    app.wsgi_app = heard  # type: ignore[method-assign]
    return statuses


def told_wrong(acts: Acts, story: tuple[str, ...], statuses: list[int]) -> Iterator[str]:
    """Do each act; what is answered otherwise than as done, or as not possible now."""
    for act in story:
        statuses.clear()
        try:
            acts.one(act)
        except Refused as refused:
            if refused.status not in UNAVAILABLE:
                yield f"{act}: {refused}"
        except (BrokerError, *DatabaseFailed) as failed:
            # What the sweep and the signer do they do again later.
            if act not in {"sign", "shred", "rotate"}:
                yield f"{act}: {failed!r}"
        except Exception as error:
            # A visitor that goes from page to page stops at the first that does not come.
            if not UNAVAILABLE & set(statuses):
                yield f"{act}: {error!r}"
        yield from (f"{act}: answered {status}" for status in statuses if status >= 500 and status not in UNAVAILABLE)


def sweep(home: Home, points: list[Point], seed: int, plant: Callable[[], None], say: Callable[[Line], None]) -> None:
    """In a child: the story under each fault, then without one, and the oracle each time."""
    logging.disable()
    plant()
    faults = Faults()
    watch(faults)
    app = create_app(home.settings)
    heard = Heard()

    def told(line: Line) -> None:
        home.hear([line], heard)
        say(line)

    acts, statuses = Acts(app, home, random.Random(seed), told), statuses_of(app)
    acts.upload()
    acts.connect()
    for point in points:
        home.supply(acts.broker)
        faults.arm(point)
        found = list(told_wrong(acts, STORY, statuses))
        fired, seen = faults.fired, dict(faults.seen)
        faults.arm(None)
        for act in AFTERWARDS:
            try:
                acts.one(act)
            except Exception as error:
                found.append(f"afterwards, {act}: {error!r}")
        found += judge(acts.broker, home, heard, 0)
        heard.reads.clear()
        say({"act": "point", "fired": fired, "seen": seen, "found": found})
    close_app(app)


def swept(home: Home, points: list[Point], seed: int, plant: Callable[[], None] = as_it_is) -> list[tuple[Point, int, dict[str, int]]]:
    """Each point with how often its fault fired; asserts that nothing was found, in the process or after it."""
    code, lines = forked(lambda say: sweep(home, points, seed, plant, say))
    heard = Heard()
    home.hear([line for line in lines if line["act"] != "point"], heard)
    done = [line for line in lines if line["act"] == "point"]
    found = {str(point): line["found"] for point, line in zip(points, done, strict=False) if line["found"]}
    assert found == {}, "\n".join(f"{point}: {each[:300]}" for point, wrong in found.items() for each in wrong)
    assert (code, len(done)) == (0, len(points)), f"the process ended at {points[len(done)] if len(done) < len(points) else 'its end'}"
    assert judged(home, replace(heard, reads=[]), 0) == []
    return [(point, line["fired"], line["seen"]) for point, line in zip(points, done, strict=True)]


def sample(chance: random.Random, seen: dict[str, int], number: int) -> list[Point]:
    """Points of every way, more where there are more calls."""
    ways = [*WAYS, *chance.choices(WAYS, [seen[call] ** 0.5 for call, _, _ in WAYS], k=number - len(WAYS))]
    return [Point(*way, chance.randint(1, seen[way[0]])) for way in ways]


def every(where: Path, chance: random.Random) -> Iterator[tuple[Point, int]]:
    """Every point there is: of each way, n from 1 until a whole batch is not reached any more."""
    home, batches = Home.begin(where / "0"), 0
    for call, code, how in WAYS:
        for first in count(1, BATCH):
            done = swept(home, [Point(call, code, how, n) for n in range(first, first + BATCH)], chance.getrandbits(32))
            yield from ((point, fired) for point, fired, _ in done)
            batches += 1
            if batches % FOR_EACH_HOME == 0:
                home = Home.begin(where / str(batches))
            if not any(fired for _, fired, _ in done):
                break


def told(done: list[tuple[Point, int]], began: float) -> Counter[str]:
    """How many points fired, by their call; printed."""
    ways = Counter(point.call for point, fired in done if fired)
    print(f"{len(done)} points in {time.monotonic() - began:.1f} s, fired: {dict(ways)}")
    return ways


@pytest.mark.accepts("K88")
def test_the_nth_call_fails(lab_path: Path, chance: random.Random, *, deep: bool) -> None:
    began, home = time.monotonic(), Home.begin(lab_path / "home")
    [(_, never, seen)] = swept(home, [Point("write", 13, "for ever", TOO_HIGH)], chance.getrandbits(32))
    print(f"calls of the story: {seen}")
    # The control: a number that is never reached says so.
    assert never == 0
    if deep:
        done = list(every(lab_path, chance))
    else:
        points = sample(chance, seen, POINTS)
        batches = [swept(home, points[start : start + BATCH], chance.getrandbits(32)) for start in range(0, len(points), BATCH)]
        done = [(point, fired) for batch in batches for point, fired, _ in batch]
    ways = told(done, began)
    assert sum(ways.values()) >= 0.8 * POINTS
    assert set(ways) == set(CODES)


def _deaf() -> None:
    """A writer that takes a failed commit for one that worked."""
    attempt = Writer._attempt

    def deaf(self: Writer, group: list[Any]) -> None:
        attempt(self, group)
        for waiting in group:
            if isinstance(waiting.error, OutcomeUnknown):
                waiting.error = None

    Writer._attempt = deaf  # type: ignore[method-assign]


def test_a_writer_that_does_not_hear_of_it_is_noticed(lab_path: Path, chance: random.Random) -> None:
    """The control of the oracle: what was answered is not there."""
    points = [Point("sync", 1034, "once", n) for n in range(1, 21)]
    with pytest.raises(AssertionError, match=r"is there 0 times|lives after its revoke|is back"):
        swept(Home.begin(lab_path / "home"), points, chance.getrandbits(32), _deaf)


def start(home: Home, point: Point, say: Callable[[Line], None]) -> None:
    """In a child: start the broker under a fault, and stop it again where it started."""
    logging.disable()
    faults = Faults()
    watch(faults)
    faults.arm(point)
    try:
        close_app(create_app(home.settings))
        said = "started"
    except Exception as error:
        said = type(error).__name__
    say({"fired": faults.fired, "said": said})


def started(lost: Home, where: Path, point: Point) -> tuple[int, str]:
    """Start on a copy of what a loss left, under a fault; how often it fired, and what became of it. Afterwards the broker starts, and nothing is lost."""
    shutil.copytree(lost.settings.data_dir.parent, where)
    home = copy.deepcopy(replace(lost, settings=settings_in(where)))
    code, lines = forked(lambda say: start(home, point, say))
    assert code == 0, f"{point}: the process ended with {code}"
    assert judged(home, Heard(), 0) == [], point
    shutil.rmtree(where)
    return lines[0]["fired"], lines[0]["said"]


@pytest.mark.accepts("K88")
@pytest.mark.accepts("K93")
def test_the_nth_call_of_a_start_after_a_loss_fails(lab_path: Path, chance: random.Random, *, deep: bool) -> None:
    lab, began = Lab(lab_path, chance), time.monotonic()
    home, done, said = lab.begin(0), [], Counter[str]()
    for _ in range(LOSSES):
        home.hear(lab.lose(home, 100 + chance.randrange(CALLS)), Heard())
        if deep:
            points = (iter(Point(*way, n) for n in count(1)) for way in WAYS)
        else:
            points = (iter([Point(*way, chance.randint(1, 12))]) for way in chance.sample(WAYS, STARTS // LOSSES))
        for way in points:
            for point in way:
                fired, what = started(home, lab_path / "copy", point)
                done.append((point, fired))
                said[what] += fired > 0
                if not fired:
                    break
    print(f"what became of the starts: {dict(said)}")
    ways = told(done, began)
    assert sum(ways.values()) >= 0.3 * len(done)
    assert judged(home, Heard(), 0) == []


class Full(Faults):
    """A disk without room for data.db, but for what a ballast kept."""

    def __init__(self, reserve: Path) -> None:
        super().__init__()
        self.reserve = reserve
        self.full = self.kept = False

    def fill(self) -> None:
        """From here on there is no room."""
        self.full, self.kept = True, self.reserve.exists()

    def refused(self, call: str, path: Path | None) -> int:
        room = not self.full or (self.kept and not self.reserve.exists())
        if room or call != "write" or path is None or not path.name.startswith("data.db"):
            return 0
        self.fired += 1
        return sqlite3.SQLITE_FULL


def on_a_full_disk(home: Home, say: Callable[[Line], None], *, kept: bool) -> None:
    """In a child: revoke while there is no room but what the ballast keeps."""
    logging.disable()
    disk = Full(home.settings.data_dir / ballast.NAME)
    watch(disk)
    acts = Acts(create_app(home.settings), home, random.Random(0), say)
    if kept:
        disk.reserve.write_bytes(b"0")
    disk.fill()
    wrong = list(told_wrong(acts, ("upload",), []))
    try:
        acts.revoke()
        status = 303
    except Refused as refused:
        status = refused.status
    say({"act": "point", "fired": disk.fired, "wrong": wrong, "status": status, "kept": disk.reserve.exists()})


@pytest.mark.accepts("K89")
@pytest.mark.parametrize(("kept", "status"), [(True, 303), (False, 503)], ids=["with ballast", "the control: without"])
def test_a_revoke_on_a_full_disk(lab_path: Path, *, kept: bool, status: int) -> None:
    home = Home.begin(lab_path / "home")
    code, lines = forked(lambda say: on_a_full_disk(home, say, kept=kept))
    assert code == 0
    said = lines.pop()
    assert said["fired"] > 0
    assert (said["status"], said["wrong"], said["kept"]) == (status, [], False)
    home.hear(lines, Heard())
    assert judged(home, Heard(), 0) == []


def test_a_connection_that_failed_is_not_used_again(settings: Settings) -> None:
    with opened(settings) as broker:
        with pytest.raises(sqlite3.Error), broker.reading() as tx:
            tx.connection.driver_connection.close()
        with broker.reading() as tx:
            assert tx.exec_driver_sql("SELECT count(*) FROM people").scalar() == 3


def test_a_command_says_which_store_cannot_be_opened(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("BROKER_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("BROKER_KEY_FILE", str(settings.key_file))
    (settings.data_dir / "heads.db").unlink()
    (settings.data_dir / "heads.db").mkdir()
    with pytest.raises(SystemExit), terminal.opened():
        pass
    assert "cannot be read or written: unable to open database file" in capsys.readouterr().err
