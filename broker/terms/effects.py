"""What new terms would do, before they are saved: to each running grant, and to how many of the person's own rows; nothing is written."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection

from broker.events import queries as events
from broker.grants import queries as grants
from broker.terms import changes, sentences
from broker.vault.keys import Keyring
from broker.vendors import queries as vendors
from policies import explain_terms
from policies.clauses import Clause
from policies.decide import Asked, Grant, Permitted, decide
from policies.purposes import PURPOSES
from policies.slices import ANY, SELF, Slice
from policies.terms import Deny, Rule, Terms, VendorFacts
from policies.vocabulary import FIELDS, KINDS, SENSITIVE
from policies.windows import Window

OPENED: Final = 2000
"""The most events that are opened for one page; beyond that numbers say "at least"."""
COUNTED: Final = 20
"""The most rules and parts of grants for which rows are counted on one page."""
NEEDED: Final = frozenset({"site", "url", "product", "category"})
"""Fields without which others hide themselves (F2), or by which a lost item shows."""


class Count:
    """How many of the person's rows two slices show, and of how many the second shows less; None shows nothing."""

    def __init__(self, before: Slice | None, after: Slice | None) -> None:
        self._judges = [None if part is None else part.compiled() for part in (before, after)]
        self.kinds = frozenset().union(*(part.kinds for part in (before, after) if part is not None))
        starts = [part.window.after for part in (before, after) if part is not None]
        self.since: dt.date | None = None if None in starts else min((start.date() for start in starts if start), default=None)
        self.before = self.after = self.hidden = self.shown = self.less = self.more = 0
        self.at_least = False

    def see(self, event: dict[str, Any]) -> None:
        """Judge one event by both."""
        # Any alias will do: what matters is whether a row has one.
        old, new = (None if judge is None else judge(event, str) for judge in self._judges)
        self.before += old is not None
        self.after += new is not None
        if old is not None and new is not None and old != new:
            told, tells = _told(old), _told(new)
            self.less += bool(told - tells)
            self.more += bool(tells - told)
        self.hidden += new is None and old is not None
        self.shown += old is None and new is not None


def _told(row: dict[str, Any]) -> Counter[tuple[str, str]]:
    """Every single value that a row tells."""
    own = [(name, str(value)) for name, value in row.items() if name != "items"]
    return Counter([*own, *((f"items {name}", str(value)) for item in row.get("items", ()) for name, value in item.items())])


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


@dataclass(slots=True)
class OnRule:
    """A new or changed rule: its sentences, and the rows it touches."""

    rule: Rule | Deny
    sentences: list[str]
    count: Count | None = None

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
        rules=[_on_rule(rule, new) for rule in changes.differing(old, new)],
        grants=[_on_grant(tx, ring, grant, old, new, now) for grant in running],
    )
    for rule in found.rules:
        rule.count = _count_of_rule(rule.rule, now)
    counted: list[OnRule | Part] = [*found.rules, *(part for each in found.grants for part in each.parts if part.count is not None)]
    for each in counted[COUNTED:]:
        each.count = None
    count_rows(tx, ring, [each.count for each in counted if each.count is not None])
    return found


def _on_rule(rule: Rule | Deny, terms: Terms) -> OnRule:
    return OnRule(rule, explain_terms.rule_sentences(rule, terms.base) if isinstance(rule, Rule) else [explain_terms.deny_sentence(rule)])


def _count_of_rule(rule: Rule | Deny, now: dt.datetime) -> Count:
    if isinstance(rule, Rule):
        part = rule.clause.slice
        # Which sites are the vendor's own depends on the vendor; at most it is all of them.
        part = replace(part, sites=ANY) if SELF in part.sites else part
        return Count(None, part.at(now))
    carve = rule.carve_out
    touched = NEEDED if carve is None or carve.fields is None else NEEDED | carve.fields
    whole = Slice(kinds=frozenset(KINDS), sensitive=frozenset(SENSITIVE), fields={name: FIELDS[name].levels[-1] for name in touched})
    return Count(whole, None if carve is None else replace(whole, except_=frozenset({carve})))


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
        found.parts += [Part([f"{why}{line}" for line in lines] if why else lines, Count(*pair)) for why, pair in slices if pair[0] != pair[1]]
    return found


def _facts(tx: Connection, ring: Keyring, grant: grants.Grant) -> VendorFacts:
    """The vendor as standing denies meet it when it reads."""
    client = vendors.client(tx, grant.client_id)
    known = bool(grant.domain) and events.bought_at(tx, ring, grant.domain)
    classes = (client.classes if client else frozenset()) | {"prior-agreement"} | ({"known"} if known else frozenset())
    return VendorFacts(grant.vendor_id, frozenset({grant.domain}), classes)


Pair = tuple[Slice | None, Slice | None]


def _slices(grant: grants.Grant, facts: VendorFacts, clause: Clause, denies: Sequence[Sequence[Deny]], now: dt.datetime) -> list[tuple[str, Pair]]:
    """What a read by this clause may show, by the old and the new denies; by purpose where that makes a difference. `decide` says it, as for a read."""
    if clause.action != "read":
        return []
    # A pause ends again, and the signature may come: what counts here is what the terms say.
    asked_of = Grant(
        grant.id, grant.client_id, grant.vendor_id, "active", grant.version, (clause,), min(grant.given_at, now), grant.expires_at,
        countersigned=True, vendor_classes=facts.classes,
    )  # fmt: skip
    pairs: dict[str, Pair] = {}
    for purpose in sorted(clause.purposes):
        asked = Asked(grant.client_id, clause.id, purpose=purpose, form=clause.slice.form, answers=clause.slice.answers)
        decisions = [decide(asked_of, each, asked, now) for each in denies]
        old, new = (decision.slice if isinstance(decision, Permitted) else None for decision in decisions)
        pairs[purpose] = (old, new)
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
