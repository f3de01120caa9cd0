"""Whether a grant permits what is asked now: `decide` runs the table CHECKS; nothing else decides."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from policies.clauses import Clause
from policies.meeting import ANY
from policies.purposes import covered
from policies.slices import NONE, CarveOut, Slice, site_is_in
from policies.terms import Deny, VendorFacts
from policies.vocabulary import KINDS, rank
from policies.windows import Window


@dataclass(frozen=True, slots=True)
class Grant:
    """What `decide` must know of a grant. Times are aware datetimes.

    `status` is active, paused, revoked or expired. `vendor_classes` are those of `VendorFacts`,
    for standing denies that name classes of vendors.
    """

    id: str
    client: str
    vendor: str
    status: str
    version: int
    clauses: tuple[Clause, ...]
    given: datetime
    expires_at: datetime
    agreement: str | None = None
    countersigned: bool = False
    vendor_classes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Filters:
    """What a client asks for within a clause; None leaves it open.

    `domain` is the registrable domain of the one host in `sites`, where there is one: no policy can tell it from the name.
    """

    kinds: frozenset[str] | None = None
    sites: frozenset[str] | None = None
    categories: frozenset[str] | None = None
    after: datetime | None = None
    before: datetime | None = None
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One attempt by a client. `clause` and `purpose` may be None where there is just one (D6).

    `used_reads` and `used_rows` count this clause's reads and rows of this UTC day so far.
    """

    client: str
    clause: str | None = None
    action: str = "read"
    purpose: str | None = None
    filters: Filters = Filters()
    form: str = "rows"
    answers: frozenset[str] = frozenset()
    used_reads: int = 0
    used_rows: int = 0


@dataclass(frozen=True, slots=True)
class Permitted:
    """What may be read, or for a write what may be added: an absolute slice, denies carved out.

    `clause` is the clause's id; `purpose` is None for a write.
    """

    clause: str
    purpose: str | None
    grant_version: int
    slice: Slice

    def to_json(self) -> dict[str, Any]:
        """Return the form of section 6."""
        return {"outcome": "permitted", "clause": self.clause, "purpose": self.purpose, "grant_version": self.grant_version, "slice": self.slice.to_json()}


@dataclass(frozen=True, slots=True)
class Denied:
    """Every reason, in the order of CHECKS. The person sees all; the client sees `problem`."""

    reasons: tuple[str, ...]

    @property
    def problem(self) -> str:
        """The slug of the problem that the client is told: that of the first failed row."""
        return PROBLEMS.get(self.reasons[0], "not-granted")

    def to_json(self) -> dict[str, Any]:
        """Return the form of section 6."""
        return {"outcome": "denied", "reasons": list(self.reasons)}


@dataclass(frozen=True, slots=True)
class Case:
    """All that a check may look at. `clause` and `purpose` are None where none could be found.

    `within` is what the clause lets be read of what was asked, at this time, less the standing denies.
    """

    grant: Grant
    denies: tuple[Deny, ...]
    asked: Asked
    now: datetime
    clause: Clause | None
    purpose: str | None
    within: Slice


@lru_cache(maxsize=1024)
def _meant(part: Slice, purpose: str | None, denies: tuple[Deny, ...], filters: Filters, form: str, answers: frozenset[str]) -> Slice:
    """Return a clause's slice, as filtered, less the standing denies (K1). Times are still as the clause says them.

    It depends on these values alone, so what is remembered of it ends with a grant's version and with the terms.
    """
    wanted = Slice(
        kinds=frozenset(KINDS) if filters.kinds is None else filters.kinds,
        sites=ANY if filters.sites is None else _asked_sites(part.sites, filters.sites, filters.domain or ""),
        sensitive=part.sensitive,
        categories=ANY if filters.categories is None else filters.categories,
        form=form,
        answers=answers if form == "answers" else part.answers,
        fields=part.fields,
        window=Window(after=filters.after, before=filters.before),
    )
    return replace(part & wanted, except_=part.except_ | _carve_outs(purpose, denies, filters))


def _asked_sites(held: frozenset[str], asked: frozenset[str], domain: str) -> frozenset[str]:
    """Return what a filter by site may ask for: a host only where an event of it would lie in the clause (F1)."""
    return frozenset(site for site in asked if not site.startswith("=") or site_is_in(held, site[1:], domain))


def _carve_outs(purpose: str | None, denies: tuple[Deny, ...], filters: Filters) -> frozenset[CarveOut]:
    carves = frozenset(carve for deny in denies if deny.hits(purpose) and (carve := deny.carve_out) is not None)
    filtered = {"site": filters.sites, "category": filters.categories}
    # A row that hides its site must not match a filter by site: the filter would tell it.
    blind = {
        replace(carve, fields=None)
        for carve in carves
        if carve.fields is not None and any(wanted is not None and name in carve.fields for name, wanted in filtered.items())
    }
    return carves | blind


def client_is_the_grants(case: Case) -> bool:
    """1: the token was given to this client."""
    return case.asked.client == case.grant.client


def grant_is_live(case: Case) -> bool:
    """2: neither revoked nor expired."""
    return case.grant.status not in ("revoked", "expired") and case.now < case.grant.expires_at


def clause_has_begun(case: Case) -> bool:
    """2: not before it was given, nor before the clause begins."""
    since = case.clause.validity.since if case.clause else None
    return case.grant.given.replace(microsecond=0) <= case.now and (since is None or since <= case.now)


def grant_is_not_paused(case: Case) -> bool:
    """3: the person has not paused it."""
    return case.grant.status != "paused"


def agreement_is_countersigned(case: Case) -> bool:
    """4: the vendor has signed too (S1)."""
    return case.grant.countersigned


def clause_is_in_grant(case: Case) -> bool:
    """5: the grant has such a clause for this action, and it is not over."""
    return case.clause is not None


def purpose_is_covered(case: Case) -> bool:
    """6: one purpose, which the clause covers (U1)."""
    return case.clause is None or (case.purpose is not None and covered(case.purpose, case.clause.purposes))


def no_standing_deny(case: Case) -> bool:
    """7: no standing deny, whatever the event, speaks of this vendor, action and purpose."""
    return not any(deny.is_of_any_event and deny.hits(case.purpose) for deny in case.denies)


def form_is_in_clause(case: Case) -> bool:
    """8: rows only where the clause gives rows, and only its answers."""
    if case.clause is None:
        return True
    if case.asked.form == "rows":
        return case.clause.slice.form == "rows"
    return bool(case.asked.answers) and case.asked.answers <= case.clause.slice.answers


def filters_are_no_finer(case: Case) -> bool:
    """9: filters are no finer than what the client may see (F8)."""
    if case.clause is None:
        return True
    fields, filters = case.clause.slice.fields, case.asked.filters
    if filters.sites is None and filters.categories is None:
        return True
    site = rank("site", fields.get("site", "hidden"))
    category = rank("category", fields.get("category", "hidden"))
    sites = (rank("site", "host" if name.startswith("=") else "domain") for name in (filters.sites or NONE) - ANY)
    depths = (rank("category", "leaf" if "/" in path else "top") for path in (filters.categories or NONE) - ANY)
    return all(needed <= site for needed in sites) and all(needed <= category for needed in depths)


def something_is_left(case: Case) -> bool:
    """10: clause, filters and window have something in common."""
    # A wrong form has its own row, so that here it must not empty the slice once more.
    return case.clause is None or not form_is_in_clause(case) or not case.within.is_empty()


def rate_is_left(case: Case) -> bool:
    """11: reads and rows are left for this UTC day."""
    if case.clause is None:
        return True
    rate = case.clause.rate
    return case.asked.used_reads < rate.get("reads", 0) and case.asked.used_rows < rate.get("rows", 0)


CHECKS: tuple[tuple[Callable[[Case], bool], str], ...] = (
    (client_is_the_grants, "other-client"),
    (grant_is_live, "grant-ended"),
    (clause_has_begun, "not-yet"),
    (grant_is_not_paused, "grant-paused"),
    (agreement_is_countersigned, "unsigned"),
    (clause_is_in_grant, "no-clause"),
    (purpose_is_covered, "wrong-purpose"),
    (no_standing_deny, "denied-by-terms"),
    (form_is_in_clause, "wrong-form"),
    (filters_are_no_finer, "filter-too-fine"),
    (something_is_left, "out-of-slice"),
    (rate_is_left, "rate"),
)
"""Section 8, row by row. All run; each that fails adds its reason."""

_OF_A_WRITE = frozenset({"other-client", "grant-ended", "not-yet", "grant-paused", "no-clause", "denied-by-terms"})
CHECKS_OF_A_WRITE = tuple((holds, reason) for holds, reason in CHECKS if reason in _OF_A_WRITE)
"""Rows 1-3, 5 and 7 (K3): nothing leaves by a write, so the others do not apply."""

PROBLEMS: Mapping[str, str] = {
    "other-client": "invalid-token",
    "grant-ended": "invalid-token",
    "grant-paused": "grant-paused",
    "unsigned": "agreement-unsigned",
    "rate": "rate-limit",
}
"""Reason -> what the client is told; `not-granted` for all others, which look alike (K2)."""


def decide(grant: Grant, standing_denies: Collection[Deny], asked: Asked, now: datetime) -> Permitted | Denied:
    """Decide one attempt at `now`, an aware datetime. A refusal is a value, never an exception."""
    facts = VendorFacts(grant.vendor, classes=grant.vendor_classes)
    denies = tuple(deny for deny in standing_denies if deny.speaks_of(facts, asked.action))
    clause = _clause(grant, asked, now)
    purpose = _purpose(clause, asked)
    meant = _meant(clause.slice, purpose, denies, asked.filters, asked.form, asked.answers) if clause else Slice()
    case = Case(grant, denies, asked, now, clause, purpose, meant.at(now))
    checks = CHECKS_OF_A_WRITE if asked.action == "write" else CHECKS
    reasons = tuple([reason for holds, reason in checks if not holds(case)])
    if reasons or clause is None:
        return Denied(reasons)
    return Permitted(clause.id, case.purpose, grant.version, case.within)


def _clause(grant: Grant, asked: Asked, now: datetime) -> Clause | None:
    """Return the clause that is named, or the only one, for this action and not over."""
    live = [clause for clause in grant.clauses if clause.action == asked.action and (clause.validity.until is None or now < clause.validity.until)]
    if asked.clause is None:
        return live[0] if len(live) == 1 else None
    return next((clause for clause in live if clause.id == asked.clause), None)


def _purpose(clause: Clause | None, asked: Asked) -> str | None:
    """Return the purpose that is named, or the clause's only one."""
    if asked.purpose is not None or clause is None or len(clause.purposes) != 1:
        return asked.purpose
    return next(iter(clause.purposes))
