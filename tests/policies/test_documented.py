"""What the documentation says of policies is what the code says: the worked example, block by block, and the vocabulary."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from policies.clauses import MEMBERS
from policies.decide import CHECKS, Asked, Grant, Permitted, decide
from policies.negotiate import negotiate
from policies.requests import Request
from policies.terms import Terms, VendorFacts
from tests.policies import vocabulary_page

PAGE = (Path(__file__).resolve().parents[2] / "broker/docs/explanation/how-a-decision-is-made.md").read_text(encoding="utf-8")
TERMS, REQUEST, NARROWED, DECISION, EVENT, ROW = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
FACTS = VendorFacts("https://books.example", frozenset({"books.example"}), frozenset({"class:bookshop"}))
GIVEN, NOW = datetime(2026, 12, 1, 9, 30, tzinfo=UTC), datetime(2026, 12, 3, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def decision() -> Permitted:
    terms = Terms.parse(TERMS)
    proposal = negotiate(terms, Request.parse(REQUEST, FACTS))
    assert [line.to_json() for line in proposal.narrowed] == NARROWED
    assert proposal.below_minimum == ()
    clause = proposal.clauses[0].starting(GIVEN).with_id("c1")
    assert clause.validity.until is not None
    grant = Grant("g", "books-web", FACTS.id, "active", 1, (clause,), GIVEN, clause.validity.until, countersigned=True, vendor_classes=FACTS.classes)
    found = decide(grant, terms.deny, Asked("books-web"), NOW)
    assert isinstance(found, Permitted)
    return found


def test_the_decision(decision: Permitted) -> None:
    assert decision.to_json() == DECISION


def test_the_row(decision: Permitted) -> None:
    assert decision.slice.covers(EVENT)
    assert decision.slice.trim(EVENT) == decision.slice.compiled()(EVENT) == ROW


@pytest.mark.parametrize("change", [{"host": "clinic.example", "domain": "clinic.example"}, {"time": "2026-12-03T08:00:00.000Z"}])
def test_what_leaves_nothing(decision: Permitted, change: dict[str, Any]) -> None:
    assert not decision.slice.covers({**EVENT, **change})


def test_the_checks_are_those_of_the_table() -> None:
    assert re.findall(r"\| `([a-z-]+)` \|$", PAGE, re.MULTILINE) == [reason for _, reason in CHECKS]


def test_the_reference_of_the_vocabulary_is_that_of_the_code() -> None:
    """Write it anew with `python -m tests.policies.vocabulary_page`."""
    assert vocabulary_page.PAGE.read_text(encoding="utf-8") == vocabulary_page.page()


def test_every_member_of_a_clause_has_its_row() -> None:
    """A newcomer writes a rule from this page; some members have a row for each of their own."""
    told = set(re.findall(r"^\| `([a-z_]+)[`.]", vocabulary_page.dimensions(), re.MULTILINE))
    assert {name for members in MEMBERS.values() for name in members} <= told
