"""Malformed requests at PAR: one OAuth error with the place where it is plain to write, never a server error (RFC 9396 section 5, rule D1)."""

import json
from collections.abc import Iterator
from typing import Any

from makers import Shop

from tests.policies.malformed import CHANGES, GOOD, TEXTS, changed

TYPE = "personal_data_access"


def details(document: Any) -> Any:
    """A request as it goes over the wire; None where it has no items that could be written so."""
    items = document.get("items")
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        return None
    return [_entry(item) for item in items]


def _entry(item: dict[str, Any]) -> dict[str, Any]:
    entry = {"type": TYPE, **{name: value for name, value in item.items() if name not in {"id", "action", "kinds", "minimum"}}}
    if "action" in item:
        entry["actions"] = [item["action"]]
    if "kinds" in item:
        entry["datatypes"] = item["kinds"]
    if "minimum" in item:
        minimum = item["minimum"]
        entry["minimum"] = {{"kinds": "datatypes"}.get(name, name): value for name, value in minimum.items()} if isinstance(minimum, dict) else minimum
    return entry


def sample() -> Iterator[str]:
    """Changes to what the vendor itself writes: the broker names vendor and items, and removes marks from its words."""
    for pointer, value, *_ in CHANGES:
        wire = details(changed(pointer, value))
        if wire is not None and not pointer.endswith(("/id", "/vendor", "/extra", "a~1b~0c", "/items")) and not (pointer.endswith("/why") and isinstance(value, str)):
            yield json.dumps(wire)


def test_the_good_one_is_taken(bookshop: Shop) -> None:
    assert bookshop.push(authorization_details=json.dumps(details(GOOD))).status_code == 201


def test_a_malformed_request_is_refused(bookshop: Shop) -> None:
    texts = list(sample())
    assert len(texts) > 150
    for text in texts:
        answer = bookshop.push(authorization_details=text)
        assert (answer.status_code, answer.json.get("error")) == (400, "invalid_authorization_details"), (text, answer.text)
        assert answer.headers["Cache-Control"] == "no-store"


def test_it_says_where(bookshop: Shop) -> None:
    answer = bookshop.push(authorization_details=json.dumps(details(changed("/items/0/want/fields", {"time": "week"}))))
    assert answer.json["error_description"] == "These authorization_details cannot be used. See /0/want/fields/time."


def test_a_malformed_text_is_refused(bookshop: Shop) -> None:
    for text, _ in TEXTS:
        answer = bookshop.push(authorization_details=text if isinstance(text, str) else text.decode("latin-1"))
        assert answer.status_code in {400, 413}, (text[:60], answer.text)
        assert answer.json["error"] in {"invalid_authorization_details", "invalid_request"}
