"""The browser keeps how long the ledger was, and tells where a later one does not follow (K67)."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import PASSWORD, Looked, press
from playwright.sync_api import Browser, Page, expect
from servers import Server

CHANGED = "This is not the ledger that this browser saw before."


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Looked]:
    made = Looked(chromium, "held", scripts=True)
    yield made
    assert made.trouble == []
    made.context.close()


def held(page: Page) -> dict[str, object]:
    """What the browser keeps of the one ledger, and under which name."""
    ((name, value),) = page.evaluate("Object.entries(localStorage)")
    assert re.fullmatch(r"ledger localhost:\d+/ledger/[A-Za-z0-9_-]{22}", name)
    return {"name": name, **json.loads(value)}


@pytest.mark.accepts("K67")
def test_a_ledger_that_does_not_follow_is_told(tab: Looked, server: Server, tmp_path: Path) -> None:
    """Nothing is told of one that grew; a shorter one and another one are, every time, and after signing out too."""
    page = tab.page
    page.goto(server.link)
    page.fill("input[name=name]", "Alice")
    page.fill("input[name=password]", PASSWORD)
    page.fill("input[name=again]", PASSWORD)
    press(page, "Make my account")
    for number in (1, 2):
        server.command("bundle", str(tmp_path / f"{number}.zip"))
        page.goto(f"{server.origin}/ledger")
        expect(page.locator("main")).to_contain_text("nothing before was changed")
        expect(page.get_by_text(CHANGED)).to_be_hidden()
    known = held(page)
    longer = {"size": int(str(known["size"])) + 7, "root": known["root"]}
    for kept, words in ((longer, f"It had {longer['size']} entries then"), ({**known, "root": "00" * 32}, "as many entries as then")):
        page.evaluate("([name, value]) => localStorage.setItem(name, value)", [known["name"], json.dumps({"size": kept["size"], "root": kept["root"]})])
        for path in ("/ledger", "/ledger/verify", "/ledger"):
            page.goto(server.origin + path)
            expect(page.get_by_text(CHANGED)).to_be_visible()
            expect(page.locator("main")).to_contain_text(words)
            expect(page.get_by_text("nothing before was changed")).to_be_hidden()
        tab.look("told")
    press(page, "Sign out")
    page.goto(f"{server.origin}/sign-in?next=/ledger")
    page.fill("input[name=name]", "Alice")
    page.fill("input[name=password]", PASSWORD)
    page.locator("form", has=page.locator("input[name=password]")).get_by_role("button", name="Sign in").click()
    expect(page.get_by_text(CHANGED)).to_be_visible()
    # What somebody broke in the storage is no alarm, and is put right.
    page.evaluate("(name) => localStorage.setItem(name, '{')", known["name"])
    page.goto(f"{server.origin}/ledger")
    expect(page.get_by_text(CHANGED)).to_be_hidden()
    assert int(str(held(page)["size"])) >= int(str(known["size"]))
