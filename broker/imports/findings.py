"""What one run over a file found: the report's counts, the days, and how much of it is new here."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.events.shape import Event
    from broker.imports.reports import Report


@dataclass
class Findings:
    """Counts of one run: events `found` by kind, `fresh` (new here) by kind, `known` (here already), `forgotten` (never to come back).

    `first` and `last` are UTC days, empty where there is nothing. The rest is the parser's report.
    """

    found: dict[str, int] = field(default_factory=dict)
    fresh: dict[str, int] = field(default_factory=dict)
    known: int = 0
    forgotten: int = 0
    first: str = ""
    last: str = ""
    seen: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)
    dropped_columns: list[str] = field(default_factory=list)
    ignored_columns: list[str] = field(default_factory=list)
    # Of another broker's export: versions of `terms`, `grants`, `grants_here`, `logs` of old ledgers, and sentences about what is `left` out.
    besides: dict[str, Any] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many events the file makes."""
        return sum(self.found.values())

    @property
    def added(self) -> int:
        """How many of them are new here."""
        return sum(self.fresh.values())

    @property
    def comes(self) -> bool:
        """Whether anything new is in the file."""
        return bool(self.added or any(self.besides.get(name) for name in ("terms", "grants", "logs")))

    @property
    def days(self) -> tuple[date, date] | None:
        """The first and last UTC day."""
        return (date.fromisoformat(self.first), date.fromisoformat(self.last)) if self.first else None

    def count(self, events: Sequence[Event], status: Mapping[str, str]) -> None:
        """Count events with what became (or would become) of each id: accepted, forgotten, or anything else for known."""
        for event in events:
            kind, day = event["kind"], event["time"][:10]
            self.found[kind] = self.found.get(kind, 0) + 1
            self.first, self.last = min(self.first or day, day), max(self.last, day)
            now = status[event["id"]]
            if now == "accepted":
                self.fresh[kind] = self.fresh.get(kind, 0) + 1
            else:
                self.forgotten += now == "forgotten"
                self.known += now != "forgotten"

    def close(self, report: Report) -> Findings:
        """Take over what the parser counted, at the end of the run."""
        self.seen = report.seen
        self.skipped, self.noted = (dict(Counter(counted).most_common()) for counted in (report.skipped, report.noted))
        self.dropped_columns, self.ignored_columns = list(report.dropped_columns), list(report.ignored_columns)
        return self

    def to_json(self) -> dict[str, Any]:
        """As it is sealed with the batch."""
        return asdict(self)
