"""Home: what waits, who may read, this month in figures; three ways to begin while there is nothing; nobody else's anything."""

import datetime as dt
import re

import pytest
from makers import ORIGIN, Browser, Clock, Extension, Shop, page_visit, purchase


def test_signed_out_leads_to_sign_in(alice: Browser) -> None:
    answer = alice.app.test_client().get("/", base_url=ORIGIN)
    assert (answer.status_code, answer.location) == (303, "/sign-in?next=/")


def test_an_empty_one_has_three_ways_to_begin(alice: Browser) -> None:
    page = alice.get("/").text
    for way in ("Import a history", "Connect the extension", "Choose your terms"):
        assert way in page
    # What is not there yet is not offered as if it were.
    for address in ("/", "/activity"):
        assert "comes in a later release" in alice.get(address).text
    assert "No vendor may read anything." in page
    assert "Pause all" not in page


def test_the_oldest_request_is_the_primary_act(alice: Browser, bookshop: Shop, otherstore: Shop, clock: Clock) -> None:
    first = alice.open(bookshop.ask())
    clock.advance(minutes=5)
    second = alice.open(otherstore.ask())
    page = alice.get("/").text
    assert "2 requests wait for your answer" in page
    assert re.findall(r'class="button( primary)?" href="(/requests/[0-9a-f]+)"', page) == [(" primary", first), ("", second)]


def test_grants_say_when_they_were_last_read(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    alice.store(purchase(clock() - dt.timedelta(days=3)))
    grant = bookshop.connect(alice)["grant_id"]
    assert "Last read: never." in alice.get("/").text
    bookshop.read()
    page = alice.get("/").text
    assert f'Last read: <time datetime="{clock():%Y-%m-%d}">' in page
    assert re.search(r"<dt>read by a vendor</dt><dd>1</dd>", page)
    alice.post(f"/grants/{grant}/revoke", page="/grants")
    assert "No vendor may read anything." in alice.get("/").text


def test_this_month_is_in_figures(alice: Browser, clock: Clock) -> None:
    today = clock().replace(hour=0, minute=0)
    alice.store(page_visit(today), page_visit(today), purchase(today), page_visit(today - dt.timedelta(days=32)))
    page = alice.get("/").text
    assert "<dt>page visits</dt><dd>2</dd>" in page
    assert "<dt>purchase</dt><dd>1</dd>" in page


def test_what_lies_further_back_is_counted(alice: Browser, clock: Clock) -> None:
    alice.store(page_visit(clock() - dt.timedelta(days=40)), page_visit(clock() - dt.timedelta(days=41)))
    assert "You did nothing this month that is kept here. 2 events lie further back." in alice.get("/").text


def test_the_extension_is_said_to_show_nobody_anything(alice: Browser) -> None:
    Extension.connect(alice)
    assert "It shows nobody anything." in alice.get("/").text


@pytest.fixture
def story(alice: Browser, bookshop: Shop, clock: Clock) -> list[str]:
    """Alice with events, a request that waits, a grant and its entries; every address of hers that has an id."""
    alice.store(purchase(clock() - dt.timedelta(days=3), "A Secret Novel"), page_visit(clock() - dt.timedelta(days=1), "https://secret.example/x", "A Secret Page"))
    grant = bookshop.connect(alice)["grant_id"]
    bookshop.read()
    waiting = alice.open(bookshop.ask())
    entry = re.search(r'href="(/ledger/\d+)">books.example read', alice.get("/ledger").text)
    assert entry
    return [f"/grants/{grant}", waiting, entry[1]]


PAGES = (
    "/", "/requests", "/grants", "/grants?state=live", "/activity", "/activity/sites", "/activity/purchases", "/activity?site=secret.example", "/activity/forget",
    "/activity/forget?site=secret.example", "/ledger", "/ledger?vendor=books.example", "/ledger/verify",
    "/insights", "/insights/owned", "/insights/owned/shop", "/insights/subscriptions", "/insights/money", "/insights/time", "/insights/time?year=all",
)  # fmt: skip


def test_bob_sees_nothing_of_alices(alice: Browser, bob: Browser, story: list[str]) -> None:
    """Every page and every id: hers for her, empty or missing for him."""
    told = "".join(alice.get(path).text for path in (*PAGES, *story))
    secrets = ("Secret Novel", "Secret Page", "secret.example/x", "books.example", *story)
    assert all(secret in told for secret in secrets)
    for path in PAGES:
        answer = bob.get(path)
        assert answer.status_code == 200
        # A filter that he typed himself stands in its field again.
        shown = re.sub(r'value="[^"]*"', "", answer.text)
        assert not [secret for secret in secrets if secret in shown], path
    assert [bob.get(path).status_code for path in story] == [404] * 3
    assert [alice.get(path).status_code for path in story] == [200] * 3


def test_pages_write_nothing_on_get(alice: Browser, story: list[str]) -> None:
    data = alice.app.extensions["broker"].data
    alice.get("/")
    with data.reading() as tx:
        before = tx.exec_driver_sql("PRAGMA data_version").scalar()
    for path in (*PAGES, *story):
        alice.get(path)
    with data.reading() as tx:
        assert tx.exec_driver_sql("PRAGMA data_version").scalar() == before


def test_every_page_keeps_to_the_policy(alice: Browser, story: list[str]) -> None:
    """No inline style, handler or script without the nonce; one h1; a title of its own."""
    titles = set()
    for path in (*PAGES, *story):
        text = alice.get(path).text
        assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?![^>]*\bnonce=)", text), path
        assert text.count("<h1") == 1, path
        ids = re.findall(r'\sid="([^"]+)"', text)
        assert len(ids) == len(set(ids)), path
        titles.add(re.search(r"<title>([^<]+)", text)[1])  # type: ignore[index]
    assert len(titles) >= 9
