"""What the person's terms make of a vendor's request: `negotiate(terms, request)` -> Proposal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from policies.clauses import Clause, dimensions, with_own_sites
from policies.purposes import meet_purposes
from policies.requests import Item, Request
from policies.roster import ROSTER, at_most
from policies.terms import Deny, Rule, Terms, VendorFacts

CONFIRMATION = "AgreementNegotiationConfirmationRequired"
REFUSED = "AgreementRefused"

AVAILABLE = frozenset({"read", "write"})
"""Actions that exist; an item for another is dropped, cause `not-available`."""

_CODES = {
    "fields": "coarser",
    "form": "answers-only",
    "window.min_age": "later",
    "window": "shorter",
    "validity": "shorter",
    "duties.retention": "shorter",
    "duties.on_end": "shorter",
    "duties.breach_notice": "shorter",
    "duties": "stricter",
    "base": "stricter",
}
"""Dimension, or the part before its point -> how given differs from asked; else `fewer`."""


@dataclass(frozen=True, slots=True)
class Narrowing:
    """One dimension of one clause that differs from what was asked, and why.

    `clause` is `item~rule`; where an item got no clause at all, it is the item's id, `given` is
    None, and `dim` is `action` (or `base`: no roster agreement fits).
    """

    clause: str
    dim: str
    asked: Any
    given: Any
    code: str
    cause: str
    rule: str | None

    def to_json(self) -> dict[str, Any]:
        """Return every member; a vendor is shown neither cause nor rule (section 7)."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Proposal:
    """What may be given: clauses with the ids `item~rule`, and how they differ from the request."""

    status: str
    terms_version: int
    clauses: tuple[Clause, ...]
    narrowed: tuple[Narrowing, ...]
    below_minimum: tuple[str, ...]
    items: tuple[Item, ...] = field(repr=False)

    def item_of(self, clause_id: str) -> Item:
        """Return the item that a clause, or a line about a dropped item, answers."""
        wanted = clause_id.partition("~")[0]
        return next(item for item in self.items if item.id == wanted)

    def to_json(self) -> dict[str, Any]:
        """Return the form of section 6."""
        return {
            "status": self.status,
            "terms_version": self.terms_version,
            "clauses": [clause.to_json() for clause in self.clauses],
            "below_minimum": list(self.below_minimum),
            "narrowed": [line.to_json() for line in self.narrowed],
        }


def negotiate(terms: Terms, request: Request) -> Proposal:
    """Return the part of a request that the terms admit, clause by clause (section 7).

    It reads no clock: validities stay as they were written until `Clause.starting`.
    """
    denies = sorted(terms.deny, key=lambda deny: deny.id)
    items = tuple(item.resolved(request.facts.domains) for item in request.items)
    clauses: list[Clause] = []
    narrowed: list[Narrowing] = []
    below: list[str] = []
    for item in items:
        given, dropped = _clauses_for(item, terms, denies, request.facts)
        clauses += [clause for _, clause in given]
        narrowed += dropped if not given else [line for rule, clause in given for line in _lines(item, rule, clause, _that_speak(denies, item, request.facts))]
        if item.minimum and not any(item.is_reached_by(clause) for _, clause in given):
            below.append(item.id)
    status = CONFIRMATION if clauses else REFUSED
    return Proposal(status, terms.version, tuple(clauses), tuple(narrowed), tuple(below), items)


def _clauses_for(item: Item, terms: Terms, denies: Sequence[Deny], facts: VendorFacts) -> tuple[list[tuple[Rule, Clause]], list[Narrowing]]:
    """Return the clauses that an item gets, by rule id; or one line that says why it gets none."""
    if item.clause.action not in AVAILABLE:
        return [], [_dropped(item, "not-available")]
    rules = [rule for rule in sorted(terms.allow, key=lambda rule: rule.id) if terms.hears(facts) and facts.is_among(rule.vendors)]
    if not rules:
        return [], [_dropped(item, "unknown-vendor")]
    given: list[tuple[Rule, Clause]] = []
    dropped: list[Narrowing] = []
    for rule in rules:
        if rule.clause.action != item.clause.action:
            continue
        base = _base_for(item, rule)
        if base is None:
            asked = list(item.accepts or ())
            dropped.append(Narrowing(item.id, "base", asked, None, "stricter", "base", rule.id))
            continue
        clause = capped(_within(item, rule, base, facts))
        folded, culprit = clause, None
        for deny in _that_speak(denies, item, facts):
            before, folded = folded, fold(folded, deny)
            culprit = culprit or (deny if folded.is_empty() and not before.is_empty() else None)
        if not folded.is_empty():
            given.append((rule, folded))
        elif culprit is not None:
            dropped.append(_dropped(item, "denied", culprit.id))
    return _without_lesser(given), (dropped or [_dropped(item, "not-in-terms")])[:1]


def _dropped(item: Item, cause: str, rule: str | None = None) -> Narrowing:
    return Narrowing(item.id, "action", item.clause.action, None, "fewer", cause, rule)


def _that_speak(denies: Iterable[Deny], item: Item, facts: VendorFacts) -> list[Deny]:
    return [deny for deny in denies if deny.speaks_of(facts, item.clause.action)]


def _base_for(item: Item, rule: Rule) -> str | None:
    """Return the rule's base if the vendor accepts it, else the first accepted stricter one."""
    wanted = rule.clause.base
    if not wanted or item.accepts is None or wanted in item.accepts:
        return wanted
    return next((base for base in item.accepts if at_most(base, wanted)), None)


def _within(item: Item, rule: Rule, base: str, facts: VendorFacts) -> Clause:
    allowed = replace(rule.clause, base=base, slice=with_own_sites(rule.clause.slice, facts.domains))
    return (item.clause & allowed).with_id(f"{item.id}~{rule.id}")


def capped(clause: Clause) -> Clause:
    """Return what the clause's roster agreement leaves of its duties and purposes."""
    if not clause.base:
        return clause
    purposes = meet_purposes(clause.purposes, ROSTER[clause.base].purposes)
    return replace(clause, purposes=purposes, duties=clause.duties.capped(clause.base))


def fold(clause: Clause, deny: Deny) -> Clause:
    """Take out of a clause the whole values that a deny removes; the rest of it stays standing."""
    carve = deny.carve_out
    hit_purposes = frozenset(purpose for purpose in clause.purposes if deny.hits(purpose))
    if carve is None and deny.purposes is None:
        return replace(clause, action="none")
    if carve is None:
        return replace(clause, purposes=clause.purposes - hit_purposes)
    if deny.purposes is not None and (not clause.purposes or hit_purposes != clause.purposes):
        return clause
    part = clause.slice
    if carve.sites is carve.classes is carve.categories is carve.fields is None:
        return replace(clause, slice=replace(part, kinds=part.kinds - (carve.kinds or part.kinds)).normal())
    if carve.kinds is carve.sites is carve.classes is carve.categories is None:
        hidden = carve.fields or frozenset()
        shown = {name: level for name, level in part.fields.items() if name not in hidden}
        return replace(clause, slice=replace(part, fields=shown).normal())
    return clause


def _without_lesser(given: Sequence[tuple[Rule, Clause]]) -> list[tuple[Rule, Clause]]:
    """Drop each clause that another one contains; of equals, keep the smaller rule id."""

    def is_lesser(at: int) -> bool:
        clause = given[at][1]
        return any(clause <= other and (not other <= clause or index < at) for index, (_, other) in enumerate(given) if index != at)

    return [pair for at, pair in enumerate(given) if not is_lesser(at)]


def _lines(item: Item, rule: Rule, clause: Clause, denies: Sequence[Deny]) -> list[Narrowing]:
    """Return one line per stated dimension in which the clause differs from its item."""
    asked, given = dimensions(item.clause.to_json()), dimensions(clause.to_json())
    lines = []
    for dim, wanted in asked.items():
        absent = "hidden" if dim.startswith("fields.") else None
        got = given.get(dim, absent)
        if dim in item.stated and got != wanted:
            cause, by = _cause(item, rule, clause, dim, denies)
            lines.append(Narrowing(clause.id, dim, wanted, got, _code(dim), cause, by))
    return lines


def differences(item: Item, clause: Clause, at: datetime) -> list[dict[str, Any]]:
    """Return where a clause that was given at `at` differs from its item: dim, asked, given and code.

    That is what the vendor may see (section 7): whoever holds the request and the clause can work it out.
    """
    # An end that lies where it was asked for is no difference, however it was written.
    asked, given = dimensions(item.clause.starting(at).to_json()), dimensions(clause.to_json())
    stated = dimensions(item.clause.to_json())
    lines = []
    for dim in stated:
        absent = "hidden" if dim.startswith("fields.") else None
        if dim in item.stated and given.get(dim, absent) != asked.get(dim, absent):
            lines.append({"dim": dim, "asked": stated[dim], "given": given.get(dim, absent), "code": _code(dim)})
    return lines


def _code(dim: str) -> str:
    return _CODES.get(dim) or _CODES.get(dim.partition(".")[0], "fewer")


def _cause(item: Item, rule: Rule, clause: Clause, dim: str, denies: Sequence[Deny]) -> tuple[str, str]:
    """Return why a dimension differs, and by which rule: a deny that would do it alone, first."""

    def changes(narrower: Clause) -> bool:
        return dimensions(narrower.to_json()).get(dim) != dimensions(item.clause.to_json()).get(dim)

    for deny in denies:
        folded = fold(item.clause, deny)
        if folded.action != "none" and changes(folded):
            return "denied", deny.id
    if clause.base and changes(capped(replace(item.clause, base=clause.base))) and not changes(item.clause & rule.clause):
        return "base", rule.id
    return ("sensitive" if dim == "sensitive" else "not-in-terms"), rule.id
