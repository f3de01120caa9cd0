"""What is said before saving is what happens after: new terms shrink a running grant at once, never enlarge it, and undo brings it back (P3, P16)."""

import datetime as dt
import re
import time
from typing import Any

import pytest
from makers import Browser, Clock, Extension, Shop, page_visit, purchase, purchases
from pageforms import form_of

from broker.terms import effects
from broker.terms.actions import set_terms
from policies.terms import DEFAULT_TERMS

WIDE: dict[str, Any] = {
    **DEFAULT_TERMS.to_json(),
    "allow": [
        {
            "id": "all", "label": "Everything", "vendors": ["*"], "action": "read", "purposes": ["dpv:ProvideProductRecommendations", "dpv:CustomerCare"],
            "kinds": ["purchase", "search", "page_visit", "cart"], "form": "rows", "sensitive": ["health"],
            "fields": {"time": "day", "site": "host", "category": "leaf", "price": "exact", "product": "exact", "title": "exact", "url": "exact"},
            "window": {"max_age": "P90D", "min_age": "P1D"},
        }
    ],
    "deny": [],
}  # fmt: skip
WANT = purchases(fields={"time": "day", "site": "host", "category": "leaf", "price": "exact", "product": "exact", "title": "exact", "url": "exact"})


@pytest.fixture
def life(alice: Browser, clock: Clock) -> Browser:
    """Alice with wide terms, and events at two shops, of two categories, and a page visit each."""
    set_terms(alice.app.extensions["broker"], alice.person_id, WIDE)
    days = [clock() - dt.timedelta(days=n + 2) for n in range(6)]
    alice.store(
        *[purchase(day, f"Book {at}", minor=1000 + at) for at, day in enumerate(days)],
        *[purchase(day, f"Toy {at}", site="www.toys.example", category="toys/wood") for at, day in enumerate(days[:3])],
        *[page_visit(day) for day in days[:2]],
        purchase(clock() - dt.timedelta(days=200), "Too old"),
    )
    mixed = purchase(days[0], "A book", minor=777)
    mixed["items"].append({"category": "toys/wood", "product": "A toy", "quantity": 1, "price": {"amount_minor": 5, "currency": "EUR"}})
    alice.store(mixed)
    return alice


def wanting(**more: Any) -> dict[str, Any]:
    return {**WANT, "datatypes": ["purchase", "page_visit"], **more}


def pairs(row: dict[str, Any]) -> set[tuple[str, str]]:
    return {(name, str(value)) for name, value in row.items() if name not in {"id", "items"}} | {
        (name, str(value)) for item in row.get("items", []) for name, value in item.items()
    }


def numbers(text: str) -> dict[str, int]:
    """The figures beside a running grant."""
    said = " ".join(re.sub(r"<[^>]+>", "", text.split('id="grants"')[1]).split())
    found = {}
    for name, pattern in {
        "before": r"They can see (?:at least )?([\d,]+) rows? now", "after": r"and (?:at least )?([\d,]+) rows? then", "hidden": r"([\d,]+) rows? (?:is|are) hidden",
        "shown": r"([\d,]+) rows? comes? back", "less": r"Of ([\d,]+) rows? they see less", "more": r"Of ([\d,]+) rows? they see more",
    }.items():  # fmt: skip
        match = re.search(pattern, said)
        found[name] = int(match[1].replace(",", "")) if match else 0
    return found


@pytest.mark.parametrize(
    ("deny", "lines"),
    [
        ({"kinds": ["page_visit"]}, ["Kinds of event: books.example may no longer see pages you visited."]),
        ({"sites": "toys.example"}, ["Sites: books.example may no longer see anything on toys.example."]),
        ({"sites": "www.toys.example"}, ["Sites: books.example may no longer see anything on the address www.toys.example alone."]),
        ({"categories": ["toys"]}, ["Products: books.example may no longer see anything, where it is about toys."]),
        ({"fields": ["price", "title"]}, ["What is shown of each: books.example may no longer see the page title or price of pages you visited or what you bought."]),
        ({"fields": ["url"], "kinds": ["page_visit"]}, ["books.example may no longer see the page address or page title of pages you visited."]),
        ({"fields": ["price"], "categories": ["toys"]}, ["Products, What is shown of each: books.example may no longer see the price of what you bought, where it is about toys."]),
        ({"fields": ["time"]}, ["may no longer see the time"]),
        ({"classes": ["other"]}, ["Kinds of site: books.example may no longer see anything on other sites."]),
        ({"purposes": ["dpv:Personalisation"]}, ["Everything: books.example may see nothing more of this."]),
        ({"vendors": "books.example"}, ["Everything: books.example may see nothing more of this."]),
        ({}, ["Everything: books.example may see nothing more of this."]),
        ({"kinds": ["page_visit", "purchase"], "sites": "shop.example"}, ["Sites: books.example may no longer see anything on shop.example."]),
    ],
)
def test_a_deny_takes_what_the_page_said_and_undo_gives_it_back(life: Browser, desk: Any, bookshop: Shop, deny: dict[str, Any], lines: list[str]) -> None:
    bookshop.connect(life, [wanting()])
    before = bookshop.read("?limit=1000").json["items"]
    looked = desk.look("/terms/deny", deny)
    text = looked.text.replace("&#39;", "'")
    for line in lines:
        assert line in text, line
    told = numbers(text)
    assert told["before"] == len(before) == 12
    desk.save("/terms/deny", deny)
    answer = bookshop.read("?limit=1000")
    after = answer.json["items"] if answer.status_code == 200 else []
    assert answer.status_code in {200, 403}
    assert told["after"] == len(after)
    assert told["hidden"] == len(before) - len(after)
    # Each row kept tells nothing that it did not tell before, and the page said how many tell less.
    old = {row["id"]: pairs(row) for row in before}
    assert all(pairs(row) <= old[row["id"]] for row in after)
    assert told["less"] == sum(pairs(row) < old[row["id"]] for row in after)
    assert told["hidden"] or told["less"]

    undone = desk.send("/terms/undo", form_of(life.get("/terms").text, "/terms/undo"))
    assert undone.status_code == 303
    assert bookshop.read("?limit=1000").json["items"] == before


def test_the_way_back_is_told_as_well(life: Browser, desk: Any, bookshop: Shop) -> None:
    bookshop.connect(life, [wanting()])
    desk.save("/terms/deny", {"sites": "toys.example", "fields": ["price"]})
    few = bookshop.read("?limit=1000").json["items"]
    looked = desk.look("/terms", rule="no-sites")
    assert "books.example may again see the price of" in looked.text
    assert numbers(looked.text) == {"before": 12, "after": 12, "hidden": 0, "shown": 0, "less": 0, "more": 3}
    desk.save("/terms", rule="no-sites")
    desk.save("/terms/deny", {"kinds": ["page_visit"]})
    looked = desk.look("/terms", rule="no-kinds")
    assert numbers(looked.text)["shown"] == 2
    assert len(few) == 12


def test_wider_terms_enlarge_no_running_grant(life: Browser, desk: Any, bookshop: Shop) -> None:
    """P16 and O5: what a rule allows more reaches nobody who has a grant already."""
    narrow = {**WIDE, "allow": [{**WIDE["allow"][0], "kinds": ["purchase"], "fields": {"time": "day", "category": "top"}, "window": {"max_age": "P5D", "min_age": "P1D"}}]}
    set_terms(life.app.extensions["broker"], life.person_id, narrow)
    bookshop.connect(life, [wanting()])
    before = bookshop.read("?limit=1000").json["items"]
    assert "No running grant changes by this." in desk.look("/terms/rules/all", {"field.product": "exact", "max_age": "365", "kinds": ["purchase", "page_visit"]}).text
    desk.save("/terms/rules/all", {"field.product": "exact", "max_age": "365", "kinds": ["purchase", "page_visit"]})
    assert bookshop.read("?limit=1000").json["items"] == before
    # Nor does taking the rule away end it: the page says so.
    looked = desk.save("/terms", rule="all")
    assert "They stay as they are; to end one, revoke it:" in looked.text
    assert bookshop.read("?limit=1000").json["items"] == before


def test_each_running_grant_is_named_and_no_ended_one(life: Browser, desk: Any, bookshop: Shop, otherstore: Shop) -> None:
    third = Shop.register(life.app, "third.example")
    ended = third.connect(life, [wanting()])["grant_id"]
    life.post(f"/grants/{ended}/revoke", page="/grants")
    bookshop.connect(life, [wanting()])
    paused = otherstore.connect(life, [purchases()])["grant_id"]
    life.post(f"/grants/{paused}/pause", page="/grants")
    Extension.connect(life)
    text = desk.look("/terms/deny", {"kinds": ["page_visit"]}).text.split('id="grants"')[1]
    changed, same = text.split("These stay as they are")
    assert "books.example" in changed
    assert "Your extension may no longer add pages you visited." in changed
    assert "other.example" in same
    assert "(paused)" in same
    assert "third.example" not in text
    text = desk.look("/terms/deny", {"kinds": ["purchase"]}).text.split('id="grants"')[1]
    assert "Paused" in text
    assert numbers(f'id="grants"{text}')["before"] > 0


def test_a_deny_for_one_of_two_purposes_is_told_for_that_one(life: Browser, desk: Any, bookshop: Shop) -> None:
    bookshop.connect(life, [wanting(purposes=["dpv:ProvideProductRecommendations", "dpv:CustomerCare"])])
    looked = desk.look("/terms/deny", {"purposes": ["dpv:CustomerCare"]})
    assert "To help you as a customer: Purposes: books.example may no longer use it to help you as a customer." in looked.text
    assert "To recommend products to you: " not in looked.text
    desk.save("/terms/deny", {"purposes": ["dpv:CustomerCare"]})
    assert bookshop.read("?purpose=dpv:ProvideProductRecommendations").status_code == 200
    assert bookshop.read("?purpose=dpv:CustomerCare").status_code == 403


def test_a_deny_that_takes_nothing_from_a_grant_leaves_it_alone(life: Browser, desk: Any, bookshop: Shop) -> None:
    bookshop.connect(life, [wanting()])
    for deny in ({"kinds": ["search"]}, {"fields": ["query"]}, {"vendors": "other.example"}, {"purposes": ["dpv:Advertising"]}, {"actions": ["contact"]}, {"classes": ["dating"]}, {"categories": ["gambling"]}):
        assert "No running grant changes by this." in desk.look("/terms/deny", deny).text, deny


@pytest.mark.parametrize(
    ("deny", "said"),
    [
        ({"sites": "toys.example"}, "It hides 3 of your rows."),
        ({"categories": ["toys"]}, "It hides 3 of your rows, and a part of 1 more."),
        ({"fields": ["title"]}, "It hides a part of 2 of your rows."),
        ({"kinds": ["search"]}, "It touches none of your rows now; it holds for future ones."),
        ({}, "It hides 13 of your rows."),
        ({"vendors": "books.example", "kinds": ["page_visit"]}, "It hides 2 of your rows, from those and for what it speaks of."),
    ],
)
def test_rows_that_a_deny_touches_are_counted(life: Browser, desk: Any, deny: dict[str, Any], said: str) -> None:
    assert said in re.sub(r"\s+", " ", desk.look("/terms/deny", deny).text)


def test_rows_that_an_allow_rule_covers_are_those_a_grant_by_it_shows(life: Browser, desk: Any, bookshop: Shop) -> None:
    rule = {
        "label": "Books", "vendor": ["*"], "kinds": ["purchase"], "categories": ["books"], "field.time": "day", "field.product": "exact", "field.category": "leaf",
        "purposes": ["dpv:ProvideProductRecommendations"],
    }  # fmt: skip
    desk.save("/terms", rule="all")
    looked = desk.save("/terms/allow", rule)
    assert "It covers 7 of your rows now: at most these could be offered by it." in re.sub(r"\s+", " ", looked.text)
    bookshop.connect(life, [purchases(fields={"time": "day", "product": "exact", "category": "leaf"})])
    assert len(bookshop.read("?limit=1000").json["items"]) == 7


def test_counting_is_bounded_and_says_so(life: Browser, desk: Any, bookshop: Shop, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rare kinds are counted whole; what the bound cuts is at least so many, never too many."""
    bookshop.connect(life, [wanting()])
    opened = 0
    real = effects.events.newest

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal opened
        for event in real(*args, **kwargs):
            opened += 1
            yield event

    monkeypatch.setattr(effects.events, "newest", counted)
    monkeypatch.setattr(effects, "OPENED", 8)
    text = re.sub(r"\s+", " ", desk.look("/terms/deny", {"kinds": ["purchase", "page_visit"], "sites": "shop.example, toys.example"}).text)
    assert opened <= 8 + len(effects.KINDS)
    assert re.search(r"It hides at least \d of your rows", text)
    # The visits, fewer, were all counted; the purchases were cut.
    assert 8 <= numbers(text)["before"] + 1 <= 12
    assert "at least 8 rows" in text.replace("<strong>", "").replace("</strong>", "")


def test_a_grant_is_exact_where_the_bound_lies_before_its_window(life: Browser, desk: Any, bookshop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events older than every window are neither opened nor make a number uncertain."""
    bookshop.connect(life, [purchases()])
    monkeypatch.setattr(effects, "OPENED", 10)
    monkeypatch.setattr(effects, "_count_of_deny", lambda *_: None)
    text = re.sub(r"<[^>]+>", "", desk.look("/terms/deny", {"kinds": ["purchase"]}).text.split('id="grants"')[1])
    assert "They can see 10 rows now" in " ".join(text.split())


def test_a_long_history_is_looked_at_in_good_time(life: Browser, desk: Any, bookshop: Shop, clock: Clock) -> None:
    """Whatever is kept, no more than two thousand events are opened."""
    start = clock() - dt.timedelta(days=40)
    for _ in range(3):
        life.store(*[page_visit(start + dt.timedelta(minutes=n)) for n in range(1000)])
    bookshop.connect(life, [wanting()])
    began = time.monotonic()
    text = desk.look("/terms/deny", {"fields": ["title"]}).text
    assert time.monotonic() - began < 5
    assert numbers(text)["less"] >= 1900
    assert "at least" in text


def offered(desk: Any, change: dict[str, Any]) -> str:
    """What the page says of the rows of a new allow rule, all on one line."""
    rule = {
        "label": "New", "vendor": ["*"], "kinds": ["purchase"], "field.time": "day", "field.product": "exact", "field.category": "leaf",
        "purposes": ["dpv:ProvideProductRecommendations"],
    }  # fmt: skip
    said = re.sub(r"<[^>]+>", "", desk.look("/terms/allow", {**rule, **change}).text.split('id="rows"')[1].split('id="grants"')[0])
    return " ".join(said.split())


def in_force(person: Browser, **more: Any) -> None:
    set_terms(person.app.extensions["broker"], person.person_id, {**WIDE, "allow": [], **more})


@pytest.mark.parametrize(
    ("terms", "change", "said"),
    [
        ({}, {}, "It covers 10 of your rows now"),
        ({}, {"base": "PDC-AI"}, "Nothing could be offered by it: the agreement it stands on allows none of these purposes."),
        ({"base": "PDC-AI"}, {}, "Nothing could be offered by it: the agreement it stands on allows none of these purposes."),
        ({"base": "PDC-AI"}, {"purposes": ["dpv:ProvideProductRecommendations", "dpv:ScientificResearch"]}, "It covers 10 of your rows now"),
        ({"base": "PDC-INTENT", "deny": [{"id": "ads", "purposes": ["dpv:Marketing"]}]}, {"purposes": ["dpv:DirectMarketing"]}, "Nothing could be offered by it: what is never given takes all of it."),
        ({"base": "PDC-INTENT", "deny": [{"id": "ads", "purposes": ["dpv:Marketing"]}]}, {"purposes": ["dpv:DirectMarketing", "dpv:ProvideProductRecommendations"]}, "It covers 10 of your rows now"),
        ({"deny": [{"id": "toys", "categories": ["toys"]}]}, {}, "It covers 7 of your rows now"),
        ({"deny": [{"id": "toys", "sites": ["toys.example"]}]}, {}, "It covers 7 of your rows now"),
        ({"deny": [{"id": "toys", "sites": ["toys.example"], "vendors": ["known"]}]}, {}, "It covers 10 of your rows now"),
        ({"deny": [{"id": "toys", "sites": ["toys.example"], "vendors": ["known", "https://x.example"]}]}, {"vendor": ["known"]}, "It covers 7 of your rows now"),
        ({"deny": [{"id": "all", "kinds": ["purchase"]}]}, {}, "Nothing could be offered by it: what is never given takes all of it."),
        ({"deny": [{"id": "add", "actions": ["write"]}]}, {}, "It covers 10 of your rows now"),
        ({"requests": "AgentDisallowsRequests"}, {}, "Nothing could be offered by it: your terms let nobody ask you."),
        ({}, {"classes": ["health"]}, "Nothing could be offered by it: it names only sensitive subjects, and lets none of them in."),
        ({}, {"categories": ["health"]}, "Nothing could be offered by it: it names only sensitive subjects, and lets none of them in."),
        ({"allow": [{**WIDE["allow"][0], "id": "New", "label": "New", "validity": {"until": "2020-01-01T00:00:00Z"}}]}, {"rule": "New"}, "Nothing could be offered by it: its time is over or has not begun."),
        ({}, {"classes": ["health"], "sensitive": ["health"]}, "It covers none of your rows now; future ones could be offered by it."),
    ],
)
def test_rows_are_counted_as_the_whole_terms_let_them_through(life: Browser, desk: Any, terms: dict[str, Any], change: dict[str, Any], said: str) -> None:
    """Not by the rule alone: its agreement, sensitive subjects, who may ask and what is never given bound it too."""
    in_force(life, **terms)
    assert said in offered(desk, change)


def test_a_rule_says_no_more_than_its_agreement_allows(life: Browser, desk: Any) -> None:
    said = offered(desk, {"uses": ["profiling"], "onward": "anonymised"})
    assert "They must not build a profile of you, track you or train AI with it." in said
    assert "once nobody can tell" not in said
    assert "They may build a profile of you." in offered(desk, {"uses": ["profiling"], "base": "SD-BASE-ATP"})


def test_two_grants_of_one_vendor_are_told_apart(life: Browser, desk: Any, bookshop: Shop, clock: Clock) -> None:
    """Each card and each line links its own grant and says what it is about and when it was given; so do those that stay."""
    first = bookshop.connect(life, [purchases()])["grant_id"]
    clock.advance(minutes=3)
    second = bookshop.connect(life, [wanting(datatypes=["page_visit", "purchase"], purposes=["dpv:CustomerCare"])])["grant_id"]
    for kind in ("purchase", "search"):
        text = desk.look("/terms/deny", {"kinds": [kind]}).text.split('id="grants"')[1]
        said = []
        for grant in (first, second):
            card = text.split(f'href="/grants/{grant}"')[1].split('href="/grants/')[0]
            said.append(" ".join(re.sub(r"<[^>]+>", "", card.split("</p>", 1)[0] if kind == "purchase" else card.split("</li>")[0]).split()))
        assert said[0].endswith(": what you bought, to recommend products to you.")
        assert said[1].endswith(": pages you visited and what you bought, to help you as a customer.")
        assert said[0].partition("Given ")[2][:18] != said[1].partition("Given ")[2][:18]
