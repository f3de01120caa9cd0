"""`POST /grants/<id>/revoke`: one press ends a grant, and the page says what that means (W1 to W7)."""

import datetime as dt
import re

from makers import ORIGIN, Browser, Clock, Extension, Shop, purchase

SENTENCE = "books.example can read nothing more"


def given(person: Browser, shop: Shop, clock: Clock) -> str:
    person.store(purchase(clock() - dt.timedelta(days=3)))
    return str(shop.connect(person)["grant_id"])


def test_it_works(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """W3, W4: a read that starts after the answer is refused; the page says when, what must be deleted and by which day."""
    grant = given(alice, bookshop, clock)
    assert bookshop.read().status_code == 200
    before = alice.get(f"/grants/{grant}").text
    assert "must delete within 7 days" in before
    assert before.index("If you revoke it") < before.index("/revoke")
    answer = alice.post(f"/grants/{grant}/revoke", page=f"/grants/{grant}")
    assert (answer.status_code, answer.location) == (303, f"/grants/{grant}")
    page = alice.get(f"/grants/{grant}").text
    assert bookshop.read().status_code == 401
    by = clock() + dt.timedelta(days=7)
    assert SENTENCE in page
    assert "You ended it on" in page
    assert f'<time datetime="{by:%Y-%m-%d}">' in page
    assert "/revoke" not in page


def test_a_grant_that_was_never_read_leaves_nothing_to_delete(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    grant = given(alice, bookshop, clock)
    alice.post(f"/grants/{grant}/revoke", page="/grants")
    assert "It never read anything" in alice.get(f"/grants/{grant}").text


def test_it_refuses_another_person(alice: Browser, bob: Browser, bookshop: Shop, clock: Clock) -> None:
    """Bob's own form token opens nothing of Alice's; hers then works on the same grant."""
    grant = given(alice, bookshop, clock)
    refused = bob.post(f"/grants/{grant}/revoke", page="/")
    assert refused.status_code == 404
    assert bookshop.read().status_code == 200
    assert alice.post(f"/grants/{grant}/revoke", page="/grants").status_code == 303
    assert bookshop.read().status_code == 401


def test_it_needs_the_form_token(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    grant = given(alice, bookshop, clock)
    headers = {"Sec-Fetch-Site": "same-origin"}
    assert alice.client.post(f"/grants/{grant}/revoke", base_url=ORIGIN, headers=headers).status_code == 403
    token = {"csrf_token": alice.csrf("/grants")}
    assert alice.client.post(f"/grants/{grant}/revoke", data=token, base_url=ORIGIN, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert bookshop.read().status_code == 200
    assert alice.client.post(f"/grants/{grant}/revoke", data=token, base_url=ORIGIN, headers=headers).status_code == 303


def test_it_only_allows_post(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    grant = given(alice, bookshop, clock)
    assert alice.get(f"/grants/{grant}/revoke").status_code == 405
    assert bookshop.read().status_code == 200


def test_signed_out_nothing_changes(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    grant = given(alice, bookshop, clock)
    answer = alice.app.test_client().post(f"/grants/{grant}/revoke", base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 403
    assert bookshop.read().status_code == 200


def test_twice_is_once(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    grant = given(alice, bookshop, clock)
    alice.post(f"/grants/{grant}/revoke", page="/grants")
    ended = re.search(r"You ended it on <time[^>]*>", alice.get(f"/grants/{grant}").text)
    clock.advance(hours=2)
    assert alice.post(f"/grants/{grant}/revoke", page="/ledger/verify").status_code == 303
    page = alice.get(f"/grants/{grant}").text
    assert ended
    assert ended[0] in page
    assert page.count("You ended the grant of books.example.") == 1


def test_home_leads_to_it_in_two_acts(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """W1, D2: the grant's link stands on Home, Revoke on its page; in the list View and Revoke are the same kind of button."""
    grant = given(alice, bookshop, clock)
    assert f'href="/grants/{grant}"' in alice.get("/").text
    assert f'action="/grants/{grant}/revoke"' in alice.get(f"/grants/{grant}").text
    listed = alice.get("/grants").text
    assert f'class="button" href="/grants/{grant}">View' in listed
    assert re.search(r"<button>Revoke", listed)


def test_the_extension_is_stopped_in_its_own_words(alice: Browser) -> None:
    grant = Extension.connect(alice).tokens["grant_id"]
    page = alice.get(f"/grants/{grant}").text
    assert "Your extension adds events" in page
    assert "Last added" in page
    assert "Last read" not in page
    alice.post(f"/grants/{grant}/revoke", page="/grants")
    assert "Your extension can add nothing more" in alice.get(f"/grants/{grant}").text
