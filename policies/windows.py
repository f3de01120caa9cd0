"""Window: between which times events count, as ages seen from now or as instants."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

from policies import documents
from policies.times import event_time, next_period, period_start, read_duration, read_instant, write_duration, write_instant


@dataclass(frozen=True, slots=True)
class Window:
    """When events count: ages in hours, seen from now, and instants; None is no bound."""

    max_age: int | None = None
    min_age: int | None = None
    after: datetime | None = None
    before: datetime | None = None

    def __and__(self, other: Self) -> "Window":
        """Both bounds: the shorter reach back, the later start, the earlier end."""
        return Window(
            _bound(min, self.max_age, other.max_age),
            _bound(max, self.min_age, other.min_age),
            _bound(max, self.after, other.after),
            _bound(min, self.before, other.before),
        )

    @property
    def is_relative(self) -> bool:
        """Whether it still has to be made absolute by `at`."""
        return self.max_age is not None or self.min_age is not None

    def at(self, now: datetime, level: str) -> "Window":
        """Return the absolute window at `now`, edges rounded inwards to a level of time (F3)."""
        after, before = self.after, self.before
        if self.max_age is not None:
            after = _bound(max, after, now - timedelta(hours=self.max_age))
        if self.min_age is not None:
            before = _bound(min, before, now - timedelta(hours=self.min_age))
        return Window(after=None if after is None else next_period(after, level), before=None if before is None else period_start(before, level))

    def is_empty(self) -> bool:
        """Say whether no time can lie in it."""
        ages = self.max_age is not None and self.max_age <= (self.min_age or 0)
        return ages or (self.after is not None and self.before is not None and self.after >= self.before)

    def holds(self, time: str) -> bool:
        """Say whether after ≤ time < before, for the `time` of an event."""
        return (self.after is None or event_time(self.after) <= time) and (self.before is None or time < event_time(self.before))

    @classmethod
    def read(cls, value: object, pointer: str, default: "Window") -> "Window":
        """Read the object of a clause; what it leaves out is as in `default`."""
        found = documents.members(value, pointer, ("max_age", "min_age", "after", "before"))
        readers: dict[str, Callable[[object, str], Any]] = {"max_age": read_duration, "min_age": read_duration, "after": read_instant, "before": read_instant}
        return replace(default, **{name: readers[name](*entry) for name, entry in found.items()})

    def to_json(self) -> dict[str, str]:
        """Return the bounds that there are."""
        ages = {"max_age": self.max_age, "min_age": self.min_age}
        instants = {"after": self.after, "before": self.before}
        return {name: write_duration(age) for name, age in ages.items() if age is not None} | {
            name: write_instant(at) for name, at in instants.items() if at is not None
        }


ALWAYS = Window()


def _bound(choose: Callable[..., Any], one: Any, other: Any) -> Any:
    if one is None or other is None:
        return one if other is None else other
    return choose(one, other)
