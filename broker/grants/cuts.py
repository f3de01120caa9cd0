"""What the terms in force take from running grants now: by a standing deny a grant can show less than its page says it gives, or nothing at all."""

import datetime as dt
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection

from broker.grants.queries import LIVE, Grant
from broker.grants.sentences import state
from broker.terms import queries as terms
from broker.terms.sentences import shrinking, within
from broker.vault.keys import Keyring
from broker.vendors import queries as vendors
from policies import explain_terms
from policies.clauses import Clause
from policies.terms import Deny, VendorFacts

Bought = Callable[[str], bool]
"""Whether the person bought at a domain: what a deny of `known` vendors asks."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one rule takes from a grant, in a sentence; what the rule says, and where it stands on the Terms page."""

    sentence: str
    rule: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Cut:
    """What all rules together take from a grant, and whether that is everything."""

    whole: bool
    taken: tuple[Taken, ...]


NOTHING: Final = Cut(whole=False, taken=())


def word(grant: Grant, cut: Cut, now: dt.datetime) -> tuple[str, str]:
    """The state as a word, and its tone: a grant of which nothing can be seen is not called live."""
    if grant.state(now) != "active":
        return state(grant, now)
    if cut.whole:
        return ("Stopped by your terms" if grant.collects else "Hidden by your terms"), "stop"
    return state(grant, now) if grant.countersigned_at else ("Not signed yet", "")


def of(tx: Connection, ring: Keyring, found: Iterable[Grant], bought: Bought, now: dt.datetime) -> dict[bytes, Cut]:
    """What the terms take from each of these grants of one person, by grant_id; from one that has ended they take nothing more."""
    denies = terms.current(tx, ring).deny
    return {grant.grant_id: _cut(grant, denies, _facts(tx, grant, denies, bought), now) for grant in found if grant.state(now) in LIVE}


def _facts(tx: Connection, grant: Grant, denies: Collection[Deny], bought: Bought) -> VendorFacts:
    """The vendor as a deny meets it when it reads; what no deny asks is not looked up."""
    named = {name for deny in denies for name in deny.vendors or ()}
    classes = {"prior-agreement"}
    if any(":" in name and "://" not in name for name in named):
        client = vendors.client(tx, grant.client_id)
        classes |= client.classes if client else set()
    if "known" in named and grant.domain and bought(grant.domain):
        classes.add("known")
    return VendorFacts(grant.vendor_id, frozenset({grant.domain}), frozenset(classes))


def _cut(grant: Grant, denies: Collection[Deny], facts: VendorFacts, now: dt.datetime) -> Cut:
    taken: list[Taken] = []
    whole = True
    for number, clause in enumerate(grant.clauses, 1):
        if clause.validity.until is not None and now >= clause.validity.until:
            continue
        mine = [deny for deny in denies if deny.speaks_of(facts, clause.action)]
        part = f"Part {number}. " if len(grant.clauses) > 1 else ""
        # Where one rule takes all of it, the others take nothing more.
        said = [(deny, shrinking(deny, clause, grant.name)) for deny in [each for each in mine if _takes_all(each, clause)][:1] or mine]
        taken += [Taken(f"{part}{sentence}", _rule(deny, clause), _anchor(deny)) for deny, sentence in said if sentence is not None]
        whole = whole and all(any(_takes_all(deny, atom) for deny in mine) for atom in _atoms(clause))
    return Cut(whole, tuple(taken)) if taken else NOTHING


def _rule(deny: Deny, clause: Clause) -> str:
    """What the rule forbids; that the extension may not add it either stands only where the grant is the extension's."""
    said = explain_terms.deny_sentence(deny)
    return said if clause.action == "write" else said.removesuffix(f" {explain_terms.TEMPLATES['extension too']}")


def _anchor(deny: Deny) -> str:
    """Where the Terms page says it: blocks of vendors by name have a list of their own."""
    return "blocked" if deny.is_whole and deny.vendors and all("://" in name for name in deny.vendors) else f"rule-{deny.id}"


def _atoms(clause: Clause) -> Iterable[Clause]:
    """The clause by purpose and kind: rules may take all of it together where none does alone."""
    for purpose in clause.purposes or (None,):
        one = clause if purpose is None else replace(clause, purposes=frozenset({purpose}))
        for kind in clause.slice.kinds:
            yield replace(one, slice=replace(clause.slice, kinds=frozenset({kind})))


def _takes_all(deny: Deny, clause: Clause) -> bool:
    part = within(deny, clause)
    return part is not None and part.purposes is None and part.is_of_any_event
