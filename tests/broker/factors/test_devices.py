"""Devices & sign-in: the list of sessions, ending them, and changing the password (K45)."""

import re

from flask import Flask
from makers import ORIGIN, Browser, Clock, Extension
from signing_in import HERE, PASSWORD, token_on

from broker.people import actions as people

NEW = "another long password"


def sessions(text: str) -> list[str]:
    return re.findall(r'name="session" value="([0-9a-f]{64})"', text)


def test_it_lists_sessions(app: Flask, alice: Browser, bob: Browser, clock: Clock) -> None:
    """With what they were made in, by what, and when they were used; nobody else's."""
    client = app.test_client()
    headers = {**HERE["headers"], "User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0) AppleWebKit/605.1 CriOS/140.0 Safari/604.1"}
    data = {"csrf_token": token_on(client, "/sign-in"), "name": "alice", "password": PASSWORD}
    assert client.post("/sign-in", data=data, base_url=ORIGIN, headers=headers).status_code == 303
    text = alice.get("/devices").text
    assert "Chrome on iPhone" in text
    assert "with your password" in text
    assert text.count("This one") == 1
    assert len(sessions(text)) == 1
    assert "Chrome on iPhone" not in bob.get("/devices").text
    assert "You signed in with your password in Chrome on iPhone" in alice.get("/").text
    clock.advance(days=31)
    assert "Chrome on iPhone" not in Browser.of(app, "alice").get("/devices").text


def test_it_ends_one_or_all_others(app: Flask, alice: Browser, bob: Browser) -> None:
    one, two = Browser.of(app, "alice"), Browser.of(app, "alice")
    (first, *_) = sessions(one.get("/devices").text)
    assert bob.post("/devices/sessions/end", {"session": first}, page="/devices").status_code == 303
    assert [each.get("/requests").status_code for each in (alice, one, two)] == [200, 200, 200]
    mine = sessions(alice.get("/devices").text)
    assert alice.post("/devices/sessions/end", {"session": mine[0]}, page="/devices").status_code == 303
    assert sorted(each.get("/requests").status_code for each in (one, two)) == [200, 303]
    assert alice.post("/devices/sessions/end", {"session": "nonsense"}, page="/devices").status_code == 404
    three = Browser.of(app, "alice")
    assert alice.post("/devices/sessions/end-others", page="/devices").status_code == 303
    assert [each.get("/requests").status_code for each in (alice, one, two, three)] == [200, 303, 303, 303]
    assert "You ended 2 other sessions." in alice.get("/ledger").text
    assert bob.get("/requests").status_code == 200


def test_ending_needs_no_fresh_sign_in(app: Flask, alice: Browser, clock: Clock) -> None:
    """S9: endings are never gated."""
    clock.advance(hours=2)
    other = Browser.of(app, "alice")
    assert alice.post("/devices/sessions/end-others", page="/devices").status_code == 303
    assert other.get("/requests").status_code == 303


def test_a_new_password(app: Flask, alice: Browser) -> None:
    other = Browser.of(app, "alice")
    for data, sentence in (({"password": "short", "again": "short"}, "at least 8"), ({"password": NEW, "again": "x"}, "differ")):
        refused = alice.post("/devices/password", data, page="/devices")
        assert refused.status_code == 422
        assert sentence in refused.text
    assert alice.post("/devices/password", {"password": NEW, "again": NEW}, page="/devices").status_code == 303
    assert alice.get("/requests").status_code == 200
    assert other.get("/requests").status_code == 303
    client = app.test_client()
    for password, status in ((PASSWORD, 422), (NEW, 303)):
        data = {"csrf_token": token_on(client, "/sign-in"), "name": "alice", "password": password}
        assert client.post("/sign-in", data=data, **HERE).status_code == status
    assert "Your password was changed" in alice.get("/").text


def test_an_install_of_the_extension_is_listed_and_ended_alone(alice: Browser) -> None:
    one, two = Extension.connect(alice), Extension.connect(alice)
    text = alice.get("/devices").text
    assert text.count("Disconnect") == 2
    grant = one.tokens["grant_id"]
    assert alice.post(f"/grants/{grant}/revoke", page="/devices").status_code == 303
    assert one.upload().status_code == 401
    assert two.upload().status_code != 401
    assert alice.get("/devices").text.count("Disconnect") == 1


def test_a_reset_link(app: Flask, alice: Browser) -> None:
    """`broker person reset`: once, for a new password; every session ends; the password's rules hold."""
    broker = app.extensions["broker"]
    path = f"/sign-up/{people.make_link(broker, alice.person_id).text}"
    client = app.test_client()
    page = client.get(path, base_url=ORIGIN).text
    assert "Choose a new password" in page
    assert 'value="alice"' in page
    data = {"csrf_token": token_on(client, path), "reset": "yes", "password": "short", "again": "short"}
    refused = client.post(path, data=data, **HERE)
    assert refused.status_code == 422
    assert "Choose a new password" in refused.text
    assert alice.get("/requests").status_code == 200
    assert client.post(path, data={**data, "password": NEW, "again": NEW}, **HERE).status_code == 303
    assert alice.get("/requests").status_code == 303
    assert app.test_client().get(path, base_url=ORIGIN).status_code == 404
    assert client.get("/requests", base_url=ORIGIN).status_code == 200
