"""Loss of power (K87): what was acknowledged is there afterwards, in three stores; also where power fails again during the recovery (K93).

A layer under SQLite remembers what was written and never synced; the process ends at any call, and half of that comes to nothing, in any order, some
of it torn. The controls: data.db synced at checkpoints alone, and the rollback journals of keys.db and heads.db deleted without a sync of the directory.
"""

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from acts import Acts, Home, Line, judged, ledger_size
from crash_vfs import library, watch
from loads import Heard
from power import KILLED, Loss, Recorder, forked, lose

from broker import create_app, opening
from broker.db import DATA, KEYS

LOSSES = 75
NIGHTLY = 3000
FOR_EACH_HOME = 25
CALLS = (150, 400, 900)
CALLS_OF_A_START = 40
CONTROL_LOSSES = 60
ROOM = 2**30

pytestmark = pytest.mark.skipif(library() is None, reason="This Python has SQLite built in: there is no library to put a layer into.")


@pytest.fixture
def lab_path(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is room: the judge's syncs are true, and prove nothing here."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it
    if not memory.is_dir() or shutil.disk_usage(memory).free < ROOM:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


def _plain() -> None:
    """The broker as it is."""


def _normal() -> None:
    opening.DATA = {**DATA, "synchronous": 1}


def _full() -> None:
    opening.KEYS = {**KEYS, "synchronous": 2}


@dataclass
class Lab:
    """Homes that lose power, and what came of it."""

    where: Path
    chance: random.Random
    plant: Callable[[], None] = _plain
    totals: Counter[str] = field(default_factory=Counter)
    codes: list[int] = field(default_factory=list)

    def begin(self, number: int) -> Home:
        """A new home, and a directory for what its processes leave behind."""
        (self.where / f"side-{number}").mkdir(mode=0o700)
        self.side = self.where / f"side-{number}"
        return Home.begin(self.where / f"home-{number}")

    def round(self, home: Home) -> list[str]:
        """Work until the power fails; sometimes it fails again while the broker starts; then judge."""
        start, heard = ledger_size(home), Heard()
        home.hear(self._lose(home, 1 + self.chance.randrange(self.chance.choice(CALLS))), heard)
        while self.chance.random() < 0.25:
            home.hear(self._lose(home, 1 + self.chance.randrange(CALLS_OF_A_START)), heard)
            self.totals["again"] += 1
        return judged(home, heard, start)

    def _lose(self, home: Home, calls: int) -> list[Line]:
        acks = self.chance.randrange(40) if self.chance.random() < 0.2 else None
        code, lines = forked(lambda say: self._work(home, calls if acks is None else 10**9, acks, say))
        self.codes.append(code)
        loss = lose(self.side, home.settings.data_dir, self.chance) if code == KILLED else Loss(0, 0, 0, 0)
        done = Counter(line["act"] for line in lines if line.get("done"))
        self.totals.update(done)
        self.totals.update(
            losses=1, pending=loss.pending > 0, changes=loss.pending, kept=loss.kept, torn=loss.torn, revived=loss.revived, acknowledged=bool(done)
        )
        return lines

    def _work(self, home: Home, calls: int, acks: int | None, say: Callable[[Line], None]) -> None:
        recorder = Recorder(self.side, calls)
        watch(recorder)
        self.plant()

        def told(line: Line) -> None:
            home.hear([line], Heard())
            say(line)

        acts = Acts(create_app(home.settings), home, random.Random(self.chance.random()), told)
        for wrong in acts.again():
            say({"act": "wrong", "what": wrong})
        while acks is None or acks > 0:
            acts.one()
            acks = None if acks is None else acks - 1
        recorder.die()


def fired(lab: Lab, began: float) -> None:
    """Every child died of its loss, and most of them with something pending."""
    seconds = time.monotonic() - began
    print(f"{len(lab.codes)} losses in {seconds:.1f} s ({1000 * seconds / len(lab.codes):.0f} ms each): {dict(lab.totals)}")
    assert set(lab.codes) == {KILLED}
    assert lab.totals["pending"] >= 0.3 * len(lab.codes)


@pytest.mark.accepts("K87")
@pytest.mark.accepts("K93")
def test_nothing_acknowledged_is_lost(lab_path: Path, chance: random.Random, *, deep: bool) -> None:
    lab, began = Lab(lab_path, chance), time.monotonic()
    for number in range((NIGHTLY if deep else LOSSES) // FOR_EACH_HOME):
        home = lab.begin(number)
        for _ in range(FOR_EACH_HOME):
            assert lab.round(home) == []
    fired(lab, began)
    assert min(lab.totals[each] for each in ("upload", "read", "revoke", "forget", "sign", "shred", "rotate", "again", "torn")) > 0


@pytest.mark.parametrize("plant", [_normal, _full], ids=["data.db NORMAL", "keys.db FULL"])
def test_the_control_is_noticed(lab_path: Path, chance: random.Random, plant: Callable[[], None]) -> None:
    lab, began = Lab(lab_path, chance, plant), time.monotonic()
    for number in range(CONTROL_LOSSES):
        home = lab.begin(number)
        found = next(filter(None, (lab.round(home) for _ in range(5))), None)
        if found:
            print(f"noticed at loss {len(lab.codes)}: {found}")
            break
    else:
        pytest.fail("a loss that was planted was not noticed")
    fired(lab, began)
