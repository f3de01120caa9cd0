"""`narrowed` of a grant: where one part that was asked became several clauses, only what none of them gives is missing."""

from typing import Any

import pytest
from makers import Browser, Shop
from proffer_vendor import Cut, cuts

from broker.terms.actions import set_terms

ASKED: dict[str, Any] = {
    "type": "personal_data_access", "actions": ["read"], "datatypes": ["purchase", "cart"], "purposes": ["dpv:CustomerCare"], "why": "To help you",
    "want": {"form": "rows", "fields": {"time": "day", "category": "leaf", "price": "exact"}, "window": {"max_age": "P365D"}},
}  # fmt: skip
COMMON: dict[str, Any] = {"vendors": ["*"], "action": "read", "purposes": ["dpv:CustomerCare"]}
HABITS = {**COMMON, "id": "habits", "kinds": ["purchase"], "form": "answers", "answers": ["recency"], "window": {"max_age": "P365D"}}
ROWS = {**COMMON, "id": "rows", "kinds": ["purchase"], "form": "rows", "fields": {"time": "day", "category": "leaf", "price": "bucket:10"}, "window": {"max_age": "P90D"}}
CARTS = {**COMMON, "id": "carts", "kinds": ["cart"], "form": "rows", "fields": {"time": "month", "category": "leaf"}, "window": {"max_age": "P365D"}}
LATER = {**COMMON, "id": "times", "kinds": ["purchase"], "form": "rows", "fields": {"time": "month", "category": "leaf"}, "window": {"max_age": "P365D"}}
FORM, CART = Cut("form", "rows", "answers"), Cut("kind cart", "yes", "nothing")
PRICE = Cut("field price", "exact", "nothing")
OF_ROWS = [Cut("field price", "exact", "bucket:10"), Cut("window max_age", "P365D", "P90D")]


@pytest.mark.parametrize(
    ("allow", "missing"),
    [
        # Answers beside rows: what is said is what the rows lack.
        ([HABITS, ROWS], [CART, *OF_ROWS]),
        ([HABITS], [Cut(f"field {name}", asked, "nothing") for name, asked in (("category", "leaf"), ("price", "exact"), ("time", "day"))] + [FORM, CART]),
        # Rows of another kind give neither rows nor days of this one.
        ([HABITS, CARTS], [FORM, PRICE, Cut("field category", "leaf", "nothing"), Cut("field time", "day", "nothing"), Cut("field time", "day", "month")]),
        # All kinds are there, in two clauses.
        ([ROWS, CARTS], [*OF_ROWS, PRICE, Cut("field time", "day", "month")]),
        # Days reach ninety days back, months further: those who asked for days of a year miss some.
        ([ROWS, LATER], [CART, *OF_ROWS, PRICE, Cut("field time", "day", "month")]),
    ],
)
def test_what_one_clause_lacks_and_another_gives_is_not_missing(alice: Browser, bookshop: Shop, allow: list[dict[str, Any]], missing: list[Cut]) -> None:
    terms = {"type": "Terms", "version": 1, "vocabulary": 1, "base": "SD-BASE", "requests": "AgentAllowsRequests", "auto_accept": "never", "allow": allow, "deny": []}
    set_terms(alice.app.extensions["broker"], alice.person_id, terms)
    given = bookshop.connect(alice, [ASKED])["authorization_details"]
    assert len(given) == len(allow)
    found = cuts(bookshop.call("GET").json)
    assert sorted(found, key=str) == sorted(missing, key=str)
