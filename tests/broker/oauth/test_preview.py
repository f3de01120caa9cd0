"""What the consent page says of rows is what the vendor then gets: standing denies are said by name, precision is named, and no row is promised that cannot come (C6)."""

import datetime as dt
import html
import re
from typing import Any

import pytest
from makers import ORIGIN, Browser, Clock, Extension, Shop, page_visit, purchase, purchases

from broker.terms.actions import set_terms
from policies import explain_terms
from policies.terms import DEFAULT_TERMS, Deny
from policies.vocabulary import ANSWERS

FIELDS = {"time": "day", "site": "host", "category": "leaf", "price": "exact", "product": "exact"}
WIDE: dict[str, Any] = {
    **DEFAULT_TERMS.to_json(),
    "allow": [
        {
            "id": "r1", "label": "Shops, to recommend", "vendors": ["*"], "action": "read", "purposes": ["dpv:ProvideProductRecommendations", "dpv:CustomerCare"],
            "kinds": ["purchase", "page_visit"], "form": "rows", "fields": {**FIELDS, "time": "exact", "title": "exact"}, "window": {"max_age": "P90D", "min_age": "P1D"},
        }
    ],
    "deny": [],
}  # fmt: skip


def terms(person: Browser, *denies: dict[str, Any]) -> None:
    set_terms(person.app.extensions["broker"], person.person_id, {**WIDE, "deny": list(denies)})


def asking(*kinds: str, **more: Any) -> dict[str, Any]:
    return {**purchases(fields=more.pop("fields", FIELDS), **more.pop("want", {})), "datatypes": list(kinds or ("purchase",)), **more}


def called(deny: dict[str, Any]) -> str:
    """How the person knows the deny."""
    return explain_terms.name(Deny.parse({"id": "x", **deny}))


def words(text: str) -> str:
    """The text of a page without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).replace(" .", ".").split())


def part(page: str, id_: str) -> str:
    """The words of one part of the page, by the id of its element."""
    found = re.search(rf'<(\w+)[^>]* id="{id_}".*?</\1>', page, re.DOTALL)
    assert found, id_
    return words(found[0])


@pytest.fixture
def life(alice: Browser, clock: Clock) -> Browser:
    """Alice with four books and three toys bought, and two pages visited, in the last days."""
    days = [clock() - dt.timedelta(days=n + 2) for n in range(4)]
    alice.store(
        *[purchase(day, f"Book {at}", minor=1000 + at) for at, day in enumerate(days)],
        *[purchase(day, f"Toy {at}", site="www.toys.example", category="toys/wood") for at, day in enumerate(days[:3])],
        *[page_visit(day, title=f"Page {at}") for at, day in enumerate(days[:2])],
    )
    return alice


@pytest.mark.parametrize(
    ("deny", "said", "rows"),
    [
        ({"categories": ["toys"]}, "books.example may not see anything, where it is about toys.", 4),
        ({"categories": ["books/crime"]}, "books.example may not see anything, where it is about “books/crime”.", 3),
        ({"sites": ["toys.example"]}, "books.example may not see anything on toys.example.", 4),
        ({"classes": ["other"]}, "books.example may not see anything on other sites.", 0),
        ({"categories": ["toys"], "kinds": ["purchase"]}, "books.example may not see anything, where it is about toys.", 4),
        ({"fields": ["price"], "sites": ["toys.example"]}, "books.example may not see the price of what you bought on toys.example.", 7),
        ({"kinds": ["purchase"], "purposes": ["dpv:CustomerManagement"]}, None, 7),
        ({"vendors": ["https://other.example"], "categories": ["toys"]}, None, 7),
        ({"sites": ["elsewhere.example"]}, "books.example may not see anything on elsewhere.example.", 7),
    ],
)
def test_what_a_deny_cuts_of_the_rows_is_said_by_its_name(life: Browser, bookshop: Shop, deny: dict[str, Any], said: str | None, rows: int) -> None:
    terms(life, {"id": "my-rule", **deny})
    page = life.get(life.open(bookshop.ask([asking()]))).text
    if said is None:
        assert "Your rule “" not in page
    else:
        assert f"{said} Your rule “{called(deny)}”." in part(page, "cuts-1")
    assert "my-rule" not in page
    assert (f"{rows} of your rows would show now" in words(page)) == bool(rows)
    # The vendor gets just these.
    bookshop.connect(life, [asking()])
    answer = bookshop.read()
    got = answer.json["items"] if answer.status_code == 200 else []
    assert len(got) == rows
    assert sum("price" in row["items"][0] for row in got) == (4 if "fields" in deny else rows)


def test_the_words_to_be_signed_stand_beside_what_your_terms_hold_back(life: Browser, bookshop: Shop) -> None:
    """An agreement does not list what is hidden (policies.md, section 2); so the page says it beside the agreement's words."""
    terms(life, {"id": "no-toys", "categories": ["toys"]})
    path = life.open(bookshop.ask([asking()]))
    form = life.form(path)
    ticked = life.client.post(
        "/oauth/authorize/preview", data={**form, "give": form["offered"]}, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"}
    ).text
    summary = part(ticked, "summary")
    # Without scripts the page is sent anew; what was opened to narrow stays open.
    assert '<details class="narrowing" open>' in ticked
    assert '<details class="narrowing">' in life.get(path).text
    assert "books.example may see what you bought, on any site." in summary
    assert "Your terms hold back more than these words say, and books.example is not told" in summary
    assert f"books.example may not see anything, where it is about toys. Your rule “{called({'categories': ['toys']})}”." in summary
    assert "Your rule" not in part(life.get(path).text, "summary")


def test_what_is_cut_follows_the_choices(life: Browser, bookshop: Shop) -> None:
    """With scripts only a part of the page is sent: preview, sentences and cuts together."""
    terms(life, {"id": "no-toys", "sites": ["toys.example"]})
    form = life.form(life.open(bookshop.ask([asking()])))
    headers = {"Sec-Fetch-Site": "same-origin", "HX-Request": "true"}
    for sites, there in (("toys.example", True), ("shop.example", False)):
        data = {**form, "give": form["offered"], "part": "1", "1.sites": sites}
        answer = life.client.post("/oauth/authorize/preview", data=data, base_url=ORIGIN, headers=headers).text
        assert '<div id="cuts-1" hx-swap-oob="true"' in answer
        assert ("Your rule “Nobody may see anything on toys.example”" in part(answer, "cuts-1")) == there
        assert ("your terms cut all of it" in part(answer, "preview-1")) == there
        assert "<html" not in answer


def swapped(answer: str, id_: str) -> str:
    """What a preview puts into the element of that id."""
    found = re.search(rf'<(\w+)[^>]* id="{re.escape(id_)}"[^>]* hx-swap-oob="innerHTML"[^>]*>(.*?)</\1>', answer, re.DOTALL)
    assert found, id_
    return words(found[2])


@pytest.mark.parametrize(
    ("name", "part_", "wrong", "right", "said"),
    [
        ("1.sites", "1", "banana split", "shop.example", "“banana” is no site."),
        ("until", "summary", "2020-01-01", "", "This day is over or too near."),
        ("until", "summary", "soon", "", "Write the end as a day"),
        ("1.without", "1", ["purchase", "page_visit"], ["page_visit"], "You left out every kind of event."),
    ],
)
def test_a_mistake_shows_at_its_field_and_goes_when_it_is_mended(
    life: Browser, bookshop: Shop, name: str, part_: str, wrong: Any, right: Any, said: str
) -> None:
    """The browser swaps answers of 422 as well: each holds the places of the mistakes it knows of, filled or emptied."""
    terms(life)
    form = life.form(life.open(bookshop.ask([asking("purchase", "page_visit")])))
    headers = {"Sec-Fetch-Site": "same-origin", "HX-Request": "true"}
    for value, status in ((wrong, 422), (right, 200)):
        data = {**form, "give": form["offered"], "part": part_, name: value}
        answer = life.client.post("/oauth/authorize/preview", data=data, base_url=ORIGIN, headers=headers)
        assert answer.status_code == status
        assert swapped(answer.text, f"f-{name}-error").startswith(said if status == 422 else "")
        assert bool(swapped(answer.text, f"f-{name}-error")) == (status == 422)
        # The list on top of a page that was sent whole goes with the last mistake, and no sooner.
        assert ('<div id="mistakes" hx-swap-oob="innerHTML"' in answer.text) == (status == 200 and part_ == "summary")
    page = life.client.post("/oauth/authorize/preview", data={**form, "give": form["offered"], name: wrong}, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"}).text
    assert part(page, f"f-{name}-error").startswith(said)


def test_a_clause_that_is_cut_whole_promises_nothing(life: Browser, bookshop: Shop) -> None:
    for deny in ({"classes": ["other"], "kinds": ["purchase"]}, {"sites": ["toys.example"]}):
        terms(life, {"id": "d", **deny})
        page = words(life.get(life.open(bookshop.ask([asking(want={"sites": ["toys.example"]})]))).text)
        assert "would show" not in page
        assert "Nothing, now or later: your terms cut all of it." in page


def test_future_events_are_promised_only_where_they_can_come(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    terms(alice)
    page = words(alice.get(alice.open(bookshop.ask([asking()]))).text)
    assert "Nothing yet. Future events would show." in page
    gone = (clock() - dt.timedelta(days=10)).strftime("%Y-%m-%dT00:00:00Z")
    page = words(alice.get(alice.open(bookshop.ask([asking(want={"window": {"before": gone}})]))).text)
    assert "Nothing, now or later: what they ask for ends in the past." in page
    end = (clock() + dt.timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    page = words(alice.get(alice.open(bookshop.ask([asking(want={"validity": {"until": end}})]))).text)
    assert "Nothing, now or later: this ends before anything new would show." in page
    terms(alice, {"id": "no-toys", "categories": ["toys"]})
    page = words(alice.get(alice.open(bookshop.ask([asking()]))).text)
    assert "Nothing now. Future events would show, but for what your terms cut." in page


def test_several_categories_are_judged_together(alice: Browser, bookshop: Shop) -> None:
    both = asking(want={"categories": ["books", "toys"]})
    terms(alice, {"id": "a", "categories": ["toys"]})
    assert "Future events would show, but" in words(alice.get(alice.open(bookshop.ask([both]))).text)
    terms(alice, {"id": "a", "categories": ["toys"]}, {"id": "b", "categories": ["books"]})
    assert "Nothing, now or later" in words(alice.get(alice.open(bookshop.ask([both]))).text)


def test_too_many_sorts_of_events_are_not_all_tried(alice: Browser, bookshop: Shop) -> None:
    """A vendor may name a thousand sites and a thousand categories: beyond a bound nothing is promised, and nothing denied."""
    terms(alice, {"id": "a", "classes": ["other"], "kinds": ["purchase"]})
    most = {"sites": [f"s{n}.example" for n in range(80)], "categories": [f"books/{n}" for n in range(80)]}
    page = words(alice.get(alice.open(bookshop.ask([asking(want=most)]))).text)
    assert "Nothing now. Of each time" in page


@pytest.mark.parametrize(
    ("level", "heading", "said"),
    [
        ("month", "Month (UTC)", "Of each time they get the month alone, in UTC. No row of a month comes before that month is over."),
        ("day", "Day (UTC)", "Of each time they get the day alone, in UTC. No row of a day comes before that day is over."),
        ("hour", "Hour (UTC)", "Of each time they get the hour alone, in UTC."),
        ("exact", "Time (UTC)", "They get each exact time, in UTC."),
        ("hidden", None, "They get no times. No row of a month comes before that month is over."),
    ],
)
def test_the_preview_names_its_precision(life: Browser, bookshop: Shop, clock: Clock, level: str, heading: str | None, said: str) -> None:
    terms(life)
    # By the month nothing of the present month shows (F3).
    life.store(purchase(clock() - dt.timedelta(days=45)))
    fields = {name: value for name, value in {**FIELDS, "time": level}.items() if value != "hidden"}
    page = life.get(life.open(bookshop.ask([asking(fields=fields)]))).text
    assert part(page, "precision-1") == said
    assert re.findall(r">([A-Z][a-z]+ \(UTC\))</th>", page) == ([heading] if heading else [])
    if level == "month":
        shown = re.findall(r">(20\d\d-[\d-]+)</td>", page)
        assert shown
        assert {len(each) for each in shown} == {len("2026-11")}


def test_a_deny_of_times_makes_rows_wait_for_their_month(life: Browser, bookshop: Shop) -> None:
    terms(life, {"id": "when", "fields": ["time"], "sites": ["elsewhere.example"]})
    page = life.get(life.open(bookshop.ask([asking()]))).text
    assert "No row of a month comes before that month is over." in part(page, "precision-1")


def test_purposes_that_show_different_rows_are_shown_apart(life: Browser, bookshop: Shop) -> None:
    terms(life, {"id": "care", "purposes": ["dpv:CustomerCare"], "categories": ["toys"]})
    two = asking(purposes=["dpv:ProvideProductRecommendations", "dpv:CustomerCare"])
    page = words(life.get(life.open(bookshop.ask([two]))).text)
    assert "7 of your rows would show now" in page
    assert "4 of your rows would show now" in page
    bookshop.connect(life, [two])
    assert [len(bookshop.read(f"?purpose=dpv:{each}").json["items"]) for each in ("ProvideProductRecommendations", "CustomerCare")] == [7, 4]


def test_the_extension_is_told_what_your_terms_keep_out(alice: Browser, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deny of whole events binds what is added; one of fields only what is shown (policies.md, K3), so it is not named here."""
    terms(alice, {"id": "no-titles", "fields": ["title"]}, {"id": "no-toys", "sites": ["toys.example"]}, {"id": "no-books", "categories": ["books"], "actions": ["read"]})
    pages: list[str] = []
    form = alice.form

    def looked_at(path: str) -> dict[str, Any]:
        pages.append(alice.get(path).text)
        return form(path)

    monkeypatch.setattr(alice, "form", looked_at)
    extension = Extension.connect(alice)
    assert part(pages[0], "cuts-1").endswith("may not add anything on toys.example. Your rule “Nobody may see anything on toys.example”.")
    assert pages[0].count("Your rule “") == part(pages[0], "cuts-1").count("Your rule “") == 1
    at = clock() - dt.timedelta(hours=1)
    answer = extension.upload(page_visit(at, url="https://toys.example/", title="A kite"), page_visit(at, title="A book"))
    assert [result["status"] for result in answer.json["results"]] == ["refused", "accepted"]
    assert "A book" in alice.get("/activity").text


@pytest.mark.parametrize("parts", [1, 2])
def test_what_nothing_can_be_given_of_is_said(life: Browser, bookshop: Shop, parts: int) -> None:
    """Also beside a part that can be given."""
    beside = parts > 1
    terms(life)
    answers = asking(want={"form": "answers", "answers": ["frequency", "recency"]}, fields={})
    answers["why"] = "To thank good customers"
    page = life.get(life.open(bookshop.ask([asking(), answers] if beside else [answers]))).text
    assert ("What your terms do not let you give" in page) == beside
    assert ("Your terms give nothing of this" in page) != beside
    assert words(page).count("Of one thing they asked for (to see events of yours) nothing can be given. Your terms give nothing of it.") == 1
    learnt = f"{ANSWERS['frequency']} and {ANSWERS['recency']}"
    assert re.search(rf"They asked that books\.example may learn {re.escape(learnt)}[^.]*\. Their words: To thank good customers", words(page))
