"""A browser, a broker to look at, and a shop that asks; skipped where Chromium is not installed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import CHROMIUM, Looked
from playwright.sync_api import Browser, sync_playwright
from servers import ROOT, Server, free_port, running, wait_for


@pytest.fixture(autouse=True, scope="session")
def installed() -> None:
    """Nothing here can run without the browser."""
    if not CHROMIUM.exists() and not os.environ.get("CI"):
        pytest.skip("Chromium is not installed here (package chromium).")


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


@pytest.fixture(params=[True, False], ids=["with-scripts", "without-scripts"])
def tab(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Looked]:
    made = Looked(chromium, "scripts" if request.param else "plain", scripts=request.param)
    yield made
    assert made.trouble == []
    made.context.close()
