"""Clause: a slice, why and how it may be used, and for how long; what is asked for and granted."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

from policies import documents
from policies.documents import Members, refuse
from policies.duties import Duties
from policies.purposes import PURPOSES, meet_purposes, without_covered
from policies.roster import ROSTER, meet_bases
from policies.slices import NONE, SELF, SLICE_MEMBERS, Slice
from policies.times import read_duration, read_instant, write_duration, write_instant
from policies.vocabulary import ANSWERS, CHANNELS, FIELDS
from policies.windows import Window

LONGEST_VALIDITY = 365 * 24
"""No clause lives longer; hours."""

RATES = {"reads": ("P1D", 10_000), "rows": ("P1D", 1_000_000), "messages": ("P30D", 100), "questions": ("P30D", 100)}
"""What is counted -> per how long, in whole UTC days, and the most that can be written."""

MEMBERS = {
    "read": ("base", "purposes", *SLICE_MEMBERS, "rate", "duties", "validity"),
    "write": ("kinds", "sites", "classes", "sensitive", "categories", "fields", "validity"),
    "contact": ("base", "purposes", "categories", "channels", "rate", "validity"),
    "ask": ("base", "purposes", "categories", "rate", "duties", "validity"),
}
"""Action -> the members of its clauses, in canonical order, after `id` and `action`."""

REQUIRED = {"read": ("purposes", "kinds"), "write": ("kinds",), "contact": ("purposes",), "ask": ("purposes",)}
RATES_OF = {"read": ("reads", "rows"), "write": (), "contact": ("messages",), "ask": ("questions",)}

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}(~[A-Za-z0-9][A-Za-z0-9_.-]{0,63})?")
COUNT = "[1-9][0-9]{0,6}"
_RATE = re.compile(rf"({COUNT})/(P[0-9]+D)")


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a clause holds; `longest` is in hours, counted from the yes."""

    since: datetime | None = None
    until: datetime | None = None
    longest: int | None = None

    def __and__(self, other: Self) -> "Validity":
        """The later start, the earlier end, the shorter life."""
        starts = [at for at in (self.since, other.since) if at is not None]
        ends = [at for at in (self.until, other.until) if at is not None]
        lives = [hours for hours in (self.longest, other.longest) if hours is not None]
        return Validity(max(starts, default=None), min(ends, default=None), min(lives, default=None)).normal()

    def normal(self) -> "Validity":
        """Leave out a longest life that the other two ends already bound."""
        if self.since is None or self.until is None or self.longest is None or self.since + timedelta(hours=self.longest) < self.until:
            return self
        return replace(self, longest=None)

    def starting(self, at: datetime) -> "Validity":
        """Return it with absolute ends, for a yes at `at`: at most 365 days."""
        now = at.replace(microsecond=0)
        since = max(now, self.since or now)
        ends = [now + timedelta(hours=LONGEST_VALIDITY)]
        ends += [self.until] if self.until else []
        ends += [since + timedelta(hours=self.longest)] if self.longest is not None else []
        return Validity(since, min(ends))

    def is_empty(self) -> bool:
        """Say whether it holds at no time."""
        return self.longest == 0 or (self.since is not None and self.until is not None and self.since >= self.until)

    @classmethod
    def read(cls, value: object, pointer: str, default: "Validity") -> "Validity":
        """Read the object of a clause; what it leaves out is as in `default`."""
        found = documents.members(value, pointer, ("from", "until", "max"))
        validity = replace(
            default,
            since=read_instant(*found["from"]) if "from" in found else default.since,
            until=read_instant(*found["until"]) if "until" in found else default.until,
            longest=read_duration(*found["max"]) if "max" in found else default.longest,
        )
        if (validity.longest or 0) > LONGEST_VALIDITY:
            refuse(documents.below(pointer, "max"), "Give at most P365D.")
        return validity.normal()

    def to_json(self) -> dict[str, str]:
        """Return the ends that there are."""
        form = {name: write_instant(at) for name, at in (("from", self.since), ("until", self.until)) if at is not None}
        return form | ({} if self.longest is None else {"max": write_duration(self.longest)})


_WHOLE, _STRICTEST, _OPEN = Slice(), Duties(), Validity()


@dataclass(frozen=True, slots=True)
class Clause:
    """One entry of a grant. `base` is a roster id, empty for a write; `rate` counts as in `RATES`.

    `Slice` matters for reads and writes; of a contact or a question only its categories do.
    """

    id: str
    action: str
    base: str = ""
    purposes: frozenset[str] = NONE
    slice: Slice = _WHOLE
    rate: Mapping[str, int] = field(default_factory=dict, hash=False)
    duties: Duties = _STRICTEST
    channels: frozenset[str] = NONE
    validity: Validity = _OPEN

    def __and__(self, other: Self) -> "Clause":
        """What both allow, under this clause's id; empty where action or base do not fit."""
        base = meet_bases(self.base, other.base)
        if self.action != other.action or base is None:
            return Clause(self.id, "none")
        return Clause(
            id=self.id,
            action=self.action,
            base=base,
            purposes=meet_purposes(self.purposes, other.purposes),
            slice=self.slice & other.slice,
            rate={name: min(count, other.rate[name]) for name, count in self.rate.items() if name in other.rate},
            duties=self.duties & other.duties,
            channels=self.channels & other.channels,
            validity=self.validity & other.validity,
        )

    def __le__(self, other: Self) -> bool:
        """Whether it allows nothing that `other` does not; ids do not matter."""
        mine, theirs = self.slice, other.slice
        # Most clauses differ in what is cheap to compare.
        if self.action != other.action or not mine.kinds <= theirs.kinds or not mine.fields.keys() <= theirs.fields.keys():
            return False
        return mine.window & theirs.window == mine.window and self & other == self

    def is_empty(self) -> bool:
        """Say whether it permits nothing at all."""
        uses = MEMBERS.get(self.action, ())
        return (
            not uses
            or ("purposes" in uses and not self.purposes)
            or ("kinds" in uses and self.slice.is_empty())
            or not self.slice.categories
            or ("duties" in uses and not self.duties.storage)
            or ("channels" in uses and not self.channels)
            or self.validity.is_empty()
        )

    def has_nothing_of(self, other: Self) -> bool:
        """Say whether the meet is empty because no purpose, or no kind, is common to both."""
        uses = MEMBERS[self.action]
        return ("purposes" in uses and not meet_purposes(self.purposes, other.purposes)) or ("kinds" in uses and not self.slice.kinds & other.slice.kinds)

    def starting(self, at: datetime) -> "Clause":
        """Return it with an absolute validity, for a yes at `at`."""
        return replace(self, validity=self.validity.starting(at))

    def with_id(self, id: str) -> "Clause":  # noqa: A002 - the name of the member.
        """Return the same clause under another id."""
        return replace(self, id=id)

    @classmethod
    def parse(cls, value: object, pointer: str = "") -> "Clause":
        """Read a clause as it is granted; what is left out is as in a rule. Raises `Malformed`."""
        action = read_action(value, pointer)
        found = documents.members(value, pointer, ("id", "action", *MEMBERS[action]), ("id", *REQUIRED[action]))
        default = rule_defaults(action)
        if "validity" in found:
            default = replace(default, validity=Validity())
        clause = read_clause(found, default, read_id(*found["id"]))
        if "base" in MEMBERS[action] and not clause.base:
            refuse(documents.below(pointer, "base"), "Add this member.")
        refuse_hollow(clause, pointer)
        return clause

    def to_json(self) -> dict[str, Any]:
        """Return the canonical form (O2): every member that the action uses, sets sorted."""
        form = self.slice.to_json() | {
            "base": self.base,
            "purposes": sorted(self.purposes),
            "rate": {name: f"{self.rate[name]}/{RATES[name][0]}" for name in RATES_OF.get(self.action, ()) if name in self.rate},
            "duties": self.duties.to_json(),
            "channels": sorted(self.channels),
            "validity": self.validity.to_json(),
        }
        return {"id": self.id, "action": self.action} | {name: form[name] for name in MEMBERS.get(self.action, ())}


def rule_defaults(action: str) -> Clause:
    """Return what a rule says where it says nothing (section 2)."""
    read = action == "read"
    window = Window(max_age=90 * 24, min_age=24) if read else Window()
    return Clause(
        id="",
        action=action,
        slice=Slice(form="answers" if read else "rows", window=window),
        rate={name: {"reads": 24, "rows": 500}.get(name, 2) for name in RATES_OF[action]},
        channels=frozenset({"inbox"}) if action == "contact" else NONE,
        validity=Validity(longest=180 * 24),
    )


def read_clause(found: Members, default: Clause, id: str) -> Clause:  # noqa: A002 - the name of the member.
    """Read a clause's members, of a rule, a request or a grant alike; others are as in `default`."""
    if default.action == "write" and "fields" not in found:
        # A write shows nothing to a vendor: unless it says less, it may add all that an event has.
        default = replace(default, slice=replace(default.slice, fields={name: about.levels[-1] for name, about in FIELDS.items()}))
    parts: dict[str, Any] = {"id": id, "slice": Slice.read(found, default.slice)}
    if "base" in found:
        parts["base"] = documents.choice(*found["base"], ROSTER)
    if "purposes" in found:
        parts["purposes"] = without_covered(documents.some_words(*found["purposes"], documents.one_of(PURPOSES)))
    if "rate" in found:
        parts["rate"] = {**default.rate, **_read_rate(*found["rate"], default.action)}
    if "duties" in found:
        parts["duties"] = Duties.read(*found["duties"], default.duties)
    if "channels" in found:
        parts["channels"] = frozenset(documents.words(*found["channels"], documents.one_of(CHANNELS)))
    if "validity" in found:
        parts["validity"] = Validity.read(*found["validity"], default.validity)
    return replace(default, **parts)


def _read_rate(value: object, pointer: str, action: str) -> dict[str, int]:
    rates = {}
    for name, (count, at) in documents.members(value, pointer, RATES_OF[action]).items():
        period, most = RATES[name]
        match = _RATE.fullmatch(count) if isinstance(count, str) else None
        if match is None or match[2] != period or int(match[1]) > most:
            refuse(at, f"Give a number from 1 to {most} and /{period}, such as 10/{period}.")
        rates[name] = int(match[1])
    return rates


def refuse_hollow(clause: Clause, pointer: str) -> None:
    """Refuse a read that could never show anything: its author has forgotten what to show."""
    if clause.action != "read":
        return
    part = clause.slice
    if part.form == "rows" and not part.fields:
        refuse(documents.below(pointer, "fields"), "Name at least one field that these kinds carry, with its level.")
    if part.form == "answers" and not part.answers:
        refuse(documents.below(pointer, "answers"), f"Name some of {', '.join(ANSWERS)}, or set form to rows.")


def read_action(value: object, pointer: str) -> str:
    """Read the member `action` of an object, which says what other members there may be."""
    if not isinstance(value, dict):
        refuse(pointer, "Give an object.")
    return documents.choice(value.get("action"), documents.below(pointer, "action"), MEMBERS)


def read_id(value: object, pointer: str) -> str:
    """Read the id of a clause; a proposed one is `item~rule`."""
    return documents.text(value, pointer, ID, "an id of letters, digits, - and _")


def with_own_sites(part: Slice, domains: frozenset[str]) -> Slice:
    """Return the slice with `self` replaced by the vendor's verified domains (O3)."""
    if SELF not in part.sites:
        return part
    return replace(part, sites=part.sites - {SELF} | domains).normal()


def dimensions(form: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a clause's canonical form: `fields.price`, `window.max_age`; others are whole."""
    flat: dict[str, Any] = {}
    for name, value in form.items():
        if name in ("fields", "window", "rate", "duties"):
            flat |= {f"{name}.{step}": entry for step, entry in value.items()}
        else:
            flat[name] = value
    return flat
