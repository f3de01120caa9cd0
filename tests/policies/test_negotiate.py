"""Negotiation by example: every code and cause of policies.md section 7, minimums, bases, denies folded in, and what the person then chose."""

from typing import Any

import pytest

from policies import explain
from policies.clauses import Clause
from policies.negotiate import Proposal, fold, negotiate
from policies.requests import Request
from policies.terms import Deny, Terms, VendorFacts
from tests.policies.worlds import BOOKS

RULE: dict[str, Any] = {
    "id": "r", "label": "A rule", "vendors": ["*"], "action": "read", "purposes": ["dpv:ServicePersonalisation"], "kinds": ["purchase", "cart"], "form": "rows",
    "sites": ["shop.example", "self"], "fields": {"time": "day", "price": "band", "category": "leaf"}, "answers": ["recency", "monetary"],
    "duties": {"portability": True, "storage": ["EEA"]},
}  # fmt: skip
WANT: dict[str, Any] = {"form": "rows", "fields": {"time": "exact", "price": "exact"}}


def terms(*rules: dict[str, Any], deny: Any = (), **members: Any) -> Terms:
    denies = [{"id": f"d{at}", **each} for at, each in enumerate(deny)]
    form = {"type": "Terms", "version": 3, "vocabulary": 1, "base": "SD-BASE-A", "requests": "AgentAllowsRequests", "auto_accept": "never"}
    return Terms.parse({**form, "allow": list(rules or [RULE]), "deny": denies, **members})


def ask(facts: VendorFacts = BOOKS, *, want: dict[str, Any] | None = None, **members: Any) -> Request:
    item = {"id": "i", "action": "read", "kinds": ["purchase"], "purposes": ["dpv:ProvideProductRecommendations"], "why": "To help", "want": want or WANT, **members}
    return Request.parse({"vendor": facts.id, "items": [item]}, facts)


def lines(proposal: Proposal) -> dict[str, tuple[Any, Any, str, str, str | None]]:
    return {line.dim: (line.asked, line.given, line.code, line.cause, line.rule) for line in proposal.narrowed}


@pytest.mark.parametrize(
    ("want", "dim", "line"),
    [
        ({"sites": ["*"]}, "sites", (["*"], ["books.example", "shop.example"], "fewer", "not-in-terms", "r")),
        ({"sites": ["shop.example", "third.example"]}, "sites", (["shop.example", "third.example"], ["shop.example"], "fewer", "not-in-terms", "r")),
        ({"fields": {"time": "hour"}}, "fields.time", ("hour", "day", "coarser", "not-in-terms", "r")),
        ({"fields": {"time": "day", "brand": "exact"}}, "fields.brand", ("exact", "hidden", "coarser", "not-in-terms", "r")),
        ({"window": {"max_age": "P1Y"}}, "window.max_age", ("P365D", "P90D", "shorter", "not-in-terms", "r")),
        ({"window": {"min_age": "P0D"}}, "window.min_age", ("P0D", "P1D", "later", "not-in-terms", "r")),
        ({"rate": {"reads": "25/P1D"}}, "rate.reads", ("25/P1D", "24/P1D", "fewer", "not-in-terms", "r")),
        ({"rate": {"rows": "501/P1D"}}, "rate.rows", ("501/P1D", "500/P1D", "fewer", "not-in-terms", "r")),
        ({"duties": {"retention": "P31D"}}, "duties.retention", ("P31D", "P30D", "shorter", "not-in-terms", "r")),
        ({"duties": {"on_end": "delete:P8D"}}, "duties.on_end", ("delete:P8D", "delete:P7D", "shorter", "not-in-terms", "r")),
        ({"duties": {"breach_notice": "P4D"}}, "duties.breach_notice", ("P4D", "P3D", "shorter", "not-in-terms", "r")),
        ({"duties": {"onward": "processors"}}, "duties.onward", ("processors", "none", "stricter", "not-in-terms", "r")),
        ({"duties": {"storage": ["EEA", "US"]}}, "duties.storage", (["EEA", "US"], ["EEA"], "stricter", "not-in-terms", "r")),
        ({"duties": {"portability": False}}, "duties.portability", (False, True, "stricter", "not-in-terms", "r")),
        ({"duties": {"profiling": True}}, "duties.profiling", (True, False, "stricter", "not-in-terms", "r")),
        ({"answers": ["recency", "frequency"]}, "answers", (["frequency", "recency"], ["recency"], "fewer", "not-in-terms", "r")),
        ({"sensitive": ["health"]}, "sensitive", (["health"], [], "fewer", "sensitive", "r")),
        ({"validity": {"max": "P365D"}}, "validity", ({"max": "P365D"}, {"max": "P180D"}, "shorter", "not-in-terms", "r")),
    ],
)  # fmt: skip
def test_each_dimension_that_a_rule_narrows(want: dict[str, Any], dim: str, line: tuple[Any, ...]) -> None:
    found = lines(negotiate(terms(), ask(want={**WANT, **want})))
    assert found[dim] == line
    same = negotiate(terms(), ask(want={"form": "rows", "fields": {"time": "day"}})).narrowed
    assert same == ()


def test_a_rule_of_answers_gives_answers_only() -> None:
    answers = {**RULE, "form": "answers"}
    proposal = negotiate(terms(answers), ask())
    assert lines(proposal)["form"] == ("rows", "answers", "answers-only", "not-in-terms", "r")
    assert proposal.clauses[0].slice.answers == {"recency", "monetary"}
    assert proposal.clauses[0].slice.fields == {}


@pytest.mark.parametrize(
    ("rules", "members", "asked", "cause", "rule"),
    [
        ([RULE], {}, {"action": "contact", "kinds": None, "want": {"channels": ["inbox"]}}, "not-available", None),
        ([RULE], {}, {"action": "ask", "kinds": None, "want": {"rate": {"questions": "1/P30D"}}}, "not-available", None),
        ([{**RULE, "vendors": ["class:other"]}], {}, {}, "unknown-vendor", None),
        ([RULE], {"requests": "AgentDisallowsRequests"}, {}, "unknown-vendor", None),
        ([RULE], {"requests": "AgentAllowsRequestsOnlyPriorAgreementParty"}, {}, "unknown-vendor", None),
        ([RULE], {}, {"kinds": ["search"], "want": {"form": "rows", "fields": {"query": "topic"}}}, "not-in-terms", None),
        ([RULE], {}, {"purposes": ["dpv:PublicBenefit"]}, "not-in-terms", None),
        ([{**RULE, "action": "write", "purposes": None, "form": None, "answers": None, "duties": None}], {}, {}, "not-in-terms", None),
        ([RULE], {"deny": [{"id": "d", "kinds": ["purchase"]}]}, {}, "denied", "d"),
        ([RULE], {"deny": [{"id": "d", "vendors": ["class:bookshop"]}]}, {}, "denied", "d"),
        ([RULE], {"deny": [{"id": "d", "purposes": ["dpv:Personalisation"]}]}, {}, "denied", "d"),
    ],
)
def test_each_cause_of_a_dropped_item(rules: list[dict[str, Any]], members: dict[str, Any], asked: dict[str, Any], cause: str, rule: str | None) -> None:
    rules = [{name: value for name, value in each.items() if value is not None} for each in rules]
    item = {"id": "i", "action": "read", "kinds": ["purchase"], "purposes": ["dpv:ProvideProductRecommendations"], "why": "To help", "want": WANT, **asked}
    request = Request.parse({"vendor": BOOKS.id, "items": [{name: value for name, value in item.items() if value is not None}]}, BOOKS)
    proposal = negotiate(terms(*rules, **members), request)
    assert (proposal.clauses, proposal.status) == ((), "AgreementRefused")
    (line,) = proposal.narrowed
    assert (line.clause, line.dim, line.given, line.cause, line.rule) == ("i", "action", None, cause, rule)
    assert explain.narrowing(line).endswith(".")


@pytest.mark.parametrize(
    ("accepts", "base"),
    [(["SD-BASE-A"], "SD-BASE-A"), (["SD-BASE", "SD-BASE-A"], "SD-BASE-A"), (["SD-BASE-ATP", "SD-BASE-DP", "SD-BASE"], "SD-BASE-DP"), (["SD-BASE-AT"], None), (["PDC-AI"], None), ([], None)],
)
def test_the_base(accepts: list[str], base: str | None) -> None:
    """The rule's if the vendor accepts it, else the first accepted one that is stricter."""
    proposal = negotiate(terms(), ask(roster_accepts=accepts))
    assert [clause.base for clause in proposal.clauses] == ([base] if base else [])
    if base is None:
        assert lines(proposal) == {"base": (accepts, None, "stricter", "base", "r")}


def test_the_base_caps_duties_and_purposes() -> None:
    wide = {**RULE, "duties": {"profiling": True, "tracking": True, "ai_training": True, "onward": "anonymised"}, "purposes": ["dpv:ServicePersonalisation", "dpv:PublicBenefit"]}
    want = {**WANT, "duties": {"profiling": True, "tracking": True, "ai_training": True, "onward": "anonymised"}}
    purposes = ["dpv:ProvideProductRecommendations", "dpv:PublicBenefit"]
    proposal = negotiate(terms(wide, base="SD-BASE-AT"), ask(want=want, purposes=purposes))
    found = lines(proposal)
    assert {dim for dim, line in found.items() if line[3] == "base"} == {"duties.profiling", "duties.ai_training", "duties.onward", "purposes"}
    duties = proposal.clauses[0].duties
    assert (duties.profiling, duties.tracking, duties.ai_training, duties.onward) == (False, True, False, "processors")
    third = negotiate(terms(wide, base="SD-BASE-ATP-S3P"), ask(want=want, purposes=purposes)).clauses[0].duties
    assert (third.profiling, third.onward) == (True, "anonymised")


@pytest.mark.parametrize(
    ("deny", "dim", "given"),
    [
        ({"fields": ["price"]}, "fields.price", "hidden"),
        ({"fields": ["total"]}, "answers", ["recency"]),
        ({"kinds": ["cart"]}, "kinds", ["purchase"]),
        ({"purposes": ["dpv:Marketing"]}, "purposes", ["dpv:ProvideProductRecommendations"]),
        ({"fields": ["price"], "purposes": ["dpv:Personalisation", "dpv:Marketing"]}, "fields.price", "hidden"),
    ],
)
def test_a_deny_of_one_part_is_folded_in(deny: dict[str, Any], dim: str, given: Any) -> None:
    both = {**RULE, "base": "PDC-INTENT", "purposes": ["dpv:ServicePersonalisation", "dpv:DirectMarketing"]}
    asked = ask(kinds=["purchase", "cart"], purposes=["dpv:ProvideProductRecommendations", "dpv:DirectMarketing"], want={**WANT, "answers": ["recency", "monetary"]})
    assert lines(negotiate(terms(both), asked)).get(dim, ("", ""))[1] != given
    line = lines(negotiate(terms(both, deny=[deny]), asked))[dim]
    assert (line[1], line[3], line[4]) == (given, "denied", "d0")


@pytest.mark.parametrize("deny", [{"sites": ["shop.example"]}, {"kinds": ["purchase"], "fields": ["price"]}, {"fields": ["price"], "purposes": ["dpv:Marketing"]}, {"categories": ["toys"]}])
def test_the_rest_stays_standing_and_never_shows_in_a_clause(deny: dict[str, Any]) -> None:
    assert negotiate(terms(deny=[deny]), ask()).to_json() == negotiate(terms(), ask()).to_json()


def test_a_write_has_no_purpose_for_a_deny_to_hit() -> None:
    write = Clause.parse({"id": "w", "action": "write", "kinds": ["purchase"]})
    assert fold(write, Deny.parse({"id": "d", "kinds": ["purchase"], "purposes": ["dpv:Marketing"]})) == write


def test_a_write_is_negotiated_without_base_or_purpose() -> None:
    rule = {"id": "w", "vendors": ["*"], "action": "write", "kinds": ["purchase"], "sites": ["shop.example"]}
    asked = {"id": "i", "action": "write", "kinds": ["purchase", "cart"], "why": "To add", "want": {}}
    (clause,) = negotiate(terms(rule), Request.parse({"vendor": BOOKS.id, "items": [asked]}, BOOKS)).clauses
    assert (clause.base, clause.slice.kinds, clause.slice.sites) == ("", {"purchase"}, {"shop.example"})


def test_below_the_minimum() -> None:
    """D2: an item none of whose clauses reaches what the vendor needs at least is named; the person may still offer it."""
    enough = ask(minimum={"kinds": ["purchase"], "fields": {"price": "band"}, "window": {"max_age": "P30D"}, "rate": {"reads": "1/P1D"}}, want={**WANT, "window": {"max_age": "P1Y"}, "rate": {"reads": "5/P1D"}})
    assert negotiate(terms(), enough).below_minimum == ()
    for minimum in ({"fields": {"price": "bucket:10"}}, {"fields": {"time": "hour"}}):
        proposal = negotiate(terms(), ask(minimum=minimum))
        assert (proposal.below_minimum, proposal.status, len(proposal.clauses)) == (("i",), "AgreementNegotiationConfirmationRequired", 1)
    assert negotiate(terms({**RULE, "vendors": ["class:other"]}), ask(minimum={"fields": {"time": "day"}})).below_minimum == ("i",)
    two = {"kinds": ["purchase", "search"], "want": {**WANT, "fields": {"time": "day", "query": "topic"}}}
    assert negotiate(terms(), ask(**two, minimum={"kinds": ["search"]})).below_minimum == ("i",)


def test_of_two_clauses_the_wider_is_kept_and_of_equals_the_first_rule() -> None:
    wide, narrow = {**RULE, "id": "b"}, {**RULE, "id": "c", "fields": {"time": "month"}}
    apart = {**RULE, "id": "d", "fields": {"category": "top"}, "window": {"max_age": "P1Y"}}
    want = {"form": "rows", "fields": {"time": "day", "category": "top"}, "window": {"max_age": "P1Y"}}
    assert [clause.id for clause in negotiate(terms(narrow, wide, apart, {**RULE, "id": "a"}), ask(want=want)).clauses] == ["i~a", "i~d"]


@pytest.mark.parametrize(
    ("requests", "classes", "heard"),
    [
        ("AgentAllowsRequests", (), True),
        ("AgentAllowsRequestsOnlyKnownParty", (), False),
        ("AgentAllowsRequestsOnlyKnownParty", ("known",), True),
        ("AgentAllowsRequestsOnlyKnownParty", ("prior-agreement",), True),
        ("AgentAllowsRequestsOnlyPriorAgreementParty", ("known",), False),
        ("AgentAllowsRequestsOnlyPriorAgreementParty", ("prior-agreement",), True),
        ("AgentDisallowsRequests", ("known", "prior-agreement"), False),
    ],
)
def test_whose_requests_are_heard(requests: str, classes: tuple[str, ...], heard: bool) -> None:  # noqa: FBT001
    facts = VendorFacts(BOOKS.id, BOOKS.domains, frozenset(classes))
    assert bool(negotiate(terms(requests=requests), ask(facts)).clauses) == heard
