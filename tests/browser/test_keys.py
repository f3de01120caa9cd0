"""What opens a broker, what is kept and what is erased, in real Chromium; and a broker that starts sealed."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import PASSWORD, Looked, press
from playwright.sync_api import Browser, Page, expect
from servers import Server, running

from broker.config import Settings
from broker.opening import opened
from broker.people import actions as people
from broker.vault import slots

PASSPHRASE = "five unrelated words in a row"


@pytest.fixture(params=[True, False], ids=["with-scripts", "without-scripts"])
def page_of(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Looked]:
    made = Looked(chromium, "keys" if request.param else "keys-plain", scripts=request.param)
    yield made
    assert made.trouble == []
    made.context.close()


def sign_in(page: Page, server: Server) -> None:
    page.goto(f"{server.origin}/sign-in?next=/grants")
    page.fill("input[name=name]", "Alice")
    page.fill("input[name=password]", PASSWORD)
    page.locator("form", has=page.locator("input[name=password]")).get_by_role("button", name="Sign in").click()


def test_keys_keeping_and_erasing(page_of: Looked, server: Server) -> None:
    page = page_of.page
    page.goto(server.link)
    page.fill("input[name=name]", "Alice")
    page.fill("input[name=password]", PASSWORD)
    page.fill("input[name=again]", PASSWORD)
    press(page, "Make my account")
    page.goto(f"{server.origin}/keys")
    page_of.look("keys")
    press(page, "Make a recovery key")
    assert re.search(r"[0-9a-z]{4}(?:-[0-9a-z]{4}){7}", page.inner_text("main"))
    page_of.look("recovery-key")
    page.get_by_role("link", name="I have written it down").click()
    page.fill("input[name=passphrase]", "too short one")
    page.fill("input[name=again]", "another one")
    press(page, "Use this passphrase")
    expect(page.locator("#errors")).to_contain_text("differ")
    page_of.look("passphrase-refused")
    page.goto(f"{server.origin}/vendors")
    page_of.look("vendors")
    page.fill("input[name=domain]", "books.example")
    press(page, "Make an invite")
    expect(page.locator("main")).to_contain_text("pfr_it_")
    page_of.look("vendor-invited")
    page.goto(f"{server.origin}/keep")
    page.locator("form", has=page.locator("#f-search")).locator("select").select_option("366")
    page.locator("form", has=page.locator("#f-search")).get_by_role("button").click()
    expect(page.locator("main")).to_contain_text("kept for a year from now on")
    page_of.look("keep")
    page.goto(f"{server.origin}/notices")
    page_of.look("notices")
    page.goto(f"{server.origin}/erase")
    page.fill("input[name=name]", "Bob")
    press(page, "Erase everything of mine")
    expect(page.locator("#errors")).to_contain_text("Nothing was erased")
    page_of.look("erase-refused")
    page.fill("input[name=name]", "alice")
    press(page, "Erase everything of mine")
    expect(page).to_have_url(f"{server.origin}/sign-in")
    expect(page.locator("main")).to_contain_text("Everything of yours is erased")
    page_of.look("erased")


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Server]:
    """A broker that needs its passphrase."""
    settings = Settings(data_dir=tmp_path / "data", key_file=tmp_path / "keys" / "key")
    with opened(settings) as broker:
        people.add(broker, "alice", PASSWORD)
        broker.vault.add_passphrase(PASSPHRASE)
        broker.vault.add_recovery_key()
        broker.vault.remove_slot(next(slot.id for slot in broker.vault.slots() if slot.kind == slots.KEY_FILE))
    settings.key_file.unlink()
    with running(tmp_path) as started:
        yield started


def test_a_sealed_broker(page_of: Looked, sealed: Server) -> None:
    """Sign in, see what can be done, unlock by the page."""
    page = page_of.page
    sign_in(page, sealed)
    expect(page.locator("main")).to_contain_text("You can still pause and revoke")
    page_of.look("sealed-grants")
    page.goto(f"{sealed.origin}/activity")
    expect(page.locator("h1")).to_have_text("The broker is sealed")
    page_of.look("sealed-activity")
    page.get_by_role("link", name="Unlock it").click()
    page.fill("input[name=secret]", "wrong")
    press(page, "Unlock")
    expect(page.locator("#errors")).to_contain_text("This is no passphrase or recovery key")
    page_of.look("unlock-refused")
    page.fill("input[name=secret]", PASSPHRASE)
    press(page, "Unlock")
    expect(page).to_have_url(f"{sealed.origin}/")
    expect(page.locator("main")).to_contain_text("The broker is open.")
