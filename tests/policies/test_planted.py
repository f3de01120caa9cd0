"""Each property can fail: a defect is planted, and the property's check must find it."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, find, settings
from hypothesis.errors import NoSuchExample

from policies import answers, decide, documents, explain, negotiate, precision, purposes, slices, windows
from policies.clauses import Clause
from policies.negotiate import Proposal
from policies.requests import Request
from policies.terms import Terms
from tests.policies.properties import WORLDS, holds

Patch = pytest.MonkeyPatch


def check_of(name: str) -> tuple[Any, Callable[..., None]]:
    return next((strategy, properties[name]) for strategy, properties in WORLDS.values() if name in properties)


def is_found(name: str) -> bool:
    """Whether some world, of at most 2,000, makes the property fail."""
    strategy, check = check_of(name)

    def fails(world: dict[str, Any]) -> bool:
        try:
            holds(check, world)
        except AssertionError:
            return True
        return False

    try:
        find(strategy, fails, settings=settings(max_examples=2000, phases=[Phase.generate], deadline=None, database=None))
    except NoSuchExample:
        return False
    return True


def changed(patch: Patch, where: Any, name: str, make: Callable[[Any], Any]) -> None:
    patch.setattr(where, name, make(getattr(where, name)))


def forget_the_rules_fields(patch: Patch) -> None:
    """P1: the vendor gets the field levels it asked for."""
    changed(
        patch,
        negotiate,
        "_within",
        lambda within: lambda item, *rest: replace(found := within(item, *rest), slice=replace(found.slice, fields=item.clause.slice.fields)),
    )


def shorten_each_time(patch: Patch) -> None:
    """P2: every negotiation takes another hour off the retention."""

    def shorter(clause: Clause) -> Clause:
        return replace(clause, duties=replace(clause.duties, retention=clause.duties.retention - 1))

    changed(patch, negotiate, "capped", lambda capped: lambda clause: shorter(capped(clause)))


def let_a_deny_lift_another(patch: Patch) -> None:
    """P3: only the last standing deny counts."""
    changed(patch, decide, "_carve_outs", lambda carve: lambda purpose, denies, asked: carve(purpose, denies[-1:], asked))


def let_the_first_rule_win(patch: Patch) -> None:
    """P4: rules are taken in the order they were written."""
    patch.setattr(negotiate, "sorted", lambda found, **_: list(found), raising=False)


def forget_the_end(patch: Patch) -> None:
    """P5: a clause that is over stays in the grant."""
    changed(patch, decide, "_clause", lambda _: lambda grant, *_rest: grant.clauses[0])
    patch.setattr(decide, "CHECKS", tuple(row for row in decide.CHECKS if row[1] != "not-yet"))


def allow_without_a_rule(patch: Patch) -> None:
    """P6: what nobody forbids is given."""

    def generous(terms_: Terms, request: Request) -> Proposal:
        clauses_ = tuple(item.clause.with_id(f"{item.id}~none") for item in request.items)
        return Proposal(negotiate.CONFIRMATION, terms_.version, clauses_, (), (), request.items)

    patch.setattr(negotiate, "negotiate", generous)


def leave_edges_sharp(patch: Patch) -> None:
    """P7: the window's edges are not rounded, so polling tells the minute."""
    changed(patch, windows, "period_start", lambda _: lambda at, _level: at)
    changed(patch, windows, "next_period", lambda _: lambda at, _level: at)


def shift_the_buckets(patch: Patch) -> None:
    """P8: a bucket of 5 is shifted by 1, so that it crosses those of 10."""
    crooked = {**precision._COARSE, ("money", "bucket:5"): lambda money: {"currency": money["currency"], "amount_minor": precision._least(money) + 900}}
    patch.setattr(precision, "_COARSE", crooked)


def unite_sites(patch: Patch) -> None:
    """P9: the meet of two slices has the sites of both."""
    patch.setattr(slices, "meet_sites", lambda ours, theirs: ours | theirs)


def keep_quiet(patch: Patch) -> None:
    """P10: no line about a shorter retention."""
    changed(patch, negotiate, "_lines", lambda lines: lambda *given: [line for line in lines(*given) if line[0] != "duties.retention"])


def cover_by_any_parent(patch: Patch) -> None:
    """P12: one parent is enough."""

    def covered(purpose: str, allowed: set[str]) -> bool:
        return purpose in allowed or any(covered(parent, allowed) for parent in purposes.PURPOSES[purpose].parents)

    patch.setattr(purposes, "covered", covered)


def forget_what_is_carved_out(patch: Patch) -> None:
    """P14: answers are worked out from what a standing deny hides."""
    changed(patch, answers, "basis", lambda basis: lambda part: basis(replace(part, except_=frozenset())))


def widen_where_rules_are_few(patch: Patch) -> None:
    """P16: a single rule is read generously."""
    changed(patch, negotiate, "fold", lambda _: lambda clause, _deny: clause)
    changed(
        patch,
        negotiate,
        "negotiate",
        lambda negotiated: lambda terms_, request: negotiated(terms_ if len(terms_.allow) > 1 else replace(terms_, deny=()), request),
    )
    changed(patch, negotiate, "_without_lesser", lambda lesser: lambda given: lesser(given)[: 1 if len(given) > 1 else 9])


def overlook_strangers(patch: Patch) -> None:
    """P17: members that nobody knows are passed over."""
    changed(patch, documents, "members", lambda read: lambda value, pointer, allowed, required=(): read({name: value[name] for name in value if name in allowed}, pointer, allowed, required))


def write_no_exceptions(patch: Patch) -> None:
    """P17 slices: the form of a slice leaves out what is carved out of it."""
    changed(patch, slices.Slice, "to_json", lambda write: lambda part: {name: entry for name, entry in write(part).items() if name != "except"})


def name_the_object(patch: Patch) -> None:
    """P18: the text depends on more than the clauses."""
    changed(patch, explain, "clause_sentences", lambda say: lambda clause, domain: [*say(clause, domain), hex(id(clause))])


def forget_the_rate(patch: Patch) -> None:
    """P3 negotiated: what a deny was folded into may be read without end."""
    changed(patch, negotiate, "fold", lambda fold: lambda clause, deny: replace(folded := fold(clause, deny), rate=dict.fromkeys(folded.rate, 10_000)))


def round_outwards(patch: Patch) -> None:
    """F3: the window begins with the period that holds its edge."""
    patch.setattr(windows, "next_period", windows.period_start)


def open_sensitive_sites(patch: Patch) -> None:
    """P19: a star among the classes opens all of them."""
    patch.setattr(slices, "SENSITIVE_CLASSES", ())


def forget_what_is_sensitive(patch: Patch) -> None:
    """compiled: the fast path lets every item in, sensitive ones too."""
    from policies import compiled

    patch.setattr(compiled, "SENSITIVE_CATEGORIES", ())


PLANTED = {
    "P1": forget_the_rules_fields,
    "P2": shorten_each_time,
    "P3": let_a_deny_lift_another,
    "P4": let_the_first_rule_win,
    "P5": forget_the_end,
    "P6": allow_without_a_rule,
    "P7": leave_edges_sharp,
    "P8": shift_the_buckets,
    "P9": unite_sites,
    "P10": keep_quiet,
    "P12": cover_by_any_parent,
    "P14": forget_what_is_carved_out,
    "P17": overlook_strangers,
    "P17 slices": write_no_exceptions,
    "P18": name_the_object,
    "P3 negotiated": forget_the_rate,
    "F3": round_outwards,
    "P16": widen_where_rules_are_few,
    "P19": open_sensitive_sites,
    "compiled": forget_what_is_sensitive,
}


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """What the policies remember would hide a defect, and would outlive it."""
    forget()
    yield
    forget()


def forget() -> None:
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == "policies"]
    for value in {id(value): value for module in modules for value in vars(module).values() if hasattr(value, "cache_clear")}.values():
        value.cache_clear()


@pytest.mark.parametrize("name", PLANTED)
def test_it_finds_the_planted_defect(name: str, monkeypatch: Patch) -> None:
    PLANTED[name](monkeypatch)
    assert is_found(name)


def test_every_property_has_its_defect() -> None:
    assert set(PLANTED) == {name for _, properties in WORLDS.values() for name in properties}


@pytest.mark.parametrize("name", ["P12", "P8"])
def test_without_a_defect_it_finds_nothing(name: str) -> None:
    assert not is_found(name)
