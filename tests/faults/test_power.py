"""Loss of power (K87): what was acknowledged is there afterwards, in three stores; also where power fails again during the recovery (K93).

A layer under SQLite remembers what was written and never synced; the process ends at any call, and half of that comes to nothing, in any order, some
of it torn. The controls: data.db synced at checkpoints alone, and the rollback journals of keys.db and heads.db deleted without a sync of the directory.
"""

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from crash_vfs import library
from lab import Lab
from power import KILLED

from broker import opening
from broker.db import DATA, KEYS

LOSSES: Final = 75
# Or as many as the time allows.
NIGHTLY: Final = 5000
NIGHTLY_SECONDS: Final = 1200
FOR_EACH_HOME: Final = 25
CONTROL_LOSSES: Final = 150

pytestmark = pytest.mark.skipif(library() is None, reason="This Python has SQLite built in: there is no library to put a layer into.")


def _normal() -> None:
    opening.DATA = {**DATA, "synchronous": 1}


def _full() -> None:
    opening.KEYS = {**KEYS, "synchronous": 2}


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
    while len(lab.codes) < (NIGHTLY if deep else LOSSES) and time.monotonic() - began < NIGHTLY_SECONDS:
        home = lab.begin(len(lab.codes))
        for _ in range(FOR_EACH_HOME):
            assert lab.round(home) == []
        shutil.rmtree(home.settings.data_dir.parent)
    fired(lab, began)
    assert min(lab.totals[each] for each in ("upload", "read", "revoke", "forget", "sign", "shred", "rotate", "erase", "again", "torn")) > 0


@pytest.mark.parametrize("plant", [_normal, _full], ids=["data.db NORMAL", "keys.db FULL"])
def test_the_control_is_noticed(lab_path: Path, chance: random.Random, plant: Callable[[], None]) -> None:
    lab, began = Lab(lab_path, chance, plant, again=0), time.monotonic()
    for number in range(CONTROL_LOSSES // 5):
        home = lab.begin(number)
        found = next(filter(None, (lab.round(home) for _ in range(5))), None)
        if found:
            print(f"noticed at loss {len(lab.codes)}: {found}")
            break
    else:
        pytest.fail("a loss that was planted was not noticed")
    fired(lab, began)
