"""The list of grants and a grant's page: in words, filtered, and the person's alone (D1 to D5)."""

import datetime as dt

from makers import Browser, Clock, Shop, purchase, purchases


def test_it_is_empty_at_first(alice: Browser) -> None:
    assert "No vendor may read anything." in alice.get("/grants").text


def test_it_shows_state_sentence_use_and_end(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    alice.store(purchase(clock() - dt.timedelta(days=3)))
    bookshop.connect(alice)
    bookshop.read()
    bookshop.read()
    page = alice.get("/grants").text
    for said in ("books.example may see what you bought, on any site.", "Live", "2 times this month", f'until <time datetime="{clock() + dt.timedelta(days=180):%Y-%m-%d}'):
        assert said in page


def test_it_filters_by_state_and_domain(alice: Browser, bookshop: Shop, otherstore: Shop) -> None:
    bookshop.connect(alice)
    ended = otherstore.connect(alice)["grant_id"]
    alice.post(f"/grants/{ended}/revoke", page="/grants")
    found = {state: [name in alice.get(f"/grants?state={state}").text for name in ("books.example", "other.example")] for state in ("live", "paused", "ended", "")}
    assert found == {"live": [True, False], "paused": [False, False], "ended": [False, True], "": [True, True]}
    assert "other.example" not in alice.get("/grants?search=BOOKS").text
    assert "No grant of yours is like this." in alice.get("/grants?search=nobody").text


def test_it_is_paged_by_key(alice: Browser) -> None:
    shop = Shop.register(alice.app, "books.example")
    grants = [shop.connect(alice)["grant_id"] for _ in range(51)]
    first = alice.get("/grants").text
    assert sum(grant in first for grant in grants) == 50
    assert grants[0] not in first
    second = alice.get(f"/grants?below={grants[1]}").text
    assert [grant for grant in grants if f'/grants/{grant}"' in second] == [grants[0]]


def test_the_page_says_what_was_cut_and_by_whom(alice: Browser, bookshop: Shop) -> None:
    """C5, D1: what the terms made smaller, what the person made smaller, and the entries of this grant."""
    grant = bookshop.connect(alice, [purchases()], **{"1.max_age": "P30D", "1.field.price": "band", "1.field.category": "hidden", "1.reads": "4"})["grant_id"]
    page = alice.get(f"/grants/{grant}").text
    for said in (
        "Price: they asked for the exact price", "You gave the price as a rough range, not the price in steps of 10.", "You hid the category.",
        "You gave only the last 30 days.", "You let them look 4 times a day, not 24.", "Only to recommend products to you", "books.example, and nobody else.",
        "by you (alice)", "You let books.example see events of yours",
    ):  # fmt: skip
        assert said in page, said


def test_it_refuses_another_person(alice: Browser, bob: Browser, bookshop: Shop) -> None:
    grant = bookshop.connect(alice)["grant_id"]
    assert alice.get(f"/grants/{grant}").status_code == 200
    refused, missing = bob.get(f"/grants/{grant}"), bob.get("/grants/AAAAAAAAAAAAAAAAAAAAAA")
    assert refused.status_code == missing.status_code == 404
    assert "There is nothing here, or it is not yours." in refused.text
    assert alice.get("/grants/nonsense").status_code == 404
    assert "books.example" not in bob.get("/grants").text


def test_signed_out_leads_to_sign_in_and_back(alice: Browser) -> None:
    answer = alice.app.test_client().get("/grants?state=live", base_url="http://localhost:8440")
    assert (answer.status_code, answer.location) == (303, "/sign-in?next=/grants?state%3Dlive")
