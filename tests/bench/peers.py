"""npm oidc-provider beside us, one process each: refresh grants, and a resource that a bound token opens, ours durable and theirs in memory."""

import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import load
from blackbox import Stage
from oracles import Missing, installed
from parties import FORM, Party
from report import Line, in_turn, rate
from serving import processor
from stages import our_stage, their_stage

# (what, our threads, connections, the least that ours must reach of theirs)
CASES = (("resource", 1, 1, 1.0), ("resource", 1, 4, 1.0), ("resource", 4, 4, 1.0), ("refresh", 1, 4, 0.5), ("refresh", 4, 4, 0.5))
# More than any of the two comes to.
CALLS_A_SECOND = {"resource": 4000, "refresh": 2500}


def _shown(party: Party, what: str, number: int, where: Path) -> Path:
    """A file of that many calls, signed beforehand: that is the client's work."""
    if what == "resource":
        party.tokens = {**party.tokens, **party.refresh().json()}
        token = party.tokens["access_token"]
        lines = [f"DPoP {token}", *(party.prover.proof("GET", party.opened(), token) for _ in range(number))]
    else:
        data = {"grant_type": "refresh_token", "refresh_token": party.tokens["refresh_token"]}
        lines = ["-", *(f"{party.prover.proof('POST', party.place.token)} {urlencode(party.signed(data))}" for _ in range(number))]
    where.write_text("\n".join(lines) + "\n")
    return where


@dataclass
class Side:
    """One of the two, and what was noted of it: milliseconds of processor time that a call took the server, and the client's share of a core."""

    stage: Stage
    work: Path
    costs: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    def per_second(self, what: str, seconds: float, connections: int) -> float:
        """Calls per second."""
        party = self.stage.books
        shown = _shown(party, what, round(CALLS_A_SECOND[what] * max(1.0, seconds)), self.work / "shown-peer")
        origin = httpx2.URL(party.place.origin)
        headers = {"Host": f"{origin.host}:{origin.port}", **(FORM if what == "refresh" else {})}
        path = party.opened() if what == "resource" else party.place.token
        before, began = processor(self.stage.group), time.monotonic()
        found = load.calls(int(origin.port or 80), path, shown, seconds, connections, headers)
        assert found.wrong == 0, found
        self.costs.append((processor(self.stage.group) - before) * 1000 / (found.per_second * (time.monotonic() - began)))
        self.shares.append(found.share)
        return found.per_second


def beside(work: Path, seconds: float, turns: int) -> list[Line]:
    """Calls per second of both, with the same client and as many connections; nothing where there is no Node."""
    try:
        node = installed()
    except Missing:
        return []
    lines: list[Line] = []
    for threads in sorted({case[1] for case in CASES}):
        place = work / f"peer-{threads}"
        place.mkdir()
        with our_stage(place, BROKER_THREADS=str(threads), BROKER_LOG_LEVEL="ERROR") as ours, their_stage(node) as theirs:
            lines += [_measured(Side(ours, work), Side(theirs, work), case, seconds, turns) for case in CASES if case[1] == threads]
    return lines


def _measured(ours: Side, theirs: Side, case: tuple[str, int, int, float], seconds: float, turns: int) -> Line:
    what, threads, connections, least = case
    # The first turn of each is not counted: both are slower before their code is warm.
    for side in (ours, theirs):
        side.per_second(what, seconds, connections)
        side.costs.clear()
    found = in_turn(lambda: ours.per_second(what, seconds, connections), lambda: theirs.per_second(what, seconds, connections), turns)
    name = f"{what}, {connections} connection{'s' * (connections > 1)}, {threads} thread{'s' * (threads > 1)}, over oidc-provider"
    costs = " and ".join(f"{statistics.median(side.costs):.2f}" for side in (ours, theirs))
    return rate(name, "calls/s", found, least, f"{costs} ms of processor time a call; client took {max(ours.shares + theirs.shares):.0%} of a core")
