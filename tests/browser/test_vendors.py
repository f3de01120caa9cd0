"""The Vendors page in real Chromium: whoever set the broker up invites, everybody else is told who does."""

import re

from browsing import PASSWORD, Looked, press
from playwright.sync_api import Browser, expect
from servers import Server


def sign_up(tab: Looked, link: str, name: str) -> None:
    tab.page.goto(link)
    tab.page.fill("input[name=name]", name)
    tab.page.fill("input[name=password]", PASSWORD)
    tab.page.fill("input[name=again]", PASSWORD)
    press(tab.page, "Make my account")
    expect(tab.page.locator("h1")).to_have_text("Home")


def test_who_may_invite(chromium: Browser, server: Server, shop: str) -> None:
    """A known vendor and a wrong address are refused with what was typed still there; a second person sees no form."""
    assert shop
    first, second = Looked(chromium, "vendors-first", scripts=True), Looked(chromium, "vendors-second", scripts=True)
    sign_up(first, server.link, "Alice")
    first.page.goto(f"{server.origin}/vendors")
    known = re.search(r"\S+\.example", server.command("client", "list"))
    assert known
    for typed, said in ((known[0], "has registered here already"), ("not an address", "Write the vendor's address alone")):
        first.page.fill("input[name=domain]", typed)
        press(first.page, "Make an invite")
        expect(first.page.locator("#errors")).to_contain_text(said)
        expect(first.page.locator("input[name=domain]")).to_have_value(typed)
        first.look("refused")
    link = re.search(r"https?://\S+/sign-up/\S+", server.command("person", "add"))
    assert link
    sign_up(second, link[0], "Bob")
    second.page.goto(f"{server.origin}/vendors")
    expect(second.page.locator("main")).to_contain_text("whoever set up this broker")
    expect(second.page.get_by_role("button", name="Make an invite")).to_have_count(0)
    second.look("vendors")
    for tab in (first, second):
        assert tab.trouble == []
        tab.context.close()
