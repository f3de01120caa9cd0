"""Plants the defects of `defects/` one by one in a copy of the project, and runs the tests that must notice: `python -m tests.faults.planted`.

At least 95 % have to be caught, and every one that touches the first three promises.
"""

import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFECTS = Path(__file__).parent / "defects"
PARTS = ("broker", "policies", "clients", "tests", "pyproject.toml", "README.md")
SECONDS = 600
LEAST = 0.95
CAUGHT = 1


@dataclass(frozen=True, slots=True)
class Defect:
    """One small change of a file, the tests that must fail with it, and whether it touches the first three promises."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    critical: bool


def every() -> list[Defect]:
    """All planted defects, in a fixed order."""
    found = []
    for path in sorted(DEFECTS.glob("*.toml")):
        for name, about in tomllib.loads(path.read_text(encoding="utf-8")).items():
            found.append(Defect(f"{path.stem}/{name}", about["file"], about["old"], about["new"], tuple(about["tests"]), about["critical"]))
    return found


def caught(tree: Path, defect: Defect) -> bool:
    """Whether a test fails with the defect in the copy `tree`. A run in which none could be collected proves nothing, and does not count."""
    file = tree / defect.file
    before = file.read_text(encoding="utf-8")
    file.write_text(before.replace(defect.old, defect.new), encoding="utf-8")
    try:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *defect.tests], cwd=tree, capture_output=True, text=True, timeout=SECONDS,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    finally:
        file.write_text(before, encoding="utf-8")
    return run.returncode == CAUGHT


def main(wanted: list[str]) -> int:
    """Plant all defects, or those whose name holds one of `wanted`; prints each, and what survived. Returns the exit status."""
    chosen = [each for each in every() if not wanted or any(word in each.name for word in wanted)]
    survived = []
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory) / "tree"
        for part in PARTS:
            source = ROOT / part
            ignore = shutil.ignore_patterns("__pycache__", "screenshots", "node_modules")
            shutil.copytree(source, tree / part, ignore=ignore) if source.is_dir() else shutil.copy(source, tree / part)
        for number, each in enumerate(chosen, 1):
            began = time.monotonic()
            ok = caught(tree, each)
            sys.stdout.write(f"{number:3}/{len(chosen)} {'caught  ' if ok else 'SURVIVED'} {each.name} ({time.monotonic() - began:.0f} s)\n")
            sys.stdout.flush()
            survived += [] if ok else [each]
    critical = [each.name for each in survived if each.critical]
    share = 1 - len(survived) / max(1, len(chosen))
    sys.stdout.write(f"{share:.1%} of {len(chosen)} caught; critical ones that survived: {', '.join(critical) or 'none'}\n")
    return int(share < LEAST or bool(critical))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
