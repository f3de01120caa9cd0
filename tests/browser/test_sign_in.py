"""Signing in, in real Chromium with its virtual authenticator: make a passkey, come back by it, confirm by it; an app's code, recovery codes."""

import re
import sqlite3
import time
from pathlib import Path

import pyotp
import pytest
from browsing import PASSWORD, Looked, press
from playwright.sync_api import Browser, expect
from servers import Server

WITH_PASSKEYS = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True,
    "automaticPresenceSimulation": True,
}  # fmt: skip


def sign_up(tab: Looked, server: Server) -> None:
    page = tab.page
    page.goto(server.link)
    page.fill("input[name=name]", "Alice")
    page.fill("input[name=password]", PASSWORD)
    page.fill("input[name=again]", PASSWORD)
    press(page, "Make my account")
    expect(page).to_have_url(f"{server.origin}/")


def grow_old(server: Server) -> None:
    """Let every session have proved itself ten minutes ago."""
    with sqlite3.connect(Path(server.environment["BROKER_DATA_DIR"]) / "data.db") as store:
        store.execute("UPDATE sessions SET fresh_at = datetime(fresh_at, '-10 minutes') || '.000000'")


def test_a_passkey_from_making_it_to_the_last_way_in(chromium: Browser, server: Server) -> None:
    """K47: made, signed in by it without typing, confirmed by it, refused where the device does not verify its person."""
    tab = Looked(chromium, "passkey", scripts=True)
    page = tab.page
    sign_up(tab, server)
    devtools = tab.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    device = devtools.send("WebAuthn.addVirtualAuthenticator", {"options": WITH_PASSKEYS})["authenticatorId"]
    page.goto(f"{server.origin}/devices")
    tab.look("devices")
    press(page, "Make a passkey")
    assert page.url.endswith("/devices"), "a passkey without a name was made"
    page.fill("input[name=passkey_name]", "This laptop")
    press(page, "Make a passkey")
    expect(page.locator("main")).to_contain_text("Your passkey is kept")
    expect(page.locator("#passkeys ~ .lines")).to_contain_text("This laptop")
    tab.look("devices-with-passkey")
    press(page, "Sign out")
    expect(page).to_have_url(re.compile("/sign-in"))
    tab.look("sign-in")
    press(page, "Sign in with a passkey")
    expect(page).to_have_url(f"{server.origin}/")
    tab.look("home-with-notices")
    grow_old(server)
    page.goto(f"{server.origin}/devices")
    press(page, "Make ten new codes")
    expect(page.locator("h1")).to_have_text("Is it you?")
    tab.look("is-it-you")
    press(page, "Use a passkey")
    expect(page.locator("h1")).to_have_text("Your recovery codes")
    tab.look("recovery-codes")
    page.goto(f"{server.origin}/devices")
    press(page, "Take my password away")
    expect(page.locator("main")).to_contain_text("You have no password any more")
    press(page, "Take away")
    expect(page.locator("main")).to_contain_text("your last way to sign in")
    tab.look("last-way")
    page.goto(f"{server.origin}/")
    press(page, "Sign out")
    devtools.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": False})
    press(page, "Sign in with a passkey")
    expect(page.locator("[data-passkey-problem]")).not_to_be_empty(timeout=70_000)
    devtools.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": True})
    press(page, "Sign in with a passkey")
    expect(page).to_have_url(f"{server.origin}/")
    assert tab.trouble == []
    tab.context.close()


def set_up_app(tab: Looked) -> tuple[pyotp.TOTP, str]:
    """Set an app up on its page, mistyping once; the app, and the code that was used."""
    page = tab.page
    tab.look("set-up-app")
    secret = pyotp.TOTP(page.locator("li code").first.inner_text().replace(" ", ""))
    page.fill("input[name=code]", "000000")
    press(page, "Ask for a code")
    expect(page.locator("#errors")).to_contain_text("This code is wrong")
    first = secret.now()
    page.fill("input[name=code]", first)
    press(page, "Ask for a code")
    expect(page.locator("main")).to_contain_text("A code from your app is asked for")
    return secret, first


@pytest.mark.parametrize("scripts", [True, False], ids=["with-scripts", "without-scripts"])
def test_an_app_and_recovery_codes(chromium: Browser, server: Server, *, scripts: bool) -> None:
    """Without JavaScript too: everything but the passkeys themselves."""
    tab = Looked(chromium, "app" if scripts else "app-plain", scripts=scripts)
    page = tab.page
    sign_up(tab, server)
    page.goto(f"{server.origin}/devices")
    if not scripts:
        expect(page.get_by_role("button", name="Make a passkey")).to_be_hidden()
    grow_old(server)
    press(page, "Set up an app")
    tab.look("is-it-you-password")
    page.fill("input[name=confirm_password]", "not my password")
    press(page, "Go on")
    expect(page.locator("#errors")).to_contain_text("This is not your password")
    tab.look("is-it-you-refused")
    page.fill("input[name=confirm_password]", PASSWORD)
    press(page, "Go on")
    expect(page.locator("h1")).to_have_text("Set up an authenticator app")
    secret, first = set_up_app(tab)
    press(page, "Make ten new codes")
    codes = page.locator("pre").inner_text().split()
    assert len(codes) == 10
    page.get_by_role("link", name="I have written them down").click()
    press(page, "Sign out")
    page.fill("input[name=name]", "alice")
    page.fill("input[name=password]", PASSWORD)
    page.locator("form", has=page.locator("input[name=password]")).get_by_role("button", name="Sign in").click()
    expect(page.locator("h1")).to_have_text("The code from your app")
    tab.look("code")
    page.fill("input[name=code]", first)
    press(page, "Sign in")
    expect(page.locator("#errors")).to_contain_text("was used already")
    # One step ahead is taken too, and it cannot be the one that was used.
    page.fill("input[name=code]", secret.at(int(time.time()) + 30))
    press(page, "Sign in")
    expect(page).to_have_url(f"{server.origin}/")
    press(page, "Sign out")
    page.get_by_role("link", name="Use a recovery code").click()
    tab.look("recovery")
    page.fill("input[name=name]", "Alice")
    page.fill("input[name=code]", codes[0].upper())
    press(page, "Sign in")
    expect(page).to_have_url(re.compile("/devices$"))
    expect(page.locator("main")).to_contain_text("all your other sessions have ended")
    tab.look("recovered")
    assert tab.trouble == []
    tab.context.close()
