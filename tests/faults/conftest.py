"""What the fault tests share: the nursery, stores to be hurt, and a seed that is printed."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from makers import Browser, Clock, Shop
from processes import ROOT, Nursery
from restoring import World, made

from broker import close_app
from broker.config import Settings

ROOM = 2**30


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """One nursery for all tests of this process."""
    with Nursery.opened() as made:
        yield made


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Seeded randomness; FAULT_SEED repeats a run."""
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().getrandbits(32))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    print(f"\n{request.node.name}: seed {seed}, commit {commit}")
    return random.Random(seed)


@pytest.fixture
def world(alice: Browser, bob: Browser, bookshop: Shop, settings: Settings, clock: Clock, tmp_path: Path) -> Iterator[World]:
    """See `restoring.made`."""
    world = made(alice, bob, bookshop, settings, clock, tmp_path)
    yield world
    close_app(world.app)


@pytest.fixture
def lab_path(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is room: the judge's syncs are true, and prove nothing here."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it
    if not memory.is_dir() or shutil.disk_usage(memory).free < ROOM:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)
