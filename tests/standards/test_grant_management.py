"""A grant and its end, as vendors and processes see it (Grant Management for OAuth 2.0, in our form; attack rows 81, 90, 91, 93, 95)."""

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

import pytest
from makers import Browser, Clock, Shop, purchase, purchases

from broker import close_app, create_app
from broker.config import Settings
from broker.events import queries as events
from broker.grants import actions as grants
from broker.grants import queries
from broker.oauth import actions as oauth
from broker.terms.actions import set_terms
from policies.terms import DEFAULT_TERMS

ROUNDS = 5
DEEP_ROUNDS = 100


def ended(person: Browser, grant_id: str) -> None:
    """The person ends a grant by its page."""
    assert person.post(f"/grants/{grant_id}/revoke", page="/").status_code == 303


def again(shop: Shop, **more: Any) -> Shop:
    """The same vendor on another thread or at another process."""
    app = more.pop("app", shop.app)
    return Shop(app, shop.client_id, shop.domain, shop.key, app.test_client(), shop.prover, shop.verifier, dict(shop.tokens))


def together(*acts: Callable[[], Any]) -> list[Any]:
    """What each gave, all having begun at once."""
    barrier, given = threading.Barrier(len(acts)), [None] * len(acts)

    def one(number: int) -> None:
        barrier.wait()
        given[number] = acts[number]()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return given


def test_one_refresh_token_in_twenty_calls_at_once(alice: Browser, bookshop: Shop) -> None:
    """Row 81, rule T8: each gets an access token with the same rights, none a new refresh token; all work, and end together."""
    bookshop.connect(alice)
    shops = [again(bookshop) for _ in range(20)]
    answers = together(*[shop.refresh for shop in shops])
    assert [answer.status_code for answer in answers] == [200] * 20
    assert {answer.json["refresh_token"] for answer in answers} == {bookshop.tokens["refresh_token"]}
    assert len({answer.json["access_token"] for answer in answers}) == 20
    details = bookshop.tokens["authorization_details"]
    assert all((answer.json["authorization_details"], answer.json["scope"]) == (details, "events:read") for answer in answers)
    assert [shop.read().status_code for shop in shops[:5]] == [200] * 5
    ended(alice, bookshop.tokens["grant_id"])
    assert [shop.read().status_code for shop in shops] == [401] * 20


def test_an_end_on_one_process_is_one_on_all(alice: Browser, bookshop: Shop, settings: Settings, clock: Clock) -> None:
    """Row 93: the next call at another process is refused, as are pause and narrowing; nothing there is remembered."""
    other = create_app(settings, clock)
    try:
        grant = bookshop.connect(alice, [purchases(), purchases(fields={"time": "month", "category": "top"})])["grant_id"]
        there = again(bookshop, app=other)
        assert there.read("?clause=c1").status_code == 200
        alice.post(f"/grants/{grant}/pause", page="/")
        assert there.read("?clause=c1").json["type"] == "/problems/grant-paused"
        alice.post(f"/grants/{grant}/resume", page="/")
        assert there.read("?clause=c1").status_code == 200
        form = alice.get(f"/grants/{grant}/narrow").text
        version = form.partition('name="version" value="')[2].partition('"')[0]
        assert alice.post(f"/grants/{grant}/narrow", {"version": version, "without": "c1"}, page="/").status_code == 303
        assert there.read("?clause=c1").json["type"] == "/problems/not-granted"
        assert there.read("?clause=c2").status_code == 200
        ended(alice, grant)
        assert there.read("?clause=c2").status_code == 401
        assert there.refresh().json["error"] == "invalid_grant"
    finally:
        close_app(other)


@pytest.fixture
def much(alice: Browser, bookshop: Shop, clock: Clock, *, deep: bool) -> int:
    """Alice's many purchases, all of which the bookshop may read; their number."""
    terms = DEFAULT_TERMS.to_json()
    terms["allow"][0] |= {"rate": {"reads": "1000/P1D", "rows": "100000/P1D"}}
    set_terms(alice.app.extensions["broker"], alice.person_id, terms)
    number = 10_000 if deep else 2_500
    start = clock() - dt.timedelta(days=3)
    for first in range(0, number, 500):
        alice.store(*[purchase(start - dt.timedelta(seconds=first + n), minor=first + n) for n in range(500)])
    bookshop.connect(alice)
    return number


def test_an_end_while_pages_are_read(alice: Browser, bookshop: Shop, much: int) -> None:
    """Row 90, rule R3: every page is a read of its own, and nothing comes after the one under way."""
    got, answer = 0, bookshop.read("?limit=1000")
    while "next" in answer.json:
        got += len(answer.json["items"])
        answer = bookshop.read(f"?limit=1000&cursor={answer.json['next']}")
    assert got + len(answer.json["items"]) == much, "the whole of it can be read"
    first = bookshop.read("?limit=1000").json
    assert len(first["items"]) == 1000
    ended(alice, bookshop.tokens["grant_id"])
    for query in (f"?limit=1000&cursor={first['next']}", "?limit=1000", ""):
        refused = bookshop.read(query)
        assert refused.status_code == 401
        assert b"items" not in refused.data


def test_an_end_while_one_page_is_read(alice: Browser, bookshop: Shop, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 90, promise 2: the rows are found, their entry is not made, and so no byte of them leaves."""
    alice.store(purchase(clock() - dt.timedelta(days=3)))
    grant = bookshop.connect(alice)["grant_id"]
    assert len(bookshop.read().json["items"]) == 1
    read, found = events.read, []

    def then(*given: Any, **more: Any) -> Any:
        page = read(*given, **more)
        found.append(len(page.rows))
        other = threading.Thread(target=grants.revoke, args=(alice.app.extensions["broker"], alice.person_id, queries.to_bytes(grant)))
        other.start()
        other.join()
        return page

    monkeypatch.setattr(events, "read", then)
    refused = bookshop.read()
    assert found == [1]
    assert refused.status_code == 401
    assert b"items" not in refused.data


def test_an_end_against_each_way_to_a_token(alice: Browser, bookshop: Shop, *, deep: bool) -> None:
    """Row 91, rule G9: whoever wins, after both have returned no token is alive, and none can be got."""
    for _ in range(DEEP_ROUNDS if deep else ROUNDS):
        code = alice.give(bookshop.ask())["code"]
        with alice.app.extensions["broker"].reading() as tx:
            grant = queries.every(tx, alice.ring)[0].id
        redeeming = again(bookshop)
        together(lambda shop=redeeming, code=code: shop.redeem(code), lambda grant=grant: ended_quietly(alice, grant))  # type: ignore[misc]
        refreshing = again(bookshop)
        refreshing.tokens = {}
        tokens = refreshing.connect(alice)
        together(refreshing.refresh, lambda grant=tokens["grant_id"]: ended_quietly(alice, grant))  # type: ignore[misc]
        for shop in (redeeming, refreshing):
            if shop.tokens:
                assert shop.read().status_code == 401
                assert shop.refresh().json["error"] == "invalid_grant"


def ended_quietly(person: Browser, grant_id: str) -> None:
    """The person ends a grant, without a page: browsers of tests are for one thread."""
    grants.revoke(person.app.extensions["broker"], person.person_id, queries.to_bytes(grant_id))


def test_an_end_against_the_decision(alice: Browser, bookshop: Shop, *, deep: bool) -> None:
    """Row 91: a vendor's grant is ended while its next request is answered: either the answer is a conflict, or one new grant stands, which ends as well."""
    for _ in range(DEEP_ROUNDS if deep else ROUNDS):
        old = bookshop.connect(alice)["grant_id"]
        form = alice.form(alice.open(bookshop.ask()))
        data = {**form, "give": form.pop("offered"), "answer": "give"}
        asking, sent = again(bookshop), {"base_url": "http://localhost:8440", "headers": {"Sec-Fetch-Site": "same-origin"}}
        given, _ = together(lambda data=data, sent=sent: alice.client.post("/oauth/authorize/decision", data=data, **sent), lambda old=old: ended_quietly(alice, old))  # type: ignore[misc]
        assert given.status_code in {303, 409}
        if given.status_code == 303:
            code = given.location.partition("code=")[2].partition("&")[0]
            assert asking.redeem(code).status_code == 200
            ended(alice, asking.tokens["grant_id"])
            assert asking.read().status_code == 401
        with alice.app.extensions["broker"].reading() as tx:
            live = [grant for grant in queries.every(tx, alice.ring) if grant.status in queries.LIVE]
        assert live == []


def test_another_grant_is_like_one_that_never_was(alice: Browser, bob: Browser, bookshop: Shop, otherstore: Shop) -> None:
    """Row 95, rule R2: GET and DELETE of another's grant, of the same person or not, are a 404 like that of an unknown one, and do nothing."""
    otherstore.connect(alice)
    third = Shop.register(alice.app, "third.example")
    third.connect(bob)
    bookshop.connect(alice)
    bodies = set()
    for grant_id in (otherstore.tokens["grant_id"], third.tokens["grant_id"], "A" * 22):
        for method in ("GET", "DELETE"):
            answer = bookshop.send(method, f"/v1/grants/{grant_id}")
            assert answer.status_code == 404
            bodies.add((answer.json["type"], answer.json["title"], answer.json["detail"]))
    assert len(bodies) == 1
    assert [shop.call("GET").json["status"] for shop in (otherstore, third, bookshop)] == ["active"] * 3
    assert bookshop.call("DELETE").status_code == 204
    assert bookshop.call("GET").status_code == 401


def test_what_has_run_out_is_ended_for_good(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """Rule T7 beside row 83: the sweep enters the end; until it comes the grant is refused all the same."""
    bookshop.connect(alice)
    clock.advance(days=200)
    assert bookshop.refresh().json["error"] == "invalid_grant"
    assert bookshop.read().status_code == 401
    oauth.sweep(alice.app.extensions["broker"])
    with alice.app.extensions["broker"].reading() as tx:
        assert [grant.status for grant in queries.every(tx, alice.ring)] == ["expired"]
