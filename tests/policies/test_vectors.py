"""The worked example of policies.md, sections 6 and 11, comes out as it stands there."""

import json
from base64 import urlsafe_b64encode
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from policies import explain
from policies import negotiate as negotiation
from policies.clauses import Clause
from policies.decide import Asked, Denied, Filters, Grant, Permitted, decide
from policies.documents import canonical, load
from policies.negotiate import negotiate
from policies.requests import Request
from policies.slices import Slice
from policies.terms import DEFAULT_TERMS, Deny, Terms, VendorFacts

VECTORS = Path(__file__).parent.parent / "vectors"
EXAMPLE = load((VECTORS / "slices_negotiation.json").read_bytes())
BOOKS = VendorFacts("https://books.example", frozenset({"books.example"}), frozenset({"class:bookshop"}))
TERMS = Terms.parse(EXAMPLE["terms"])
REQUEST = Request.parse(EXAMPLE["request"], BOOKS)
CLAUSES = tuple(Clause.parse(form) for form in EXAMPLE["agreement"]["clauses"])
GIVEN = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
NOW = datetime(2026, 12, 3, 10, 0, tzinfo=UTC)
GRANT = Grant("b7Yq", "books-web", BOOKS.id, "active", 1, CLAUSES, GIVEN, datetime(2027, 5, 30, 9, 30, tzinfo=UTC), "sha-256:h1", countersigned=True)
ASKED = Asked("books-web", filters=Filters(kinds=frozenset({"purchase"})))


def test_the_proposal_is_the_one_shown_but_for_the_contact() -> None:
    found = negotiate(TERMS, REQUEST).to_json()
    shown = EXAMPLE["proposal"]
    assert (found["status"], found["terms_version"], found["below_minimum"]) == (shown["status"], shown["terms_version"], shown["below_minimum"])
    about_books = [line for line in shown["narrowed"] if line["clause"] == "i1~books"]
    dropped = {"clause": "i2", "dim": "action", "asked": "contact", "given": None, "code": "fewer", "cause": "not-available", "rule": None}
    assert found["narrowed"] == [*about_books, dropped]
    assert [clause["id"] for clause in found["clauses"]] == ["i1~books"]


def test_with_contact_the_whole_proposal_is_the_one_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """All narrowed lines of section 6, and C1 and C2 under their proposed ids; contact is dropped until its folder exists."""
    monkeypatch.setattr(negotiation, "AVAILABLE", frozenset({"read", "write", "contact"}))
    found = negotiate(TERMS, REQUEST)
    assert [line.to_json() for line in found.narrowed] == EXAMPLE["proposal"]["narrowed"]
    assert [clause.id for clause in found.clauses] == ["i1~books", "i2~book-offers"]
    given = [clause.starting(GIVEN).with_id(f"c{at}").to_json() for at, clause in enumerate(found.clauses, 1)]
    assert given == EXAMPLE["agreement"]["clauses"]
    assert found.to_json() == {**EXAMPLE["proposal"], "clauses": [clause.to_json() for clause in found.clauses]}


def test_documents_are_kept_as_they_were_written() -> None:
    assert TERMS.to_json() == EXAMPLE["terms"]
    assert REQUEST.to_json() == EXAMPLE["request"]


def test_the_given_clause_is_c1() -> None:
    clause = negotiate(TERMS, REQUEST).clauses[0].starting(GIVEN).with_id("c1")
    assert clause == CLAUSES[0]
    assert clause.to_json() == EXAMPLE["agreement"]["clauses"][0]


def test_both_clauses_keep_their_form() -> None:
    assert [clause.to_json() for clause in CLAUSES] == EXAMPLE["agreement"]["clauses"]


def test_the_text_is_the_notice_byte_for_byte() -> None:
    notice = EXAMPLE["agreement"]["notice"]
    text = explain.grant_text(CLAUSES, "books.example", EXAMPLE["agreement"]["gives"])
    assert text == notice["text"]


def digest(form: Any, salt: bytes = b"") -> str:
    return "sha-256:" + urlsafe_b64encode(sha256(salt + canonical(form).encode()).digest()).decode().rstrip("=")


def test_the_agreement_with_our_clauses_has_the_digest_of_the_vector() -> None:
    agreement = EXAMPLE["agreement"] | {"clauses": [clause.to_json() for clause in CLAUSES]}
    assert len(canonical(agreement).encode()) == 3545
    assert digest(agreement) == EXAMPLE["grant"]["agreement"]


def test_documents_keep_the_bytes_that_are_hashed() -> None:
    negotiation = EXAMPLE["agreement"]["negotiation"]
    assert digest(REQUEST.to_json()) == negotiation["request"]
    assert digest(TERMS.to_json(), b"\x03" * 32) == negotiation["terms"]


def test_a_read_of_purchases_is_permitted_as_shown() -> None:
    decision = decide(GRANT, TERMS.deny, ASKED, NOW)
    assert isinstance(decision, Permitted)
    assert decision.to_json() == EXAMPLE["permitted"]


def test_another_purpose_is_denied_as_shown() -> None:
    decision = decide(GRANT, TERMS.deny, replace(ASKED, purpose="dpv:DirectMarketing"), NOW)
    assert isinstance(decision, Denied)
    assert decision.to_json() == EXAMPLE["denied"]


def deny(**members: Any) -> Deny:
    return Deny.parse({"id": "d", **members})


@pytest.mark.parametrize(
    ("grant", "asked", "denies", "reason", "problem"),
    [
        ({}, {"client": "other"}, [], "other-client", "invalid-token"),
        ({"status": "revoked"}, {}, [], "grant-ended", "invalid-token"),
        ({"status": "expired"}, {}, [], "grant-ended", "invalid-token"),
        ({"expires_at": NOW}, {}, [], "grant-ended", "invalid-token"),
        ({"given": datetime(2026, 12, 4, tzinfo=UTC)}, {}, [], "not-yet", "not-granted"),
        ({"status": "paused"}, {}, [], "grant-paused", "grant-paused"),
        ({"countersigned": False}, {}, [], "unsigned", "agreement-unsigned"),
        ({}, {"clause": "c9"}, [], "no-clause", "not-granted"),
        ({}, {"clause": "c2"}, [], "no-clause", "not-granted"),
        ({}, {"purpose": "dpv:Marketing"}, [], "wrong-purpose", "not-granted"),
        ({}, {}, [deny(vendors=["https://books.example"])], "denied-by-terms", "not-granted"),
        ({}, {}, [deny(purposes=["dpv:Personalisation"])], "denied-by-terms", "not-granted"),
        ({}, {"form": "answers", "answers": frozenset({"recency"})}, [], "wrong-form", "not-granted"),
        ({}, {"filters": Filters(sites=frozenset({"=www.shop.example"}))}, [], "filter-too-fine", "not-granted"),
        ({}, {"filters": Filters(kinds=frozenset({"search"}))}, [], "out-of-slice", "not-granted"),
        ({}, {}, [deny(kinds=["purchase"])], "out-of-slice", "not-granted"),
        ({}, {"used_reads": 24}, [], "rate", "rate-limit"),
        ({}, {"used_rows": 500}, [], "rate", "rate-limit"),
    ],
)
def test_each_row_of_the_table_refuses(grant: dict[str, Any], asked: dict[str, Any], denies: list[Deny], reason: str, problem: str) -> None:
    assert isinstance(decide(GRANT, [], ASKED, NOW), Permitted)
    decision = decide(replace(GRANT, **grant), denies, replace(ASKED, **asked), NOW)
    assert isinstance(decision, Denied)
    assert decision.reasons == (reason,)
    assert decision.problem == problem
    assert explain.reason(reason)


def test_all_reasons_are_told_in_order() -> None:
    decision = decide(replace(GRANT, status="paused", countersigned=False), [], replace(ASKED, client="x", used_reads=99), NOW)
    assert isinstance(decision, Denied)
    assert decision.reasons == ("other-client", "grant-paused", "unsigned", "rate")


def test_the_extension_may_write_what_its_clause_covers() -> None:
    clause = Clause.parse({"id": "c1", "action": "write", "kinds": ["cart", "purchase"], "sites": ["shop.example"]})
    grant = replace(GRANT, client="extension", clauses=(clause.starting(GIVEN),), countersigned=False)
    decision = decide(grant, TERMS.deny, Asked("extension", action="write"), NOW)
    assert isinstance(decision, Permitted)
    event = {"kind": "purchase", "time": "2026-12-03T10:00:00.000Z", "host": "www.shop.example", "domain": "shop.example", "class": "shop"}
    assert decision.slice.covers(event)
    assert not decision.slice.covers(event | {"kind": "search"})
    assert not decision.slice.covers(event | {"host": "clinic.example", "domain": "clinic.example"})
    assert Clause.parse(clause.to_json()) == clause
    assert explain.clause_sentences(clause, "Your browser extension")[0] == (
        "Your browser extension may add what you put in or took out of a cart and what you bought, from shop.example; nothing leaves your broker by this."
    )


def test_the_terms_of_a_new_person_propose_recommendations() -> None:
    want = {"form": "rows", "fields": {"category": "leaf", "site": "domain", "time": "exact"}}
    item = {"id": "i", "action": "read", "kinds": ["purchase", "search"], "purposes": ["dpv:ProvideProductRecommendations"], "why": "Tips", "want": want}
    stranger = VendorFacts("https://new.example")
    proposal = negotiate(DEFAULT_TERMS, Request.parse({"vendor": stranger.id, "items": [item]}, stranger))
    (clause,) = proposal.clauses
    assert clause.slice.fields == {"time": "day", "category": "leaf"}
    assert clause.slice.kinds == {"purchase"}
    assert proposal.item_of(clause.id).why == "Tips"
    assert all(explain.narrowing(line) for line in proposal.narrowed)


def test_every_row_of_the_shared_slice_vectors() -> None:
    for row in json.loads((VECTORS / "slices.json").read_text())["rows"]:
        part = Slice.parse(row["slice"])
        assert part.covers(row["event"]) == row["covers"], row["says"]
        assert part.compiled()(row["event"]) == (row["row"] if row["covers"] else None), row["says"]
        if row["covers"]:
            assert part.trim(row["event"]) == row["row"], row["says"]


def test_aliases_stand_for_ids_and_nothing_stands_without_one() -> None:
    """F7, by both ways of judging."""
    part = Slice.parse({"kinds": ["purchase"], "fields": {"order_id": "pairwise", "time": "day"}})
    event = {"id": "e1", "kind": "purchase", "time": "2026-11-20T18:04:05.120Z", "host": "s.example", "domain": "s.example", "class": "shop", "order_id": "A-1"}
    shown = {"kind": "purchase", "time": "2026-11-20T00:00:00.000Z"}
    for judge in (part.trim, part.compiled()):
        assert judge(event) == shown
        assert judge(event, str.upper) == shown | {"id": "E1", "order_id": "A-1"}
        assert judge({name: value for name, value in event.items() if name != "order_id"}, str.upper) == shown | {"id": "E1"}
