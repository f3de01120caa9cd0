"""What an adversary found once, and must not find again."""

import datetime as dt
from typing import Any

import pytest
from makers import ORIGIN, Browser, Clock, Extension, Shop, page_visit, purchase, purchases
from pageforms import form_of
from sqlalchemy import select

from broker import errors
from broker.events import queries as event_queries
from broker.grants import queries as grants
from broker.ledger import queries as ledger
from broker.oauth.actions import sweep
from broker.oauth.models import tokens
from broker.terms.actions import set_terms
from policies.terms import DEFAULT_TERMS


def entries(person: Browser) -> list[dict[str, Any]]:
    broker = person.app.extensions["broker"]
    with broker.reading() as tx:
        return ledger.page(tx, person.ring).entries


def stored(person: Browser, kind: str) -> list[dict[str, Any]]:
    with person.app.extensions["broker"].reading() as tx:
        return event_queries.own(tx, person.ring, event_queries.Wanted(kinds=(kind,))).events


def test_an_item_outside_the_collection_is_not_kept(alice: Browser, clock: Clock) -> None:
    """A mixed order loses its sensitive item and its total; hiding the category does not blind later judgement."""
    extension = Extension.connect(alice, **{"1.field.category": "hidden"})
    order = purchase(clock() - dt.timedelta(hours=1))
    money = {"amount_minor": 900, "currency": "EUR"}
    order["items"].append({"category": "health/tests", "product": "TEST KIT", "quantity": 1, "price": money})
    assert extension.upload(order).json["results"][0]["status"] == "accepted"
    kept = stored(alice, "purchase")[0]
    assert [item["product"] for item in kept["items"]] == ["A Study in Ink"]
    assert "total" not in kept
    assert kept["items"][0]["category"] == "books/crime"


def test_tokens_that_have_run_out_are_forgotten(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """Access tokens by the sweep, not by each refresh; the refresh token and what still lives stay."""
    broker = alice.app.extensions["broker"]

    def kinds() -> list[str]:
        with broker.reading() as tx:
            return sorted(tx.execute(select(tokens.c.kind)).scalars())

    bookshop.connect(alice)
    clock.advance(seconds=200)
    assert bookshop.refresh().status_code == 200
    assert kinds() == ["at", "at", "rt"]
    clock.advance(seconds=101)
    sweep(broker)
    assert kinds() == ["at", "rt"]
    assert bookshop.read().status_code == 200
    assert bookshop.refresh().status_code == 200


def test_a_referrer_is_judged_like_a_site(alice: Browser, clock: Clock) -> None:
    extension = Extension.connect(alice)
    seen = {**page_visit(clock()), "referrer": "webmd.com"}
    plain = {**page_visit(clock()), "referrer": "shop.example"}
    extension.upload(seen, plain)
    assert sorted(visit.get("referrer", "") for visit in stored(alice, "page_visit")) == ["", "shop.example"]
    assert sum("referrer_class" in visit for visit in stored(alice, "page_visit")) == 1


@pytest.mark.parametrize("named", ["known", "prior-agreement", "https://books.example"])
def test_a_deny_finds_the_vendor_by_every_name(alice: Browser, bookshop: Shop, clock: Clock, named: str) -> None:
    alice.store(purchase(clock() - dt.timedelta(days=3), site="www.books.example"))
    bookshop.connect(alice)
    assert len(bookshop.read().json["items"]) == 1
    terms = {**DEFAULT_TERMS.to_json(), "deny": [{"id": "d", "vendors": [named]}]}
    set_terms(alice.app.extensions["broker"], alice.person_id, terms)
    assert bookshop.read().status_code == 403


def test_refused_calls_leave_their_entry(alice: Browser, bookshop: Shop) -> None:
    """A token handed back, and a client out of service."""
    from broker.vendors.actions import disable_client

    bookshop.connect(alice)
    bookshop.form("/oauth/revoke", {"token": bookshop.tokens["access_token"]})
    assert bookshop.read().status_code == 401
    assert entries(alice)[0]["reasons"] == ["token-ended"]
    bookshop.refresh()
    disable_client(alice.app.extensions["broker"], bookshop.client_id)
    assert bookshop.read().status_code == 401
    assert entries(alice)[0]["reasons"] == ["client-disabled"]


def test_a_failed_flush_loses_no_denial(alice: Browser, bookshop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    denials = alice.app.extensions["denials"]
    bookshop.connect(alice)
    for _ in range(3):
        bookshop.read("?kind=search")
        bookshop.read("?kind=cart")
    from broker.ledger import actions

    def busy(*_: object) -> None:
        raise errors.Busy

    with monkeypatch.context() as patched:
        patched.setattr(actions, "record", busy)
        with pytest.raises(errors.Busy):
            denials.flush(everything=True)
    denials.flush(everything=True)
    assert sorted(entry["times"] for entry in entries(alice) if entry["outcome"] == "denied") == [1, 1, 2, 2]


def test_a_request_with_a_hidden_minimum_or_a_roster_opens(alice: Browser, bookshop: Shop) -> None:
    """No vendor can make the consent page fail."""
    for asked in ({**purchases(), "roster_accepts": ["SD-BASE-A"]}, {**purchases(fields={"time": "day"}), "minimum": {"fields": {"time": "hidden"}}}):
        pushed = bookshop.push([asked])
        if pushed.status_code != 201:
            assert pushed.json["error"] == "invalid_authorization_details"
            continue
        url = f"/oauth/authorize?client_id={bookshop.client_id}&request_uri={pushed.json['request_uri']}"
        assert alice.get(alice.open(url)).status_code == 200


def test_an_end_that_is_over_is_a_mistake(alice: Browser, bookshop: Shop) -> None:
    path = alice.open(bookshop.ask())
    form = alice.form(path)
    data = {**form, "give": form.pop("offered"), "answer": "give"}
    headers = {"Sec-Fetch-Site": "same-origin"}
    refused = alice.client.post("/oauth/authorize/decision", data={**data, "until": "2020-01-01"}, base_url=ORIGIN, headers=headers)
    assert refused.status_code == 422
    assert "Choose a later one" in refused.text
    later = alice.client.post("/oauth/authorize/decision", data={**data, "until": "2120-01-01"}, base_url=ORIGIN, headers=headers)
    assert later.status_code == 422
    assert "at the latest" in later.text
    assert alice.client.post("/oauth/authorize/decision", data=data, base_url=ORIGIN, headers=headers).status_code == 303


def test_the_day_that_a_grant_ends_on_still_counts(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    last = clock().date() + dt.timedelta(days=3)
    bookshop.connect(alice, until=last.isoformat())
    with alice.app.extensions["broker"].reading() as tx:
        grant = grants.every(tx, alice.ring)[0]
    assert f"{grant.expires_at:%Y-%m-%dT%H:%M:%S}" == f"{last}T23:59:59"


def test_a_made_up_link_costs_nothing(alice: Browser) -> None:
    """No keys and no Argon2 for a link that was never made."""
    from broker.vault import credentials
    from broker.vault.models import person_keys

    broker = alice.app.extensions["broker"]
    link = credentials.mint(bytes(32), "su").text
    client = alice.app.test_client()
    token = alice.csrf("/requests")

    def keys() -> int:
        with broker.keys.reading() as tx:
            return len(tx.execute(person_keys.select()).all())

    before = keys()
    data = {"csrf_token": token, "name": "x", "password": "three unrelated words", "again": "three unrelated words"}
    client.post(f"/sign-up/{link}", data=data, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    alice.post(f"/sign-up/{link}", data)
    assert keys() == before


def test_instants_beyond_time(alice: Browser, bookshop: Shop) -> None:
    bookshop.connect(alice)
    assert bookshop.read("?after=9999-12-31T00:00:01Z").status_code == 422
    assert bookshop.read("?before=0001-01-01T00:00:00%2B14:00").status_code == 422
    assert alice.get("/activity?older=2026-99-99T00:00:00.000Z~" + "0" * 32).status_code == 400


def test_the_same_id_twice_in_a_batch(alice: Browser, clock: Clock) -> None:
    extension = Extension.connect(alice)
    first = page_visit(clock())
    answer = extension.upload(first, {**first, "title": "Other"}, first, None)
    assert [result["status"] for result in answer.json["results"] if result["id"]] == ["conflict", "duplicate", "accepted"]


def test_no_grant_outlives_what_can_use_it(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """Rule T7: a burned code, and a refresh token idle too long, end their grants."""
    broker = alice.app.extensions["broker"]
    code = alice.give(bookshop.ask())["code"]
    assert bookshop.redeem(code, code_verifier="w" * 64).status_code == 400
    idle = bookshop.connect(alice)["grant_id"]
    alive = bookshop.connect(alice)["grant_id"]
    sweep(broker)
    with broker.reading() as tx:
        states = {grant.id: (grant.status, grant.reason) for grant in grants.every(tx, alice.ring)}
    assert states.pop(idle) == states.pop(alive) == ("active", "")
    assert set(states.values()) == {("expired", "unused")}
    clock.advance(days=89)
    bookshop.refresh()
    clock.advance(days=5)
    sweep(broker)
    with broker.reading() as tx:
        states = {grant.id: grant.status for grant in grants.every(tx, alice.ring)}
    assert (states[idle], states[alive]) == ("expired", "active")


def test_a_busy_broker_keeps_nobody_from_ending(alice: Browser, bookshop: Shop, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """S9: noting a session's last use may fail, the revoke may not."""
    from broker.people import actions

    grant_id = bookshop.connect(alice)["grant_id"]
    token = alice.csrf("/requests")
    clock.advance(hours=2)

    def busy(*_: object) -> None:
        raise errors.Busy

    monkeypatch.setattr(actions, "seen", busy)
    answer = alice.client.post(f"/grants/{grant_id}/revoke", data={"csrf_token": token}, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 303


def test_a_mistake_keeps_all_that_was_chosen(alice: Browser, bookshop: Shop) -> None:
    """The page of a 422, sent again with nothing but the mistakes mended, gives exactly the narrowed grant."""
    path = alice.open(bookshop.ask([purchases(), {**purchases(), "datatypes": ["purchase", "search"]}]))
    action, headers = "/oauth/authorize/decision", {"Sec-Fetch-Site": "same-origin"}
    wrong = {
        **form_of(alice.get(path).text, action), "give": alice.form(path)["offered"][:1], "answer": "give", "1.sites": "shop, books.example", "1.field.price": "band", "1.max_age": "P30D",
        "1.reads": "4", "until": "2020-01-01", "2.field.time": "hidden",
    }  # fmt: skip
    for where in (action, "/oauth/authorize/preview"):
        refused = alice.client.post(where, data=wrong, base_url=ORIGIN, headers=headers)
        assert refused.status_code == 422
        assert "“shop” is no site" in refused.text
        assert "Choose a later one" in refused.text
        again = form_of(refused.text, action)
        # The form's own token is made anew each second.
        both = (again.keys() & wrong.keys()) - {"csrf_token"}
        assert {name: again[name] for name in both} == {name: [wrong[name]] if isinstance(wrong[name], str) else wrong[name] for name in both}
        assert wrong.keys() - again.keys() == {"answer"}
    mended = {**again, "answer": "give", "1.sites": "=www.shop.example, books.example", "until": ""}
    assert "code=" in alice.client.post(action, data=mended, base_url=ORIGIN, headers=headers).location
    with alice.app.extensions["broker"].reading() as tx:
        (clause,) = grants.every(tx, alice.ring)[0].clauses
    given = clause.to_json()
    assert given["sites"] == ["=www.shop.example", "books.example"]
    assert (given["fields"]["price"], given["window"]["max_age"], given["rate"]["reads"]) == ("band", "P30D", "4/P1D")


def test_hiding_all_is_shown_as_it_was_chosen(alice: Browser, bookshop: Shop) -> None:
    path = alice.open(bookshop.ask())
    action = "/oauth/authorize/decision"
    form = form_of(alice.get(path).text, action)
    hidden = {name: "hidden" for name in form if name.startswith("1.field.")}
    refused = alice.client.post(action, data={**form, "answer": "give", "give": alice.form(path)["offered"], **hidden}, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    assert refused.status_code == 422
    again = form_of(refused.text, action)
    assert {name: again[name] for name in hidden} == {name: ["hidden"] for name in hidden}
    assert again["give"] == alice.form(path)["offered"]


@pytest.mark.parametrize("sites", ["www shop", "www.shop.example", "*", "self", "localhost"])
def test_sites_that_nothing_can_match_are_mistakes_here_too(alice: Browser, bookshop: Shop, sites: str) -> None:
    path = alice.open(bookshop.ask())
    form = {**form_of(alice.get(path).text, "/oauth/authorize/decision"), "give": alice.form(path)["offered"], "answer": "give", "1.sites": sites}
    send = {"base_url": ORIGIN, "headers": {"Sec-Fetch-Site": "same-origin"}}
    refused = alice.client.post("/oauth/authorize/decision", data=form, **send)
    assert (refused.status_code, "is no site" in refused.text) == (422, True)
    assert alice.client.post("/oauth/authorize/decision", data={**form, "1.sites": "shop.example"}, **send).status_code == 303


def test_giving_nothing_is_said_to_be_a_refusal(alice: Browser, bookshop: Shop) -> None:
    path = alice.open(bookshop.ask())
    sentence = "Nothing is ticked. Pressing Give now is the same as Refuse: they are told no and must ask again."
    assert sentence in alice.get(path).text
    form = {**form_of(alice.get(path).text, "/oauth/authorize/decision"), "give": alice.form(path)["offered"]}
    ticked = alice.client.post("/oauth/authorize/preview", data=form, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    assert (ticked.status_code, sentence in ticked.text) == (200, False)
