"""Duties: what the vendor must and must not do with the rows it gets."""

import re
from dataclasses import dataclass, replace
from typing import Any, Self

from policies import documents
from policies.documents import refuse
from policies.roster import ROSTER
from policies.times import LONGEST, read_duration, write_duration
from policies.vocabulary import ONWARD

REGION = re.compile(r"\*|EEA|EU|[A-Z]{2}")
USES = ("profiling", "tracking", "ai_training", "portability")
LONGEST_PROCESSOR = 80
DELETE = "delete:"


@dataclass(frozen=True, slots=True)
class Duties:
    """Times in hours; uses are permitted where true; `processors` and `storage` may be `*`."""

    retention: int = 30 * 24
    on_end: int = 7 * 24
    breach_notice: int = 3 * 24
    onward: str = "none"
    processors: frozenset[str] = frozenset()
    profiling: bool = False
    tracking: bool = False
    ai_training: bool = False
    portability: bool = False
    storage: frozenset[str] = frozenset({"*"})

    def __and__(self, other: Self) -> "Duties":
        """The stricter of both, duty by duty."""
        onward = min(self.onward, other.onward, key=ONWARD.index)
        return Duties(
            retention=min(self.retention, other.retention),
            on_end=min(self.on_end, other.on_end),
            breach_notice=min(self.breach_notice, other.breach_notice),
            onward=onward,
            processors=_meet(self.processors, other.processors) if onward != "none" else frozenset(),
            profiling=self.profiling and other.profiling,
            tracking=self.tracking and other.tracking,
            ai_training=self.ai_training and other.ai_training,
            portability=self.portability or other.portability,
            storage=_meet(self.storage, other.storage),
        )

    def normal(self) -> "Duties":
        """Leave out processors where nothing may be passed on."""
        return replace(self, processors=frozenset()) if self.onward == "none" else self

    def capped(self, base: str) -> "Duties":
        """Return what a roster agreement leaves of them (section 12)."""
        row = ROSTER[base]
        return replace(
            self,
            onward=self.onward if row.anonymised else min(self.onward, "processors", key=ONWARD.index),
            profiling=self.profiling and row.profiling,
            tracking=self.tracking and row.tracking,
            ai_training=self.ai_training and row.ai_training,
            portability=self.portability or row.portability,
        )

    @classmethod
    def read(cls, value: object, pointer: str, default: "Duties") -> "Duties":
        """Read the object of a clause; what it leaves out is as in `default`."""
        parts = {name: _read_duty(name, *entry) for name, entry in documents.members(value, pointer, cls.__slots__).items()}
        return replace(default, **parts).normal()

    def to_json(self) -> dict[str, Any]:
        """Return every duty."""
        return {
            "retention": write_duration(self.retention),
            "on_end": f"{DELETE}{write_duration(self.on_end)}",
            "breach_notice": write_duration(self.breach_notice),
            "onward": self.onward,
            "processors": sorted(self.processors),
            **{name: getattr(self, name) for name in USES},
            "storage": sorted(self.storage),
        }


def _read_duty(name: str, value: object, pointer: str) -> Any:
    if name in USES:
        return documents.flag(value, pointer)
    if name == "onward":
        return documents.choice(value, pointer, ONWARD)
    if name == "processors":
        return frozenset(documents.words(value, pointer, _read_processor, 20))
    if name == "storage":
        return _read_regions(value, pointer)
    if name == "on_end":
        if not isinstance(value, str) or not value.startswith(DELETE):
            refuse(pointer, "Give delete: and a duration, such as delete:P7D.")
        value = value.removeprefix(DELETE)
    return read_duration(value, pointer)


def _read_processor(value: object, pointer: str) -> str:
    if value == "*":
        refuse(pointer, "Name each processor: * stands for nobody.")
    return documents.prose(value, pointer, LONGEST_PROCESSOR)


def _read_regions(value: object, pointer: str) -> frozenset[str]:
    form = "EEA, EU, an ISO 3166-1 code of two letters, or *"
    regions = documents.some_words(value, pointer, lambda entry, at: documents.text(entry, at, REGION, form), 50)
    return frozenset({"*"}) if "*" in regions else regions


def _meet(ours: frozenset[str], theirs: frozenset[str]) -> frozenset[str]:
    if "*" in ours:
        return theirs
    return ours if "*" in theirs else ours & theirs


WIDEST = Duties(LONGEST, LONGEST, LONGEST, "anonymised", frozenset({"*"}), profiling=True, tracking=True, ai_training=True)
"""What a request that states no duty asks for: whatever the terms give."""
