"""Passkeys: making one, signing in by it, and everything an authenticator or a site in between can get wrong (K47)."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from authenticator import PRESENT, Authenticator, b64
from flask import Flask
from flask.testing import FlaskClient
from makers import ORIGIN, Browser, Clock
from signing_in import HERE, PASSWORD, asked, hidden
from werkzeug.test import TestResponse

from broker.factors import actions
from broker.ledger import queries as ledger


def add(person: Browser, device: Authenticator | None = None, name: str = "Laptop", **wrong: Any) -> tuple[Authenticator, TestResponse]:
    device = device or Authenticator()
    answer = device.make(asked(person.get("/devices").text, "make"), **wrong)
    return device, person.post("/devices/passkeys", {"passkey": answer, "passkey_name": name}, page="/devices")


@pytest.fixture
def device(alice: Browser) -> Authenticator:
    """A passkey of alice's."""
    made, answer = add(alice)
    assert answer.status_code == 303, answer.text
    return made


def form(app: Flask) -> tuple[FlaskClient, str, str]:
    """(somebody's browser, its form token, what the sign-in page asks a passkey for)."""
    client = app.test_client()
    text = client.get("/sign-in", base_url=ORIGIN).text
    return client, hidden(text, "csrf_token"), asked(text, "show")


def send(client: FlaskClient, token: str, answer: str) -> TestResponse:
    return client.post("/sign-in/passkey", data={"csrf_token": token, "passkey": answer, "next": "/requests"}, **HERE)


def test_it_works(app: Flask, alice: Browser, device: Authenticator) -> None:
    """Nothing is typed, not even a name; the counter and the day of the last use are kept; the ledger says with what."""
    client, token, options = form(app)
    answer = send(client, token, device.show(options))
    assert (answer.status_code, answer.location) == (303, "/requests")
    assert client.get("/requests", base_url=ORIGIN).status_code == 200
    assert "Last used: <time" in alice.get("/devices").text
    with app.extensions["broker"].reading() as tx:
        assert ledger.page(tx, alice.ring, limit=1).entries[0]["factor"] == "passkey"
    again, token, options = form(app)
    assert send(again, token, device.show(options)).status_code == 303


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "http://evil.example"}, {"challenge": b64(bytes(40))}, {"challenge": ""}, {"type": "webauthn.create"}, {"crossOrigin": True},
        {"flags": PRESENT}, {"flags": 0}, {"person_id": bytes(16)}, {"person_id": b""},
    ],
    ids=["origin", "foreign-challenge", "no-challenge", "type", "framed", "not-verified", "not-present", "another-person", "nobody"],
)  # fmt: skip
def test_it_refuses(app: Flask, device: Authenticator, wrong: dict[str, Any]) -> None:
    """WebAuthn section 7.2: each with one thing wrong, then the same with nothing wrong, in the same browser."""
    client, token, options = form(app)
    refused = send(client, token, device.show(options, **wrong))
    assert refused.status_code == 422
    assert "This passkey was not taken" in refused.text
    assert client.get("/requests", base_url=ORIGIN).status_code == 303
    assert send(client, token, device.show(options)).status_code == 303


def test_it_refuses_another_key_host_and_a_standing_counter(app: Flask, device: Authenticator) -> None:
    client, token, options = form(app)
    assert send(client, token, device.show(options, signed_by=Authenticator())).status_code == 422
    assert send(client, token, replace(device, host="evil.example").show(options)).status_code == 422
    device.counter = 7
    client, token, options = form(app)
    assert send(client, token, device.show(options)).status_code == 303
    for counter in (device.counter - 1, 5):
        # Its next answer counts one up: to where it stood, and to what is long past.
        copied = replace(device, counter=counter)
        client, token, options = form(app)
        assert send(client, token, copied.show(options)).status_code == 422


def test_a_challenge_works_once_and_for_a_quarter_of_an_hour(app: Flask, device: Authenticator, clock: Clock) -> None:
    client, token, options = form(app)
    assert send(client, token, device.show(options)).status_code == 303
    other, token, late = form(app)
    assert send(other, token, device.show(options)).status_code == 422
    clock.advance(minutes=16)
    assert send(other, token, device.show(late)).status_code == 422


def test_a_challenge_is_for_its_purpose_and_session(app: Flask, alice: Browser, bob: Browser, device: Authenticator) -> None:
    """One for sign-in makes no passkey, one of another session neither."""
    _, _, options = form(app)
    made = Authenticator()
    for foreign in (options, asked(bob.get("/devices").text, "make")):
        taken = {**json.loads(foreign), "user": {"id": b64(alice.person_id)}}
        answer = made.make(json.dumps(taken))
        refused = alice.post("/devices/passkeys", {"passkey": answer, "passkey_name": "x"}, page="/devices")
        assert refused.status_code == 422
        assert "No passkey was made" in refused.text
    assert add(alice, made)[1].status_code == 303


def test_a_challenge_to_confirm_makes_no_passkey(alice: Browser, device: Authenticator, clock: Clock) -> None:
    """The same session's, for another purpose."""
    clock.advance(minutes=10)
    question = alice.post("/devices/codes", page="/devices").text
    assert alice.post("/devices/codes", {"confirm": "sign-in", "confirm_password": PASSWORD}, page="/devices").status_code == 200
    other = Authenticator()
    foreign = json.dumps({**json.loads(asked(question, "show")), "user": {"id": b64(alice.person_id)}})
    refused = alice.post("/devices/passkeys", {"passkey": other.make(foreign), "passkey_name": "x"}, page="/devices")
    assert refused.status_code == 422
    assert add(alice, other)[1].status_code == 303


@pytest.mark.parametrize("answer", ["", "null", "[]", "{", '{"response": 1}', '{"rawId": 1, "response": {"userHandle": 2}}', "x" * 20_000, '{"rawId":"' + "A" * 9000 + '"}'])
def test_broken_answers_are_refused(app: Flask, alice: Browser, answer: str) -> None:
    client, token, _ = form(app)
    assert send(client, token, answer).status_code == 422
    assert alice.post("/devices/passkeys", {"passkey": answer, "passkey_name": "x"}, page="/devices").status_code == 422


def test_making_needs_a_name_and_a_verified_person(alice: Browser) -> None:
    assert "Give it a name" in add(alice, name=" ")[1].text
    refused = add(alice, flags=PRESENT)[1]
    assert refused.status_code == 422
    assert "No passkey was made" in refused.text
    assert add(alice)[1].status_code == 303


def test_the_same_passkey_is_kept_once(alice: Browser, bob: Browser, device: Authenticator) -> None:
    assert "here already" in add(alice, device)[1].text
    # Bob's is a row of his own: he cannot come in as alice by it.
    assert add(bob, replace(device))[1].status_code == 303


def test_taking_one_away(app: Flask, alice: Browser, bob: Browser, device: Authenticator) -> None:
    """By its person alone; from then on it lets nobody in."""
    found = re.search(r'name="passkey_id" value="([0-9a-f]{64})"', alice.get("/devices").text)
    assert found
    assert bob.post("/devices/passkeys/remove", {"passkey_id": found[1]}, page="/devices").status_code == 404
    assert bob.post("/devices/passkeys/remove", {"passkey_id": "zz"}, page="/devices").status_code == 404
    assert alice.post("/devices/passkeys/remove", {"passkey_id": found[1]}, page="/devices").status_code == 303
    client, token, options = form(app)
    assert send(client, token, device.show(options)).status_code == 422


def test_without_a_password(app: Flask, alice: Browser, device: Authenticator) -> None:
    """Passkeys alone are enough, and the last one cannot be taken away."""
    assert alice.post("/devices/password/remove", page="/devices").status_code == 303
    text = alice.get("/devices").text
    assert "You have no password" in text
    found = re.search(r'name="passkey_id" value="([0-9a-f]{64})"', text)
    assert found
    kept = alice.post("/devices/passkeys/remove", {"passkey_id": found[1]}, page="/devices")
    assert kept.status_code == 409
    assert "your last way to sign in" in kept.text
    client, token, options = form(app)
    data = {"csrf_token": token, "name": "alice", "password": "correct horse battery staple"}
    assert client.post("/sign-in", data=data, **HERE).status_code == 422
    assert send(client, token, device.show(options)).status_code == 303


def test_a_password_stays_where_there_is_no_passkey(alice: Browser) -> None:
    assert alice.post("/devices/password/remove", page="/devices").status_code == 409
    assert "You can sign in with your name and password" in alice.get("/devices").text


def test_a_challenge_makes_one_passkey(alice: Browser) -> None:
    options = asked(alice.get("/devices").text, "make")
    for number, status in ((1, 303), (2, 422)):
        data = {"passkey": Authenticator().make(options), "passkey_name": f"Number {number}"}
        assert alice.post("/devices/passkeys", data, page="/devices").status_code == status


def test_there_is_an_end_of_passkeys(alice: Browser, device: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    assert device
    monkeypatch.setattr(actions, "PASSKEYS_PER_PERSON", 1)
    refused = add(alice)[1]
    assert refused.status_code == 409
    assert "Take one away first" in refused.text
