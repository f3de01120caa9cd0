"""What new terms would do, before they are saved: to each running grant, and to how many of the person's own rows; nothing is written."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection

from broker.events import queries as events
from broker.grants import queries as grants
from broker.terms import changes, sentences
from broker.vault.keys import Keyring
from broker.vendors import queries as vendors
from policies import explain_terms
from policies.clauses import Clause, Validity
from policies.compiled import Compiled
from policies.decide import Asked, Grant, Permitted, decide
from policies.meeting import ANY
from policies.negotiate import capped
from policies.purposes import PURPOSES
from policies.slices import SELF, Slice
from policies.terms import Deny, Rule, Terms, VendorFacts
from policies.vocabulary import FIELDS, KINDS, SENSITIVE, SENSITIVE_CATEGORIES, SENSITIVE_CLASSES
from policies.windows import Window

OPENED: Final = 2000
"""The most events that are opened for one page; beyond that numbers say "at least"."""
COUNTED: Final = 20
"""The most rules and parts of grants for which rows are counted on one page."""
NEEDED: Final = frozenset({"site", "url", "product", "category"})
"""Fields without which others hide themselves (F2), or by which a lost item shows."""


@lru_cache(maxsize=256)
def _compiled(part: Slice) -> Compiled:
    """The judges of a slice: made of it alone, they can outlive neither a grant's version nor a standing deny."""
    return part.compiled()


class Count:
    """How many of the person's rows two sets of slices show, and of how many the second shows less; the first slice of a set that shows a row speaks for it."""

    def __init__(self, before: Sequence[Slice], after: Sequence[Slice]) -> None:
        self.slices = (tuple(before), tuple(after))
        self._judges = [[_compiled(part) for part in parts] for parts in self.slices]
        self.kinds = frozenset().union(*(part.kinds for part in (*before, *after)))
        starts = [part.window.after for part in (*before, *after)]
        self.since: dt.date | None = None if None in starts else min((start.date() for start in starts if start), default=None)
        self.before = self.after = self.hidden = self.shown = self.less = self.more = 0
        self.at_least = False

    def see(self, event: dict[str, Any]) -> None:
        """Judge one event by both."""
        before, after = self._judges
        old, new = _row(before, event), _row(after, event)
        self.before += old is not None
        self.after += new is not None
        if old is not None and new is not None and old != new:
            self.less += _tells_more(old, new)
            self.more += _tells_more(new, old)
        self.hidden += new is None and old is not None
        self.shown += old is None and new is not None


def _row(judges: Sequence[Compiled], event: dict[str, Any]) -> dict[str, Any] | None:
    for judge in judges:
        # Any alias will do: what matters is whether a row has one.
        row = judge(event, str)
        if row is not None:
            return row
    return None


def _tells_more(row: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a row tells a value that the other one does not."""
    mine, theirs = row.get("items", ()), other.get("items", ())
    own = any(name != "items" and (name not in other or other[name] != value) for name, value in row.items())
    return own or (mine != theirs and bool(_told(mine) - _told(theirs)))


def _told(items: Sequence[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter((name, str(value)) for item in items for name, value in item.items())


@dataclass(slots=True)
class Part:
    """What happens to one clause of a running grant: sentences by dimension, and rows where they were counted."""

    lines: list[str]
    count: Count | None = None


@dataclass(slots=True)
class OnGrant:
    """What happens to one running grant; no parts: it stays as it is."""

    grant: grants.Grant
    state: str
    parts: list[Part] = field(default_factory=list)

    @property
    def about(self) -> str:
        """What it is about: its vendor may have others."""
        return sentences.grant(self.grant.clauses)


@dataclass(slots=True)
class OnRule:
    """A new or changed rule, an allow rule in full, and the rows it touches."""

    rule: Rule | Deny
    sentences: list[str]
    count: Count | None = None
    nothing: str = ""
    """Why an allow rule could let nothing through, whatever the person does; empty where it could."""

    @property
    def name(self) -> str:
        """How its person knows it."""
        return explain_terms.name(self.rule)

    @property
    def allows(self) -> bool:
        """Whether it is an allow rule."""
        return isinstance(self.rule, Rule)


@dataclass(slots=True)
class Effects:
    """Everything the page says before new terms are saved."""

    lines: list[str]
    rules: list[OnRule]
    grants: list[OnGrant]

    @property
    def changed(self) -> list[OnGrant]:
        """The running grants that would not stay as they are."""
        return [each for each in self.grants if each.parts]

    @property
    def same(self) -> list[OnGrant]:
        """The running grants that would."""
        return [each for each in self.grants if not each.parts]


def find(tx: Connection, ring: Keyring, old: Terms, new: Terms, now: dt.datetime) -> Effects:
    """What putting `new` in the place of `old` would do at `now`."""
    running = [grant for grant in grants.every(tx, ring) if grant.state(now) in grants.LIVE]
    found = Effects(
        lines=sentences.changes(old, new),
        rules=[_on_rule(rule, new, now) for rule in changes.differing(old, new)],
        grants=[_on_grant(tx, ring, grant, old, new, now) for grant in running],
    )
    counted: list[OnRule | Part] = [*found.rules, *(part for each in found.grants for part in each.parts)]
    wanted = [each for each in counted if each.count is not None]
    for each in wanted[COUNTED:]:
        each.count = None
    # Grants that were given alike show the same rows.
    shared: dict[tuple[tuple[Slice, ...], ...], Count] = {}
    for each in wanted[:COUNTED]:
        each.count = shared.setdefault(each.count.slices, each.count) if each.count else None
    count_rows(tx, ring, list(shared.values()))
    return found


def _on_rule(rule: Rule | Deny, terms: Terms, now: dt.datetime) -> OnRule:
    if isinstance(rule, Deny):
        return OnRule(rule, [], _count_of_deny(rule))
    found = OnRule(rule, explain_terms.rule_sentences(rule, terms.base))
    if rule.clause.action == "read":
        through = _let_through(rule, terms, now)
        found.nothing = _why_nothing(rule, terms, through, now)
        found.count = None if found.nothing else Count([], through)
    return found


def _count_of_deny(deny: Deny) -> Count:
    carve = deny.carve_out
    touched = NEEDED if carve is None or carve.fields is None else NEEDED | carve.fields
    whole = Slice(kinds=frozenset(KINDS), sensitive=frozenset(SENSITIVE), fields={name: FIELDS[name].levels[-1] for name in touched})
    return Count([whole], [] if carve is None else [replace(whole, except_=frozenset({carve}))])


def _let_through(rule: Rule, terms: Terms, now: dt.datetime) -> list[Slice]:
    """What a grant by this rule could show now, to whichever of its vendors: as far as its agreement and the denies that speak of all of them let it."""
    part = rule.clause.slice
    # Which sites are the vendor's own depends on the vendor; at most it is all of them.
    part = replace(part, sites=ANY) if SELF in part.sites else part
    clause = replace(capped(rule.clause), slice=part, validity=Validity())
    denies = [replace(deny, vendors=None) for deny in terms.deny if deny.vendors is None or "*" in deny.vendors or rule.vendors <= deny.vendors]
    grant = Grant("rule", "", "", "active", 1, (clause,), now, now + dt.timedelta(days=1), countersigned=True)
    return list(dict.fromkeys(found for found in _by_purpose(grant, clause, denies, now).values() if found is not None))


def _why_nothing(rule: Rule, terms: Terms, through: Sequence[Slice], now: dt.datetime) -> str:
    part = rule.clause.slice
    shut = frozenset((*SENSITIVE_CLASSES, *SENSITIVE_CATEGORIES)) - part.sensitive
    if terms.requests == "AgentDisallowsRequests":
        why = "requests"
    elif not capped(rule.clause).purposes:
        why = "agreement"
    elif rule.clause.validity.starting(now).is_empty() or part.at(now).window.is_empty():
        why = "over"
    elif part.classes <= shut or {path.partition("/")[0] for path in part.categories} <= shut:
        why = "sensitive"
    else:
        why = "" if through else "denied"
    return sentences.nothing(why) if why else ""


def _by_purpose(grant: Grant, clause: Clause, denies: Sequence[Deny], now: dt.datetime) -> dict[str, Slice | None]:
    """What a read by a clause may show for each of its purposes; `decide` says it, as for a read."""
    found: dict[str, Slice | None] = {}
    for purpose in sorted(clause.purposes):
        asked = Asked(grant.client, clause.id, purpose=purpose, form=clause.slice.form, answers=clause.slice.answers)
        decision = decide(grant, denies, asked, now)
        found[purpose] = decision.slice if isinstance(decision, Permitted) else None
    return found


def _on_grant(tx: Connection, ring: Keyring, grant: grants.Grant, old: Terms, new: Terms, now: dt.datetime) -> OnGrant:
    found = OnGrant(grant, grant.state(now))
    facts = _facts(tx, ring, grant)
    for clause in grant.clauses:
        before, after = ([deny for deny in terms.deny if deny.speaks_of(facts, clause.action)] for terms in (old, new))
        lines = sentences.effects(before, after, clause, grant.name)
        if not lines:
            continue
        slices = _slices(grant, facts, clause, (old.deny, new.deny), now)
        if clause.action == "write":
            found.parts.append(Part(lines))
        counts = [(why, Count(*([part] if part else [] for part in pair))) for why, pair in slices if pair[0] != pair[1]]
        found.parts += [Part([f"{why}{line}" for line in lines], count) for why, count in counts]
    return found


def _facts(tx: Connection, ring: Keyring, grant: grants.Grant) -> VendorFacts:
    """The vendor as standing denies meet it when it reads."""
    client = vendors.client(tx, grant.client_id)
    known = bool(grant.domain) and events.bought_at(tx, ring, grant.domain)
    classes = (client.classes if client else frozenset()) | {"prior-agreement"} | ({"known"} if known else frozenset())
    return VendorFacts(grant.vendor_id, frozenset({grant.domain}), classes)


Pair = tuple[Slice | None, Slice | None]


def _slices(grant: grants.Grant, facts: VendorFacts, clause: Clause, denies: Sequence[Sequence[Deny]], now: dt.datetime) -> list[tuple[str, Pair]]:
    """What a read by this clause may show, by the old and the new denies; by purpose where that makes a difference."""
    if clause.action != "read":
        return []
    # A pause ends again, and the signature may come: what counts here is what the terms say.
    asked_of = Grant(
        grant.id, grant.client_id, grant.vendor_id, "active", grant.version, (clause,), min(grant.given_at, now), grant.expires_at,
        countersigned=True, vendor_classes=facts.classes,
    )  # fmt: skip
    old, new = (_by_purpose(asked_of, clause, each, now) for each in denies)
    pairs = {purpose: (old[purpose], new[purpose]) for purpose in old}
    different = list(dict.fromkeys(pairs.values()))
    if len(different) == 1:
        return [("", different[0])]
    return [(f"To {PURPOSES[purpose].label}: ", pair) for purpose, pair in pairs.items()]


def count_rows(tx: Connection, ring: Keyring, wanted: Sequence[Count]) -> None:
    """Judge the person's newest events by all counts at once, and mark those that a bound of work cut short."""
    kinds = frozenset().union(*(count.kinds for count in wanted))
    totals = events.totals(tx, ring.person_id)
    left = OPENED
    # The rarest kinds first, so that a long history of visits cannot hide a few purchases.
    for place, kind in enumerate(sorted(kinds, key=lambda kind: (totals.get(kind, 0), kind))):
        mine = [count for count in wanted if kind in count.kinds]
        seen, cut_at = _scan(tx, ring, kind, mine, left // (len(kinds) - place))
        left -= seen
        for count in mine:
            if cut_at is not None and (count.since is None or count.since <= cut_at):
                count.at_least = True


def _scan(tx: Connection, ring: Keyring, kind: str, wanted: Iterable[Count], most: int) -> tuple[int, dt.date | None]:
    """(events opened, the day of the first one that was not, None where all were)."""
    counts, seen = list(wanted), 0
    starts = [count.since for count in counts]
    since = None if None in starts else min(start for start in starts if start is not None)
    window = Window() if since is None else Window(after=dt.datetime.combine(since, dt.time(), dt.UTC))
    found = iter(events.newest(tx, ring, within=Slice(kinds=frozenset({kind}), sensitive=frozenset(SENSITIVE), window=window)))
    for event in islice(found, most):
        seen += 1
        for count in counts:
            count.see(event)
    beyond = next(found, None)
    return seen, None if beyond is None else dt.date.fromisoformat(beyond["time"][:10])
