"""Rules are known by their labels and their sentences: ids are for files, and stand on no page."""

import html
import re
from typing import Any

import pytest
from makers import Browser, Shop, purchases
from pageforms import form_of

from broker.terms.actions import set_terms
from policies.terms import DEFAULT_TERMS

RULE = DEFAULT_TERMS.to_json()["allow"][0]
ODD: dict[str, Any] = {
    **DEFAULT_TERMS.to_json(),
    "allow": [{**RULE, "id": "id-of-a-label"}, {**{name: value for name, value in RULE.items() if name != "label"}, "id": "id-of-none", "kinds": ["cart"]}],
    "deny": [{"id": "id-of-words", "fields": ["query", "product"]}, {"id": "id-of-a-site", "sites": ["clinic.example"]}],
}


def words(page: str) -> str:
    """What a page shows and reads out."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())


@pytest.fixture
def odd(alice: Browser) -> Browser:
    """Alice, whose rules have ids that no sentence holds."""
    set_terms(alice.app.extensions["broker"], alice.person_id, ODD)
    return alice


def test_no_page_of_the_terms_shows_an_id(odd: Browser, desk: Any) -> None:
    desk.save("/terms/deny", {"kinds": ["search"]})
    desk.save("/terms/rules/id-of-words", {"fields": ["query"]})
    desk.save("/terms/rules/id-of-none", {"reads": "3"})
    desk.save("/terms", rule="id-of-a-site")
    for path in ("/terms", "/terms/versions", "/terms/versions/1", "/terms/versions/5", "/terms/rules/id-of-words", "/terms/rules/id-of-label", "/ledger", "/"):
        said = words(odd.get(path).text)
        assert "id-of-" not in said, path
        assert "no-kinds" not in said, path
    pages = [desk.look("/terms/rules/id-of-words", {"sites": "x.example"}), desk.look("/terms", rule="id-of-none"), desk.look("/terms/versions/1", number="1")]
    assert not any("id-of-" in words(page.text) for page in pages)
    said = words(odd.get("/terms").text)
    assert "Nobody may see the search words of anything. Change “Nobody may see the search words of anything”" in said
    assert "Change “Any vendor may see what you put in or took out of a cart, on any site”" in said


def test_what_the_terms_cut_is_said_by_their_words(odd: Browser, bookshop: Shop) -> None:
    """On the consent page, and kept with the grant: whatever becomes of the rule."""
    asked = purchases(fields={"time": "exact", "category": "leaf", "product": "exact"})
    path = odd.open(bookshop.ask([asked]))
    page = words(odd.get(path).text)
    assert "Your terms give no more (rule “Any shop, to recommend products”)." in page
    assert "Your terms forbid it (rule “Nobody may see the search words or product name of anything”)." in page
    grant = bookshop.connect(odd, [asked])["grant_id"]
    set_terms(odd.app.extensions["broker"], odd.person_id, {**ODD, "allow": [], "deny": []})
    kept = words(odd.get(f"/grants/{grant}").text)
    assert "Your terms forbid it (rule “Nobody may see the search words or product name of anything”)." in kept
    assert "id-of-" not in page + kept


def test_a_deny_keeps_its_id_whatever_becomes_of_it(odd: Browser, desk: Any) -> None:
    desk.save("/terms/rules/id-of-words", {"fields": [], "sites": "x.example"})
    assert [deny.id for deny in desk.terms.deny] == ["id-of-words", "id-of-a-site"]
    assert 'name="name"' not in odd.get("/terms/deny").text
    looked = desk.look("/terms/deny", {"sites": "y.example"})
    assert form_of(looked.text, "/terms/save")["sites"] == ["y.example"]
