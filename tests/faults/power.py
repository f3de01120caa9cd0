"""A loss of power: what a process wrote and never made durable is remembered until it dies, and then comes to nothing, by half, torn or out of order."""

import json
import os
import pickle
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

KILLED: Final = 9
SECTOR: Final = 512
TORN: Final = 0.2


@dataclass(frozen=True)
class Step:
    """A change of a file since its last sync: bytes written over others, or (with `new` None) the tail from `offset` on cut away."""

    offset: int
    old: bytes
    new: bytes | None


@dataclass
class Unsynced:
    """What of a file is not durable: everything after its last sync, when it had `size` bytes, and perhaps its very name."""

    size: int
    nameless: bool
    steps: list[Step] = field(default_factory=list)


@dataclass
class Told:
    """What a process that dies leaves behind: its files, and those that lost their name without a sync of the directory (name, copy kept, state)."""

    files: dict[Path, Unsynced] = field(default_factory=dict)
    unlinked: list[tuple[Path, Path, Unsynced]] = field(default_factory=list)


class Recorder:
    """A watcher that remembers what is not durable, and ends the process before its n-th call."""

    def __init__(self, side: Path, calls: int) -> None:
        """`side` is a directory beside the stores, on the same file system."""
        self._side, self._left = side, calls
        self._told = Told()

    def die(self) -> NoReturn:
        """Leave what is known, and end without any clearing up."""
        (self._side / "told").write_bytes(pickle.dumps(self._told))
        os._exit(KILLED)

    def refused(self, _call: str, _path: Path | None) -> int:
        """Nothing is refused; but the time may have come."""
        self._left -= 1
        if self._left < 0:
            self.die()
        return 0

    def opened(self, path: Path, *, created: bool) -> None:
        if path not in self._told.files:
            self._told.files[path] = Unsynced(path.stat().st_size, created)

    def wrote(self, path: Path, offset: int, old: bytes, new: bytes) -> None:
        self._told.files[path].steps.append(Step(offset, old, new))

    def cut(self, path: Path, size: int, tail: bytes) -> None:
        self._told.files[path].steps.append(Step(size, tail, None))

    def synced(self, path: Path, *, name_too: bool) -> None:
        of = self._told.files[path]
        of.steps.clear()
        of.size = path.stat().st_size
        if name_too and of.nameless:
            self._directory_synced(path.parent)

    def removed(self, path: Path, *, durably: bool) -> None:
        of = self._told.files.pop(path, None)
        if durably:
            self._directory_synced(path.parent)
        elif path.exists():
            kept = self._side / str(len(list(self._side.iterdir())))
            os.link(path, kept)
            self._told.unlinked.append((path, kept, of or Unsynced(path.stat().st_size, nameless=False)))

    def _directory_synced(self, folder: Path) -> None:
        self._told.unlinked = [each for each in self._told.unlinked if each[0].parent != folder]
        for path, of in self._told.files.items():
            of.nameless = of.nameless and path.parent != folder


@dataclass(frozen=True)
class Loss:
    """What a loss of power did: how many changes were pending, how many of them reached the disk, whole or torn, and how many files came back."""

    pending: int
    kept: int
    torn: int
    revived: int


def lose(side: Path, folder: Path, chance: random.Random) -> Loss:
    """Make the loss happen to the stores in `folder`, as their process left them when it died."""
    told: Told = pickle.loads((side / "told").read_bytes())  # noqa: S301 - our own child wrote it
    pending = sum(len(of.steps) for of in told.files.values()) + len(told.unlinked)
    kept = torn = revived = 0
    for path, copy, of in [*((path, path, of) for path, of in told.files.items()), *told.unlinked]:
        if of.nameless and chance.random() < 0.5:
            copy.unlink()
            continue
        some, broken = _fail(copy, of, chance)
        kept, torn = kept + some, torn + broken
        if copy != path and chance.random() < 0.5:
            copy.replace(path)
            revived += 1
    for index in folder.glob("*-shm"):
        index.unlink()
    for left in side.iterdir():
        left.unlink()
    return Loss(pending, kept, torn, revived)


def _fail(path: Path, of: Unsynced, chance: random.Random) -> tuple[int, int]:
    """Take a file back to its last sync, then let each later change reach it with p = 1/2; how many did, and how many of them in part."""
    if not of.steps:
        return 0, 0
    with path.open("r+b") as file:
        for step in reversed(of.steps):
            file.seek(step.offset)
            file.write(step.old)
        file.truncate(of.size)
        chosen = [step for step in of.steps if chance.random() < 0.5]
        if chance.random() < 0.5:
            chance.shuffle(chosen)
        return len(chosen), sum([_again(file, step, chance) for step in chosen])


def _again(file: BinaryIO, step: Step, chance: random.Random) -> bool:
    """One change, a fifth of them only up to, or only from, the border of a sector; whether it was torn."""
    if step.new is None:
        file.truncate(step.offset)
        return False
    borders = range(-step.offset % SECTOR or SECTOR, len(step.new), SECTOR)
    if not borders or chance.random() >= TORN:
        file.seek(step.offset)
        file.write(step.new)
        return False
    border = chance.choice(borders)
    head = chance.random() < 0.5
    file.seek(step.offset if head else step.offset + border)
    file.write(step.new[:border] if head else step.new[border:])
    return True


def forked(work: Callable[[Callable[[dict[str, Any]], None]], Any]) -> tuple[int, list[dict[str, Any]]]:
    """Do it in a child; its exit status, and the lines it told before it ended."""
    heard, told = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(heard)
            work(lambda line: os.write(told, json.dumps(line).encode() + b"\n") and None)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(told)
    with os.fdopen(heard, "rb") as pipe:
        lines = [json.loads(line) for line in pipe]
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), lines
