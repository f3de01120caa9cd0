"""What the person's standing denies do to a part of a request beyond its own sentences: which rows and fields they cut, and what is left to come.

An agreement does not list what its person hides (policies.md section 2), so only the person's own page says it.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any, Final

from broker.events import sites
from broker.terms import sentences
from policies import explain_terms
from policies.clauses import Clause
from policies.meeting import ANY
from policies.slices import Slice
from policies.terms import Deny, Terms, VendorFacts
from policies.vocabulary import FIELDS, KINDS, SITE_CLASSES
from policies.windows import ALWAYS

TEMPLATES: Final[Mapping[str, str]] = {
    "some": "{name} may not {verb} {what}.",
    "all": "{name} may {verb} nothing of this.",
    "rule": "Your rule “{rule}”.",
    "open": "Future events would show.",
    "cut": "Future events would show, but for what your terms cut.",
    "shut": "Nothing, now or later: your terms cut all of it.",
    "over": "Nothing, now or later: what they ask for ends in the past.",
    "late": "Nothing, now or later: this ends before anything new would show.",
}
"""One template for each thing that can be said; another language is another such table."""

SORTS: Final = 5000
"""How many sorts of events are tried at most; beyond that nothing is promised, and nothing denied."""
_ELSEWHERE: Final = {"host": "", "domain": ""}


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is said of events that do not show yet: `never` where none can, whatever the person does."""

    never: bool
    sentence: str


def given_to(told: VendorFacts) -> VendorFacts:
    """The vendor as a read would meet it: once something is given, it has a prior agreement."""
    return replace(told, classes=told.classes | {"prior-agreement"})


def cuts(terms: Terms, told: VendorFacts, clause: Clause, name: str) -> list[str]:
    """What each deny takes from a clause when it is used, as a sentence that ends with the rule's name."""
    speaking = [deny for deny in terms.deny if deny.speaks_of(given_to(told), clause.action)]
    found = [(deny, part) for deny in speaking if (part := sentences.within(deny, clause)) is not None]
    return [f"{_cut(part, clause, name)} {TEMPLATES['rule'].format(rule=explain_terms.name(deny))}" for deny, part in found]


def _cut(part: Deny, clause: Clause, name: str) -> str:
    verb = "add" if clause.action == "write" else "see"
    if all(getattr(part, each) is None for each in ("kinds", "sites", "classes", "categories", "fields", "purposes")):
        return TEMPLATES["all"].format(name=name, verb=verb)
    if part.fields is not None and part.kinds is None:
        # A field is hidden only where there is one: pages have no price.
        carrying = frozenset().union(*(FIELDS[each].kinds for each in part.fields)) & clause.slice.kinds
        part = replace(part, kinds=carrying)
    return TEMPLATES["some"].format(name=name, verb=verb, what=explain_terms.what(part))


def outlook(clause: Clause, read: Slice | None, now: dt.datetime, *, cut: bool) -> Outlook:
    """What is said where no row shows yet; `read` is what a read at `now` would get, None where it is refused; `cut`: denies take a part of it."""
    window, until = clause.slice.window, clause.validity.until
    if window.before is not None and window.before <= now:
        return Outlook(never=True, sentence=TEMPLATES["over"])
    found = False if read is None else _covers_any(read)
    if read is None or found is False:
        return Outlook(never=True, sentence=TEMPLATES["shut"])
    # What happens from now on shows once its day, or month, lies behind the edge of the window (F3).
    edge = None if until is None else replace(clause.slice, except_=read.except_).at(until).window.before
    if edge is not None and edge <= now:
        return Outlook(never=True, sentence=TEMPLATES["late"])
    return Outlook(never=False, sentence=TEMPLATES["cut" if cut else "open"] if found else "")


def _covers_any(part: Slice) -> bool | None:
    """Whether any event at all could show, of whatever time: the policy is asked about one of each sort. None where there are too many."""
    always, samples = replace(part, window=ALWAYS), _samples(part)
    if any(always.covers(event) for event in islice(samples, SORTS)):
        return True
    return False if next(samples, None) is None else None


def _samples(part: Slice) -> Iterator[dict[str, Any]]:
    """One event of each sort that the slice and its denies can tell apart."""
    paths = (None,) if part.categories == ANY else tuple(sorted(part.categories))
    for kind, place, path in product(sorted(part.kinds), _places(part), paths):
        items = [{} if path is None else {"category": path}] if KINDS[kind].items else []
        yield {"kind": kind, "time": "2000-01-01T00:00:00.000Z", "items": items, **place}


def _places(part: Slice) -> list[dict[str, str]]:
    if part.sites == ANY:
        # There is always one more site that no rule names, of each kind.
        return [{**_ELSEWHERE, "class": each} for each in SITE_CLASSES]
    found = []
    for site in sorted(part.sites):
        place = sites.site_of_host(site.removeprefix("="))
        if place is not None:
            # Of a whole domain there is always one more host that no rule names.
            host = place.host if site.startswith("=") else f"*.{place.domain}"
            found.append({"host": host, "domain": place.domain, "class": sites.class_of(host if site.startswith("=") else place.domain)})
    return found
