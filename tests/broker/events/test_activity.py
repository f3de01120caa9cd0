"""My activity: the person's own events by tab and filter, paged by key, with totals from the counters."""

import datetime as dt
import re

import pytest
from makers import Browser, Clock, Extension, page_visit, purchase

TABS = ("sites", "searches", "products", "carts", "purchases")


def fill(person: Browser, clock: Clock) -> None:
    visits = [page_visit(clock() - dt.timedelta(days=days, minutes=1), f"https://{host}/p", f"Title {days}") for days, host in enumerate(("a.example", "b.example") * 3)]
    bought = [purchase(clock() - dt.timedelta(days=2), "Ink"), purchase(clock() - dt.timedelta(days=40), "Pens", category="garden/trees")]
    assert set(person.store(*visits, *bought).values()) == {"accepted"}


def titles(page: str) -> set[str]:
    return set(re.findall(r"Title \d+|Ink|Pens", page))


def day(clock: Clock, ago: int) -> str:
    return (clock() - dt.timedelta(days=ago)).date().isoformat()


@pytest.mark.parametrize("path", ["/activity", *(f"/activity/{tab}" for tab in TABS)])
def test_an_empty_one_says_how_to_fill_it(alice: Browser, path: str) -> None:
    page = alice.get(path)
    assert page.status_code == 200
    assert "Nothing is kept here yet." in page.text
    assert "comes in a later release" in page.text


def test_it_works(alice: Browser, clock: Clock) -> None:
    fill(alice, clock)
    page = alice.get("/activity").text
    assert titles(page) == {f"Title {n}" for n in range(6)} | {"Ink", "Pens"}
    assert re.search(r'role="status"[^>]*>\s*<p><strong>8 events</strong>: 6 page visits, 2 purchases', page)


def test_tabs_hold_their_kinds(alice: Browser, clock: Clock) -> None:
    fill(alice, clock)
    assert titles(alice.get("/activity/purchases").text) == {"Ink", "Pens"}
    assert titles(alice.get("/activity/sites").text) == {f"Title {n}" for n in range(6)}
    assert "No event fits these filters." in alice.get("/activity/searches").text


def test_filters_stand_in_the_address(alice: Browser, clock: Clock) -> None:
    fill(alice, clock)
    assert titles(alice.get("/activity?site=a.example").text) == {"Title 0", "Title 2", "Title 4"}
    assert titles(alice.get("/activity?site=https://www.shop.example/books").text) == {"Ink", "Pens"}
    assert titles(alice.get(f"/activity?from={day(clock, 45)}&to={day(clock, 30)}").text) == {"Pens"}
    assert titles(alice.get("/activity?category=garden").text) == {"Pens"}
    assert titles(alice.get("/activity?kind=purchase&class=news").text) == set()
    assert titles(alice.get(f"/activity?kind=page_visit&to={day(clock, 3)}&site=b.example").text) == {"Title 3", "Title 5"}


def test_totals_follow_every_filter(alice: Browser, clock: Clock) -> None:
    fill(alice, clock)
    assert "<strong>1 event</strong> (1 purchase)" in alice.get(f"/activity?from={day(clock, 45)}&to={day(clock, 30)}").text
    assert "<strong>3 events</strong> (3 page visits)" in alice.get("/activity?site=a.example").text
    page = alice.get("/activity?site=nowhere.example").text
    assert "<strong>0 events</strong>" in page
    assert "Forget all of these" not in page


def test_a_large_purchase_shows_three_things_and_the_rest_on_demand(alice: Browser, clock: Clock) -> None:
    items = [{"product": f"Mug {n}", "quantity": 2, "price": {"amount_minor": 255, "currency": "GBP"}} for n in range(5)]
    event = {**purchase(clock() - dt.timedelta(days=2)), "items": items, "total": {"amount_minor": 2550, "currency": "GBP"}}
    assert set(alice.store(event).values()) == {"accepted"}
    shown, _, more = alice.get("/activity/purchases").text.partition('<details class="small">')
    assert re.search(r"£25\.50 at [a-z.]+, 10 things", shown)
    assert "<li>2 × Mug 2, £2.55 each</li>" in shown
    assert "<summary>2 more" in more
    assert "<li>2 × Mug 4, £2.55 each</li>" in more


def test_mistakes_come_back_with_the_form(alice: Browser, clock: Clock) -> None:
    fill(alice, clock)
    page = alice.get("/activity?from=soon&site=!!&kind=nothing")
    assert page.status_code == 422
    assert "<title>Error: My activity" in page.text
    assert 'value="soon"' in page.text
    assert 'href="#f-from"' in page.text
    assert page.text.count('aria-invalid="true"') == 3
    assert titles(page.text) == set()
    assert alice.get(f"/activity?from={day(clock, 1)}&to={day(clock, 5)}").status_code == 422


def test_it_is_paged_by_key_without_gap_or_repeat(alice: Browser, clock: Clock) -> None:
    """Many events on one day, so that a page ends in the middle of it."""
    noon = (clock() - dt.timedelta(days=3)).replace(hour=12, minute=0)
    alice.store(*(page_visit(noon + dt.timedelta(seconds=n % 7), title=f"Nr {n:03}") for n in range(130)))
    path, seen = "/activity?site=shop.example", []
    for _ in range(3):
        page = alice.get(path).text
        seen += re.findall(r"Nr \d+", page)
        following = re.search(r'href="([^"]+)" rel="next"', page)
        path = following[1].replace("&amp;", "&") if following else ""
        assert not path or "site=shop.example" in path
    assert not path
    assert len(seen) == 130
    assert set(seen) == {f"Nr {n:03}" for n in range(130)}


def test_a_strange_place_to_go_on_is_refused(alice: Browser) -> None:
    assert alice.get("/activity?older=2026").status_code == 400


def test_each_event_says_what_it_came_by(alice: Browser, clock: Clock) -> None:
    extension = Extension.connect(alice)
    extension.upload(page_visit(clock() - dt.timedelta(hours=1), title="By extension"))
    page = alice.get("/activity").text
    assert f'by <a href="/grants/{extension.tokens["grant_id"]}">your extension</a>' in page
    fill(alice, clock)
    assert "by import" in alice.get("/activity").text


def test_sites_are_summed_up(alice: Browser, clock: Clock) -> None:
    fill(alice, clock)
    page = alice.get("/activity/sites").text
    assert re.search(r'site=a\.example">a\.example</a></th><td role="cell" class="num" data-label="Visits">3</td>', page)


def test_it_refuses_another_person(alice: Browser, bob: Browser, clock: Clock) -> None:
    fill(alice, clock)
    assert titles(alice.get("/activity").text)
    for path in ("/activity", *(f"/activity/{tab}" for tab in TABS), "/activity?site=a.example"):
        assert titles(bob.get(path).text) == set()


def test_what_was_done_is_not_markup(alice: Browser, clock: Clock) -> None:
    alice.store(page_visit(clock() - dt.timedelta(hours=1), title="<script>alert(1)</script>"))
    page = alice.get("/activity").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
