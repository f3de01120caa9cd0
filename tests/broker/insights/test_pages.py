"""The pages of insights: what they show, from what they say it is, what they refuse, and that nobody else sees any of it."""

import datetime as dt
import html
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import Browser, Clock

from broker.insights import queries
from broker.insights.actions import add_up
from broker.insights.pages import _domain

PAGES = ("/insights", "/insights/owned", "/insights/subscriptions", "/insights/money", "/insights/time")


def words(page: str) -> str:
    """A page's text in one line."""
    return plain("<main" + page.split("<main")[1].split("</main>", maxsplit=1)[0])


def plain(marked: str) -> str:
    """What is left without tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", marked.replace("<wbr>", ""))).split())


def rows(page: str, label: str) -> list[str]:
    """The lines of a table."""
    body = page.split(f'aria-label="{label}"')[1].split("<tbody")[1].split("</tbody>", maxsplit=1)[0]
    return [plain(f"<tr{row}") for row in body.split("<tr")[1:]]


@pytest.fixture
def noon(alice: Browser, bob: Browser, clock: Clock) -> dt.datetime:
    """Noon of the 20th of next June, at which the clock stands now."""
    wanted = clock().replace(year=clock().year + 1, month=6, day=20, hour=12, minute=0, second=0, microsecond=0)
    clock.ahead += wanted - clock()
    for person in (alice, bob):
        person.sign_in_again()
    return wanted


@pytest.fixture
def life(alice: Browser, trading: Any, noon: dt.datetime) -> Browser:
    """Alice at noon: some orders, one of them returned, a film subscription, visits."""
    def ago(days: float) -> dt.datetime:
        return noon - dt.timedelta(days=days)

    alice.store(
        trading.purchase(ago(2), "Kettle", site="www.kitchen.example", minor=4000), trading.purchase(ago(3), "Pan", site="www.kitchen.example", minor=6000),
        trading.purchase(ago(28), "Coat", site="www.clothes.example", minor=12_000), trading.purchase(ago(40), "Scarf", site="www.clothes.example", minor=3000),
        trading.returned(ago(1), "Pan", site="www.kitchen.example", minor=6000),
        *[trading.charged(ago(days), "Films", site="films.example", minor=minor) for days, minor in ((70, 999), (40, 999), (10, 1199))],
        trading.visited(ago(1), "news.example", 3_600_000), trading.visited(ago(1), "news.example"), trading.visited(ago(2), "mail.letters.example", 60_000),
    )  # fmt: skip
    return alice


@pytest.mark.parametrize("path", PAGES)
def test_empty_pages_say_which_import_would_fill_them(alice: Browser, path: str) -> None:
    page = alice.get(path)
    assert page.status_code == 200
    assert 'href="/import"' in page.text.split("<main")[1]
    assert "to fill it" in page.text.casefold() or path == "/insights"


@pytest.mark.parametrize("path", [*PAGES, "/insights/owned/shop?shop=clothes.example"])
def test_another_member_sees_nothing(life: Browser, bob: Browser, path: str) -> None:
    life.post("/insights/owned/shop", {"shop": "clothes.example", "days": "30", "note": "Needle"}, page="/insights/owned/shop")
    mine, theirs = life.get(path).text, re.sub(r'value="[^"]*"', "", bob.get(path).text)
    seen = [name for name in ("Kettle", "films.example", "kitchen.example", "news.example", "Needle") if name in mine]
    assert seen or path == "/insights"
    assert not [name for name in ("Kettle", "Films", "films.example", "kitchen.example", "clothes.example", "news.example", "Needle", "€") if name in theirs]


def test_the_index_has_the_main_figure_of_each(life: Browser) -> None:
    text = words(life.get("/insights").text)
    assert "4 things bought in" in text
    assert "1 sent back" in text
    assert "€11.99 a month, 1 charge that comes again" in text
    assert "1 h 01 min in 3 visits since" in text
    assert "Worked out from 4 purchases, 1 return and 3 subscription changes from" in text
    assert 'aria-current="page"' in life.get("/insights").text.split('href="/insights"')[1][:40]


def test_what_i_own_leaves_out_what_went_back(life: Browser, noon: dt.datetime) -> None:
    page = life.get("/insights/owned").text
    assert "Worked out from your 4 purchases less 1 return" in words(page)
    assert "1 thing that went back is left out" in words(page)
    found = rows(page, "What I own")
    assert [row.split(" ")[0] for row in found] == ["Kettle", "Coat", "Scarf"]
    assert "Pan" not in words(page)
    assert f"{noon - dt.timedelta(days=2):%Y-%m-%d}" in page
    assert "Decide soon" not in page


def test_what_can_go_back_for_seven_days_stands_first(life: Browser, noon: dt.datetime) -> None:
    done = life.post("/insights/owned/shop", {"shop": "https://www.clothes.example/x", "days": "30", "months": "24", "note": "Label in the box"}, page="/insights/owned/shop")
    assert done.status_code == 303
    page = life.get("/insights/owned").text
    assert "Kept for clothes.example." in page
    assert page.index("Decide soon") < page.index("Everything else")
    (soon,) = rows(page, "What can go back for a few more days")
    assert soon.startswith("Coat")
    back = (noon - dt.timedelta(days=28)).date() + dt.timedelta(days=30)
    assert f'datetime="{back.isoformat()}"' in page
    bought = (noon - dt.timedelta(days=28)).date()
    assert f'datetime="{bought.year + 2}-{bought:%m-%d}"' in page
    rest = rows(page, "What I own")
    assert [row.split(" ")[0] for row in rest] == ["Kettle", "Scarf"]
    assert "ended" in rest[1]
    assert "Takes things back for 30 days. Warranty of 24 months. Label in the box" in words(page)
    form = life.get("/insights/owned/shop?shop=clothes.example").text
    assert 'value="30"' in form
    assert "Label in the box</textarea>" in form
    # What is eight days away is not soon.
    life.post("/insights/owned/shop", {"shop": "clothes.example", "days": "36"}, page="/insights/owned/shop")
    assert "Decide soon" not in life.get("/insights/owned").text
    life.post("/insights/owned/shop", {"shop": "clothes.example", "days": "35"}, page="/insights/owned/shop")
    assert "Decide soon" in life.get("/insights/owned").text


def test_saying_nothing_takes_it_away(life: Browser) -> None:
    life.post("/insights/owned/shop", {"shop": "clothes.example", "days": "30"}, page="/insights/owned/shop")
    life.post("/insights/owned/shop", {"shop": "clothes.example"}, page="/insights/owned/shop")
    with life.app.extensions["broker"].reading() as tx:
        assert queries.shops(tx, life.ring) == {}
        assert tx.exec_driver_sql("SELECT count(*) FROM shop_periods").scalar() == 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"shop": "localhost"}, "This is no shop's site"), ({"shop": ""}, "This is no shop's site"), ({"days": "731"}, "730 at most"), ({"days": "-1"}, "whole number of days"),
        ({"days": "1.5"}, "whole number of days"), ({"days": "9" * 5000}, "whole number of days"), ({"days": "٣"}, "whole number of days"),
        ({"months": "241"}, "240 at most"), ({"note": "x" * 501}, "at most 500 letters"),
    ],
)  # fmt: skip
def test_a_shop_that_is_said_wrongly_is_refused(life: Browser, wrong: dict[str, str], says: str) -> None:
    given = {"shop": "clothes.example", "days": "30", "months": "24", "note": "Kept <b>words</b>", **wrong}
    answer = life.post("/insights/owned/shop", given, page="/insights/owned/shop")
    assert answer.status_code == 422
    assert "<title>Error:" in answer.text
    assert says in html.unescape(answer.text)
    assert 'aria-invalid="true"' in answer.text
    if "note" not in wrong:
        assert "Kept &lt;b&gt;words&lt;/b&gt;" in answer.text
    with life.app.extensions["broker"].reading() as tx:
        assert queries.shops(tx, life.ring) == {}


@given(st.one_of(st.text(max_size=60), st.sampled_from(["http://[", "//", "shop.example:99999", "https://user@shop.example", "xn--", "http://[::1]/", "\x00"])))
def test_any_text_is_a_shop_or_none(text: str) -> None:
    domain = _domain(text)
    assert not domain or _domain(domain) == domain


def test_what_i_own_is_paged_by_key(alice: Browser, trading: Any, noon: dt.datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "FIRST_LOOK", 40)
    alice.store(*[trading.purchase(noon - dt.timedelta(hours=number), f"Thing {number:03}") for number in range(1, 121)])
    alice.store(trading.returned(noon, "Thing 060"))
    seen, path, pages = [], "/insights/owned", 0
    while path:
        page = alice.get(path).text
        seen += re.findall(r"Thing (\d\d\d)", page)
        pages += 1
        more = re.search(r'href="([^"]+)" rel="next"', page)
        path = html.unescape(more[1]) if more else ""
    assert pages == 3
    assert seen == [f"{number:03}" for number in range(1, 121) if number != 60]
    monkeypatch.setattr(queries, "LAST_LOOK", 40)
    assert "Older purchases than the newest 40" in words(alice.get("/insights/owned").text)
    assert alice.get("/insights/owned?older=nonsense").status_code == 400


def test_no_thing_is_lost_between_what_is_soon_and_the_pages(alice: Browser, trading: Any, noon: dt.datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands first is on no later page, and takes nobody's place there."""
    monkeypatch.setattr(queries, "FIRST_LOOK", 52)
    alice.store(*[trading.purchase(noon - dt.timedelta(days=number), f"Thing {number:03}") for number in range(1, 121)])
    alice.post("/insights/owned/shop", {"shop": "shop.example", "days": "30"}, page="/insights/owned/shop")
    first = alice.get("/insights/owned").text
    soon = re.findall(r"Thing (\d\d\d)", first.split("Everything else")[0])
    assert sorted(soon) == [f"{number:03}" for number in range(23, 31)]
    seen = re.findall(r"Thing (\d\d\d)", first.split("Everything else")[1])
    while more := re.search(r'href="([^"]+)" rel="next"', first):
        first = alice.get(html.unescape(more[1])).text
        seen += re.findall(r"Thing (\d\d\d)", first)
    assert seen == [f"{number:03}" for number in range(1, 121) if not 23 <= number <= 30]


def test_subscriptions_cost_and_rise_and_end(life: Browser, trading: Any, noon: dt.datetime) -> None:
    life.store(*[trading.purchase(noon - dt.timedelta(days=days), "Box", site="box.example", minor=2000) for days in (200, 193, 186, 179)])
    page = life.get("/insights/subscriptions").text
    assert "Worked out from 8 purchases and 3 subscription changes" in words(page)
    (row,) = rows(page, "What comes again")
    assert row.startswith("Films films.example, 3 charges since")
    assert "Dearer: €9.99 to €11.99 on" in row
    assert "€11.99 every month €11.99 €143.88" in row
    due = (noon - dt.timedelta(days=10)).date()
    following = due.replace(year=due.year + due.month // 12, month=due.month % 12 + 1)
    assert f'datetime="{following.isoformat()}"' in page
    ended = words(page).split("Ended")[1]
    assert "Box box.example, 4 charges, every week, €20.00 each. Last charged on" in ended


def test_money_by_month_and_shop_with_what_came_back(life: Browser) -> None:
    page = life.get("/insights/money?year=all").text
    text = words(page)
    assert "spent €281.97" in text
    assert "came back €60.00" in text
    assert "spent, less what came back €221.97" in text
    assert rows(page, "Money in EUR by shop") == [
        "clothes.example €150.00 €150.00", "kitchen.example €100.00 €60.00 €40.00", "films.example €31.97 €31.97",
    ]  # fmt: skip
    assert "<figure" in page
    assert "€" in page.split("<figure")[1].split("</figure>")[0]


def test_currencies_are_never_added(life: Browser, trading: Any, noon: dt.datetime) -> None:
    yen = trading.purchase(noon, "Tea", site="tea.example")
    money = {"amount_minor": 5000, "currency": "JPY"}
    life.store({**yen, "total": money, "items": [{"product": "Tea", "price": money}]})
    no_price = trading.purchase(noon, "Gift", site="gift.example")
    del no_price["total"], no_price["items"][0]["price"]
    life.store(no_price)
    text = words(life.get("/insights/money?year=all").text)
    assert "In EUR" in text
    assert "In JPY" in text
    assert "spent JP¥5,000" in text
    assert "spent €281.97" in text
    assert "currencies are never added together" in text
    assert "Of 1 more event no price is known" in text


def test_time_says_for_how_many_visits_it_is_known(life: Browser) -> None:
    page = life.get("/insights/time").text
    assert "visits 3 time, where it is known 1 h 01 min visits of which it is known 2" in words(page)
    assert rows(page, "Time by site") == ["news.example 2 1 h 00 min 1 visit", "letters.example 1 1 min all"]
    assert len(rows(page, "Time by kind of site")) == 2


def test_years_are_chosen(alice: Browser, trading: Any, noon: dt.datetime) -> None:
    alice.store(trading.purchase(noon, "New", minor=100), trading.purchase(noon.replace(year=noon.year - 2), "Old", minor=700))
    assert "spent €1.00" in words(alice.get("/insights/money").text)
    assert "spent €7.00" in words(alice.get(f"/insights/money?year={noon.year - 2}").text)
    assert "spent €8.00" in words(alice.get("/insights/money?year=all").text)
    assert "Nothing that has a price is kept here" in alice.get(f"/insights/money?year={noon.year - 1}").text
    for wrong in ("20x6", "999", "٢٠٢٦", "2026-01"):
        assert alice.get(f"/insights/money?year={wrong}").status_code == 400
        assert alice.get(f"/insights/time?year={wrong}").status_code == 400


def test_months_that_are_still_counted_are_named(life: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many events for one page wait for the sweep; the page says so, and writes nothing."""
    monkeypatch.setattr(queries, "ON_THE_SPOT", 2)
    before = words(life.get("/insights/money?year=all").text)
    assert "Not everything is in here yet" in before
    assert "still being counted" in before
    assert "€281.97" not in before
    assert "still being counted" in words(life.get("/insights").text)
    while add_up(life.app.extensions["broker"]):
        pass
    after = words(life.get("/insights/money?year=all").text)
    assert "still being counted" not in after
    assert "spent €281.97" in after


def test_kept_totals_and_those_worked_out_on_the_spot_show_the_same(life: Browser) -> None:
    def shown() -> list[str]:
        return [re.sub(r"as of .*?\d\d:\d\d", "", words(life.get(path).text)) for path in (*PAGES, "/insights/money?year=all", "/insights/time?year=all")]

    before = shown()
    assert add_up(life.app.extensions["broker"])
    assert shown() == before
