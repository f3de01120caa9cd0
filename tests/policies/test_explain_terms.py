"""Terms in sentences: every dimension is said, and nothing else."""

import string
from typing import Any

import pytest

from policies import explain_terms
from policies.explain_terms import deny_sentence, name, named, roster_label, roster_sentence, rule_sentences, terms_sentences
from policies.negotiate import negotiate
from policies.purposes import PURPOSES
from policies.requests import Request
from policies.roster import ROSTER
from policies.terms import DEFAULT_TERMS, REQUESTS, Deny, Terms
from policies.vocabulary import CATEGORIES, FIELDS, KINDS, SITE_CLASSES
from tests.policies.worlds import BOOKS


def deny(**members: Any) -> Deny:
    return Deny.parse({"id": "d", **members})


def test_the_default_terms_in_words() -> None:
    said = terms_sentences(DEFAULT_TERMS)
    assert said[0] == "Any vendor may ask you."
    assert said[2].startswith("Any vendor may see what you bought, on any site. Nothing from health")
    assert said[2].endswith("They must tell you of a leak within 3 days. A grant by this rule ends 180 days after your yes.")
    assert said[3:] == [
        "Nobody may see anything, if it is to sell your data to others, sell what they learn from your data or advertise.",
        "Nobody may see the page title or search words of anything.",
    ]


def test_each_roster_agreement_has_one_sentence_of_its_own() -> None:
    sentences = {base: roster_sentence(base) for base in ROSTER}
    labels = {base: roster_label(base) for base in ROSTER}
    assert len(set(sentences.values())) == len(set(labels.values())) == 13
    for base, sentence in sentences.items():
        row = ROSTER[base]
        assert sentence.count(".") == 1
        permitted, refused, copy = sentence.split("; ")
        for use, words in (("analytics", "analyse how you use their service"), ("tracking", "to track you"), ("profiling", "build a profile of you")):
            assert (words in permitted) == getattr(row, use), base
            assert (words.removeprefix("to ") in refused) != getattr(row, use) or (use, row.anonymised) == ("tracking", True), base
        assert ("once nobody can tell" in permitted) == row.anonymised
        assert ("pass it on" in refused) != row.anonymised
        assert ("must give you a copy" in copy) == row.portability
        assert ("train AI" in permitted) == row.ai_training


def test_every_way_of_asking_has_a_sentence() -> None:
    assert set(explain_terms.REQUESTS) == set(REQUESTS)


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"vendors": ["https://books.example"]}, "books.example may see nothing, and what they ask is refused without being shown to you."),
        ({"vendors": ["known"], "actions": ["read"]}, "Vendors you bought from may not see anything."),
        ({"vendors": ["class:bookshop", "member:guild"], "kinds": ["cart"]}, "Vendors of the kind “bookshop” or members of “guild” may not see what you put in or took out of a cart."),
        ({"actions": ["read"], "kinds": ["search", "cart"]}, "Nobody may see what you searched for or what you put in or took out of a cart."),
        ({"kinds": ["search"]}, "Nobody may see what you searched for. Your extension may not add that either."),
        ({"kinds": ["search"], "fields": ["query"]}, "Nobody may see the search words of what you searched for."),
        ({"actions": ["write"], "fields": ["query"]}, "What your extension adds is taken or refused whole, so a rule about single details of it forbids nothing."),
        ({"actions": ["write"], "classes": ["work"]}, "Your extension may not add anything on work sites."),
        ({"actions": ["contact", "ask"], "categories": ["books", "toys"]}, "Nobody may write to you about or ask you about anything, where it is about books or toys."),
        ({"actions": ["read"], "fields": ["price"], "sites": ["=www.shop.example"]}, "Nobody may see the price of anything on the address www.shop.example alone."),
        ({"purposes": ["dpv:DirectMarketing"]}, "Nobody may see anything, if it is to tell you about their products."),
        ({}, "Nobody may see anything. Your extension may not add that either."),
    ],
)
def test_a_deny_in_words(members: dict[str, Any], sentence: str) -> None:
    assert deny_sentence(deny(**members)) == sentence


@pytest.mark.parametrize(
    ("member", "entries", "labels"),
    [
        ("kinds", KINDS, [about.label for about in KINDS.values()]),
        ("classes", SITE_CLASSES, SITE_CLASSES),
        ("categories", CATEGORIES, CATEGORIES),
        ("fields", FIELDS, [about.noun for about in FIELDS.values()]),
        ("purposes", PURPOSES, [about.label for about in PURPOSES.values()]),
    ],
)
def test_each_word_of_a_dimension_is_said(member: str, entries: Any, labels: Any) -> None:
    for entry, label in zip(entries, labels, strict=True):
        assert label in deny_sentence(deny(**{member: [entry]}))


def test_a_rule_says_its_own_agreement_and_end() -> None:
    form = {**DEFAULT_TERMS.to_json()["allow"][0], "base": "SD-BASE-A", "vendors": ["https://b.example", "*"]}
    rule = Terms.parse({**DEFAULT_TERMS.to_json(), "allow": [form]}).allow[0]
    said = rule_sentences(rule, "SD-BASE")
    assert said[0].startswith("b.example or any vendor may see")
    assert said[-2].startswith("It stands on the agreement SD-BASE-A: They may use it")
    assert said[-1] == "A grant by this rule ends 180 days after your yes."
    assert not any("agreement" in sentence for sentence in rule_sentences(rule, "SD-BASE-A"))


def test_every_template_is_used_and_has_named_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another language is another table: with marks in it, every sentence of this module carries one."""
    for template in explain_terms.TEMPLATES.values():
        assert all(name is None or name.isidentifier() for _, name, _, _ in string.Formatter().parse(template))
    monkeypatch.setattr(explain_terms, "TEMPLATES", {name: f"«{text}»" for name, text in explain_terms.TEMPLATES.items()})
    said = [*(deny_sentence(each) for each in DEFAULT_TERMS.deny), roster_sentence("SD-BASE"), rule_sentences(DEFAULT_TERMS.allow[0], "SD-BASE-A")[-2]]
    assert all("«" in sentence for sentence in said)


def test_a_rule_says_no_more_than_its_agreement_allows() -> None:
    form = {**DEFAULT_TERMS.to_json()["allow"][0], "duties": {"profiling": True}}

    def said(**members: Any) -> list[str]:
        return rule_sentences(Terms.parse({**DEFAULT_TERMS.to_json(), "allow": [{**form, **members}]}).allow[0], "SD-BASE")

    assert "They may build a profile of you." in said(base="SD-BASE-ATP")
    assert "They must not build a profile of you, track you, train AI with it or pass it on." in said()
    assert "They may use it only to recommend products to you." in said(purposes=["dpv:ProvideProductRecommendations", "dpv:PublicBenefit"])
    hollow = said(purposes=["dpv:PublicBenefit"])
    assert "They may use it only to benefit the public." in hollow
    assert "Its agreement allows none of these purposes, so nothing can be offered by it." in hollow


def test_a_rule_is_called_by_its_label_or_by_what_it_says_first() -> None:
    form = DEFAULT_TERMS.to_json()["allow"][0]
    bare = Terms.parse({**DEFAULT_TERMS.to_json(), "allow": [{key: value for key, value in form.items() if key != "label"}]}).allow[0]
    assert name(DEFAULT_TERMS.allow[0]) == "Any shop, to recommend products"
    assert name(bare) == "Any vendor may see what you bought, on any site"
    assert name(DEFAULT_TERMS.deny[1]) == "Nobody may see the page title or search words of anything"


def test_narrowings_are_told_by_the_names_of_rules() -> None:
    want = {"form": "rows", "fields": {"time": "exact", "query": "exact"}}
    items = [
        {"id": "i1", "action": "read", "kinds": ["purchase", "search"], "purposes": ["dpv:ProvideProductRecommendations"], "why": "x", "want": want},
        {"id": "i2", "action": "read", "kinds": ["cart"], "purposes": ["dpv:ProvideProductRecommendations"], "why": "x", "want": want},
    ]
    proposal = negotiate(DEFAULT_TERMS, Request.parse({"vendor": BOOKS.id, "items": items}, BOOKS))
    told = {line.rule: line.said for line in named(proposal, DEFAULT_TERMS).narrowed}
    assert told == {"recommendations": "Any shop, to recommend products", "no-words": "Nobody may see the page title or search words of anything", None: ""}
    # The form of section 6 knows nothing of it.
    assert named(proposal, DEFAULT_TERMS).to_json() == proposal.to_json()
