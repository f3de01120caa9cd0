"""Tabs of a real Chromium: they collect what goes wrong in a page, and take its picture in three shapes."""

import re
from pathlib import Path

from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
PASSWORD = "three unrelated words"
SHOTS = Path(__file__).parent / "browser" / "screenshots"
SHAPES = {"desktop": (1280, 900, "light"), "narrow": (360, 740, "light"), "dark": (1280, 900, "dark")}
VIOLATIONS = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.__violations.push(event.violatedDirective + " " + event.blockedURI));
"""

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
                clipped = self.page.evaluate("[...document.querySelectorAll('.rows')].filter((region) => region.scrollWidth > region.clientWidth).length")
                assert not clipped, f"{what} clips rows of events at {width} px"
        self.page.set_viewport_size({"width": 1280, "height": 900})
        self.page.emulate_media(color_scheme="light")


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=re.compile(name)).first.click()


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
