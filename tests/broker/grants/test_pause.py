"""Pausing and resuming, one grant or all: paused, nothing is read; resumed, the same tokens work again."""

import datetime as dt

from makers import Browser, Clock, Shop, purchase


def test_it_works(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    alice.store(purchase(clock() - dt.timedelta(days=3)))
    grant = bookshop.connect(alice)["grant_id"]
    assert alice.post(f"/grants/{grant}/pause", page="/grants").status_code == 303
    assert bookshop.read().json["type"] == "/problems/grant-paused"
    page = alice.get(f"/grants/{grant}").text
    assert "You paused it" in page
    assert alice.post(f"/grants/{grant}/resume", page=f"/grants/{grant}").status_code == 303
    assert bookshop.read().status_code == 200


def test_it_refuses_another_person(alice: Browser, bob: Browser, bookshop: Shop) -> None:
    grant = bookshop.connect(alice)["grant_id"]
    assert bob.post(f"/grants/{grant}/pause", page="/").status_code == 404
    assert bookshop.read().status_code == 200
    assert alice.post(f"/grants/{grant}/pause", page="/grants").status_code == 303
    assert bob.post(f"/grants/{grant}/resume", page="/").status_code == 404
    assert bookshop.read().status_code == 403


def test_pause_all_is_one_press_on_home_and_on_grants(alice: Browser, bob: Browser, bookshop: Shop, otherstore: Shop) -> None:
    bookshop.connect(alice)
    otherstore.connect(alice)
    others = Shop.register(alice.app, "third.example")
    others.connect(bob)
    answer = alice.post("/grants/pause-all", {"next": "/"}, page="/")
    assert (answer.status_code, answer.location) == (303, "/")
    page = alice.get("/").text
    assert "2 grants paused" in page
    assert 'action="/grants/pause-all"' not in page
    assert [bookshop.read().status_code, otherstore.read().status_code, others.read().status_code] == [403, 403, 200]


def test_pause_all_leads_nowhere_else(alice: Browser, bookshop: Shop) -> None:
    bookshop.connect(alice)
    assert alice.post("/grants/pause-all", {"next": "https://elsewhere.example/"}, page="/grants").location == "/"


def test_pause_all_leaves_alone_what_has_run_out(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    bookshop.connect(alice)
    clock.advance(days=200)
    renewed = Browser.of(alice.app, "alice")
    assert renewed.post("/grants/pause-all", page="/ledger/verify").status_code == 303
    assert "No grant was live" in renewed.get("/grants").text


def test_an_ended_grant_cannot_be_resumed(alice: Browser, bookshop: Shop) -> None:
    grant = bookshop.connect(alice)["grant_id"]
    alice.post(f"/grants/{grant}/revoke", page="/grants")
    assert alice.post(f"/grants/{grant}/resume", page="/ledger/verify").status_code == 303
    assert bookshop.read().status_code == 401
