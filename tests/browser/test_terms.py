"""The Terms page in real Chromium, with and without JavaScript: rules, what they change, undo, versions, a block and its end."""

import datetime as dt
import re
from pathlib import Path

import pytest
from browsing import PASSWORD, Looked, press
from makers import purchase, settings_in
from playwright.sync_api import expect
from servers import Server

from broker.events import actions as events
from broker.events import shape
from broker.ledger import actions as ledger
from broker.opening import opened
from broker.people import queries as people


@pytest.fixture
def alice(tab: Looked, server: Server, tmp_path: Path) -> Looked:
    """Alice, signed in, with a dozen books bought."""
    page = tab.page
    page.goto(server.link)
    page.fill("input[name=name]", "Alice")
    page.fill("input[name=password]", PASSWORD)
    page.fill("input[name=again]", PASSWORD)
    press(page, "Make my account")
    with opened(settings_in(tmp_path)) as broker:
        now = broker.now()
        with broker.reading() as tx:
            person_id = people.everyone(tx)[0]
        bought = [purchase(now - dt.timedelta(days=2 + n), f"Book {n}", minor=900 + 100 * n) for n in range(12)]
        checked = [shape.check(event, now=now, own=True) for event in bought]
        events.take_in(broker, broker.keyring(person_id), checked, origin="test", within=None, entry=ledger.Entry("import", now))
    return tab


def test_terms_from_the_first_look_to_a_block(alice: Looked, server: Server, shop: str) -> None:
    tab, page = alice, alice.page
    home = f"{server.origin}/terms"
    page.goto(home)
    tab.look("terms-first")
    page.goto(shop)
    press(page, "Connect")
    tab.look("consent-rows")
    page.locator("input[name=give]").first.check()
    press(page, "Give what I ticked")
    expect(page).to_have_url(re.compile(re.escape(shop)))

    forbid_prices(alice, home)
    allow_returns(alice)
    change_the_agreement(alice)
    block_the_shop(alice, home, shop)
    unblock_it(alice, home, shop)


def forbid_prices(tab: Looked, home: str) -> None:
    page = tab.page
    # A rule that forbids, with a mistake first.
    page.goto(home)
    page.locator("a[href='/terms/deny']").click()
    page.locator("summary", has_text="Only parts of an event").click()
    page.locator("input[name=fields][value=price]").check()
    page.locator("summary", has_text="Only some sites").click()
    page.fill("input[name=sites]", "what is this")
    tab.look("terms-deny")
    press(page, "See what this changes")
    assert page.title().startswith("Error:")
    tab.look("terms-deny-mistaken")
    assert page.locator("input[name=fields][value=price]").is_checked()
    page.fill("input[name=sites]", "")
    press(page, "See what this changes")
    expect(page.locator("h1")).to_have_text("What this changes")
    assert "It hides a part of 12 of your rows." in page.inner_text("main")
    assert "Of 12 rows they see less." in page.inner_text("main")
    tab.look("terms-effects")
    press(page, "Go back")
    assert page.locator("input[name=fields][value=price]").is_checked()
    press(page, "See what this changes")
    press(page, "^Save")
    expect(page).to_have_url(home)
    tab.look("terms-saved")
    press(page, "^Undo")
    assert "Undone." in page.inner_text("main")
    assert "the price of anything" not in page.inner_text("#deny >> xpath=ancestor::section")


def allow_returns(tab: Looked) -> None:
    page = tab.page
    # A rule that allows, and another agreement.
    page.locator("a[href='/terms/allow']").click()
    tab.look("terms-allow")
    page.fill("input[name=label]", "Shops I know: what I sent back")
    page.locator("input[name=vendor][value=known]").check()
    page.locator("input[name=kinds][value=return]").check()
    page.select_option("select[name='field.time']", "day")
    page.locator("input[name=purposes][value='dpv:CustomerCare']").check()
    press(page, "See what this changes")
    assert "No running grant changes by this." in page.inner_text("main")
    tab.look("terms-allow-effects")
    press(page, "^Save")


def change_the_agreement(tab: Looked) -> None:
    page = tab.page
    page.locator("a[href='/terms/general']").click()
    page.locator("input[name=base][value=SD-BASE-DP]").check()
    tab.look("terms-general")
    press(page, "See what this changes")
    tab.look("terms-general-effects")
    press(page, "^Save")
    assert "SD-BASE-DP" in page.inner_text("main")
    page.get_by_role("link", name="All versions").click()
    tab.look("terms-versions")
    page.get_by_role("link", name="View version 1").click()
    tab.look("terms-version")


def block_the_shop(tab: Looked, home: str, shop: str) -> None:
    page = tab.page
    # Asked once more, Alice has had enough; the shop learns nothing of the block.
    page.goto(shop)
    press(page, "Disconnect|Connect")
    if "/requests/" not in page.url:
        press(page, "Connect")
    expect(page).to_have_url(re.compile(r"/requests/[0-9a-f]{32}$"))
    press(page, "Refuse and block this vendor")
    expect(page).to_have_url(re.compile(re.escape(shop)))
    page.goto(home)
    assert "bookshop.example" in page.inner_text("#blocked >> xpath=ancestor::section")
    tab.look("terms-blocked")


def unblock_it(tab: Looked, home: str, shop: str) -> None:
    page = tab.page
    page.goto(shop)
    press(page, "Connect")
    expect(page).to_have_url(re.compile(r"/requests/[0-9a-f]{32}$"))
    assert "You have blocked it" in page.inner_text("main")
    tab.look("terms-unseen")
    page.get_by_role("link", name=re.compile("Return to")).click()
    expect(page).to_have_url(re.compile(re.escape(shop)))
    page.goto(home)
    press(page, "^Unblock")
    tab.look("terms-unblock")
    press(page, "^Save")
    assert "You have blocked nobody." in page.inner_text("main")
