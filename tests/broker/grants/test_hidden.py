"""A grant that the terms in force hide, wholly or in part: the person's pages say so and name the rule; the vendor learns nothing by it."""

import datetime as dt
import re
from typing import Any

import pytest
from makers import Browser, Clock, Extension, Shop, purchase, purchases

from broker.terms.actions import set_terms
from policies.terms import DEFAULT_TERMS

HIDDEN = "Hidden by your terms"
BLOCK = {"id": "b1", "vendors": ["https://books.example"]}


def deny(person: Browser, *denies: dict[str, Any]) -> None:
    """Put these denies in force beside those everyone has."""
    document = DEFAULT_TERMS.to_json()
    set_terms(person.app.extensions["broker"], person.person_id, {**document, "deny": [*document["deny"], *denies]})


def pages(person: Browser, grant: str) -> list[str]:
    """The three pages that name a grant's state."""
    return [" ".join(person.get(path).text.split()) for path in ("/grants", f"/grants/{grant}", "/")]


@pytest.mark.parametrize(
    ("denies", "link"),
    [
        ([BLOCK], "/terms#blocked"),
        ([{"id": "b1", "vendors": ["prior-agreement"]}], "/terms#rule-b1"),
        ([{"id": "b1", "actions": ["read"]}], "/terms#rule-b1"),
        ([{"id": "b1", "purposes": ["dpv:ServicePersonalisation"]}], "/terms#rule-b1"),
        ([{"id": "b1", "kinds": ["purchase"]}], "/terms#rule-b1"),
    ],
)
def test_a_grant_wholly_denied_is_not_called_live(alice: Browser, bookshop: Shop, clock: Clock, denies: list[dict[str, Any]], link: str) -> None:
    alice.store(purchase(clock() - dt.timedelta(days=3)))
    grant = bookshop.connect(alice)["grant_id"]
    assert all("Live</span>" in page and HIDDEN not in page for page in pages(alice, grant))
    deny(alice, *denies)
    assert not (bookshop.read().json or {}).get("items")
    assert all(HIDDEN in page and "Live</span>" not in page for page in pages(alice, grant))
    anchor = link.partition("#")[2]
    assert f'href="{link}"' in pages(alice, grant)[0]
    assert f'href="{link}"' in pages(alice, grant)[1]
    assert f'id="{anchor}"' in alice.get("/terms").text
    deny(alice)
    assert all("Live</span>" in page and HIDDEN not in page for page in pages(alice, grant))


def test_two_rules_that_together_take_all(alice: Browser, bookshop: Shop) -> None:
    document = DEFAULT_TERMS.to_json()
    document["allow"][0]["kinds"] = ["cart", "purchase"]
    broker = alice.app.extensions["broker"]
    set_terms(broker, alice.person_id, document)
    grant = bookshop.connect(alice, [{**purchases(), "datatypes": ["cart", "purchase"]}])["grant_id"]
    denies = [{"id": f"no-{kind}", "kinds": [kind]} for kind in ("cart", "purchase")]
    set_terms(broker, alice.person_id, {**document, "deny": denies[:1]})
    first = pages(alice, grant)
    assert all("Live</span>" in page and HIDDEN not in page for page in first)
    for page in first[:2]:
        assert "may no longer see what you put in or took out of a cart" in page
        assert 'href="/terms#rule-no-cart"' in page
    set_terms(broker, alice.person_id, {**document, "deny": denies})
    assert all(HIDDEN in page for page in pages(alice, grant))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"fields": ["price"]}, "may no longer see the price of what you bought"),
        ({"sites": ["shop.example"]}, "may no longer see anything on shop.example"),
        ({"vendors": ["known"], "categories": ["books"]}, "may no longer see anything, where it is about books"),
    ],
)
def test_a_grant_partly_cut_says_what(alice: Browser, bookshop: Shop, clock: Clock, rule: dict[str, Any], words: str) -> None:
    alice.store(purchase(clock() - dt.timedelta(days=3), site="www.books.example"))
    grant = bookshop.connect(alice)["grant_id"]
    deny(alice, {"id": "cut", **rule})
    for page in pages(alice, grant)[:2]:
        assert words in page
        assert "Live</span>" in page
        assert 'href="/terms#rule-cut"' in page


def test_where_one_rule_takes_all_the_others_are_not_told(alice: Browser, bookshop: Shop) -> None:
    grant = bookshop.connect(alice)["grant_id"]
    deny(alice, {"id": "cut", "fields": ["price"]}, BLOCK)
    assert all("You blocked it." in page and "#rule-cut" not in page for page in pages(alice, grant)[:2])


def test_a_rule_that_speaks_of_others_says_nothing(alice: Browser, bookshop: Shop) -> None:
    grant = bookshop.connect(alice)["grant_id"]
    deny(alice, {"id": "cut", "vendors": ["https://other.example", "known"]}, {"id": "ads", "purposes": ["dpv:Advertising"]}, {"id": "w", "fields": ["query"]})
    assert all("Live</span>" in page and "#rule-" not in page and HIDDEN not in page for page in pages(alice, grant))


def test_paused_stays_paused_and_ended_stays_ended(alice: Browser, bookshop: Shop) -> None:
    grant = bookshop.connect(alice)["grant_id"]
    deny(alice, BLOCK)
    alice.post(f"/grants/{grant}/pause", page="/grants")
    listed, shown, _ = pages(alice, grant)
    assert "Paused</span>" in listed
    assert "Your terms hide all of it" in shown
    alice.post(f"/grants/{grant}/revoke", page="/grants")
    assert all("Ended</span>" in page and "your terms" not in page.lower() for page in pages(alice, grant)[:1])
    assert "Your terms hide" not in pages(alice, grant)[1]


def test_the_extension_too(alice: Browser) -> None:
    Extension.connect(alice)
    deny(alice, {"id": "nothing", "actions": ["write"]})
    listed = " ".join(alice.get("/grants").text.split())
    assert HIDDEN not in listed
    assert "Stopped by your terms" in listed
    page = alice.get(re.findall(r'href="(/grants/[^"/]+)"', listed)[0]).text
    assert "<title>Grant of your extension" in page
    assert "as long as they do, your extension can add nothing by this grant." in page


def test_the_vendor_learns_nothing_new(alice: Browser, bookshop: Shop) -> None:
    bookshop.connect(alice)
    before = bookshop.call("GET").json
    deny(alice, BLOCK)
    assert bookshop.call("GET").json == before
    refused = bookshop.read()
    assert refused.status_code == 403
    assert "terms" not in refused.text


def test_a_grant_that_nobody_signed_is_not_called_live(alice: Browser, bookshop: Shop) -> None:
    grant = bookshop.connect(alice, sign=False)["grant_id"]
    assert all("Not signed yet</span>" in page and "Live</span>" not in page for page in pages(alice, grant))
    assert bookshop.countersign().status_code == 204
    assert all("Live</span>" in page and "Not signed yet" not in page for page in pages(alice, grant))


def test_it_is_the_persons_own(alice: Browser, bob: Browser, bookshop: Shop) -> None:
    grant = bookshop.connect(alice)["grant_id"]
    deny(bob, BLOCK)
    assert all("Live</span>" in page and HIDDEN not in page for page in pages(alice, grant))
