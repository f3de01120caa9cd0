"""Authenticator apps and recovery codes: each code counts once, however it is written (K50, K51)."""

import datetime as dt
import re
import threading
from dataclasses import replace
from typing import Any

import pyotp
import pytest
from authenticator import Authenticator
from flask import Flask
from makers import ORIGIN, Browser, Clock
from signing_in import HERE, PASSWORD, asked, hidden, token_on
from werkzeug.test import TestResponse

from broker import close_app, create_app
from broker.config import Settings
from broker.errors import Unprocessable
from broker.factors import actions, codes
from broker.ledger import queries as ledger
from broker.people import actions as people


@pytest.fixture
def secret(alice: Browser, clock: Clock) -> str:
    """Alice's app, set up as a person does it."""
    page = alice.post("/devices/app", page="/devices").text
    shown = re.search(r"<code>([A-Z2-7 ]+)</code>", page)
    assert shown
    found = shown[1].replace(" ", "")
    sealed = hidden(page, "secret")
    wrong = alice.post("/devices/app/set", {"secret": sealed, "code": "000000"}, page="/devices")
    assert wrong.status_code == 422
    assert "This code is wrong" in wrong.text
    answer = alice.post("/devices/app/set", {"secret": sealed, "code": pyotp.TOTP(found).at(clock())}, page="/devices")
    assert answer.status_code == 303
    # The code that set it up is used. From the beginning of another step no test crosses into the next by chance.
    clock.advance(seconds=61 - clock().timestamp() % 30)
    return found


def step(secret: str, clock: Clock, off: int = 0) -> str:
    """The code of the step that is now, or of one so many before or after it."""
    return pyotp.TOTP(secret).at(clock() + dt.timedelta(seconds=30 * off))


class Half:
    """A sign-in that waits for its code."""

    def __init__(self, app: Flask, name: str = "alice") -> None:
        self.client = app.test_client()
        data = {"csrf_token": token_on(self.client, "/sign-in"), "name": name, "password": PASSWORD, "next": "/requests"}
        answer = self.client.post("/sign-in", data=data, **HERE)
        assert answer.status_code == 200
        assert "The code from your app" in answer.text
        self.ticket = hidden(answer.text, "ticket")

    def send(self, code: str, ticket: str | None = None) -> TestResponse:
        data = {"csrf_token": token_on(self.client, "/sign-in"), "ticket": ticket or self.ticket, "code": code, "next": "/requests"}
        return self.client.post("/sign-in/code", data=data, **HERE)


def test_it_works(app: Flask, secret: str, clock: Clock) -> None:
    """The password alone opens nothing; a code does, however its digits are spaced."""
    half = Half(app)
    assert half.client.get("/requests", base_url=ORIGIN).status_code == 303
    code = step(secret, clock)
    answer = half.send(f" {code[:3]} {code[3:]} ")
    assert (answer.status_code, answer.location) == (303, "/requests")
    assert half.client.get("/requests", base_url=ORIGIN).status_code == 200


@pytest.mark.parametrize("again", ["{0}", " {0}", "{0} ", "{0[0]} {0[1]}{0[2]}{0[3]}{0[4]}{0[5]}", "{0[0]}-{0[1]}{0[2]}{0[3]}{0[4]}{0[5]}"])
def test_a_code_counts_once(app: Flask, secret: str, clock: Clock, again: str) -> None:
    """RFC 6238 section 5.2: not with spaces either, nor one of a step before."""
    code, before = step(secret, clock), step(secret, clock, -1)
    assert Half(app).send(code).status_code == 303
    half = Half(app)
    assert half.send(again.format(code)).status_code == 422
    assert half.send(before).status_code == 422
    clock.advance(seconds=30)
    assert half.send(step(secret, clock)).status_code == 303


@pytest.mark.parametrize("code", ["", "12345", "1234567", "²23456", "１２３４５６", "12345a", "123\x00456", "0x1234", "+12345"])
def test_what_is_no_code(app: Flask, secret: str, clock: Clock, code: str) -> None:
    half = Half(app)
    assert half.send(code).status_code == 422
    assert half.send(step(secret, clock)).status_code == 303


def test_one_step_of_a_slow_clock_is_taken(app: Flask, secret: str, clock: Clock) -> None:
    half = Half(app)
    assert half.send(step(secret, clock, -2)).status_code == 422
    assert half.send(step(secret, clock, 2)).status_code == 422
    assert half.send(step(secret, clock, -1)).status_code == 303


def test_the_half_done_sign_in_has_an_end(app: Flask, secret: str, clock: Clock) -> None:
    """Five minutes, and for whom the password was right."""
    half = Half(app)
    for ticket in ("x", half.ticket[:-4] + "AAAA"):
        assert half.send(step(secret, clock), ticket).location.startswith("/sign-in")
    clock.advance(minutes=6)
    answer = half.send(step(secret, clock))
    assert answer.location.startswith("/sign-in?next=")
    assert half.client.get("/requests", base_url=ORIGIN).status_code == 303


def test_the_code_that_set_it_up_is_used(app: Flask, alice: Browser, clock: Clock) -> None:
    page = alice.post("/devices/app", page="/devices").text
    shown = re.search(r"<code>([A-Z2-7 ]+)</code>", page)
    assert shown
    code = pyotp.TOTP(shown[1].replace(" ", "")).at(clock())
    assert alice.post("/devices/app/set", {"secret": hidden(page, "secret"), "code": code}, page="/devices").status_code == 303
    assert Half(app).send(code).status_code == 422


def without_a_code(app: Flask, password: str) -> TestResponse:
    client = app.test_client()
    return client.post("/sign-in", data={"csrf_token": token_on(client, "/sign-in"), "name": "alice", "password": password}, **HERE)


def test_the_app_goes_with_the_password(app: Flask, alice: Browser, secret: str, clock: Clock) -> None:
    """Taken away, both are gone: a new password later is asked for alone. Without one no app can be set up."""
    assert without_a_code(app, PASSWORD).status_code == 200
    device = Authenticator()
    made = device.make(asked(alice.get("/devices").text, "make"))
    assert alice.post("/devices/passkeys", {"passkey": made, "passkey_name": "x"}, page="/devices").status_code == 303
    page = alice.post("/devices/app", page="/devices").text
    other = re.search(r"<code>([A-Z2-7 ]+)</code>", page)
    assert other
    assert alice.post("/devices/password/remove", page="/devices").status_code == 303
    setting = {"secret": hidden(page, "secret"), "code": pyotp.TOTP(other[1].replace(" ", "")).at(clock())}
    assert alice.post("/devices/app/set", setting, page="/devices").status_code == 409
    assert alice.post("/devices/password", {"password": "another long password", "again": "another long password"}, page="/devices").status_code == 303
    assert without_a_code(app, "another long password").status_code == 303
    assert secret


def test_the_app_goes_with_a_reset(app: Flask, alice: Browser, secret: str) -> None:
    """As the page of the link says."""
    assert secret
    path = f"/sign-up/{people.make_link(app.extensions['broker'], alice.person_id).text}"
    client = app.test_client()
    data = {"csrf_token": token_on(client, path), "password": "another long password", "again": "another long password"}
    assert client.post(path, data=data, **HERE).status_code == 303
    assert without_a_code(app, "another long password").status_code == 303


@pytest.mark.parametrize(
    ("rate", "path", "data"),
    [
        ("rate_sign_in_name", "/sign-in/code", {"code": "000000"}),
        ("rate_recovery", "/sign-in/recovery", {"name": "alice", "code": "wrong"}),
        ("rate_sign_in_address", "/sign-in/recovery", {"name": "alice", "code": "wrong"}),
        ("rate_sign_in_address", "/sign-in/passkey", {"passkey": "{}"}),
    ],
    ids=["code", "recovery-name", "recovery-address", "passkey"],
)  # fmt: skip
def test_guessing_is_limited(settings: Settings, clock: Clock, secret: str, rate: str, path: str, data: dict[str, str]) -> None:
    """Whoever has the password has not the code: after a few wrong ones it waits, and says how long."""
    assert secret
    limited = create_app(replace(settings, **{rate: "3/15 minutes"}), clock)  # type: ignore[arg-type]
    try:
        ticket = Half(limited).ticket if path.endswith("code") else ""
        client = limited.test_client()
        form = {"csrf_token": token_on(client, "/sign-in"), "ticket": ticket, **data}
        sent = [client.post(path, data=form, **HERE) for _ in range(5)]
        assert sent[0].status_code == 422
        assert sent[-1].status_code == 429
        assert 0 < int(sent[-1].headers["Retry-After"]) <= 900
        assert "Too many attempts" in sent[-1].text
    finally:
        close_app(limited)


def test_a_half_done_sign_in_ends_with_its_password(app: Flask, alice: Browser, secret: str, clock: Clock) -> None:
    """Whoever knew the old password and waits with its ticket is asked for the new one."""
    half = Half(app)
    assert alice.post("/devices/password", {"password": "another long password", "again": "another long password"}, page="/devices").status_code == 303
    assert half.send(step(secret, clock)).location.startswith("/sign-in")
    assert half.client.get("/requests", base_url=ORIGIN).status_code == 303


def test_a_race_has_one_winner(app: Flask, alice: Browser, secret: str, clock: Clock) -> None:
    """S4: eight at once with one code, and with one recovery code."""
    broker = app.extensions["broker"]
    (recovery, *_) = actions.new_recovery_codes(broker, alice.person_id)
    code = step(secret, clock)
    tickets = [Half(app).ticket for _ in range(8)]

    def race(act: Any) -> list[int]:
        barrier, won = threading.Barrier(8), []

        def run(number: int) -> None:
            barrier.wait()
            try:
                act(number)
            except Unprocessable:
                return
            won.append(number)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return won

    assert len(race(lambda number: actions.sign_in_with_code(broker, tickets[number], code))) == 1
    assert len(race(lambda _number: actions.sign_in_with_recovery(broker, "alice", recovery))) == 1


def test_it_can_be_taken_away(app: Flask, alice: Browser, secret: str) -> None:
    assert secret
    assert "A code from your app is asked for" in alice.get("/devices").text
    assert alice.post("/devices/app/remove", page="/devices").status_code == 303
    client = app.test_client()
    data = {"csrf_token": token_on(client, "/sign-in"), "name": "alice", "password": PASSWORD}
    assert client.post("/sign-in", data=data, **HERE).status_code == 303


def test_the_secret_offered_is_for_its_session(alice: Browser, bob: Browser, clock: Clock) -> None:
    page = alice.post("/devices/app", page="/devices").text
    found = re.search(r"<code>([A-Z2-7 ]+)</code>", page)
    assert found
    code = pyotp.TOTP(found[1].replace(" ", "")).at(clock())
    assert bob.post("/devices/app/set", {"secret": hidden(page, "secret"), "code": code}, page="/devices").status_code == 403
    assert alice.post("/devices/app/set", {"secret": hidden(page, "secret"), "code": code}, page="/devices").status_code == 303


def recover(app: Flask, name: str, code: str) -> TestResponse:
    client = app.test_client()
    return client.post("/sign-in/recovery", data={"csrf_token": token_on(client, "/sign-in/recovery"), "name": name, "code": code}, **HERE)


def test_recovery(app: Flask, alice: Browser, bob: Browser) -> None:
    """K50: each once, whatever its case and hyphens; it ends every other session, stands in the ledger, and is told at Home."""
    shown = re.findall(r"[0-9a-z]{5}(?:-[0-9a-z]{5}){5}", alice.post("/devices/codes", page="/devices").text)
    assert len(set(shown)) == codes.RECOVERY_CODES
    assert "10 codes left" in alice.get("/devices").text
    assert recover(app, "bob", shown[0]).status_code == 422
    assert recover(app, "nobody", shown[0]).status_code == 422
    assert recover(app, "alice", shown[0].upper().replace("-", " ")).location == "/devices"
    assert alice.get("/requests").status_code == 303
    assert bob.get("/requests").status_code == 200
    again = recover(app, "alice", shown[0])
    assert again.status_code == 422
    assert "Name or recovery code is wrong" in again.text
    assert recover(app, " Alice ", shown[1]).status_code == 303
    back = Browser.of(app, "alice")
    assert "Somebody signed in with a recovery code" in back.get("/").text
    with app.extensions["broker"].reading() as tx:
        acts = [entry["act"] for entry in ledger.page(tx, back.ring).entries]
    assert acts.count("recovery") == 2


def test_a_wrong_recovery_code_tells_no_names(app: Flask, alice: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same words, and the same work: nothing is written, and no key looked for, before a code is found."""
    broker = app.extensions["broker"]
    (good, *_) = actions.new_recovery_codes(broker, alice.person_id)

    def worked(*_: object, **__: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patched:
        for name in ("write", "appender", "keyring"):
            patched.setattr(type(broker), name, worked)
        for name in ("alice", "nobody"):
            with pytest.raises(Unprocessable, match=actions.WRONG_RECOVERY):
                actions.sign_in_with_recovery(broker, name, "wrong")
    assert actions.sign_in_with_recovery(broker, "alice", good)


def test_new_codes_replace_the_old_ones(app: Flask, alice: Browser) -> None:
    old = re.findall(r"[0-9a-z]{5}(?:-[0-9a-z]{5}){5}", alice.post("/devices/codes", page="/devices").text)
    new = re.findall(r"[0-9a-z]{5}(?:-[0-9a-z]{5}){5}", alice.post("/devices/codes", page="/devices").text)
    assert recover(app, "alice", old[0]).status_code == 422
    assert recover(app, "alice", new[0]).status_code == 303
