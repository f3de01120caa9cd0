"""Homes that lose power again and again."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import power
from acts import Acts, Home, Line, judged, ledger_size
from crash_vfs import watch
from loads import Heard
from power import KILLED, Loss, Recorder, forked

from broker import create_app

CALLS: Final = (150, 400, 900)
CALLS_OF_A_START: Final = 40


def as_it_is() -> None:
    """Nothing is planted."""


@dataclass
class Lab:
    """Homes that lose power, and what came of it."""

    where: Path
    chance: random.Random
    plant: Callable[[], None] = as_it_is
    # How often power fails once more while the broker starts.
    again: float = 0.25
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
        home.hear(self.lose(home, 1 + self.chance.randrange(self.chance.choice(CALLS))), heard)
        while self.chance.random() < self.again:
            home.hear(self.lose(home, 1 + self.chance.randrange(CALLS_OF_A_START)), heard)
            self.totals["again"] += 1
        return judged(home, heard, start)

    def lose(self, home: Home, calls: int) -> list[Line]:
        """Work until the n-th call of the file layer, or for some acts, then lose power; the lines that were told before."""
        acks = self.chance.randrange(40) if self.chance.random() < 0.2 else None
        code, lines = forked(lambda say: self._work(home, calls if acks is None else 10**9, acks, say))
        self.codes.append(code)
        loss = power.lose(self.side, home.settings.data_dir, self.chance) if code == KILLED else Loss(0, 0, 0, 0)
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
