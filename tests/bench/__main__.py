"""`make bench`: every goal of the design measured beside its floor, as ratios; `python -m tests.bench [--quick] [--json FILE] [--keep DIR]`."""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "faults"), str(HERE.parents[1])]

import inside
import serving
import stores
from report import TURNS, Line, rate, table

SMALL, LARGE = 10_000, 1_000_000


def run(kept: Path, work: Path, only: str, *, quick: bool, say: Callable[[str], None]) -> list[Line]:
    """All cases, or those of one group."""
    turns, seconds, large = (3, 1.0, 100_000) if quick else (TURNS, 3.0, LARGE)
    lines: list[Line] = []

    def wanted(group: str) -> bool:
        if only in {"", group}:
            say(f"… {group}")
            return True
        return False

    say("… stores")
    small, big = stores.opened(kept, work, SMALL), stores.opened(kept, work, large)
    if wanted("reads"):
        found = {}
        for store in (small, big):
            for threads in (1, 2, 4):
                *both, note = serving.reads(store, work, threads, seconds, turns)
                found[store.count, threads] = both[0]
                lines.append(rate(f"vendor read at {store.count:,}, {threads} thread{'s' * (threads > 1)}", "reads/s", (both[0], both[1]), 0.1, note))
        lines += [inside.slope(f"read at {large:,} over {SMALL:,}, {threads} thr.", found[SMALL, threads], found[large, threads]) for threads in (1, 4)]
    if wanted("uploads"):
        with inside.opened(small.settings) as broker:
            raw = inside.Raw(small, broker, work / "raw.db")
        lines += serving.uploads(small, work, 20 if quick else 60, turns, raw)
        lines += inside.taking_in(small, raw, 20 if quick else 60, turns)
        raw.close()
    if wanted("import"):
        line = inside.importing(small, work, 5000 if quick else 30_000, 3)
        lines += [line] if line else []
    if wanted("judging"):
        lines += inside.judging(small, turns)
    if wanted("revokes"):
        lines.append(serving.revokes(big, work, 100 if quick else 300))
    if wanted("stored"):
        lines.append(inside.stored(big, kept))
    if wanted("pages"):
        lines += serving.pages(big, turns)
    return lines


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer turns, and 10^5 events in place of 10^6")
    parser.add_argument("--json", type=Path, help="write the lines here, for comparing two runs")
    parser.add_argument("--keep", type=Path, help="keep the built stores here for the next run of the same day")
    parser.add_argument("--only", default="", choices=("", "reads", "uploads", "import", "judging", "revokes", "stored", "pages"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="proffer-bench-") as temporary:
        kept = given.keep or Path(temporary) / "kept"
        work = inside.fresh(Path(temporary))
        lines = run(kept, work, given.only, quick=given.quick, say=lambda text: print(text, file=sys.stderr, flush=True))  # noqa: T201 - its output
        shutil.rmtree(work)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, SQLite {inside.sqlite3.sqlite_version}"
    print(f"{machine}; medians of turns taken alternately with the floor\n\n{table(lines)}")  # noqa: T201 - its output
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "lines": [asdict(each) for each in lines]}, indent=1))


if __name__ == "__main__":
    main()
