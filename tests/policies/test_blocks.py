"""Who is blocked: a deny of everything, for vendors by name, by class or for all; and nobody by a deny of something."""

from typing import Any

import pytest

from policies.terms import DEFAULT_TERMS, Terms, VendorFacts

BOOKS = VendorFacts("https://books.example", frozenset({"books.example"}), frozenset({"known"}))


@pytest.mark.parametrize(
    ("deny", "blocks", "named"),
    [
        ({"vendors": ["https://books.example"]}, True, ["https://books.example"]),
        ({"vendors": ["https://books.example", "known"]}, True, ["https://books.example"]),
        ({"vendors": ["known"]}, True, []),
        ({"vendors": ["*"]}, True, []),
        ({}, True, []),
        ({"vendors": ["https://other.example"]}, False, ["https://other.example"]),
        ({"vendors": ["prior-agreement"]}, False, []),
        ({"vendors": ["https://books.example"], "kinds": ["search"]}, False, []),
        ({"vendors": ["https://books.example"], "fields": ["title"]}, False, []),
        ({"vendors": ["https://books.example"], "purposes": ["dpv:Marketing"]}, False, []),
        ({"vendors": ["https://books.example"], "actions": ["read"]}, False, []),
    ],
)
def test_only_a_deny_of_everything_blocks(deny: dict[str, Any], named: list[str], *, blocks: bool) -> None:
    terms = Terms.parse({**DEFAULT_TERMS.to_json(), "deny": [{"id": "d", **deny}]})
    assert terms.blocks(BOOKS) == blocks
    assert terms.blocked == named


def test_rules_are_found_by_their_ids() -> None:
    assert list(DEFAULT_TERMS.rules) == ["recommendations", "no-ads", "no-words"]
    assert DEFAULT_TERMS.blocked == []
    assert not DEFAULT_TERMS.blocks(BOOKS)


@pytest.mark.parametrize(
    ("requests", "heard"),
    [
        ("AgentAllowsRequests", [True, True, True]),
        ("AgentAllowsRequestsOnlyKnownParty", [False, True, True]),
        ("AgentAllowsRequestsOnlyPriorAgreementParty", [False, False, True]),
        ("AgentDisallowsRequests", [False, False, False]),
    ],
)
def test_who_is_heard(requests: str, heard: list[bool]) -> None:
    terms = Terms.parse({**DEFAULT_TERMS.to_json(), "requests": requests})
    vendors = [VendorFacts("https://x.example", classes=frozenset(classes)) for classes in ((), ("known",), ("prior-agreement",))]
    assert [terms.hears(vendor) for vendor in vendors] == heard
