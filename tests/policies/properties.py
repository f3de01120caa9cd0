"""The properties of policies.md section 9, each a plain function that asserts, and its worlds."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from inspect import signature
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from policies import answers, explain, precision, purposes
from policies import negotiate as negotiation
from policies.clauses import Clause, Validity, dimensions, with_own_sites
from policies.decide import Asked, Denied, Grant, decide
from policies.documents import Malformed
from policies.requests import Request
from policies.slices import Slice
from policies.terms import Deny, Terms
from policies.times import event_time
from policies.vocabulary import ANSWERS, FIELDS, KINDS, LEVELS, SENSITIVE_CATEGORIES, SENSITIVE_CLASSES
from policies.windows import ALWAYS
from tests.policies import oracle, worlds

Row = dict[str, Any]
DEEP = bool(os.environ.get("PROFFER_DEEP"))
# Named here and not in a profile: which profile holds depends on how pytest is called. Measuring coverage makes do with fewer.
EXAMPLES = settings(
    max_examples=50_000 if DEEP else int(os.environ.get("PROFFER_EXAMPLES") or 2000), derandomize=not DEEP, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
"""2,000 examples, the same every time, or 50,000 at random with `--deep`."""


def alias(text: str) -> str:
    return f"alias of {text}"


def propose(terms: Terms, request: Request) -> negotiation.Proposal:
    """Negotiate by the module's name, so that a planted defect is seen."""
    return negotiation.negotiate(terms, request)


def without_ids(clauses: Any) -> list[Clause]:
    return [clause.with_id("c") for clause in clauses]


def p1(terms: Terms, request: Request) -> None:
    """Every proposed clause is <= its item and <= some allow rule."""
    proposal = propose(terms, request)
    rules = [
        replace(rule.clause, slice=with_own_sites(rule.clause.slice, request.facts.domains)) for rule in terms.allow if request.facts.is_among(rule.vendors)
    ]
    for clause in proposal.clauses:
        assert clause <= proposal.item_of(clause.id).clause
        assert any(clause <= rule for rule in rules)
        assert not clause.is_empty()


def p2(terms: Terms, request: Request) -> None:
    """Negotiating the given clauses again returns them."""
    given = [clause.starting(worlds.NOW) for clause in propose(terms, request).clauses]
    if not given:
        return
    again = propose(terms, Request.parse({"vendor": request.facts.id, "items": [as_item(f"i{at}", clause) for at, clause in enumerate(given)]}, request.facts))
    assert without_ids(clause.starting(worlds.NOW) for clause in again.clauses) == without_ids(given)
    assert [clause.id.partition("~")[0] for clause in again.clauses] == [f"i{at}" for at in range(len(given))]


def as_item(id_: str, clause: Clause) -> Row:
    want = clause.to_json()
    outer = {name: want.pop(name) for name in ("action", "kinds", "purposes")}
    base = want.pop("base")
    return {**outer, "id": id_, "why": "Again", "roster_accepts": [base], "want": {name: entry for name, entry in want.items() if name != "id"}}


def p3(part: Slice, standing: list[Deny], deny: Deny, events: list[Row]) -> None:
    """Adding a deny never covers a new event nor refines a field."""
    before, after = read(part, standing, events), read(part, [*standing, deny], events)
    for old, new in zip(before, after, strict=True):
        assert new is None or (old is not None and is_within(new, old))


def p3_negotiated(form: Row, deny_form: Row, request: Request) -> None:
    """Adding a deny to the terms proposes nothing that was not within a proposal before."""
    more = {**form, "deny": [*form["deny"], {"id": "added", **deny_form}]}
    old, new = propose(Terms.parse(form), request), propose(Terms.parse(more), request)
    for clause in new.clauses:
        assert any(clause <= other for other in old.clauses)


def grant_of(clause: Clause, **members: Any) -> Grant:
    ends = worlds.NOW + timedelta(days=365)
    grant = Grant("g", "books-web", worlds.BOOKS.id, "active", 1, (clause,), worlds.NOW - timedelta(days=1), ends, "sha-256:x", countersigned=True)
    return replace(grant, vendor_classes=worlds.BOOKS.classes, **members)


def clause_of(part: Slice) -> Clause:
    return Clause("c1", "read", "SD-BASE", frozenset({"dpv:ServicePersonalisation"}), part, {"reads": 24, "rows": 500})


def read(part: Slice, denies: list[Deny], events: list[Row]) -> list[Row | None]:
    """What a read of every event shows now: a refusal shows none."""
    decision = decide(grant_of(clause_of(part)), denies, Asked("books-web"), worlds.NOW)
    if isinstance(decision, Denied):
        return [None] * len(events)
    judge = decision.slice.compiled()
    return [judge(event, alias) for event in events]


def is_within(new: Row, old: Row) -> bool:
    """Whether a row shows nothing that the other does not, items in order."""
    rest: Iterator[Row] = iter(old.get("items", []))
    items = all(any(item.items() <= other.items() for other in rest) for item in new.get("items", []))
    return items and all(name == "items" or old.get(name) == value for name, value in new.items())


def p4(form: Row, request: Request, events: list[Row]) -> None:
    """The order of rules changes nothing, in negotiation or reads."""
    turned = {**form, "allow": form["allow"][::-1], "deny": form["deny"][::-1]}
    one, other = Terms.parse(form), Terms.parse(turned)
    proposal = propose(one, request)
    assert proposal.to_json() == propose(other, request).to_json()
    for clause in proposal.clauses[:1]:
        assert read(clause.slice, list(one.deny), events) == read(clause.slice, list(other.deny), events)


def p5(part: Slice, validity: Row, offset: int) -> None:
    """Nothing before `from`, nothing at or after `until`."""
    clause = replace(clause_of(part), validity=Validity.read(validity, "", Validity())).starting(worlds.NOW)
    since, until = clause.validity.since, clause.validity.until
    assert since is not None
    assert until is not None
    for edge in (since, until):
        now = edge + timedelta(seconds=offset)
        decision = decide(grant_of(clause), [], Asked("books-web"), now)
        refused = isinstance(decision, Denied) and decision.reasons != ("out-of-slice",)
        assert refused == (not since <= now < until)


def p6(form: Row, request: Request) -> None:
    """No allow rule, no clause."""
    proposal = propose(Terms.parse({**form, "allow": []}), request)
    assert proposal.clauses == ()
    assert proposal.status == "AgreementRefused"


def p7(part: Slice, events: list[Row], minutes: int, dropped: int, first: int) -> None:
    """Two events that look the same, once trimmed, also come and go at the same time."""
    event, level = events[0], part.fields.get("time", "hidden")
    other = twin(event, level, dropped, minutes)
    if look(replace(part, window=ALWAYS), event) != look(replace(part, window=ALWAYS), other):
        return
    for hours in range(first, first + 2400, 331):
        now = worlds.NOW + timedelta(hours=hours)
        assert look(part.at(now), event) == look(part.at(now), other)


def look(part: Slice, event: Row) -> Row | None:
    return part.compiled()(event, alias)


def p8(name: str, value: Any) -> None:
    """Each level is idempotent (but `pairwise`), and a function of every finer one."""
    order = FIELDS[name].order
    for at, level in enumerate(LEVELS[order][1:], 1):
        for finer in LEVELS[order][at:]:
            step = precision.coarse(order, finer)(value)
            assert precision.coarse(order, level)(step) == precision.coarse(order, level)(value)


def p9(part: Slice, other: Slice, events: list[Row]) -> None:
    """The meet covers what both cover, shows the coarser of both, and has no order."""
    one, event = part, events[0]
    both = one & other
    assert both == other & one
    assert one & one == one
    assert both & one == both
    assert both <= one
    judged = both.at(worlds.NOW)
    if not judged.covers(event):
        return
    row = judged.trim(event, alias)
    for side in (one.at(worlds.NOW), other.at(worlds.NOW)):
        assert side.covers(event)
        wider = side.trim(event, alias)
        assert set(row) <= set(wider)
        assert len(row.get("items", [])) <= len(wider.get("items", []))
        for name in set(row) & set(FIELDS) - {"site", "order_id"}:
            assert row[name] == precision.coarse(FIELDS[name].order, judged.fields[name])(wider[name])


def p10(terms: Terms, request: Request) -> None:
    """A dimension that the request states differs iff `narrowed` says so."""
    proposal = propose(terms, request)
    for clause in proposal.clauses:
        item = proposal.item_of(clause.id)
        asked, given = dimensions(item.clause.to_json()), dimensions(clause.to_json())
        differing = {dim for dim in item.stated if asked.get(dim, "hidden") != given.get(dim, "hidden" if dim.startswith("fields.") else None)}
        assert {line.dim for line in proposal.narrowed if line.clause == clause.id} == differing
    answered = {line.clause.partition("~")[0] for line in proposal.narrowed} | {clause.id.partition("~")[0] for clause in proposal.clauses}
    assert answered == {item.id for item in proposal.items}


def p12() -> None:
    """The traps of U3."""

    def covered(purpose: str, *allowed: str) -> bool:
        return purposes.covered(f"dpv:{purpose}", {f"dpv:{name}" for name in allowed})

    assert not covered("ServicePersonalisation", "Personalisation")
    assert not covered("PersonalisedAdvertising", "Personalisation")
    assert covered("PersonalisedAdvertising", "Marketing", "Personalisation")
    assert not covered("TargetedAdvertising", "Marketing", "Personalisation")
    assert covered("SellProducts", "ServiceManagement")
    assert not covered("SellDataToThirdParties", "ServiceManagement")
    assert purposes.hit("dpv:TargetedAdvertising", {"dpv:Marketing"})


def p14(part: Slice, names: list[str], purchases: list[Row], dropped: int, minutes: int) -> None:
    """Answers depend on covered, trimmed events only, and are those of the oracle."""
    asked = replace(part, kinds=part.kinds | {"purchase"}, form="answers", answers=frozenset(names)).normal().at(worlds.NOW)
    found = answered(asked, purchases)
    assert found == oracle.answers(asked.to_json(), names, purchases, worlds.NOW.date())
    for name in names:
        alone = replace(asked, answers=frozenset({name}))
        looks = answers.basis(alone)
        others = [twin(event, "day", dropped, minutes) for event in purchases if looks.covers(event)]
        same = [other if looks.covers(other) and looks.trim(other) == looks.trim(event) else event for event, other in zip(filter(looks.covers, purchases), others, strict=True)]
        assert answered(alone, same) == {name: found[name]}


def answered(part: Slice, events: list[Row]) -> Row:
    """The answers of an absolute slice, as the broker works them out."""
    seen = answers.basis(part)
    return answers.work_out(part.answers, [seen.trim(event) for event in events if seen.covers(event)], worlds.NOW.date())


def twin(event: Row, level: str, dropped: int, minutes: int) -> Row:
    """The same event at another time of its period, without some of what it tells."""
    start = oracle.start_of(datetime.fromisoformat(event["time"]), level)
    moved = start + timedelta(minutes=minutes % {"hour": 60, "day": 24 * 60}.get(level, 28 * 24 * 60))
    kept = {"id", "kind", "time", "host", "domain", "class", "site"}
    other = {name: value for at, (name, value) in enumerate(sorted(event.items())) if name in kept or not dropped >> (at % 12) & 1}
    return other | {"time": event["time"] if level == "exact" else moved.strftime("%Y-%m-%dT%H:%M:%S.007Z")}


def p16(form: Row, request: Request) -> None:
    """Removing an allow rule adds nothing."""
    full = propose(Terms.parse(form), request)
    for rule in form["allow"]:
        less = propose(Terms.parse({**form, "allow": [other for other in form["allow"] if other is not rule]}), request)
        for clause in less.clauses:
            assert any(clause <= other for other in full.clauses if other.id.partition("~")[0] == clause.id.partition("~")[0])


def p17(form: Row, request_form: Row) -> None:
    """JSON to object to JSON is the identity; strangers are refused."""
    terms, request = Terms.parse(form), Request.parse(request_form, worlds.BOOKS)
    assert terms.to_json() == form
    assert request.to_json() == request_form
    for clause in propose(terms, request).clauses:
        keeps_form(clause.to_json(), Clause.parse)
    for deny in terms.deny:
        keeps_form(deny.to_json(), Deny.parse)
    assert refused(Terms.parse, {**form, "stranger": 1}) == "/stranger"


def p17_slices(slice_form: Row) -> None:
    """The same for slices, whose canonical form is also equal when read again."""
    part = Slice.parse(slice_form)
    keeps_form(part.to_json(), Slice.parse)
    assert Slice.parse(part.to_json()) == part


def keeps_form(canonical: Row, parse: Callable[[Any], Any]) -> None:
    assert parse(canonical).to_json() == canonical
    assert refused(parse, {**canonical, "stranger": 1}) == "/stranger"


def refused(parse: Callable[[Any], Any], value: Any) -> str | None:
    try:
        parse(value)
    except Malformed as error:
        return error.errors[0]["pointer"]
    return None


def p18(terms: Terms, request: Request) -> None:
    """The text regenerates from the clauses, byte for byte."""
    clauses = [clause.starting(worlds.NOW) for clause in propose(terms, request).clauses]
    if clauses:
        again = [Clause.parse(clause.to_json()) for clause in clauses]
        assert explain.grant_text(again, "books.example") == explain.grant_text(clauses, "books.example")


def p19(terms: Terms, request: Request) -> None:
    """A sensitive class is covered only if rule and request list it."""
    proposal = propose(terms, request)
    rules = {rule.id: rule for rule in terms.allow}
    for clause in proposal.clauses:
        rule = rules[clause.id.partition("~")[2]]
        listed = rule.clause.slice.sensitive & proposal.item_of(clause.id).clause.slice.sensitive
        judge = clause.slice.at(worlds.NOW)
        for event in sensitive_events(judge):
            if judge.covers(event):
                assert event["class"] not in SENSITIVE_CLASSES or event["class"] in listed
                assert "query" not in event or event["query"].split()[1] in listed
                paths = [row.get("category", "") for row in judge.trim(event).get("items", [])]
                assert all(path.split("/")[0] not in SENSITIVE_CATEGORIES or path.split("/")[0] in listed for path in paths)


def sensitive_events(part: Slice) -> Iterator[Row]:
    """Events that the slice would cover, were it not for what is sensitive in them."""
    newest = (part.window.before or worlds.NOW) - timedelta(milliseconds=1)
    site = min(part.sites).lstrip("=")
    place = {"host": site, "domain": site, "site": site, "time": event_time(newest)}
    category = "books" if "*" in part.categories else min(part.categories)
    for kind in sorted(part.kinds):
        for site_class in ("health", "finance", "mail"):
            yield {**place, "kind": kind, "class": site_class} | ({"items": [{"category": category}]} if KINDS[kind].items else {})
        for topic in SENSITIVE_CATEGORIES if kind == "search" else ():
            yield {**place, "kind": kind, "class": "shop", "query": f"a {topic} thing"}
        for top in SENSITIVE_CATEGORIES if KINDS[kind].items else ():
            yield {**place, "kind": kind, "class": "shop", "items": [{"category": f"{top}/x"}, {"category": category}]}


def compiled(part: Slice, first: int, events: list[Row]) -> None:
    """`compiled()` is `covers` and `trim`, and both are the oracle, with and without an alias."""
    judged = part.at(worlds.NOW + timedelta(hours=first))
    form, judge = judged.to_json(), judged.compiled()
    for event in events:
        for name in (None, alias):
            row = judged.trim(event, name) if judged.covers(event) else None
            assert judge(event, name) == row
            assert row == (oracle.trim(form, event, name) if oracle.covers(form, event) else None)


def f3(window_form: Row, level: str, minutes: int) -> None:
    """A window's edges are those that the oracle finds by stepping (F3)."""
    now = worlds.NOW + timedelta(minutes=minutes)
    part = Slice.parse({"kinds": ["purchase"], "fields": {"time": level}, "window": window_form}).at(now)
    after, before = oracle.window_at(window_form, level, now)
    assert part.window.after == (after if "max_age" in window_form else None)
    assert part.window.before == (before if "min_age" in window_form else None)


_values = st.sampled_from([name for name in worlds.VALUES if FIELDS[name].order not in ("order", "plain")]).flatmap(lambda name: st.tuples(st.just(name), worlds.VALUES[name]))
_bargains = st.fixed_dictionaries(
    {
        "form": worlds.terms_forms(),
        "request_form": worlds.request_forms(),
        "deny_form": worlds.deny_forms,
        "events": st.lists(worlds.events(), min_size=1, max_size=2),
    },
).map(lambda world: {**world, "terms": Terms.parse(world["form"]), "request": Request.parse(world["request_form"], worlds.BOOKS)})
_readings = st.fixed_dictionaries(
    {
        "slice_form": worlds.slice_forms,
        "other": worlds.slices,
        "standing": st.lists(worlds.denies, max_size=1),
        "deny": worlds.denies,
        "events": st.lists(worlds.events(), min_size=1, max_size=2),
        "validity": worlds.validities,
        "offset": st.integers(-2, 2),
        "minutes": st.integers(0, 45_000),
        "dropped": st.integers(0, 4095),
        "first": st.integers(-600, 600),
    },
).map(lambda world: {**world, "part": Slice.parse(world["slice_form"])})

_habits = st.fixed_dictionaries(
    {
        "part": worlds.slices,
        "names": worlds.some(ANSWERS),
        "purchases": st.lists(worlds.events(("purchase", "purchase", "cart")), max_size=6),
        "dropped": st.integers(0, 4095),
        "minutes": st.integers(0, 45_000),
    },
)
_windows = st.fixed_dictionaries({"window_form": worlds.windows, "level": st.sampled_from(LEVELS["time"]), "minutes": st.integers(0, 80_000)})

WORLDS: dict[str, tuple[Any, dict[str, Callable[..., None]]]] = {
    "bargains": (_bargains, {"P1": p1, "P2": p2, "P3 negotiated": p3_negotiated, "P4": p4, "P6": p6, "P10": p10, "P16": p16, "P17": p17, "P18": p18, "P19": p19}),
    "readings": (_readings, {"P3": p3, "P5": p5, "P7": p7, "P9": p9, "P17 slices": p17_slices, "compiled": compiled}),
    "habits": (_habits, {"P14": p14}),
    "values": (st.one_of(_values, st.tuples(st.just("time"), worlds.times)).map(lambda pair: {"name": pair[0], "value": pair[1]}), {"P8": p8}),
    "windows": (_windows, {"F3": f3}),
    "nothing": (st.just({}), {"P12": p12}),
}
"""World -> its strategy, a dictionary, and the properties that take some of its entries by name.

Properties share a world, because making it costs more than judging it."""


def holds(check: Callable[..., None], world: Row) -> None:
    """Run one property on the entries that it names."""
    check(**{name: world[name] for name in signature(check).parameters})
