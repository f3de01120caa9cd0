"""What changed in terms is said once for each rule, and what a deny takes is never kept quiet."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.terms import sentences
from broker.terms.sentences import changes, effects
from policies import explain_terms
from policies.clauses import Clause
from policies.explain_terms import deny_sentence, roster_sentence, rule_sentences
from policies.slices import Slice
from policies.terms import DEFAULT_TERMS, Deny, Terms
from tests.policies import worlds
from tests.policies.properties import clause_of, read


def deny(**members: Any) -> Deny:
    return Deny.parse({"id": "d", **members})


def test_what_changed_is_said_once_for_each_rule() -> None:
    form = DEFAULT_TERMS.to_json()
    assert changes(DEFAULT_TERMS, Terms.parse({**form, "version": 9})) == []
    other = Terms.parse({
        **form, "base": "SD-BASE-A", "requests": "AgentDisallowsRequests", "allow": [],
        "deny": [form["deny"][1] | {"fields": ["query"]}, {"id": "new", "kinds": ["search"]}],
    })  # fmt: skip
    assert changes(DEFAULT_TERMS, other) == [
        f"The agreement your rules stand on was “To serve me” (SD-BASE) and is “To serve me and analyse” (SD-BASE-A). {roster_sentence('SD-BASE-A')}",
        "Who may ask: Nobody may ask you. Every request is refused without being shown to you.",
        "Changed: “Nobody may see the page title or search words of anything” is now “Nobody may see the search words of anything”.",
        "New: Nobody may see what you searched for. Your extension may not add that either.",
        "Gone: “Any shop, to recommend products”. Any vendor may see what you bought, on any site.",
        "Gone: Nobody may see anything, if it is to sell your data to others, sell what they learn from your data or advertise.",
    ]


def test_every_template_is_used_and_has_named_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another language is another table: with marks in it, every sentence of this module carries one."""
    for module in (explain_terms, sentences):
        for template in module.TEMPLATES.values():
            assert all(name is None or name.isidentifier() for _, name, _, _ in string.Formatter().parse(template))
        monkeypatch.setattr(module, "TEMPLATES", {name: f"«{text}»" for name, text in module.TEMPLATES.items()})
    clause = DEFAULT_TERMS.allow[0].clause
    said = [
        *(deny_sentence(each) for each in DEFAULT_TERMS.deny), roster_sentence("SD-BASE"), rule_sentences(DEFAULT_TERMS.allow[0], "SD-BASE-A")[-2],
        *changes(DEFAULT_TERMS, Terms.parse({**DEFAULT_TERMS.to_json(), "base": "SD-BASE-A", "deny": [], "allow": []})),
        *effects([deny(kinds=["purchase"])], [deny(fields=["price"]), deny(purposes=["dpv:Personalisation"])], clause, "x"),
    ]  # fmt: skip
    assert len(said) > 8
    assert all("«" in sentence for sentence in said)


def lines(clause: Clause, *denies: Deny) -> list[str]:
    return effects([], denies, clause, "books.example")


def test_what_comes_and_goes_at_once_is_said_each_way() -> None:
    clause = DEFAULT_TERMS.allow[0].clause
    old, new = deny(fields=["price"]), deny(sites=["clinic.example"])
    assert effects([old], [new], clause, "x") == ["Sites: x may no longer see anything on clinic.example.", "What is shown of each: x may again see the price of what you bought."]
    assert effects([old], [old], clause, "x") == []


@pytest.mark.parametrize(
    ("member", "entries"),
    [("sites", ["clinic.example"]), ("classes", ["news", "health"]), ("categories", ["toys"]), ("kinds", ["search"]), ("fields", ["brand"]), ("purposes", ["dpv:PublicBenefit"])],
)
def test_what_takes_nothing_is_not_said(member: str, entries: list[str]) -> None:
    """One clause about crime books of one shop: a deny beside it is silent, one within it is not."""
    form = {**DEFAULT_TERMS.to_json()["allow"][0], "base": "SD-BASE", "sites": ["shop.example"], "classes": ["shop"], "categories": ["books/crime"]}
    clause = Clause.parse({name: value for name, value in form.items() if name not in {"vendors", "label"}})
    within = {"sites": ["=www.shop.example"], "classes": ["shop"], "categories": ["books"], "kinds": ["purchase"], "fields": ["price"], "purposes": ["dpv:Personalisation"]}
    assert lines(clause, deny(**{member: entries})) == []
    assert len(lines(clause, deny(**{member: within[member]}))) == 1


def test_one_purpose_of_two_is_lost() -> None:
    form = {**DEFAULT_TERMS.to_json()["allow"][0], "base": "SD-BASE", "purposes": ["dpv:ProvideProductRecommendations", "dpv:CustomerCare"]}
    clause = Clause.parse({name: value for name, value in form.items() if name not in {"vendors", "label"}})
    care, both = deny(purposes=["dpv:CustomerManagement"]), deny(purposes=["dpv:CustomerManagement", "dpv:Personalisation"])
    assert lines(clause, care) == ["Purposes: books.example may no longer use it to help you as a customer."]
    assert effects([care], [], clause, "x") == ["Purposes: x may again use it to help you as a customer."]
    assert lines(clause, both) == ["Everything: books.example may see nothing more of this."]


def test_the_extension_adds_and_does_not_see() -> None:
    clause = Clause.parse({"id": "w", "action": "write", "kinds": ["cart", "purchase"]})
    assert effects([], [deny(kinds=["cart"])], clause, "Your extension") == ["Kinds of event: Your extension may no longer add what you put in or took out of a cart."]
    assert effects([], [deny()], clause, "Your extension") == ["Everything: Your extension may add nothing more of this."]


@given(st.fixed_dictionaries({"part": worlds.slices, "standing": st.lists(worlds.denies, max_size=1), "denied": worlds.denies, "events": st.lists(worlds.events(), min_size=1, max_size=3)}))
def test_silence_means_that_nothing_changes(world: dict[str, Any]) -> None:
    """Where no sentence is said of a grant, no read of it changes by the deny; judged by `decide` and the slices, on events of all kinds."""
    clause = clause_of(world["part"])
    denied = Deny(**{name: getattr(world["denied"], name) for name in world["denied"].__slots__} | {"vendors": None, "actions": None})
    if lines(clause, denied):
        return
    assert read(clause.slice, world["standing"], world["events"]) == read(clause.slice, [*world["standing"], denied], world["events"])


def test_a_planted_silence_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The property above can fail: made quiet about what depends on the event, it meets a read that changes."""
    part = Slice.parse({"kinds": ["purchase"], "fields": {"time": "day", "price": "exact"}})
    price = {"amount_minor": 1, "currency": "EUR"}
    event = {
        "id": "1", "kind": "purchase", "time": "2026-12-01T00:00:00.000Z", "host": "a.example", "domain": "a.example", "class": "shop",
        "items": [{"category": "toys", "price": price}],
    }  # fmt: skip
    hides = deny(fields=["price"])
    assert lines(clause_of(part), hides)
    monkeypatch.setattr(sentences, "_met", lambda *_: None)
    assert not lines(clause_of(part), hides)
    assert read(part, [], [event]) != read(part, [hides], [event])


def test_a_changed_rule_says_what_is_different() -> None:
    form = DEFAULT_TERMS.to_json()
    rule = form["allow"][0]
    bare = {name: value for name, value in rule.items() if name != "label"}

    def said(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
        return changes(*(Terms.parse({**form, "allow": [each]}) for each in (before, after)))

    assert said(rule, {**rule, "window": {"max_age": "P30D"}}) == ["Changed: “Any shop, to recommend products”. Only the last 30 days count, and nothing from the last day."]
    assert said(bare, {**bare, "rate": {"reads": "1/P1D"}}) == ["Changed: “Any vendor may see what you bought, on any site”. They may look 1 time a day and get 500 rows a day, at most."]
    assert said(rule, {**rule, "label": "Shops"}) == ["Changed: “Any shop, to recommend products” is now called “Shops”. Any vendor may see what you bought, on any site."]
