"""A block: nothing from that moment, the vendor's requests refused unseen, and it learns nothing."""

import datetime as dt
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import ORIGIN, Browser, Clock, Extension, Shop, purchase
from markupsafe import escape
from pageforms import form_of, forms_of

from broker.grants import queries as grants
from broker.ledger import queries as ledger
from broker.terms.actions import JOINABLE, _with_room, set_terms
from policies.terms import DEFAULT_TERMS, Deny
from policies.vocabulary import CATEGORIES, FIELDS, KINDS
from tests.policies import worlds
from tests.policies.properties import read


def decide(person: Browser, path: str, answer: str, **more: Any) -> Any:
    form = person.form(path)
    form.pop("offered")
    return person.client.post("/oauth/authorize/decision", data={**form, "answer": answer, **more}, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})


def answered(location: str) -> dict[str, str]:
    """The parameters of an answer to a vendor, and where it goes."""
    parts = urlsplit(location)
    return {"to": f"{parts.scheme}://{parts.netloc}{parts.path}", **{name: values[0] for name, values in parse_qs(parts.query).items()}}


def link_back(page: str) -> str:
    found = re.search(r'<a href="(https://[^"]+)" rel="noreferrer">Return to', page)
    assert found, page[-2000:]
    return found[1].replace("&amp;", "&")


def test_refuse_and_block_refuses_the_next_read(alice: Browser, bookshop: Shop, clock: Clock, desk: Any) -> None:
    alice.store(purchase(clock() - dt.timedelta(days=3)))
    grant = bookshop.connect(alice)["grant_id"]
    assert bookshop.read().status_code == 200
    path = alice.open(bookshop.ask())
    assert "Refuse and block this vendor" in alice.get(path).text
    answer = decide(alice, path, "block")
    by_hand = decide(alice, alice.open(Shop.register(alice.app, "third.example").ask()), "refuse")
    blocked, refused = answered(answer.location), answered(by_hand.location)
    assert (answer.status_code, blocked.pop("to"), refused.pop("to")) == (303, "https://books.example/callback", "https://third.example/callback")
    assert blocked == refused == {"error": "access_denied", "state": "s-1", "iss": ORIGIN}
    assert desk.terms.blocked == ["https://books.example"]
    assert bookshop.read().status_code == 403
    # The grant is not ended: a block can be lifted, an end cannot.
    with alice.app.extensions["broker"].reading() as tx:
        assert grants.one(tx, alice.ring, grants.to_bytes(grant)).status == "active"


def test_block_and_refusal_are_one_act(alice: Browser, bookshop: Shop, desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from broker.ledger import actions

    path = alice.open(bookshop.ask())
    real, acts = actions.append, []

    def second_fails(tx: Any, ring: Any, key: Any, entry: Any, *rest: Any) -> int:
        acts.append(entry.act)
        if len(acts) == 2:
            raise OSError("no room")
        return real(tx, ring, key, entry, *rest)

    with monkeypatch.context() as broken:
        broken.setattr(actions, "append", second_fails)
        assert decide(alice, path, "block").status_code >= 500
    assert (sorted(acts), desk.version) == (["refuse", "terms"], 0)
    assert decide(alice, path, "block").status_code == 303
    assert desk.version == 1


def test_a_blocked_vendor_is_refused_unseen_and_learns_nothing(alice: Browser, bookshop: Shop, desk: Any) -> None:
    """Neither the request nor its words are shown; it waits nowhere; the answer is that of any refusal, and comes only when the person goes back."""
    seen = alice.open(bookshop.ask())
    assert "To suggest your next book" in alice.get(seen).text
    decide(alice, seen, "refuse")
    desk.send("/terms/block", {"csrf_token": alice.csrf("/terms"), "vendor": "books.example"})
    pushed = bookshop.push()
    assert pushed.status_code == 201
    path = alice.open(f"/oauth/authorize?client_id={bookshop.client_id}&request_uri={pushed.json['request_uri']}")
    page = alice.get(path)
    assert page.status_code == 200
    assert "You have blocked it, so what it asks is not shown to you." in page.text
    assert "To suggest your next book" not in page.text
    assert '<form id="consent"' not in page.text
    assert answered(link_back(page.text)) == {"to": "https://books.example/callback", "error": "access_denied", "state": "s-1", "iss": ORIGIN}
    assert "books.example" not in alice.get("/requests").text
    assert "waits for your answer" not in alice.get("/").text
    with alice.app.extensions["broker"].reading() as tx:
        entry = ledger.page(tx, alice.ring).entries[0]
    assert (entry["act"], entry["outcome"], entry["by"]["role"], entry["reasons"]) == ("refuse", "denied", "broker", ["denied-by-terms"])
    assert "What books.example asked was refused without being shown to you." in alice.get("/ledger").text
    # A form of the consent page, kept from elsewhere, gives nothing either.
    late = alice.client.post(
        "/oauth/authorize/decision", data={"csrf_token": alice.csrf("/terms"), "request": path.rpartition("/")[2], "answer": "give"}, base_url=ORIGIN,
        headers={"Sec-Fetch-Site": "same-origin"},
    )  # fmt: skip
    assert "code=" not in (late.location or "")


@pytest.mark.parametrize(
    ("requests", "before", "shown"),
    [
        ("AgentAllowsRequests", "nothing", True),
        ("AgentAllowsRequestsOnlyKnownParty", "nothing", False),
        ("AgentAllowsRequestsOnlyKnownParty", "bought", True),
        ("AgentAllowsRequestsOnlyKnownParty", "agreed", True),
        ("AgentAllowsRequestsOnlyPriorAgreementParty", "bought", False),
        ("AgentAllowsRequestsOnlyPriorAgreementParty", "agreed", True),
        ("AgentDisallowsRequests", "agreed", False),
    ],
)
def test_only_those_who_may_ask_are_shown(alice: Browser, bookshop: Shop, clock: Clock, requests: str, before: str, *, shown: bool) -> None:
    if before == "bought":
        alice.store(purchase(clock() - dt.timedelta(days=3), site="www.books.example"))
    if before == "agreed":
        bookshop.connect(alice)
    set_terms(alice.app.extensions["broker"], alice.person_id, {**DEFAULT_TERMS.to_json(), "requests": requests})
    page = alice.get(alice.open(bookshop.ask())).text
    assert ('<form id="consent"' in page) == shown
    assert ("Your terms take no requests from it" in page) != shown


def test_the_extension_is_no_vendor(alice: Browser, desk: Any) -> None:
    desk.save("/terms/general", {"requests": "AgentDisallowsRequests"})
    assert Extension.connect(alice).tokens


def test_blocking_on_the_terms_page_and_unblocking(alice: Browser, bookshop: Shop, clock: Clock, desk: Any) -> None:
    alice.store(purchase(clock() - dt.timedelta(days=3)))
    bookshop.connect(alice)
    before = bookshop.read().json["items"]
    page = alice.get("/terms").text
    assert len(forms_of(page, "/terms/block")) == 2
    blocked = desk.send("/terms/block", form_of(page, "/terms/block", vendor="https://books.example"))
    assert blocked.status_code == 303
    page = alice.get("/terms").text
    assert "Its 1 running grant shows it nothing as long as the block stands; revoke it to end it for good." in page
    assert "Its grants are not ended: revoke them to end them for good." in page
    assert bookshop.read().status_code == 403
    assert "You blocked books.example (version 1)." in alice.get("/ledger").text

    looked = desk.look("/terms", what="unblock")
    assert "books.example may see this again, as you gave it." in looked.text
    assert "1 row comes back." in " ".join(looked.text.split())
    desk.save("/terms", what="unblock")
    assert bookshop.read().json["items"] == before
    assert desk.terms.deny == DEFAULT_TERMS.deny
    assert "You unblocked books.example (version 2)." in alice.get("/ledger").text
    assert '<form id="consent"' in alice.get(alice.open(bookshop.ask())).text


@pytest.mark.parametrize("written", ["books.example", " Books.Example ", "https://books.example", "https://books.example/shop?a=1", "books.example/shop"])
def test_a_vendor_is_blocked_by_its_address_however_it_is_written(alice: Browser, bookshop: Shop, desk: Any, written: str) -> None:
    bookshop.connect(alice)
    desk.send("/terms/block", {"csrf_token": alice.csrf("/terms"), "vendor": written})
    assert desk.terms.blocked == ["https://books.example"]
    assert bookshop.read().status_code == 403


@pytest.mark.parametrize("written", ["", "books", "*", "known", "class:bookshop", "https://[", "javascript:alert(1)", "books example", "\u202ebooks.example", "127.0.0.1", "urn:x:y"])
def test_nobody_is_blocked_by_mistake(alice: Browser, desk: Any, written: str) -> None:
    answer = desk.send("/terms/block", {"csrf_token": alice.csrf("/terms"), "vendor": written})
    assert (desk.version, answer.status_code) == (0, 422)
    assert "<title>Error: Terms" in answer.text
    # Said at the field, far down the page: there the focus goes, and what was typed stays.
    assert '<span class="error" id="f-vendor-error">Nobody was blocked.' in answer.text
    field = next(each for each in re.findall(r"<input[^>]*>", answer.text) if 'id="f-vendor"' in each)
    assert f' value="{escape(written)}"' in field
    assert ' aria-describedby="f-vendor-hint f-vendor-error" aria-invalid="true"' in field
    assert " autofocus" in field
    assert answer.text.count("autofocus") == 1
    assert "autofocus" not in alice.get("/terms").text


def test_blocking_twice_makes_one_version(alice: Browser, desk: Any) -> None:
    for _ in range(2):
        desk.send("/terms/block", {"csrf_token": alice.csrf("/terms"), "vendor": "books.example"})
    assert desk.version == 1


def test_a_block_of_several_loses_only_the_one(alice: Browser, desk: Any) -> None:
    names = ["https://one.example", "https://two.example"]
    set_terms(alice.app.extensions["broker"], alice.person_id, {**DEFAULT_TERMS.to_json(), "deny": [{"id": "both", "vendors": names}]})
    desk.save("/terms", what="unblock", vendor="https://one.example")
    assert desk.terms.blocked == ["https://two.example"]


def test_a_block_is_the_persons_own(alice: Browser, bob: Browser, bookshop: Shop, desk: Any) -> None:
    desk.send("/terms/block", {"csrf_token": alice.csrf("/terms"), "vendor": "books.example"})
    assert "books.example" not in bob.get("/terms").text
    bookshop.connect(bob)
    assert bookshop.read().status_code == 200
    assert '<form id="consent"' not in alice.get(alice.open(bookshop.ask())).text


def test_where_a_block_leads_next_stays_here(alice: Browser) -> None:
    answer = alice.post("/terms/block", {"vendor": "books.example", "next": "https://evil.example/"}, page="/terms")
    assert answer.location == "/"


def block_with(alice: Browser, desk: Any, denies: list[dict[str, Any]]) -> Any:
    set_terms(alice.app.extensions["broker"], alice.person_id, {**DEFAULT_TERMS.to_json(), "deny": denies})
    return desk.send("/terms/block", {"csrf_token": alice.csrf("/terms"), "vendor": "books.example"})


FULL: list[dict[str, Any]] = [{"id": f"d{n}", "sites": [f"s{n}.example"], "categories": [f"books/{n}"]} for n in range(1000)]
"""As many denies as there can be, of which no two can be one."""


@pytest.mark.parametrize(
    ("block", "left"),
    [
        ({"vendors": ["https://a.example"]}, ["https://a.example", "https://books.example"]),
        ({"vendors": ["known"]}, ["https://books.example", "known"]),
    ],
)
def test_with_no_room_for_a_rule_a_vendor_joins_a_block(alice: Browser, desk: Any, block: dict[str, Any], left: list[str]) -> None:
    crowd = [f"https://v{n}.example" for n in range(1000)]
    assert block_with(alice, desk, [{"id": "full", "vendors": crowd}, *FULL[2:], {"id": "last", **block}]).status_code == 303
    assert desk.terms.to_json()["deny"][-1]["vendors"] == left
    assert "https://books.example" in desk.terms.blocked
    assert len(desk.terms.deny) == 1000


def test_two_rules_that_can_be_one_make_room_for_a_block(alice: Browser, desk: Any) -> None:
    """A thousand sites by themselves are one list of sites; what is forbidden stays as it was."""
    spread = [{"id": f"d{n}", "sites": [f"s{n}.example"]} for n in range(1000)]
    assert block_with(alice, desk, spread).status_code == 303
    assert desk.terms.blocked == ["https://books.example"]
    assert len(desk.terms.deny) == 1000
    assert sorted(site for deny in desk.terms.deny for site in deny.sites or ()) == sorted(f"s{n}.example" for n in range(1000))


def test_with_no_room_at_all_the_person_is_told_what_to_do(alice: Browser, bookshop: Shop, desk: Any) -> None:
    refused = block_with(alice, desk, FULL)
    assert refused.status_code == 422
    assert "Your terms hold 1,000 rules about what is never given, which is as many as they can. Remove one of them, then block." in refused.text
    path = alice.open(bookshop.ask())
    assert "Remove one of them, then block." in decide(alice, path, "block").text
    assert (desk.version, desk.terms.blocked) == (1, [])
    # The request is not used up: refusing it without a block still works.
    assert decide(alice, path, "refuse").status_code == 303
    desk.save("/terms", rule="d7")
    assert block_with(alice, desk, FULL[1:]).status_code == 303


LISTS = {
    "vendors": worlds.some(("https://books.example", "class:bookshop")), "actions": worlds.some(("read", "write")), "kinds": worlds.some(KINDS),
    "sites": worlds.some(("shop.example", "=www.shop.example", "clinic.example", "news.example")), "classes": worlds.some(("shop", "news", "health")),
    "categories": worlds.some(CATEGORIES), "fields": worlds.some(FIELDS, 1, 5),
}  # fmt: skip


@given(st.fixed_dictionaries({
    "part": worlds.slices, "pair": st.sampled_from(JOINABLE).flatmap(lambda name: st.tuples(st.just(name), LISTS[name], LISTS[name])),
    "rest": st.one_of(st.just({}), st.just({"fields": ["price", "time"]}), worlds.deny_bodies), "events": st.lists(worlds.events(), min_size=2, max_size=6),
}))  # fmt: skip
@settings(max_examples=400)
def test_rules_put_together_forbid_the_same(world: dict[str, Any]) -> None:
    """Two denies that differ in one list are read side by side with what becomes of them."""
    name, one, other = world["pair"]
    written = [{**world["rest"], "id": "a", name: one}, {**world["rest"], "id": "b", name: other}]
    apart = [Deny.parse(each) for each in written]
    (together,) = [Deny.parse(each) for each in _with_room(written, apart)]
    assert read(world["part"], apart, world["events"]) == read(world["part"], [together], world["events"])
