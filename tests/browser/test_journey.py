"""The journey in real Chromium: sign up, import, consent, revoke; with and without JavaScript; every page looked at in three shapes."""

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import ROOT, Server, free_port, running, wait_for

CHROMIUM = Path("/usr/bin/chromium")
PASSWORD = "three unrelated words"
SHOTS = Path(__file__).parent / "screenshots"
SHAPES = {"desktop": (1280, 900, "light"), "narrow": (360, 740, "light"), "dark": (1280, 900, "dark")}
VIOLATIONS = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.__violations.push(event.violatedDirective + " " + event.blockedURI));
"""

if not CHROMIUM.exists() and not os.environ.get("CI"):
    pytest.skip("Chromium is not installed here (package chromium).", allow_module_level=True)

from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402 - only where Chromium is


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"]
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path) as started:
        yield started


@pytest.fixture
def shop(server: Server, tmp_path: Path) -> Iterator[str]:
    """The sample bookshop on a port of its own, registered at the broker."""
    environment = {
        **server.environment, "BOOKSHOP_PORT": str(free_port()), "BOOKSHOP_BROKER": server.origin, "BOOKSHOP_FOLDER": str(tmp_path / "shop"),
        "PYTHONPATH": str(ROOT / "clients" / "vendor"),
    }  # fmt: skip
    metadata = subprocess.run([sys.executable, "-m", "bookshop", "metadata"], env=environment, capture_output=True, text=True, check=True).stdout
    (tmp_path / "client.json").write_text(metadata)
    environment["BOOKSHOP_CLIENT_ID"] = server.command("client", "add", str(tmp_path / "client.json")).strip()
    process = subprocess.Popen([sys.executable, "-m", "bookshop"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{environment['BOOKSHOP_PORT']}/"
    wait_for(address, process)
    yield address
    process.terminate()
    process.wait(10)


class Looked:
    """A tab whose page errors and policy violations are collected, and which takes a picture of each page in three shapes."""

    def __init__(self, browser: Browser, name: str, *, scripts: bool) -> None:
        self.context = browser.new_context(java_script_enabled=scripts, accept_downloads=False)
        self.scripts = scripts
        self.name = name
        self.trouble: list[str] = []
        self.seen = 0
        if scripts:
            self.context.add_init_script(VIOLATIONS)
        self.page: Page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))

    def look(self, what: str) -> None:
        """Note violations, and take the pictures."""
        if self.scripts:
            self.trouble += self.page.evaluate("window.__violations || []")
        SHOTS.mkdir(exist_ok=True)
        self.seen += 1
        for shape, (width, height, scheme) in SHAPES.items():
            self.page.set_viewport_size({"width": width, "height": height})
            self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            self.page.screenshot(path=SHOTS / f"{self.name}-{self.seen:02}-{what}-{shape}.png", full_page=True)
            if self.scripts and shape == "narrow":
                wide = self.page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{what} scrolls sideways at {width} px: {wide}"
        self.page.set_viewport_size({"width": 1280, "height": 900})
        self.page.emulate_media(color_scheme="light")


@pytest.fixture(params=[True, False], ids=["with-scripts", "without-scripts"])
def tab(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Looked]:
    made = Looked(chromium, "scripts" if request.param else "plain", scripts=request.param)
    yield made
    assert made.trouble == []
    made.context.close()


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=re.compile(name)).first.click()


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


def until(tab: Looked, words: str) -> None:
    """The page tells progress by itself with scripts, and on reloading without."""
    for _ in range(100):
        if words in tab.page.inner_text("main"):
            return
        if tab.scripts:
            tab.page.wait_for_timeout(200)
        else:
            tab.page.reload()
    raise AssertionError(f"{words!r} never came: {tab.page.inner_text('main')}")


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

    page.goto(f"{server.origin}/import")
    tab.look("import-empty")
    history = tmp_path / "History"
    history.write_bytes(gzip.decompress((shared_data / "browser_history" / "hindsight_chrome10_History.sqlite.gz").read_bytes()))
    take_in(tab, history)
    page.goto(f"{server.origin}/activity")
    assert "84" in page.inner_text("main")
    tab.look("activity")

    (tmp_path / "terms.json").write_text(json.dumps(wide_terms()))
    server.command("terms", "set", str(tmp_path / "terms.json"))
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
    page.locator("select[name='1.field.time']").first.select_option("month")
    if tab.scripts:
        expect(page.locator("#summary")).to_contain_text("month", timeout=10_000)
        expect(page.locator("#says-1")).to_contain_text("the month", timeout=10_000)
    else:
        page.locator("input[name=give]").first.check()
        page.get_by_role("button", name="Update preview").last.click()
        assert page.locator("input[name=give]").first.is_checked()
    tab.look("consent-narrowed")
    press(page, "Give what I ticked")
    expect(page).to_have_url(re.compile(re.escape(shop)))
    tab.look("shop-connected")

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
