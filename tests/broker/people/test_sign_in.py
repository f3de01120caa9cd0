"""Signing up, in and out; sessions; forms that other sites cannot send (K43-K49, K52)."""

import re
from pathlib import Path

import pytest
from flask import Flask
from makers import ORIGIN, Browser, Clock, settings_in

from broker import close_app, create_app
from broker.people import actions

HERE = {"base_url": ORIGIN, "headers": {"Sec-Fetch-Site": "same-origin"}}
PASSWORD = "correct horse battery staple"


def token_on(client: object, path: str) -> str:
    return re.search(r'name="csrf_token" value="([^"]+)"', client.get(path, base_url=ORIGIN).text)[1]  # type: ignore[attr-defined,index]


def sign_in(app: Flask, name: str, password: str) -> object:
    client = app.test_client()
    return client.post("/sign-in", data={"csrf_token": token_on(client, "/sign-in"), "name": name, "password": password, "next": "/requests"}, **HERE)


def test_it_works(app: Flask) -> None:
    """A new session, HttpOnly and SameSite; back to where the person wanted to go."""
    answer = sign_in(app, " Alice ", PASSWORD)
    assert (answer.status_code, answer.location) == (303, "/requests")
    cookie = next(value for value in answer.headers.getlist("Set-Cookie") if value.startswith("session-8440="))
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_unknown_names_and_wrong_passwords_look_alike(app: Flask) -> None:
    """K49: same status, same words."""
    wrong, unknown = sign_in(app, "alice", "wrong password"), sign_in(app, "nobody", "wrong password")
    assert wrong.status_code == unknown.status_code == 422
    strip = re.compile(r'csrf_token" value="[^"]+"|nonce="[^"]+"|value="(alice|nobody)"|data-options="[^"]+"')
    assert strip.sub("", wrong.text) == strip.sub("", unknown.text)
    assert "Name or password is wrong. Type both again, as you chose them." in wrong.text


def test_it_never_leads_elsewhere(app: Flask) -> None:
    for target in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        client = app.test_client()
        data = {"csrf_token": token_on(client, "/sign-in"), "name": "alice", "password": PASSWORD, "next": target}
        assert client.post("/sign-in", data=data, **HERE).location == "/"


def test_a_link_works_once(app: Flask, clock: Clock) -> None:
    broker = app.extensions["broker"]
    path = f"/sign-up/{actions.make_link(broker).text}"
    client = app.test_client()
    data = {"csrf_token": token_on(client, path), "name": "Dora", "password": PASSWORD, "again": PASSWORD}
    for mistake, sentence in (
        ({"name": ""}, "Choose a name"), ({"name": "alice"}, "this name already"), ({"password": "short", "again": "short"}, "at least 8"),
        ({"password": "password1", "again": "password1"}, "most common"), ({"password": "x" * 129, "again": "x" * 129}, "at most 128"), ({"again": "other"}, "differ"),
    ):  # fmt: skip
        refused = client.post(path, data={**data, **mistake}, **HERE)
        assert refused.status_code == 422, mistake
        assert sentence in refused.text
        assert "Error:" in refused.text
    at_once = client.post(path, data={**data, "name": "", "password": "short"}, **HERE).text
    assert all(sentence in at_once for sentence in ("Choose a name", "at least 8", "differ"))
    assert client.post(path, data=data, **HERE).status_code == 303
    assert app.test_client().get(path, base_url=ORIGIN).status_code == 404
    late = f"/sign-up/{actions.make_link(broker).text}"
    clock.advance(minutes=16)
    assert app.test_client().get(late, base_url=ORIGIN).status_code == 404
    assert app.test_client().get("/sign-up/nonsense", base_url=ORIGIN).status_code == 404


def test_long_passwords_are_taken(app: Flask) -> None:
    """K48: 64 and more characters."""
    actions.add(app.extensions["broker"], "erin", "long " * 20)
    assert sign_in(app, "erin", "long " * 20).status_code == 303


def test_signing_out_ends_the_session(alice: Browser) -> None:
    other = Browser.of(alice.app, "alice")
    answer = alice.post("/sign-out")
    assert answer.status_code == 303
    assert "Clear-Site-Data" in answer.headers
    assert alice.get("/requests").status_code == 303
    assert other.get("/requests").status_code == 200


def test_sessions_end_by_time(alice: Browser, clock: Clock) -> None:
    """K44: idle 30 days, 90 days in any case."""
    for _ in range(3):
        clock.advance(days=29)
        assert alice.get("/requests").status_code == 200
    clock.advance(days=4)
    assert alice.get("/requests").status_code == 303
    fresh = Browser.of(alice.app, "alice")
    clock.advance(days=31)
    assert fresh.get("/requests").status_code == 303


def test_twenty_sessions_at_most(alice: Browser, clock: Clock) -> None:
    clock.advance(hours=1)
    others = [Browser.of(alice.app, "alice") for _ in range(20)]
    assert alice.get("/requests").status_code == 303
    assert all(other.get("/requests").status_code == 200 for other in others)


def test_every_change_needs_its_token(alice: Browser) -> None:
    """K52: without token, with another session's, from another site: 403 and nothing changed."""
    bob = Browser.of(alice.app, "bob")
    good = alice.csrf("/requests")
    theirs = bob.csrf("/requests")
    for token, headers in (
        (None, {"Sec-Fetch-Site": "same-origin"}),
        (theirs, {"Sec-Fetch-Site": "same-origin"}),
        (good, {"Sec-Fetch-Site": "cross-site"}),
        (good, {}),
    ):
        answer = alice.client.post("/sign-out", data={"csrf_token": token} if token else {}, base_url=ORIGIN, headers=headers)
        assert answer.status_code == 403
        assert "Nothing was changed" in answer.text or "nothing was changed" in answer.text
    assert alice.get("/requests").status_code == 200
    assert alice.client.post("/sign-out", data={"csrf_token": good}, base_url=ORIGIN, headers={"Origin": ORIGIN}).status_code == 303


def test_hosts(alice: Browser) -> None:
    """Row 77, DNS rebinding: another Host is 421; pages asked for at 127.0.0.1 move to localhost."""
    client = alice.app.test_client()
    assert client.get("/sign-in", base_url="http://evil.example").status_code == 421
    assert client.get("/v1/events", base_url="http://evil.example:8440").status_code == 421
    moved = client.get("/sign-in?next=/x", base_url="http://127.0.0.1:8440")
    assert (moved.status_code, moved.location) == (302, f"{ORIGIN}/sign-in?next=/x")
    assert client.get("/sign-in", base_url="http://localhost:8440").status_code == 200


def test_attempts_are_limited(household: Path, tmp_path: Path) -> None:
    """Five per name in fifteen minutes; the sixth is told to wait, even with the right password."""
    import shutil

    shutil.copytree(household, tmp_path / "home")
    (tmp_path / "home" / "data").chmod(0o700)
    app = create_app(settings_in(tmp_path / "home", rate_sign_in_name="5/15 minutes"))
    try:
        assert [sign_in(app, "alice", "wrong password").status_code for _ in range(5)] == [422] * 5
        limited = sign_in(app, "alice", PASSWORD)
        assert limited.status_code == 429
        assert 0 < int(limited.headers["Retry-After"]) <= 900
        assert "Too many attempts" in limited.text
        assert sign_in(app, "bob", PASSWORD).status_code == 303
    finally:
        close_app(app)


@pytest.mark.parametrize("cookie", ["", "pfr_ss_x", "x" * 3000])
def test_broken_cookies_are_nobody(app: Flask, cookie: str) -> None:
    client = app.test_client()
    client.set_cookie("session-8440", cookie, domain="localhost")
    assert client.get("/requests", base_url=ORIGIN).status_code == 303


def test_sizes_are_checked_first(app: Flask) -> None:
    """Section 9 of the reliability design: 8 KiB of address, 16 KiB and a hundred of headers."""
    client = app.test_client()
    assert client.get("/sign-in?x=" + "y" * 9000, base_url=ORIGIN).status_code == 414
    assert client.get("/sign-in", base_url=ORIGIN, headers={"X-Long": "y" * 17_000}).status_code == 431
    assert client.get("/sign-in", base_url=ORIGIN, headers=[(f"X-{number}", "1") for number in range(101)]).status_code == 431
    assert client.get("/sign-in?x=" + "y" * 4000, base_url=ORIGIN, headers={"X-Long": "y" * 8000}).status_code == 200
