"""Never two roots for one size: two processes race for the same checkpoint, on one log and on two copies of it that went apart (K68)."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import pytest
from granted import a_person
from makers import settings_in
from processes import ROOT
from sqlalchemy import select

from broker import close_app, create_app
from broker.ledger import checkpoints, models
from broker.ledger.notes import Key, open_checkpoint
from broker.ledger.proofs import Leaves
from broker.opening import opened

RACES, DEEP = 8, 100


class Signer:
    """One of the processes; `hear` a line, `go` on."""

    def __init__(self, how: str, number: int, folders: list[Path]) -> None:
        command = [sys.executable, str(Path(__file__).with_name("signing.py")), how, str(number), *map(str, folders)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hear(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def go(self) -> None:
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, str]:
    """Stores of one person whose log was signed once, closed again, and the log's key."""
    app = create_app(settings_in(tmp_path / "first"))
    broker = app.extensions["broker"]
    person_id = a_person(broker)
    checkpoints.sign(broker, person_id)
    ring = broker.keyring(person_id)
    vkey = checkpoints.vkey(ring, checkpoints.states(broker, ring)[0])
    close_app(app)
    return tmp_path / "first", vkey


def copies(signed: Path, where: Path) -> tuple[Path, Path]:
    """Two folders, each with a data.db of its own; keys.db and heads.db are one."""
    for name in ("a", "b"):
        shutil.copytree(signed, where / name)
        (where / name / "data").chmod(0o700)
    for store in ("keys.db", "heads.db"):
        (where / "b" / "data" / store).unlink()
        (where / "b" / "data" / store).symlink_to(where / "a" / "data" / store)
    return where / "a", where / "b"


def raced(how: str, signed: Path, where: Path, races: int) -> list[tuple[str, str]]:
    """What the two processes were handed in each race, their checkpoints made before either was in its place."""
    pairs = [copies(signed, where / str(number)) for number in range(races)]
    found = []
    with Signer(how, 1, [pair[0] for pair in pairs]) as one, Signer(how, 2, [pair[1] for pair in pairs]) as other:
        for _ in range(races):
            assert (one.hear(), other.hear()) == ("ready", "ready")
            one.go()
            other.go()
            found.append((one.hear(), other.hear()))
    return found


def roots(notes: list[str], vkey: str) -> dict[int, set[bytes]]:
    """Size -> the roots that were handed out for it."""
    found: dict[int, set[bytes]] = {}
    for note in notes:
        signed = open_checkpoint(bytes.fromhex(note), Key.parse(vkey))
        found.setdefault(signed.size, set()).add(signed.root)
    return found


@pytest.mark.accepts("K68")
def test_of_two_that_went_apart_one_is_signed(signed: tuple[Path, str], tmp_path: Path, *, deep: bool) -> None:
    found = raced("race", signed[0], tmp_path, DEEP if deep else RACES)
    print(f"\n{len(found)} races, {sum('refused' in pair for pair in found)} with one refused")
    for pair in found:
        handed = [note for note in pair if note != "refused"]
        assert len(handed) == 1
        assert all(len(each) == 1 for each in roots(handed, signed[1]).values())


def test_the_control_signs_both(signed: tuple[Path, str], tmp_path: Path) -> None:
    """Without the comparison in the swap each process is handed its own root for the same size."""
    found = raced("planted", signed[0], tmp_path, 2)
    assert all("refused" not in pair for pair in found)
    assert [len(each) for pair in found for each in roots(list(pair), signed[1]).values()] == [2, 2]


def test_two_that_serve_one_log_sign_one_tree(signed: tuple[Path, str]) -> None:
    where, vkey = signed
    notes: list[str] = []
    with Signer("together", 1, [where]) as one, Signer("together", 2, [where]) as other:
        assert (one.hear(), other.hear()) == ("ready", "ready")
        one.go()
        other.go()
        for each in (one, other):
            while (line := each.hear()) != "done":
                assert line, "a signer ended"
                notes.append(line)
    found = roots(notes, vkey)
    leaves = Leaves(_leaves(where))
    assert len(notes) == 80
    assert len(found) > 40
    assert {size: {leaves.root(size)} for size in found} == found


def _leaves(where: Path) -> Any:
    with opened(settings_in(where)) as broker, broker.reading() as tx:
        return list(tx.execute(select(models.entries.c.leaf_hash).order_by(models.entries.c.seq)).scalars())
