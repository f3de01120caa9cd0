"""My activity looked through: the plot over time, words in one's own events, prices seen more than once."""

import datetime as dt
import html
import re

import pytest
from makers import Browser, Clock, page_visit, purchase

from broker.events import finding


def look(product: str, at: dt.datetime, minor: int, site: str = "www.shop.example", **more: str) -> dict[str, object]:
    whole = {name: value for name, value in purchase(at, product, minor=minor, site=site).items() if name not in {"order_id", "total"}}
    return {
        **whole, "kind": "product_view",
        "items": [{"product": product, "quantity": 1, "category": "books", "price": {"amount_minor": minor, "currency": "EUR"}, **more}],
    }  # fmt: skip


@pytest.fixture
def full(alice: Browser, clock: Clock) -> Browser:
    """Sixty days of visits, a few purchases, and a book whose price changed."""
    now = clock()
    alice.store(*[page_visit(now - dt.timedelta(days=n, minutes=2), f"https://www.shop.example/{n}", f"Reading number {n}") for n in range(1, 61)])
    alice.store(purchase(now - dt.timedelta(days=3), "A Study in Ink"), purchase(now - dt.timedelta(days=50), "Pens & paper"))
    return alice


def rects(page: str) -> int:
    return page.split("</figure>", maxsplit=1)[0].count("<rect")


def test_the_plot_counts_what_the_list_shows(full: Browser, clock: Clock) -> None:
    page = full.get("/activity").text
    assert "By the day, in UTC days." in page
    figure = page.split("<figure")[1].split("</figure>")[0]
    table = figure.split("<tbody>")[1]
    numbers = [int(found) for found in re.findall(r'<td class="num">(\d+)</td></tr>', table)]
    assert sum(numbers) == 62
    # The first bar leads to its day, without a script.
    day = (clock() - dt.timedelta(days=3)).date().isoformat()
    address = next(html.unescape(each) for each in re.findall(r'<a href="([^"]+)" tabindex="-1">', figure) if f"from={day}" in each)
    closer = full.get(address).text
    assert "<strong>2 events</strong>" in closer
    assert "<figure" not in closer, "one day is no plot"


def test_the_plot_follows_filters(full: Browser) -> None:
    assert "Purchases" in full.get("/activity").text.split("</figure>")[0]
    only = full.get("/activity?site=www.shop.example&kind=purchase").text
    assert only.split("<figure")[1].split("</figure>")[0].count('class="num">1</td>') == 2
    assert "<figure" not in full.get("/activity?class=news").text
    assert "<figure" not in full.get("/activity?older=2020-01-01T00:00:00.000Z~00000000000000000000000000000000").text


def test_words_are_found_in_what_is_sealed(full: Browser) -> None:
    page = full.get("/activity?words=STUDY+ink").text
    assert "<strong>1 event</strong> with “STUDY ink” among 62 events." in page
    assert "A Study in Ink" in page
    assert "Reading number" not in page
    assert "<strong>60 events</strong> with “shop.example/”" in full.get("/activity?words=shop.example/").text
    assert "the newest 50 are shown" in full.get("/activity?words=reading").text
    assert "No event that was looked at has these words." in full.get("/activity?words=nowhere").text
    assert "<strong>15 events</strong>" in full.get("/activity/sites?words=number+1").text


def test_words_say_how_far_they_looked(full: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "MOST", 20)
    page = full.get("/activity?words=pens").text
    assert "among the newest 20 events" in page
    assert "choose earlier days" in page
    assert "Pens &amp; paper" not in page


def test_words_never_choose_what_is_forgotten(full: Browser) -> None:
    """Everything else that matches the filters would go with it."""
    assert "Forget all of these" not in full.get("/activity?words=ink&kind=purchase").text
    refused = full.get("/activity/forget?words=ink&kind=purchase")
    assert refused.status_code == 422
    assert "Words cannot choose what is forgotten" in refused.text
    assert full.post("/activity/forget", {"words": "ink", "kind": "purchase", "number": "2"}, page="/activity").status_code == 422
    assert "<strong>62 events</strong>" in full.get("/activity").text


def test_long_words_are_refused(full: Browser) -> None:
    answer = full.get(f"/activity?words={'x' * 201}")
    assert answer.status_code == 422
    assert "Write at most 200 letters." in answer.text


def test_prices_seen_more_than_once(alice: Browser, clock: Clock) -> None:
    """By shop and currency; the newest name of one number; what was seen once is left out."""
    now = clock()
    for ago, minor, name in ((30, 2000, "Old name"), (20, 1500, "A novel"), (1, 1800, "A novel")):
        alice.store(look(name, now - dt.timedelta(days=ago), minor, sku="N1"))
    alice.store(look("A novel", now - dt.timedelta(days=2), 900, site="www.other.example", sku="N1"), look("Seen once", now - dt.timedelta(days=2), 100))
    page = alice.get("/activity/products").text.split("Prices you saw more than once</h2>")[1].split("</table>")[0]
    words = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "A novel www.shop.example" in words
    assert "3 times €20.00 €15.00 €18.00 down €2.00" in words
    assert "Seen once" not in words
    assert "other.example" not in words
    assert "Old name" not in words
    assert "Prices you saw" not in alice.get("/activity/searches").text
