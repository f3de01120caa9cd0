"""`make bench`: every goal of the design measured beside its floor, as ratios; `python -m tests.bench [--quick] [--json FILE] [--keep DIR]`."""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

sys.path.extend(str(Path(__file__).resolve().parents[up] / below) for up, below in ((0, ""), (1, ""), (1, "faults"), (2, "")))

import inside
import ledgers
import peers
import serving
import stores
from report import TURNS, Line, rate, table

SMALL, LARGE = 10_000, 1_000_000


@dataclass(frozen=True)
class Run:
    """One run: its stores, its place for files, and how long it measures."""

    kept: Path
    work: Path
    quick: bool

    @cached_property
    def small(self) -> stores.Store:
        """The store of 10^4 events, once a case asks for it."""
        return stores.opened(self.kept, self.work, SMALL)

    @cached_property
    def big(self) -> stores.Store:
        """The store of 10^6 events (10^5 if it shall be quick), once a case asks for it."""
        return stores.opened(self.kept, self.work, 100_000 if self.quick else LARGE)

    @property
    def turns(self) -> int:
        """How often each side of a case is measured."""
        return 3 if self.quick else TURNS


def reads(run: Run) -> list[Line]:
    """Vendor reads against the bare route, with 1, 2 and 4 threads."""
    lines, found = [], {}
    for store in (run.small, run.big):
        for threads in (1, 2, 4):
            ours, floor, note = serving.reads(store, run.work, threads, 1.0 if run.quick else 3.0, run.turns)
            found[store.count, threads] = ours
            lines.append(rate(f"vendor read at {store.count:,}, {threads} thread{'s' * (threads > 1)}", "reads/s", (ours, floor), 0.1, note))
    small, big = run.small.count, run.big.count
    return lines + [inside.slope(f"read at {big:,} over {small:,}, {threads} thr.", found[small, threads], found[big, threads]) for threads in (1, 4)]


def uploads(run: Run) -> list[Line]:
    """Uploads over HTTP, and taking in without it, against raw inserts."""
    batches = 20 if run.quick else 60
    with inside.opened(run.small.settings) as broker:
        raw = inside.Raw(run.small, broker, run.work / "raw.db")
    lines = serving.uploads(run.small, run.work, batches, run.turns, raw) + inside.taking_in(run.small, raw, batches, run.turns)
    raw.close()
    return lines


GROUPS: dict[str, Callable[[Run], list[Line]]] = {
    "reads": reads,
    "uploads": uploads,
    "import": lambda run: inside.importing(run.small, run.work, 5000 if run.quick else 30_000, 3),
    "judging": lambda run: inside.judging(run.small, run.turns),
    "proofs": lambda run: inside.proving(run.small, run.turns),
    "revokes": lambda run: [serving.revokes(run.big, run.work, 100 if run.quick else 300)],
    "stored": lambda run: [inside.stored(run.big, run.kept)],
    "ledger": lambda run: ledgers.measured(run.work, 100_000 if run.quick else 1_000_000),
    "pages": lambda run: serving.pages(run.big, run.turns),
    "peers": lambda run: peers.beside(run.work, 1.0 if run.quick else 3.0, run.turns),
}


def measure(kept: Path, work: Path, only: str, *, quick: bool) -> list[Line]:
    """The lines of all groups, or of one."""
    run = Run(kept, work, quick)
    lines = []
    for name, group in GROUPS.items():
        if only in {"", name}:
            print(f"… {name}", file=sys.stderr, flush=True)
            lines += group(run)
    return lines


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer turns, and 10^5 events in place of 10^6")
    parser.add_argument("--json", type=Path, help="write the lines here, for comparing two runs")
    parser.add_argument("--keep", type=Path, help="keep the built stores here for the next run of the same day")
    parser.add_argument("--only", default="", choices=("", *GROUPS), help="one group of cases")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="proffer-bench-") as temporary:
        kept = given.keep or Path(temporary) / "kept"
        work = inside.fresh(Path(temporary))
        lines = measure(kept, work, given.only, quick=given.quick)
        shutil.rmtree(work)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, SQLite {inside.sqlite3.sqlite_version}"
    print(f"{machine}; medians of turns taken alternately with the floor\n\n{table(lines)}")
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "lines": [asdict(each) for each in lines]}, indent=1))


if __name__ == "__main__":
    main()
