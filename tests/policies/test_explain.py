"""Each template of policies.md section 10: what a clause, a narrowing, an answer or a rule says."""

import string
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from policies import explain, sentences
from policies.clauses import MEMBERS, Clause, Validity, dimensions, rule_defaults
from policies.decide import CHECKS
from policies.negotiate import Narrowing, negotiate
from policies.purposes import PURPOSES
from policies.requests import Request
from policies.roster import ROSTER
from policies.terms import Terms
from policies.vocabulary import ANSWERS, CATEGORIES, CHANNELS, DIMENSIONS, FIELDS, KINDS, SENSITIVE, SITE_CLASSES
from policies.windows import Window
from tests.policies import worlds

GOOD: dict[str, Any] = {
    "id": "c1", "action": "read", "base": "SD-BASE", "purposes": ["dpv:CustomerCare"], "kinds": ["purchase"], "form": "rows", "fields": {"time": "day"},
}  # fmt: skip


def clause(**members: Any) -> Clause:
    """The good clause with other members; those set to None are left out."""
    return Clause.parse({name: value for name, value in {**GOOD, **members}.items() if value is not None})


def says(**members: Any) -> list[str]:
    return explain.clause_sentences(clause(**members), "a.example")


@pytest.mark.parametrize(
    ("dim", "before", "after", "said"),
    [
        ("fields.price", "exact", "band", "Price: now the price as a rough range, before the exact price."),
        ("fields.price", "exact", None, "Price: now nothing, before the exact price."),
        ("kinds", ["cart", "purchase"], ["purchase"], "Kinds of event: no longer what you put in or took out of a cart, still what you bought."),
        ("sites", ["*"], ["shop.example"], "Sites: now shop.example, before any."),
        ("purposes", ["dpv:DirectMarketing"], [], "Purposes: now none, before tell you about their products."),
        ("duties.retention", "P30D", "P7D", "How long they keep it: now 7 days, before 30 days."),
        ("duties.profiling", True, False, "Building a profile of you: now no, before yes."),
        (
            "validity", {"from": "2026-12-01T00:00:00Z", "until": "2027-05-30T09:30:00Z"}, {"from": "2026-12-01T00:00:00Z", "until": "2027-01-31T23:59:59Z"},
            "How long it lasts: now until 31 January 2027, before until 30 May 2027.",
        ),
    ],
)  # fmt: skip
def test_what_a_narrowing_says(dim: str, before: Any, after: Any, said: str) -> None:
    assert explain.lessened(dim, before, after) == said


def test_a_clause_in_the_order_of_the_table() -> None:
    assert says() == [
        "a.example may see what you bought, on any site.",
        "Nothing from health, finance, adult, religion, politics, union, gambling, dating, children, legal, government, mail or sign-in sites, and no such products.",
        "For each: the day.",
        "They may not see page addresses or titles, where you came from, your device, product details, order details, payment or delivery.",
        "Only the last 90 days count, and nothing from the last day.",
        "They may look 24 times a day and get 500 rows a day, at most.",
        "They may use it only to help you as a customer.",
        "They must not build a profile of you, track you, train AI with it or pass it on.",
        "They must delete each row within 30 days, and all within 7 days of the end.",
        "They must tell you of a leak within 3 days.",
    ]


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"classes": ["shop", "news"], "sites": ["=www.shop.example", "self"]}, "a.example may see what you bought, on the address www.shop.example alone and their own sites, if a news or shop site."),
        ({"classes": ["shop"], "categories": ["books", "toys/x"]}, "a.example may see what you bought, on any shop site, only books and “toys/x”."),
        ({"sensitive": ["health", "baby"]}, "This includes health and baby: sites, products and searches."),
        ({"kinds": ["page_visit"], "fields": {"site": "host", "url": "origin"}}, "For each: the site's full address, the start of the page's address."),
        ({"kinds": ["search"], "fields": {"query": "topic"}}, "They may not see page addresses or titles, where you came from, your device, the search engine."),
        ({"fields": {"price": "bucket:10", "total": "band", "order_id": "pairwise"}}, "For each: an order number made for them alone, the total as a rough range, the price in steps of 10."),
        ({"fields": {"category": "top"}}, "By asking often they can work out the month."),
        ({"window": {"max_age": "PT1H", "min_age": "P0D"}}, "Only the last hour counts."),
        ({"window": {"min_age": "PT5H"}}, "Only the last 90 days count, and nothing from the last 5 hours."),
        ({"window": {"after": "2026-01-01T00:00:00Z"}}, "Nothing before 1 January 2026 counts."),
        ({"window": {"after": "2026-01-01T05:30:00Z"}}, "Nothing before 1 January 2026, 05:30 UTC counts."),
        ({"base": "SD-BASE-A"}, "This stands on the standard agreement SD-BASE-A."),
        ({"base": "SD-BASE", "duties": {"portability": True}}, "This stands on the standard agreement SD-BASE."),
        ({"base": "PDC-GOOD", "duties": {"portability": True}}, "This stands on the standard agreement PDC-GOOD."),
        ({"window": {"before": "2026-02-01T00:00:00Z"}}, "Nothing from 1 February 2026 on counts."),
        ({"rate": {"reads": "1/P1D", "rows": "1/P1D"}}, "They may look 1 time a day and get 1 row a day, at most."),
        ({"purposes": ["dpv:CustomerCare", "dpv:PublicBenefit"]}, "They may use it only to help you as a customer or benefit the public."),
        ({"duties": {"profiling": True, "tracking": True}}, "They may build a profile of you and track you."),
        ({"duties": {"profiling": True, "tracking": True}}, "They must not train AI with it or pass it on."),
        ({"duties": {"onward": "processors", "processors": ["A", "B"]}}, "They may pass it on to those who work for them: “A” and “B”."),
        ({"duties": {"onward": "anonymised"}}, "They may pass it on to those who work for them: nobody yet named."),
        ({"duties": {"onward": "anonymised"}}, "They may pass it on to others once nobody can tell that it is yours."),
        ({"duties": {"retention": "PT12H", "on_end": "delete:P1D"}}, "They must delete each row within 12 hours, and all within 1 day of the end."),
        ({"duties": {"storage": ["EEA", "JP"], "portability": True}}, "They must keep it in the EEA or JP, give you a copy when you ask and tell you of a leak within 3 days."),
        ({"form": "answers", "fields": None, "answers": ["recency"]}, "a.example may learn how many weeks ago you last bought, worked out from what you bought, on any site."),
        ({"form": "answers", "fields": None, "answers": ["recency"]}, "They may look 24 times a day, at most."),
        ({"answers": ["recency", "frequency"]}, "They may also learn how often you bought and how many weeks ago you last bought."),
        ({"action": "contact", "kinds": None, "form": None, "fields": None}, "a.example may write to your inbox here, at most 2 times in 30 days, to help you as a customer."),
        (
            {"action": "ask", "kinds": None, "form": None, "fields": None, "categories": ["books"], "rate": {"questions": "1/P30D"}},
            "a.example may ask you questions here, at most 1 time in 30 days, only about books, to help you as a customer.",
        ),
    ],
)
def test_each_template(members: dict[str, Any], sentence: str) -> None:
    assert sentence in says(**members)


VALUES: dict[str, list[Any]] = {
    "base": list(ROSTER),
    "purposes": [[name] for name in PURPOSES],
    "kinds": [*([kind] for kind in KINDS), list(KINDS)],
    "sites": [["*"], ["shop.example"], ["=shop.example"], ["=www.shop.example"], ["self"], ["self", "shop.example"], ["self", "=shop.example"]],
    "classes": [["*"], *([name] for name in SITE_CLASSES)],
    "sensitive": [[], *([name] for name in SENSITIVE), list(SENSITIVE)],
    "categories": [["*"], *([name] for name in CATEGORIES), ["books/crime"], ["books/crime and toys"], ["books/crime", "toys"]],
    "answers": [[], *([name] for name in ANSWERS)],
    "fields": [{"time": "day", "site": "host", "url": "exact", "product": "exact", name: level} for name, about in FIELDS.items() for level in about.levels],
    "window": [
        *({"max_age": most, "min_age": least} for most in ("P1D", "P90D", "PT36H") for least in ("P0D", "P1D", "PT1H")),
        *({edge: f"2026-01-01T{time}:00Z"} for edge in ("after", "before") for time in ("00:00", "05:30")),
    ],
    "rate": [{"reads": f"{reads}/P1D", "rows": f"{rows}/P1D"} for reads in (1, 24) for rows in (1, 500)],
    "duties": [
        {}, *({use: True} for use in ("profiling", "tracking", "ai_training", "portability")), {"retention": "P1D"}, {"retention": "PT12H"}, {"on_end": "delete:P1D"},
        {"breach_notice": "P1D"}, *({"onward": onward, "processors": names} for onward in ("processors", "anonymised") for names in ([], ["A"], ["A", "B"], ["A and B"])),
        *({"storage": regions} for regions in (["EEA"], ["CH", "EEA"], ["DE"])),
    ],
    "validity": [{}, {"max": "P1D"}, {"until": "2027-01-01T00:00:00Z"}, {"until": "2027-01-01T00:00:00Z", "max": "P1D"}],
}  # fmt: skip
"""Values of each dimension of a clause, none of which means the same as another."""


@pytest.mark.parametrize("dim", VALUES)
def test_no_two_values_of_a_dimension_read_alike(dim: str) -> None:
    """The text is signed: whoever reads it must be able to tell the clauses apart."""
    every = ["page_visit", "purchase", "search", "subscription"]
    clauses = [clause(**{"kinds": every, "fields": {"time": "day", "site": "host", "url": "exact"}, dim: value}) for value in VALUES[dim]]
    texts = {str(each.to_json()): explain.grant_text([each], "a.example") for each in clauses}
    assert len(texts) > 2
    assert len(set(texts.values())) == len(texts)


def test_without_lower_bound_the_window_says_what_is_fresh() -> None:
    bounded = clause()
    unbounded = replace(bounded, slice=replace(bounded.slice, window=Window(min_age=24)))
    assert "Nothing from the last day counts." in explain.clause_sentences(unbounded, "a.example")
    everything = replace(bounded, slice=replace(bounded.slice, window=Window()))
    assert not any("count" in sentence for sentence in explain.clause_sentences(everything, "a.example"))


def test_every_sensitive_class_may_be_open_and_every_use_permitted() -> None:
    sentences = says(sensitive=sorted(SENSITIVE), duties={"profiling": True, "tracking": True, "ai_training": True, "onward": "anonymised"})
    assert not any(sentence.startswith(("Nothing from", "They must not")) for sentence in sentences)


def test_what_the_extension_may_add() -> None:
    write = {"action": "write", "base": None, "purposes": None, "form": None, "fields": None, "kinds": ["page_visit"]}
    assert len(says(**write)) == 2
    narrow = says(**{**write, "fields": {"url": "origin", "site": "host", "time": "exact"}})
    assert narrow[0] == "a.example may add pages you visited, from any site; nothing leaves your broker by this."
    assert narrow[1].startswith("It may add nothing from health")
    assert narrow[2] == "Of these it adds only the start of the page's address."
    assert narrow[3] == "It may not add the page title, the site you came from, the device, the time you stayed, the certainty that it happened."


def test_ends() -> None:
    day = datetime(2027, 5, 30, tzinfo=UTC)
    assert explain.ending(Validity()) == "This has no end of its own."
    assert explain.ending(Validity(until=day)) == "This ends on 30 May 2027."
    assert explain.ending(Validity(longest=30 * 24)) == "This ends 30 days after your yes."
    assert explain.ending(Validity(until=day, longest=24)) == "This ends 1 day after your yes, or on 30 May 2027, whichever is first."


def test_the_end_is_said_once_or_by_part() -> None:
    one, other = clause(validity={"max": "P30D"}), clause(id="c2", validity={"max": "P10D"})
    assert explain.grant_text([one, one.with_id("c2")], "a.example").count(" ends ") == 1
    apart = explain.grant_text([one, other], "a.example", [{"kind": "discount", "text": "5%"}, {"kind": "gift", "text": "A pen"}])
    assert apart.count("This part ends ") == 2
    assert apart.endswith("In return they say: “5%” and “A pen”. You can end it at any time, at once.")


@pytest.mark.parametrize(
    ("dim", "asked", "given", "cause", "rule", "sentence"),
    [
        ("kinds", ["cart", "purchase"], ["purchase"], "not-in-terms", "books", "Kinds of event: they asked for what you put in or took out of a cart and what you bought, your terms allow what you bought. Your terms give no more (rule “books”)."),
        ("fields.price", "exact", "hidden", "denied", "no", "Price: they asked for the exact price, your terms allow nothing. Your terms forbid it (rule “no”)."),
        ("window.max_age", "P730D", "P90D", "not-in-terms", "b", "How far back: they asked for 730 days, your terms allow 90 days. Your terms give no more (rule “b”)."),
        ("window.after", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "not-in-terms", "b", "From when: they asked for 1 January 2026, your terms allow 1 February 2026. Your terms give no more (rule “b”)."),
        ("rate.reads", "24/P1D", "4/P1D", "not-in-terms", None, "How often: they asked for 24 in 1 day, your terms allow 4 in 1 day. Your terms give no more."),
        ("duties.processors", ["Parcel Ltd"], [], "not-in-terms", "b", "Who works for them: they asked for “Parcel Ltd”, your terms allow none. Your terms give no more (rule “b”)."),
        ("duties.profiling", True, False, "base", "b", "Building a profile of you: they asked for yes, your terms allow no. The standard agreement does not allow it (rule “b”)."),
        ("duties.on_end", "delete:P30D", "delete:P7D", "not-in-terms", "b", "Deletion at the end: they asked for 30 days, your terms allow 7 days. Your terms give no more (rule “b”)."),
        ("sites", ["*"], ["shop.example"], "not-in-terms", "b", "Sites: they asked for any, your terms allow shop.example. Your terms give no more (rule “b”)."),
        ("sensitive", ["health"], [], "sensitive", "b", "Sensitive subjects: they asked for health, your terms allow none. Your terms do not open this sensitive subject (rule “b”)."),
        ("sites", ["*"], ["=www.shop.example", "self"], "not-in-terms", None, "Sites: they asked for any, your terms allow the address www.shop.example alone and their own sites. Your terms give no more."),
        ("form", "rows", "answers", "not-in-terms", "b", "Rows or answers: they asked for rows, your terms allow answers. Your terms give no more (rule “b”)."),
        ("answers", ["monetary", "recency"], ["recency"], "denied", "d", "Answers: they asked for roughly how much you spent on a day with purchases and how many weeks ago you last bought, your terms allow how many weeks ago you last bought. Your terms forbid it (rule “d”)."),
        ("purposes", ["dpv:Marketing"], ["dpv:DirectMarketing"], "not-in-terms", "b", "Purposes: they asked for promote what they offer, your terms allow tell you about their products. Your terms give no more (rule “b”)."),
        ("validity", {"until": "2027-12-01T00:00:00Z"}, {"max": "P180D", "until": "2027-12-01T00:00:00Z"}, "not-in-terms", "b", "How long it lasts: they asked for on 1 December 2027, your terms allow 180 days after your yes, or on 1 December 2027, whichever is first. Your terms give no more (rule “b”)."),
        ("validity", {}, {"max": "P1D"}, "not-in-terms", "b", "How long it lasts: they asked for no end, your terms allow 1 day after your yes. Your terms give no more (rule “b”)."),
        ("rate.rows", "5/P1D", None, "not-in-terms", "b", "How many rows: they asked for 5 in 1 day, your terms allow nothing. Your terms give no more (rule “b”)."),
        ("action", "contact", None, "not-available", None, "Of one thing they asked for (to write to you) nothing can be given. This broker cannot do it yet."),
        ("action", "read", None, "not-in-terms", None, "Of one thing they asked for (to see events of yours) nothing can be given. Your terms give nothing of it."),
        ("action", "read", None, "unknown-vendor", None, "Of one thing they asked for (to see events of yours) nothing can be given. Your terms say nothing to this vendor."),
        ("base", ["SD-BASE"], None, "base", "b", "Of one thing they asked for (on other conditions) nothing can be given. The standard agreement does not allow it (rule “b”)."),
    ],
)  # fmt: skip
def test_each_narrowing(dim: str, asked: Any, given: Any, cause: str, rule: str | None, sentence: str) -> None:
    # The rule's id is for files; the sentence has what its person calls it.
    assert explain.narrowing(Narrowing("i~r", dim, asked, given, "fewer", cause, rule and "an-id", rule or "")) == sentence


def test_every_dimension_has_a_label() -> None:
    def forms(action: str) -> dict[str, Any]:
        members = {"window": {"max_age": 1, "min_age": 1, "after": 1, "before": 1}}
        return dimensions({**rule_defaults(action).to_json(), **members})

    every = {dim for action in MEMBERS for dim in forms(action) if not dim.startswith("fields.")} - {"id", "fields"}
    assert every == set(DIMENSIONS)


def test_every_reason_has_a_sentence_and_may_have_a_detail() -> None:
    assert all(explain.reason(slug).endswith(".") for _, slug in CHECKS)
    assert explain.reason("rate", "24 of 24.") == "They have looked as often as you allowed for today. 24 of 24."


def test_labels_are_plain() -> None:
    labels = [about.label for about in (*KINDS.values(), *PURPOSES.values())] + list(ANSWERS.values())
    assert all(label and label == label.strip() and "dpv" not in label for label in labels)
    assert CHANNELS == ("inbox",)


@pytest.mark.parametrize(
    ("found", "sentences"),
    [
        ({"recency": 1, "frequency": "1"}, ["You bought on 1 day in this time.", "You last bought 1 week ago."]),
        ({"recency": 0}, ["You last bought less than a week ago."]),
        ({"recency": None, "frequency": "0", "monetary": {}}, ["You bought nothing in this time.", "Nothing of what you spent.", "Nothing of when you last bought."]),
        ({"monetary": {"EUR": {"currency": "EUR"}, "JPY": {"currency": "JPY"}}}, ["On such a day you spent EUR and JPY on average."]),
        ({"frequency": "4-7"}, ["You bought on 4-7 days in this time."]),
    ],
)
def test_answers(found: dict[str, Any], sentences: list[str]) -> None:
    assert explain.answers(found, lambda band: band["currency"]) == sentences


def test_every_template_says_its_places_by_name() -> None:
    """Another language is another table: it can put the parts in another order, and lose none."""
    for template in sentences.TEMPLATES.values():
        assert all(name is None or name.isidentifier() for _, name, _, _ in string.Formatter().parse(template))


@given(worlds.terms_forms(), worlds.request_forms())
def test_every_sentence_comes_from_the_table(terms: dict[str, Any], request: dict[str, Any]) -> None:
    """With a mark in each template, no sentence is without one."""
    marked = {name: f"{text}¤" for name, text in sentences.TEMPLATES.items()}
    proposal = negotiate(Terms.parse(terms), Request.parse(request, worlds.BOOKS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explain, "TEMPLATES", marked)
        for clause in proposal.clauses:
            assert all(sentence.endswith("¤") for sentence in explain.clause_sentences(clause, "books.example"))
            assert explain.grant_text([clause], "books.example", [{"text": "5%"}]).endswith("¤")
        assert all(explain.narrowing(line).endswith("¤") for line in proposal.narrowed)
