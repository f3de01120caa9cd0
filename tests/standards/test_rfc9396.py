"""Rich authorization requests (RFC 9396; attack rows 16, 17 and 119; rules D1-D6)."""

import json
from typing import Any

import pytest
from makers import Browser, Shop, purchases

BASE = purchases()


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in BASE.items() if key != name}


BROKEN: dict[str, Any] = {
    "unknown type (16)": [{**BASE, "type": "payment"}],
    "no list (17)": BASE,
    "empty (17)": [],
    "1000 entries (17)": [{}] * 1000,
    "21 entries": [BASE] * 21,
    "unknown member (17)": [{**BASE, "colour": "blue"}],
    "unknown member of want": [purchases(colour="blue")],
    "no purpose (17)": [without("purposes")],
    "empty purposes": [{**BASE, "purposes": []}],
    "six purposes": [{**BASE, "purposes": ["dpv:Personalisation"] * 6}],
    "unknown purpose": [{**BASE, "purposes": ["dpv:Purpose"]}],
    "no why": [without("why")],
    "long why": [{**BASE, "why": "w" * 201}],
    "no datatypes": [without("datatypes")],
    "unknown kind": [{**BASE, "datatypes": ["thought"]}],
    "unknown field": [purchases(fields={"soul": "exact"})],
    "unknown level": [purchases(fields={"time": "week"})],
    "no fields for rows": [{**BASE, "want": {"form": "rows"}}],
    "write (119)": [{**BASE, "actions": ["write"]}],
    "two actions": [{**BASE, "actions": ["read", "ask"]}],
    "wrong type": [{**BASE, "datatypes": "purchase"}],
    "a float": [{**BASE, "why": 1.5}],
    "wider minimum": [{**BASE, "minimum": {"datatypes": ["purchase", "search"]}}],
}


@pytest.mark.parametrize("name", BROKEN)
def test_it_refuses(bookshop: Shop, name: str) -> None:
    assert bookshop.push([BASE]).status_code == 201
    answer = bookshop.push(authorization_details=json.dumps(BROKEN[name]))
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_authorization_details")


@pytest.mark.parametrize("text", ["{", "null", "[" * 50 + "]" * 50, '[{"type":"personal_data_access","type":"x"}]', "NaN", "[NaN]"])
def test_it_refuses_broken_json(bookshop: Shop, text: str) -> None:
    """Row 17: not JSON, nested 50 deep, a name twice."""
    answer = bookshop.push(authorization_details=text)
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_authorization_details")


def test_the_answer_says_what_was_really_granted(alice: Browser, bookshop: Shop) -> None:
    """Section 7: what the person narrowed is what comes back."""
    asked = {**BASE, "datatypes": ["purchase", "cart", "search"], "minimum": {"datatypes": ["purchase"], "fields": {"category": "top"}}}
    granted = bookshop.connect(alice, [asked], **{"1.field.price": "band", "1.max_age": "P30D", "until": "2026-12-31"})["authorization_details"]
    assert len(granted) == 1
    entry = granted[0]
    assert entry["datatypes"] == ["purchase"]
    assert entry["fields"] == {"category": "top", "price": "band", "time": "day"}
    assert entry["window"] == {"max_age": "P30D", "min_age": "P1D"}
    assert entry["validity"]["until"] == "2026-12-31T23:59:59Z"
    assert not {"why", "minimum", "roster_accepts", "want"} & set(entry)


def test_terms_that_give_nothing(alice: Browser, bookshop: Shop) -> None:
    """A request outside the terms can only be refused, and the vendor learns nothing more than a no."""
    path = alice.open(bookshop.ask([{**BASE, "purposes": ["dpv:Advertising"]}]))
    text = alice.get(path).text
    assert "Your terms give nothing of this" in text
    assert 'name="give"' not in text
