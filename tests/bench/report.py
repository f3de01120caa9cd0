"""Measuring in turn (A B A B …), and what is made of it: medians, spread and the ratio beside its goal."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

TURNS = 5


@dataclass(frozen=True)
class Line:
    """One case: the medians of ours and of its floor, their spread (half of what lies between the quartiles, in percent), and the goal."""

    case: str
    unit: str
    ours: float
    floor: float
    spread: float
    floor_spread: float
    ratio: float
    goal: str
    met: bool | None
    note: str = ""


def _middle(values: list[float]) -> tuple[float, float]:
    median = statistics.median(values)
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (median,) * 3
    return median, 100 * (high - low) / 2 / median if median else 0.0


def in_turn(ours: Callable[[], float], floor: Callable[[], float], turns: int = TURNS) -> tuple[list[float], list[float]]:
    """Both, one after the other, `turns` times; whatever else the machine does hits both."""
    pairs = [(ours(), floor()) for _ in range(turns)]
    return [each[0] for each in pairs], [each[1] for each in pairs]


def rate(case: str, unit: str, found: tuple[list[float], list[float]], least: float, note: str = "") -> Line:
    """More is better: ours over the floor, at least `least`."""
    (ours, spread), (floor, floor_spread) = _middle(found[0]), _middle(found[1])
    return Line(case, unit, ours, floor, spread, floor_spread, ours / floor, f">= {least:.0%}", ours / floor >= least, note)


def cost(case: str, unit: str, found: tuple[list[float], list[float]], most: float | None, note: str = "") -> Line:
    """Less is better: an absolute bound of the design, in `unit`, on this machine."""
    (ours, spread), (floor, floor_spread) = _middle(found[0]), _middle(found[1])
    return Line(case, unit, ours, floor, spread, floor_spread, ours / floor if floor else 0.0, f"<= {most:g}" if most else "-", ours <= most if most else None, note)


def ratio(case: str, unit: str, found: tuple[list[float], list[float]], most: float, note: str = "") -> Line:
    """How many times the floor it takes, at most `most`."""
    line = cost(case, unit, found, None, note)
    return Line(**{**asdict(line), "goal": f"<= {most:g}x", "met": line.ratio <= most})


def per_call(job: Callable[[], object], number: int) -> float:
    """Microseconds of one call, from `number` of them."""
    began = time.perf_counter()
    for _ in range(number):
        job()
    return (time.perf_counter() - began) / number * 1e6


def table(lines: list[Line]) -> str:
    """The lines as Markdown."""
    head = "| case | unit | ours | spread | floor | spread | ratio | goal | met | |\n|---|---|---|---|---|---|---|---|---|---|"
    words = {True: "yes", False: "no", None: ""}
    rows = [
        f"| {each.case} | {each.unit} | {each.ours:,.1f} | ±{each.spread:.0f} % | {each.floor:,.1f} | ±{each.floor_spread:.0f} % "
        f"| {each.ratio:.3g} | {each.goal} | {words[each.met]} | {each.note} |"
        for each in lines
    ]
    return "\n".join([head, *rows])
