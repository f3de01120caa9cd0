"""What the person's terms make of a vendor's request: `negotiate(terms, request)` -> Proposal."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from policies.answers import NEEDS
from policies.clauses import Clause, dimensions, with_own_sites
from policies.purposes import meet_purposes
from policies.requests import Item, Request
from policies.roster import ROSTER, at_most
from policies.slices import NONE
from policies.terms import Deny, Rule, Terms, VendorFacts
from policies.vocabulary import HIDDEN

CONFIRMATION = "AgreementNegotiationConfirmationRequired"
REFUSED = "AgreementRefused"

AVAILABLE = frozenset({"read", "write"})
"""Actions that exist; an item for another is dropped, cause `not-available`."""

CODES = {
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
    None, and `dim` is `action` (or `base`: no roster agreement fits). `said` is how the person knows
    the rule, for its sentence alone: `explain_terms.named` fills it in.
    """

    clause: str
    dim: str
    asked: Any
    given: Any
    code: str
    cause: str
    rule: str | None
    said: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the form of section 6; a vendor is shown neither cause nor rule (section 7)."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "said"}


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
        narrowed += _narrowed(item, given, _that_speak(denies, item, request.facts)) if given else dropped
        if item.minimum and not any(item.is_reached_by(clause) for _, clause in given):
            below.append(item.id)
    status = CONFIRMATION if clauses else REFUSED
    return Proposal(status, terms.version, tuple(clauses), tuple(narrowed), tuple(below), items)


def _clauses_for(item: Item, terms: Terms, denies: Sequence[Deny], facts: VendorFacts) -> tuple[list[tuple[Rule, Clause]], list[Narrowing]]:
    """Return the clauses that an item gets, by rule id; or one line that says why it gets none."""
    if item.clause.action not in AVAILABLE:
        return [], [_dropped(item, "not-available")]
    rules = [rule for rule in sorted(terms.allow, key=lambda rule: rule.id) if facts.is_among(rule.vendors)] if terms.hears(facts) else []
    if not rules:
        return [], [_dropped(item, "unknown-vendor")]
    given: list[tuple[Rule, Clause]] = []
    dropped: list[Narrowing] = []
    foldable = [deny for deny in _that_speak(denies, item, facts) if deny.is_of_one_part]
    for rule in rules:
        if rule.clause.action != item.clause.action:
            continue
        base = _base_for(item, rule)
        if base is None:
            asked = list(item.accepts or ())
            dropped.append(Narrowing(item.id, "base", asked, None, "stricter", "base", rule.id))
            continue
        # Most rules speak of something else, which is cheap to see.
        if item.clause.has_nothing_of(rule.clause) or (clause := capped(_within(item, rule, base, facts))).is_empty():
            continue
        for deny in foldable:
            before, clause = clause, fold(clause, deny)
            if clause is not before and clause.is_empty():
                dropped.append(_dropped(item, "denied", deny.id))
                break
        else:
            given.append((rule, clause))
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
    allowed, part = rule.clause, with_own_sites(rule.clause.slice, facts.domains)
    if base != allowed.base or part is not allowed.slice:
        allowed = replace(allowed, base=base, slice=part)
    return item.clause.with_id(f"{item.id}~{rule.id}") & allowed


def capped(clause: Clause) -> Clause:
    """Return what the clause's roster agreement leaves of its duties and purposes."""
    if not clause.base:
        return clause
    purposes = meet_purposes(clause.purposes, ROSTER[clause.base].purposes)
    return replace(clause, purposes=purposes, duties=clause.duties.capped(clause.base))


def fold(clause: Clause, deny: Deny) -> Clause:
    """Take out of a clause the whole values that a deny removes; the rest of it stays standing."""
    if not deny.is_of_one_part:
        return clause
    hit = clause.purposes if deny.purposes is None else frozenset(purpose for purpose in clause.purposes if deny.hits(purpose))
    if deny.kinds is None and deny.fields is None:
        if deny.purposes is None:
            return replace(clause, action="none")
        return replace(clause, purposes=clause.purposes - hit) if hit else clause
    if deny.purposes is not None and (not clause.purposes or hit != clause.purposes):
        return clause
    part, kinds, hidden = clause.slice, deny.kinds_hit or NONE, deny.fields or NONE
    answers = frozenset(name for name in part.answers if not hidden & NEEDS[name].keys())
    if not part.kinds & kinds and not part.fields.keys() & hidden and answers == part.answers:
        return clause
    shown = {name: level for name, level in part.fields.items() if name not in hidden}
    return replace(clause, slice=replace(part, kinds=part.kinds - kinds, fields=shown, answers=answers).normal())


def _without_lesser(given: Sequence[tuple[Rule, Clause]]) -> list[tuple[Rule, Clause]]:
    """Drop each clause that another one contains; of equals, keep the smaller rule id."""

    def is_lesser(at: int) -> bool:
        clause = given[at][1]
        return any(clause <= other and (not other <= clause or index < at) for index, (_, other) in enumerate(given) if index != at)

    return [pair for at, pair in enumerate(given) if not is_lesser(at)]


def _narrowed(item: Item, given: Iterable[tuple[Rule, Clause]], denies: Sequence[Deny]) -> list[Narrowing]:
    asked = dimensions(item.clause.to_json())
    causes = _Causes(item.clause, asked, denies)
    return [Narrowing(clause.id, *line, *causes.of(line[0], rule, clause.base)) for rule, clause in given for line in _lines(item, asked, clause)]


def _lines(item: Item, asked: Mapping[str, Any], clause: Clause) -> list[tuple[str, Any, Any, str]]:
    """Return (dim, asked, given, code) of each stated dimension in which the clause differs from what its item asked."""
    given, lines = dimensions(clause.to_json()), []
    for dim, wanted in asked.items():
        got = given.get(dim, HIDDEN if dim.startswith("fields.") else None)
        if dim in item.stated and got != wanted:
            lines.append((dim, wanted, got, _code(dim)))
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
        absent = HIDDEN if dim.startswith("fields.") else None
        if dim in item.stated and given.get(dim, absent) != asked.get(dim, absent):
            lines.append({"dim": dim, "asked": stated[dim], "given": given.get(dim, absent), "code": _code(dim)})
    return lines


def _code(dim: str) -> str:
    return CODES.get(dim) or CODES.get(dim.partition(".")[0], "fewer")


class _Causes:
    """Why the clauses of one item differ from it: what each deny, and each base, would do to it alone is worked out once."""

    def __init__(self, clause: Clause, asked: Mapping[str, Any], denies: Iterable[Deny]) -> None:
        self._clause = clause
        self._asked = asked
        self._capped: dict[str, frozenset[str]] = {}
        self._denied: dict[str, str] = {}
        for deny in denies:
            self._denied = dict.fromkeys(self._changed(fold(clause, deny)), deny.id) | self._denied

    def _changed(self, clause: Clause) -> frozenset[str]:
        """Return the dimensions in which a clause differs from the item."""
        if clause is self._clause:
            return frozenset()
        found = dimensions(clause.to_json())
        return frozenset(dim for dim, asked in self._asked.items() if found.get(dim) != asked)

    def of(self, dim: str, rule: Rule, base: str) -> tuple[str, str]:
        """Return why a dimension differs, and by which rule: a deny that would do it alone, first."""
        if dim in self._denied:
            return "denied", self._denied[dim]
        if base and base not in self._capped:
            self._capped[base] = self._changed(capped(replace(self._clause, base=base)))
        if base and dim in self._capped[base] and dim not in self._changed(self._clause & rule.clause):
            return "base", rule.id
        return ("sensitive" if dim == "sensitive" else "not-in-terms"), rule.id
