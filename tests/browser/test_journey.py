"""The journey in real Chromium: sign up, import, consent, revoke; with and without JavaScript; every page looked at in three shapes."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

from browsing import PASSWORD, Looked, press, until
from playwright.sync_api import Page, expect
from servers import Server

CUT = """all => all.filter(one => {
    const wide = one.offsetWidth;
    one.style.inlineSize = "max-content";
    const cut = one.offsetWidth > wide;
    one.style.inlineSize = "";
    return cut;
}).length"""
"""How many menus are narrower than their longest line."""


def take_in(tab: Looked, file: Path) -> None:
    page = tab.page
    page.set_input_files("input[type=file]", file)
    press(page, "Try this file")
    page.wait_for_url(re.compile(r"/import/[0-9a-f]{32}$"))
    until(tab, "Take in ")
    tab.look("import-dry-run")
    press(page, "^Take in")
    until(tab, "Taken in")
    tab.look("import-done")


def test_sign_up_import_consent_revoke(tab: Looked, server: Server, shop: str, tmp_path: Path, shared_data: Path) -> None:
    page = tab.page
    page.goto(server.link)
    tab.look("sign-up")
    page.fill("input[name=name]", "Alice")
    page.fill("input[name=password]", "short")
    page.fill("input[name=again]", "short")
    page.evaluate("document.querySelector('form[action^=\"/sign-up\"]').noValidate = true") if tab.scripts else page.fill("input[name=password]", PASSWORD)
    press(page, "Make my account")
    assert page.title().startswith("Error:")
    tab.look("sign-up-refused")
    page.fill("input[name=password]", PASSWORD)
    page.fill("input[name=again]", PASSWORD)
    press(page, "Make my account")
    expect(page).to_have_url(f"{server.origin}/")
    tab.look("home-empty")

    bring_history(tab, server, tmp_path, shared_data)
    (tmp_path / "terms.json").write_text(json.dumps(wide_terms()))
    server.command("terms", "set", str(tmp_path / "terms.json"))
    consent_to(tab, shop)
    revoke_and_leave(tab, server, shop)


def bring_history(tab: Looked, server: Server, tmp_path: Path, shared_data: Path) -> None:
    page = tab.page
    page.goto(f"{server.origin}/import")
    tab.look("import-empty")
    history = tmp_path / "History"
    history.write_bytes(gzip.decompress((shared_data / "browser_history" / "hindsight_chrome10_History.sqlite.gz").read_bytes()))
    take_in(tab, history)
    page.goto(f"{server.origin}/activity")
    assert "84" in page.inner_text("main")
    tab.look("activity")


def consent_to(tab: Looked, shop: str) -> None:
    page = tab.page
    page.goto(shop)
    tab.look("shop")
    press(page, "Connect")
    expect(page).to_have_url(re.compile(r"/requests/[0-9a-f]{32}$"))
    assert page.locator("input:checked").count() == 0
    tab.look("consent")
    if tab.scripts:
        page.locator("input[name=give]").first.check()
        expect(page.locator("#summary")).to_contain_text("may see", timeout=10_000)
    page.locator("details.narrowing summary").first.click()
    if tab.scripts:
        assert page.locator(".levels select").count() > 1
        assert page.locator(".levels select").evaluate_all(CUT) == 0, "a menu shows only a part of what can be chosen"
    page.locator("select[name='1.field.time']").first.select_option("month")
    if tab.scripts:
        expect(page.locator("#summary")).to_contain_text("month", timeout=10_000)
        expect(page.locator("#says-1")).to_contain_text("the month", timeout=10_000)
        mistake_and_mend(page, "1.sites", "banana split", "is no site")
        mistake_and_mend(page, "until", "2020-01-01", "This day is over")
    else:
        page.locator("input[name=give]").first.check()
        page.get_by_role("button", name="Update preview").last.click()
        assert page.locator("input[name=give]").first.is_checked()
    tab.look("consent-narrowed")
    press(page, "Give what I ticked")
    expect(page).to_have_url(re.compile(re.escape(shop)))
    tab.look("shop-connected")


def mistake_and_mend(page: Page, name: str, wrong: str, said: str) -> None:
    """What is wrong is said at its field as one goes on, and no longer once it is mended."""
    place = page.locator(f"[id='f-{name}-error']")
    page.fill(f"[name='{name}']", wrong)
    page.locator(f"[name='{name}']").blur()
    expect(place).to_contain_text(said, timeout=10_000)
    page.fill(f"[name='{name}']", "")
    page.locator(f"[name='{name}']").blur()
    expect(place).to_be_empty(timeout=10_000)


def revoke_and_leave(tab: Looked, server: Server, shop: str) -> None:
    page = tab.page
    page.goto(f"{server.origin}/")
    tab.look("home")
    page.goto(f"{server.origin}/grants")
    tab.look("grants")
    page.locator("main a[href^='/grants/']").first.click()
    tab.look("grant")
    press(page, "^Revoke")
    assert "ended" in page.inner_text("main").lower()
    tab.look("grant-ended")
    page.goto(shop)
    page.reload()
    tab.look("shop-after")
    page.goto(f"{server.origin}/ledger")
    text = page.inner_text("main")
    assert "You ended the grant" in text
    tab.look("ledger")
    page.goto(f"{server.origin}/docs")
    tab.look("docs")
    page.goto(f"{server.origin}/nowhere")
    tab.look("not-found")
    press(page, "Sign out")
    expect(page).to_have_url(f"{server.origin}/sign-in")
    tab.look("signed-out")


def wide_terms() -> dict[str, Any]:
    fields = {"time": "exact", "site": "domain", "title": "exact", "category": "leaf", "price": "bucket:10"}
    rule = {
        "id": "recommend", "label": "To recommend", "vendors": ["*"], "action": "read", "purposes": ["dpv:ProvideProductRecommendations"],
        "kinds": ["page_visit", "product_view", "purchase", "cart"], "form": "rows", "fields": fields, "window": {"max_age": "P50Y", "min_age": "P1D"},
    }  # fmt: skip
    return {
        "type": "Terms", "version": 1, "vocabulary": 1, "base": "SD-BASE", "requests": "AgentAllowsRequests", "auto_accept": "never", "allow": [rule], "deny": [],
    }  # fmt: skip
