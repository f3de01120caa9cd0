"""Rules by the form: added, changed and removed, with a mistake losing nothing."""

import html
import re
from typing import Any

import pytest
from makers import Browser
from pageforms import form_of

from broker.ledger import queries as ledger
from broker.terms.actions import set_terms
from policies.roster import ROSTER
from policies.terms import DEFAULT_TERMS, REQUESTS, Terms
from policies.vocabulary import SITE_CLASSES

BOOKS: dict[str, Any] = {
    "label": "Bookshops", "vendor": ["known"], "vendors": "books.example, https://Other.example/shop?x=1, class:bookshop", "kinds": ["purchase", "cart"],
    "sites": "shop.example, www.mail.example", "own": ["self"], "categories": ["books"], "topics": "toys/wood", "field.price": "bucket:10", "field.time": "day",
    "max_age": "30", "min_age": "2", "reads": "5", "rows": "50", "longest": "100", "purposes": ["dpv:ProvideProductRecommendations"], "retention": "10",
    "uses": ["profiling", "portability"], "onward": "processors", "processors": "Parcel Ltd; Post, Inc.", "storage": "eea, CH", "base": "SD-BASE-ATP",
}  # fmt: skip


def test_it_begins_with_the_careful_terms(alice: Browser) -> None:
    text = alice.get("/terms").text
    for said in (
        "These are the careful terms everyone starts with.", "Any vendor may ask you.", "Any vendor may see what you bought, on any site.",
        "Nobody may see the page title or search words of anything.", "You have blocked nobody.", "SD-BASE",
    ):  # fmt: skip
        assert said in text, said
    assert "Undo" not in text


def test_the_menu_leads_there(alice: Browser) -> None:
    assert 'href="/terms"' in alice.get("/").text
    assert "Choose your terms</a>" in alice.get("/").text


def test_an_allow_rule_is_what_its_form_says(desk: Any) -> None:
    looked = desk.save("/terms/allow", BOOKS)
    assert "Bookshops" in looked.text
    rule = desk.terms.to_json()["allow"][1]
    assert rule == {
        "id": "Bookshops", "label": "Bookshops", "vendors": ["known", "https://books.example", "https://other.example", "class:bookshop"], "action": "read",
        "purposes": ["dpv:ProvideProductRecommendations"], "kinds": ["purchase", "cart"], "sites": ["self", "shop.example", "=www.mail.example"],
        "classes": ["*"], "sensitive": [], "categories": ["books", "toys/wood"], "form": "rows", "fields": {"time": "day", "price": "bucket:10"}, "answers": [],
        "window": {"max_age": "P30D", "min_age": "P2D"}, "rate": {"reads": "5/P1D", "rows": "50/P1D"},
        "duties": {
            "retention": "P10D", "on_end": "delete:P7D", "breach_notice": "P3D", "onward": "processors", "processors": ["Parcel Ltd", "Post, Inc."],
            "profiling": True, "tracking": False, "ai_training": False, "portability": True, "storage": ["EEA", "CH"],
        },
        "validity": {"max": "P100D"}, "base": "SD-BASE-ATP",
    }  # fmt: skip
    assert "Bookshops" in desk.person.get("/terms").text


def test_a_rule_that_is_opened_and_sent_again_stays_as_it_is(desk: Any) -> None:
    """Every member comes back from the form, also those from a file that the form does not show."""
    desk.save("/terms/allow", BOOKS)
    document = desk.terms.to_json()
    document["allow"][1]["window"] |= {"after": "2026-01-01T00:00:00Z", "max_age": "PT36H", "min_age": "PT1H"}
    document["allow"][1]["validity"] |= {"until": "2031-01-01T00:00:00Z"}
    document["allow"][1]["sites"].append("=other.example")
    document["deny"].append({"id": "odd", "vendors": ["urn:example:one", "member:guild"], "actions": ["contact"], "sites": ["=shop.example"], "categories": ["books", "toys/x"]})
    set_terms(desk.person.app.extensions["broker"], desk.person.person_id, document)
    for rule in ("Bookshops", "recommendations", "no-ads", "no-words", "odd"):
        assert "your terms say this already" in desk.look(f"/terms/rules/{rule}").text, rule
    desk.save("/terms/rules/Bookshops", {"reads": "6"})
    assert desk.terms.rules["Bookshops"].clause.rate["reads"] == 6
    assert desk.terms.to_json()["allow"][1]["window"]["after"] == "2026-01-01T00:00:00Z"


def test_names_with_the_mark_that_separates_them_come_back_whole(desk: Any) -> None:
    """A file may name `B; Co` and `books/a, b`; the form neither splits them nor refuses them, whatever is added beside them."""
    desk.save("/terms/allow", BOOKS)
    document = desk.terms.to_json()
    document["allow"][1]["duties"]["processors"] = ["B", "B; Co", "C"]
    document["allow"][1]["categories"] = ["books", "books/a, b", "books/a"]
    document["deny"].append({"id": "odd", "categories": ["books/a, b"]})
    set_terms(desk.person.app.extensions["broker"], desk.person.person_id, document)
    for rule in ("Bookshops", "odd"):
        assert "your terms say this already" in desk.look(f"/terms/rules/{rule}").text, rule
    desk.save("/terms/rules/Bookshops", {"processors": "B; Co; D;E", "topics": "toys/x,books/a, b,books/c"})
    desk.save("/terms/rules/odd", {"topics": "books/a, b, books/c"})
    kept = desk.terms.to_json()
    assert kept["allow"][1]["duties"]["processors"] == ["B; Co", "D", "E"]
    assert kept["allow"][1]["categories"] == ["books", "toys/x", "books/a, b", "books/c"]
    assert kept["deny"][-1]["categories"] == ["books/a, b", "books/c"]


def test_a_deny_is_what_its_form_says(desk: Any) -> None:
    desk.save("/terms/deny", {"sites": "clinic.example", "actions": ["read"]})
    assert desk.terms.to_json()["deny"][-1] == {"id": "no-sites", "actions": ["read"], "sites": ["clinic.example"]}
    desk.save("/terms/rules/no-sites", {"fields": ["price"]})
    assert desk.terms.to_json()["deny"][-1] == {"id": "no-sites", "actions": ["read"], "sites": ["clinic.example"], "fields": ["price"]}
    assert "Nobody may see the price of anything on clinic.example." in desk.person.get("/terms").text
    desk.save("/terms", rule="no-sites")
    assert "no-sites" not in desk.terms.rules


def test_without_a_rule_nothing_can_be_given_and_a_preset_is_offered(desk: Any) -> None:
    desk.save("/terms", rule="recommendations")
    assert "Without terms nothing can be given." in desk.person.get("/terms").text
    desk.save("/terms", what="restore")
    assert desk.terms.allow == DEFAULT_TERMS.allow


@pytest.mark.parametrize("base", sorted(ROSTER))
def test_each_roster_agreement_can_be_the_base(desk: Any, base: str) -> None:
    text = desk.person.get("/terms/general").text
    assert text.count('name="base"') == 13
    assert "They may use it" in text
    if base != "SD-BASE":
        desk.save("/terms/general", {"base": base})
    assert desk.terms.base == base
    assert f"<code>{base}</code>" in desk.person.get("/terms").text


@pytest.mark.parametrize("requests", [each for each in REQUESTS if each != "AgentAllowsRequests"])
def test_who_may_ask_is_chosen(desk: Any, requests: str) -> None:
    desk.save("/terms/general", {"requests": requests})
    assert desk.terms.requests == requests
    assert desk.terms.allow == DEFAULT_TERMS.allow


@pytest.mark.parametrize(
    ("page", "wrong", "field", "sentence"),
    [
        ("allow", {"label": ""}, "label", "Give it a name"),
        ("allow", {"label": "x\u202ey"}, "label", "Give it a name"),
        ("allow", {"vendor": [], "vendors": ""}, "vendors", "Say for which vendors"),
        ("allow", {"vendors": "not a vendor"}, "vendors", "Say for which vendors"),
        ("allow", {"vendors": "https://books.example:99999999"}, "vendors", "Say for which vendors"),
        ("allow", {"vendors": "http://[broken"}, "vendors", "Say for which vendors"),
        ("allow", {"kinds": []}, "kinds", "at least one kind"),
        ("allow", {"purposes": []}, "purposes", "at least one purpose"),
        ("allow", {"field.price": "hidden", "field.time": "hidden"}, "fields", "at least one thing"),
        ("allow", {"field.price": "hidden", "field.time": "hidden", "field.query": "exact"}, "fields", "at least one thing"),
        ("allow", {"form": "answers"}, "answers", "at least one answer"),
        ("allow", {"sites": "localhost"}, "sites", "shop.example"),
        ("allow", {"sites": "what is this"}, "sites", "shop.example"),
        ("allow", {"topics": "shoe laces/red"}, "topics", "books/crime"),
        ("allow", {"max_age": "soon"}, "max_age", "number of days"),
        ("allow", {"max_age": "2", "min_age": "2"}, "max_age", "number of days"),
        ("allow", {"min_age": "-1"}, "min_age", "number of days"),
        ("allow", {"reads": "10001"}, "reads", "10,000"),
        ("allow", {"reads": "٣"}, "reads", "10,000"),
        ("allow", {"rows": "0"}, "rows", "1,000,000"),
        ("allow", {"longest": "366"}, "longest", "1 to 365"),
        ("allow", {"longest": "0"}, "longest", "1 to 365"),
        ("allow", {"retention": "1.5"}, "retention", "number of days"),
        ("allow", {"max_age": "99999"}, "max_age", "number of days"),
        ("allow", {"max_age": "PT999999H"}, "max_age", "number of days"),
        ("allow", {"retention": "99999"}, "retention", "number of days"),
        ("allow", {"processors": "x" * 81}, "processors", "80 characters"),
        ("allow", {"storage": "Europe"}, "storage", "EEA"),
        ("deny", {"sites": "a b"}, "sites", "shop.example"),
        ("deny", {"vendors": "!"}, "vendors", "Say for which vendors"),
        ("deny", {"topics": "nothing/we/know"}, "topics", "books/crime"),
    ],
)
def test_a_mistake_is_said_beside_its_field_and_loses_nothing(desk: Any, page: str, wrong: dict[str, Any], field: str, sentence: str) -> None:
    given = BOOKS if page == "allow" else {"kinds": ["search"], "sites": "kept.example"}
    assert desk.look(f"/terms/{page}", given).status_code == 200
    refused = desk.look(f"/terms/{page}", {**given, **wrong})
    assert refused.status_code == 422
    assert "<title>Error:" in refused.text
    assert f'href="#f-{field}"' in refused.text
    assert f'id="f-{field}"' in refused.text
    assert sentence in refused.text.split(f'id="f-{field}-error"')[1][:300]
    again = form_of(refused.text, "/terms/preview")
    sent = {**given, **wrong}
    for name, value in sent.items():
        assert sorted(again.get(name, [])) == sorted(value if isinstance(value, list) else [value]), name
    assert desk.version == 0


def test_going_back_brings_the_form_as_it_was_filled_in(desk: Any) -> None:
    looked = desk.look("/terms/allow", BOOKS)
    back = desk.send("/terms/edit", form_of(looked.text, "/terms/save"))
    assert back.status_code == 200
    again = form_of(back.text, "/terms/preview")
    for name, value in BOOKS.items():
        assert sorted(again[name]) == sorted(value if isinstance(value, list) else [value]), name
    assert desk.version == 0


def test_looking_writes_nothing_and_saving_makes_a_version_with_its_entry(desk: Any) -> None:
    broker = desk.person.app.extensions["broker"]

    def entries() -> list[dict[str, Any]]:
        with broker.reading() as tx:
            return [entry for entry in ledger.page(tx, desk.person.ring).entries if entry["act"] == "terms"]

    desk.look("/terms/deny", {"kinds": ["search"]})
    assert (desk.version, entries()) == (0, [])
    desk.save("/terms/deny", {"kinds": ["search"]})
    (entry,) = entries()
    assert desk.version == 1
    assert {name: entry[name] for name in ("version", "change", "rule", "outcome")} == {"version": 1, "change": "deny", "rule": "no-kinds", "outcome": "permitted"}
    assert "You changed your terms (version 1)." in desk.person.get("/ledger").text


def test_terms_and_entry_come_together_or_not_at_all(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from broker.ledger import actions

    def full(*_: object) -> int:
        raise OSError("no room")

    looked = desk.look("/terms/deny", {"kinds": ["search"]})
    with monkeypatch.context() as broken:
        broken.setattr(actions, "append", full)
        assert desk.send("/terms/save", form_of(looked.text, "/terms/save")).status_code >= 500
    assert desk.version == 0
    assert desk.send("/terms/save", form_of(looked.text, "/terms/save")).status_code == 303
    assert desk.version == 1


def test_terms_changed_in_another_window_are_looked_at_again(desk: Any) -> None:
    looked = desk.look("/terms/deny", {"kinds": ["search"]})
    desk.save("/terms/deny", {"kinds": ["cart"]})
    late = desk.send("/terms/save", form_of(looked.text, "/terms/save"))
    assert late.status_code == 409
    assert "Your terms were changed meanwhile" in late.text
    assert desk.version == 1
    desk.send("/terms/save", form_of(late.text, "/terms/save"))
    assert [deny.id for deny in desk.terms.deny][-2:] == ["no-kinds", "no-kinds-2"]


def test_saving_twice_makes_one_version(desk: Any) -> None:
    looked = desk.look("/terms/general", {"base": "SD-BASE-DP"})
    form = form_of(looked.text, "/terms/save")
    assert desk.send("/terms/save", form).status_code == 303
    again = desk.send("/terms/save", form)
    assert again.status_code == 409
    assert "your terms say this already" in again.text
    assert desk.version == 1


@pytest.mark.parametrize("fields", [{}, {"what": "everything"}, {"what": "restore", "number": "7"}, {"what": "restore", "number": "x"}, {"what": "restore", "number": "9" * 30}])
def test_a_form_that_is_not_ours_changes_nothing(desk: Any, fields: dict[str, str]) -> None:
    token = {"csrf_token": desk.person.csrf("/terms"), "based_on": "0"}
    for path in ("/terms/preview", "/terms/save"):
        assert desk.send(path, {**token, **fields}).status_code in {400, 404}
    assert desk.version == 0


@pytest.mark.parametrize("fields", [{"what": "general", "base": "SD-FREE"}, {"what": "remove", "rule": "gone"}, {"what": "deny", "rule": "recommendations"}, {"what": "deny", "kinds": ["dreams"]}, {"what": "unblock", "vendor": "https://x.example"}])
def test_values_beyond_the_form_are_refused(desk: Any, fields: dict[str, Any]) -> None:
    token = {"csrf_token": desk.person.csrf("/terms"), "based_on": "0"}
    for path in ("/terms/preview", "/terms/save"):
        assert desk.send(path, {**token, **fields}).status_code in {404, 422}
    assert desk.version == 0


def test_a_rule_that_is_gone_is_not_found(desk: Any) -> None:
    assert desk.person.get("/terms/rules/recommendations").status_code == 200
    assert desk.person.get("/terms/rules/nothing").status_code == 404


def test_a_rule_to_write_comes_from_a_file_and_can_be_removed(desk: Any) -> None:
    """What no form shows is said in sentences all the same."""
    document = DEFAULT_TERMS.to_json()
    document["allow"].append({"id": "offers", "vendors": ["known"], "action": "contact", "base": "PDC-INTENT", "purposes": ["dpv:DirectMarketing"]})
    set_terms(desk.person.app.extensions["broker"], desk.person.person_id, document)
    assert "Vendors you bought from may write to your inbox here" in desk.person.get("/terms").text
    assert desk.person.get("/terms/rules/offers").status_code == 404
    desk.save("/terms", rule="offers")
    assert isinstance(desk.terms, Terms)
    assert "offers" not in desk.terms.rules


def test_a_stranger_sees_nothing_of_it(desk: Any, bob: Browser) -> None:
    desk.save("/terms/deny", {"sites": "clinic.example", "topics": "books/needle"})
    for path in ("/terms", "/terms/versions", "/terms/versions/0"):
        assert "needle" not in bob.get(path).text
        assert "clinic.example" not in bob.get(path).text
    assert bob.get("/terms/versions/1").status_code == 404
    assert bob.get("/terms/rules/no-sites").status_code == 404
    assert desk.person.get("/terms/versions/1").status_code == 200


def test_pages_stay_small(desk: Any) -> None:
    """interface.md 14.6: at most 60 kB a page, also with everything ticked."""
    desk.save("/terms/allow", BOOKS)
    for path in ("/terms", "/terms/general", "/terms/allow", "/terms/deny", "/terms/rules/Bookshops", "/terms/versions", "/terms/versions/1"):
        assert len(desk.person.get(path).data) <= 60_000, path


def test_a_star_beside_a_member_stays(desk: Any) -> None:
    """In a file `*` may stand beside what it includes: saved from the form, the rule is neither narrowed nor, where it forbids, opened."""
    stars: dict[str, Any] = {"sites": ["*", "shop.example", "self"], "classes": ["shop", "*"], "categories": ["*", "books", "toys/x"], "vendors": ["known", "*", "https://a.example"]}
    desk.save("/terms/allow", BOOKS)
    document = desk.terms.to_json()
    document["allow"][1] |= stars
    document["allow"][1]["duties"]["storage"] = ["*", "EEA"]
    document["deny"].append({"id": "odd", "vendors": ["*", "https://a.example", "known"], "kinds": ["search"]})
    document["deny"].append({"id": "all", "vendors": ["*"], "kinds": ["cart"]})
    set_terms(desk.person.app.extensions["broker"], desk.person.person_id, document)
    before = desk.terms
    for rule in ("Bookshops", "odd", "all"):
        assert "your terms say this already" in desk.look(f"/terms/rules/{rule}").text, rule
    desk.save("/terms/rules/Bookshops", {"reads": "6"})
    desk.save("/terms/rules/odd", {"kinds": ["search", "cart"]})
    kept = desk.terms.to_json()
    assert {name: set(kept["allow"][1][name]) for name in stars} == {name: set(entries) for name, entries in stars.items()}
    assert kept["allow"][1]["duties"]["storage"] == ["*", "EEA"]
    assert kept["deny"][-2] == {"id": "odd", "vendors": ["*", "https://a.example", "known"], "kinds": ["search", "cart"]}
    assert desk.terms.rules["Bookshops"].clause.slice == before.rules["Bookshops"].clause.slice
    # What the person writes in its place counts.
    desk.save("/terms/rules/Bookshops", {"sites": "shop.example", "storage": "CH"})
    desk.save("/terms/rules/odd", {"vendors": "b.example"})
    kept = desk.terms.to_json()
    assert (kept["allow"][1]["sites"], kept["allow"][1]["duties"]["storage"], kept["deny"][-2]["vendors"]) == (["shop.example"], ["CH"], ["https://b.example"])


def folds(text: str) -> dict[str, tuple[str, bool]]:
    """The folded parts of a form: title -> what its line says, and whether it is open."""
    found = re.findall(r'<details class="fold"( open)?><summary>(.*?)<span class="said">(.*?)</span></summary>', text)
    return {html.unescape(title): (html.unescape(said), bool(is_open)) for is_open, title, said in found}


def test_folded_parts_say_what_is_set_inside(desk: Any) -> None:
    """On a phone the form is short: what is seldom needed is folded, and nothing set in it is out of sight."""
    blank = folds(desk.person.get("/terms/allow").text)
    assert blank == {
        "Only some sites or products, and sensitive subjects": ("any site; any product; sensitive: nothing", False),
        "More of each event": ("none shown", False),
        "How often, and how long a grant lasts": ("24 looks and 500 rows a day; a grant lasts 180 days", False),
        "More purposes": ("none of them", False),
        "What they must and may do with it": ("each row deleted within 30 days, all within 7 days of the end; passed on to nobody", False),
    }
    desk.save("/terms/allow", {**BOOKS, "sensitive": ["health"], "field.title": "exact", "purposes": ["dpv:CustomerCare", "dpv:Advertising"], "reads": "1"})
    assert [said for said, _ in folds(desk.person.get("/terms/rules/Bookshops").text).values()] == [
        "their own sites, shop.example and the address www.mail.example alone; books and toys/wood; sensitive: health", "page title",
        "1 look and 50 rows a day; a grant lasts 100 days", "advertise",
        "each row deleted within 10 days, all within 7 days of the end; passed on to those who work for them; with a profile of you and a copy for you; kept in EEA and CH",
    ]  # fmt: skip
    hours = {"longest": "PT36H", "reads": "no"}
    assert "“no” looks and 50 rows a day; a grant lasts 36 hours" in {said for said, _ in folds(desk.look("/terms/allow", {**BOOKS, **hours}).text).values()}
    desk.save("/terms/deny", {"fields": ["price", "query"], "purposes": ["dpv:Marketing"], "classes": list(SITE_CLASSES)})
    assert folds(desk.person.get("/terms/rules/no-fields").text) == {
        "Only some sites or products": ("any site; kinds of site: shop, news, search, social, video, travel and 17 more; any product", False),
        "Only parts of an event": ("search words and price", False), "Only for some purposes": ("promote what they offer", False),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "title"),
    [
        ({"sites": "a b"}, "Only some sites or products, and sensitive subjects"), ({"topics": "x"}, "Only some sites or products, and sensitive subjects"),
        ({"rows": "many"}, "How often, and how long a grant lasts"), ({"longest": "0"}, "How often, and how long a grant lasts"),
        ({"storage": "Europe"}, "What they must and may do with it"), ({"retention": "soon"}, "What they must and may do with it"),
    ],
)  # fmt: skip
def test_a_fold_is_open_where_something_in_it_is_wrong(desk: Any, wrong: dict[str, str], title: str) -> None:
    refused = folds(desk.look("/terms/allow", {**BOOKS, **wrong}).text)
    assert [name for name, (_, is_open) in refused.items() if is_open] == [title]
