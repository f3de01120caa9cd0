"""Request: what a vendor wants, why, the least that is of use to it, and what it gives."""

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from policies import documents
from policies.clauses import MEMBERS, RATES, RATES_OF, REQUIRED, Clause, dimensions, read_action, read_clause, refuse_hollow, with_own_sites
from policies.documents import Members, refuse
from policies.duties import WIDEST
from policies.roster import ROSTER
from policies.slices import NONE, Slice
from policies.terms import VendorFacts
from policies.vocabulary import ANSWERS, CHANNELS, rank

MOST_ITEMS = 20
LONGEST_WHY = 200
MOST_GIFTS = 10
MOST_PURPOSES = 5
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
GIFT = re.compile(r"[a-z][a-z-]{0,39}")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing asked for. `clause` asks, in what it does not state, for what the terms give.

    `stated` names its dimensions as `clauses.dimensions` does; `minimum` holds the stated least,
    in the same form, and `gives` the vendor's promises, which nothing evaluates.
    """

    id: str
    clause: Clause
    stated: frozenset[str]
    why: str
    accepts: tuple[str, ...] | None
    least: Clause
    minimum: Mapping[str, Any] = field(hash=False)
    gives: tuple[Mapping[str, str], ...] = field(hash=False)

    def is_reached_by(self, clause: Clause) -> bool:
        """Say whether a clause gives at least the stated minimum."""
        wanted = self._least_within(clause)
        shown = clause.slice.fields
        levels = self.least.slice.fields if "fields" in self.minimum else {}
        return wanted <= clause and all(rank(name, shown.get(name, "hidden")) >= rank(name, level) for name, level in levels.items())

    def _least_within(self, clause: Clause) -> Clause:
        """Return a clause with what the minimum states in place of its own."""
        found = self.least
        part = {name: getattr(found.slice, name) for name in Slice.__slots__ if name in self.minimum}
        whole = {name: getattr(found, name) for name in ("purposes", "channels", "validity") if name in self.minimum}
        rate = {name: found.rate[name] for name in self.minimum.get("rate", {})}
        duties = {name: getattr(found.duties, name) for name in self.minimum.get("duties", {})}
        window = {name: getattr(found.slice.window, name) for name in self.minimum.get("window", {})}
        part["window"] = replace(clause.slice.window, **window)
        return replace(clause, slice=replace(clause.slice, **part).normal(), rate={**clause.rate, **rate}, duties=replace(clause.duties, **duties), **whole)

    def resolved(self, domains: frozenset[str]) -> "Item":
        """Return the item with `self` among its sites replaced by the vendor's domains."""
        return replace(
            self,
            clause=replace(self.clause, slice=with_own_sites(self.clause.slice, domains)),
            least=replace(self.least, slice=with_own_sites(self.least.slice, domains)),
        )

    @classmethod
    def read(cls, value: object, pointer: str) -> "Item":
        """Read one item of a request. Raises `Malformed`."""
        action = read_action(value, pointer)
        outer = ("id", "action", *REQUIRED[action], "why", "roster_accepts", "want", "minimum", "gives")
        found = documents.members(value, pointer, outer, ("id", *REQUIRED[action], "why", "want"))
        id_ = documents.text(*found["id"], _ID, "an id of letters, digits, - and _")
        least: tuple[Any, str] = found.get("minimum", ({}, documents.below(pointer, "minimum")))
        wanted = _flat_members(found, "want", action)
        clause = read_clause(wanted, _wide(action), id_)
        refuse_hollow(clause, documents.below(pointer, "want"))
        if "purposes" in wanted and len(wanted["purposes"][0]) > MOST_PURPOSES:
            refuse(wanted["purposes"][1], f"Name at most {MOST_PURPOSES} purposes.")
        stated = frozenset(dimensions({name: member for name, (member, _) in wanted.items()}))
        bound = documents.members(*least, tuple(name for name in MEMBERS[action] if name != "base"))
        item = cls(
            id=id_,
            clause=clause,
            stated=stated,
            why=documents.prose(*found["why"], LONGEST_WHY),
            accepts=documents.words(*found["roster_accepts"], documents.one_of(ROSTER)) if "roster_accepts" in found else None,
            least=read_clause(bound, clause, id_),
            minimum=deepcopy(least[0]),
            gives=_read_gives(*found["gives"]) if "gives" in found else (),
        )
        item.refuse_wider_minimum(least[1])
        return item

    def refuse_wider_minimum(self, pointer: str) -> None:
        """Refuse a minimum of what was not asked for, or of more than was asked for (D2)."""
        for name in dimensions(self.minimum):
            member = name.partition(".")[0]
            if name not in self.stated and member not in self.stated:
                refuse(f"{pointer}/{name.replace('.', '/')}", "Ask for this in want too, or take it out of the minimum.")
        if not self._least_within(self.clause) <= self.clause or not self.is_reached_by(self.clause):
            refuse(pointer, "Set the minimum to no more than what want asks for.")


def _wide(action: str) -> Clause:
    """Return what an item asks for where it says nothing: whatever the terms give."""
    return Clause(
        id="",
        action=action,
        slice=Slice(answers=frozenset(ANSWERS)),
        rate={name: RATES[name][1] for name in RATES_OF[action]},
        duties=WIDEST,
        channels=frozenset(CHANNELS) if action == "contact" else NONE,
    )


def _flat_members(found: Members, inner: str, action: str) -> dict[str, tuple[Any, str]]:
    """Return the members of `want` together with the item's own kinds and purposes."""
    own = REQUIRED[action]
    allowed = tuple(name for name in MEMBERS[action] if name not in ("base", *own))
    return {name: found[name] for name in own} | documents.members(*found[inner], allowed)


def _read_gives(value: object, pointer: str) -> tuple[Mapping[str, str], ...]:
    gifts = []
    for entry, at in documents.entries(value, pointer, MOST_GIFTS):
        found = documents.members(entry, at, ("kind", "text"), ("kind", "text"))
        kind = documents.text(*found["kind"], GIFT, "one word in small letters, such as discount")
        gifts.append({"kind": kind, "text": documents.prose(*found["text"], LONGEST_WHY)})
    return tuple(gifts)


@dataclass(frozen=True, slots=True)
class Request:
    """What one vendor asks for at one time; `document` is what it sent, and what is hashed."""

    facts: VendorFacts
    items: tuple[Item, ...]
    document: Mapping[str, Any] = field(repr=False, hash=False)

    @classmethod
    def parse(cls, value: object, facts: VendorFacts) -> "Request":
        """Read a request of the vendor that `facts` speak of. Raises `Malformed`."""
        found = documents.members(value, "", ("vendor", "items"), ("vendor", "items"))
        if found["vendor"][0] != facts.id:
            refuse("/vendor", "Name the vendor that the client belongs to.")
        items: list[Item] = []
        for entry, pointer in documents.entries(*found["items"], MOST_ITEMS):
            item = Item.read(entry, pointer)
            if any(item.id == other.id for other in items):
                refuse(documents.below(pointer, "id"), "Give each item an id of its own.")
            items.append(item)
        if not items:
            refuse("/items", "Ask for at least one thing.")
        document = deepcopy(dict(value)) if isinstance(value, dict) else {}
        return cls(facts, tuple(items), document)

    def to_json(self) -> dict[str, Any]:
        """Return the document as it was sent."""
        return deepcopy(dict(self.document))
