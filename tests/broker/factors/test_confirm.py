"""Step-up: the acts that ask once more who it is, those that never do, and what the question keeps (K46)."""

import datetime as dt
import html
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from authenticator import Authenticator
from flask import Flask
from makers import ORIGIN, Browser, Clock, Extension, Shop, page_visit, purchases
from signing_in import PASSWORD, asked, hidden
from werkzeug.test import TestResponse

from broker import confirming
from broker.terms.actions import set_terms
from policies.terms import DEFAULT_TERMS

QUESTION = "Is it you?"


def carried(text: str) -> dict[str, Any]:
    """The form that the question carries, as a browser would send it."""
    form = text[text.index("<h1>Is it you?") :]
    fields: dict[str, Any] = {}
    for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form):
        fields.setdefault(html.unescape(name), []).append(html.unescape(value))
    return fields


def answer(person: Browser, question: TestResponse, password: str = PASSWORD, **more: str) -> TestResponse:
    """Answer the question with a password."""
    found = re.search(r'<form method="post" action="([^"]+)"(?: data-passkey[^>]*)?>\s*<input type="hidden" name="csrf_token"', question.text[question.text.index(QUESTION) :])
    assert found, question.text[-3000:]
    data = {**carried(question.text), "confirm_password": password, **more}
    return person.client.post(html.unescape(found[1]), data=data, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})


def consent(person: Browser, shop: Shop, until: str = "", **want: Any) -> TestResponse:
    form = person.form(person.open(shop.ask([purchases(**want)])))
    offered = form.pop("offered")
    data = {**form, "give": offered, "answer": "give", "until": until}
    return person.client.post("/oauth/authorize/decision", data=data, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})


def looser(person: Browser) -> TestResponse:
    """Take a rule away that forbids."""
    page = person.get("/terms").text
    number, rule = hidden(page, "based_on") if 'name="based_on"' in page else "0", "no-ads" if "/terms/rules/no-ads" in page else "no-words"
    return person.post("/terms/save", {"what": "remove", "rule": rule, "based_on": number}, page="/terms")


def password(person: Browser) -> TestResponse:
    return person.post("/devices/password", {"password": "another long password", "again": "another long password"}, page="/devices")


ACTS = {
    "a new password": password,
    "no password": lambda person: person.post("/devices/password/remove", page="/devices"),
    "an app": lambda person: person.post("/devices/app", page="/devices"),
    "an app set": lambda person: person.post("/devices/app/set", {"secret": "x", "code": "1"}, page="/devices"),
    "no app": lambda person: person.post("/devices/app/remove", page="/devices"),
    "recovery codes": lambda person: person.post("/devices/codes", page="/devices"),
    "a passkey": lambda person: person.post("/devices/passkeys", {"passkey": "x", "passkey_name": "x"}, page="/devices"),
    "no passkey": lambda person: person.post("/devices/passkeys/remove", {"passkey_id": "00"}, page="/devices"),
    "looser terms": looser,
}


@pytest.mark.parametrize("act", ACTS)
def test_it_asks(alice: Browser, clock: Clock, act: str) -> None:
    """Five minutes after a sign-in it is not asked, a little later it is."""
    assert QUESTION not in ACTS[act](alice).text
    other = Browser.of(alice.app, "alice")
    clock.advance(minutes=5, seconds=30)
    question = ACTS[act](other)
    assert question.status_code == 403, act
    assert QUESTION in question.text
    assert "Nothing has been done yet" in question.text


def test_the_form_goes_on_by_itself(app: Flask, alice: Browser, clock: Clock) -> None:
    """With the right password; a wrong one is said, and the form is still there. The session goes on under a new name."""
    clock.advance(minutes=10)
    before = alice.client.get_cookie("session-8440", domain="localhost")
    question = password(alice)
    refused = answer(alice, question, "wrong password")
    assert refused.status_code == 422
    assert "This is not your password" in refused.text
    assert carried(refused.text)["password"] == ["another long password"]
    done = answer(alice, refused)
    assert (done.status_code, done.location) == (303, "/devices#password")
    after = alice.client.get_cookie("session-8440", domain="localhost")
    assert before
    assert after
    assert before.value != after.value
    assert alice.get("/requests").status_code == 200
    stale = app.test_client()
    stale.set_cookie("session-8440", before.value, domain="localhost")
    assert stale.get("/requests", base_url=ORIGIN).status_code == 303
    # And for five minutes it is not asked again.
    assert QUESTION not in alice.post("/devices/codes", page="/devices").text
    assert "You proved once more that it is you, with your password." in alice.get("/ledger").text


def test_the_answer_is_the_persons_own(alice: Browser, bob: Browser, clock: Clock) -> None:
    """Another's passkey, a challenge of the sign-in page or of another session: no."""
    devices = []
    for each in (alice, bob):
        device = Authenticator()
        made = device.make(asked(each.get("/devices").text, "make"))
        assert each.post("/devices/passkeys", {"passkey": made, "passkey_name": "x"}, page="/devices").status_code == 303
        devices.append(device)
    mine, theirs = devices
    clock.advance(minutes=10)
    question, foreign = alice.post("/devices/codes", page="/devices"), bob.post("/devices/codes", page="/devices")
    signing_in = asked(alice.app.test_client().get("/sign-in", base_url=ORIGIN).text, "show")
    for shown in (
        theirs.show(asked(question.text, "show")), mine.show(asked(foreign.text, "show")), mine.show(signing_in), "nonsense",
    ):  # fmt: skip
        refused = answer(alice, question, "", confirm_passkey=shown)
        assert refused.status_code == 422
        assert "This passkey was not taken" in refused.text
    done = answer(alice, question, "", confirm_passkey=mine.show(asked(question.text, "show")))
    assert done.status_code == 200
    assert "Your recovery codes" in done.text


def test_a_code_is_asked_for_with_the_password(alice: Browser, clock: Clock) -> None:
    page = alice.post("/devices/app", page="/devices").text
    found = re.search(r"<code>([A-Z2-7 ]+)</code>", page)
    assert found
    otp = pyotp.TOTP(found[1].replace(" ", ""))
    assert alice.post("/devices/app/set", {"secret": hidden(page, "secret"), "code": otp.at(clock())}, page="/devices").status_code == 303
    clock.advance(minutes=10)
    question = alice.post("/devices/codes", page="/devices")
    assert "Code from your app" in question.text
    assert answer(alice, question).status_code == 422
    assert "This code is wrong" in answer(alice, question, confirm_code="000000").text
    assert "Your recovery codes" in answer(alice, question, confirm_code=otp.at(clock())).text


def test_consent(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """Asked for a new vendor and for more than it has; not for as much or less. The code then works, and the person hears of the new vendor."""
    alice.store(page_visit(clock() - dt.timedelta(days=2)))
    other = Browser.of(alice.app, "alice")
    clock.advance(minutes=10)
    question = consent(other, bookshop)
    assert question.status_code == 403
    assert "for the first time" in question.text
    assert "https://books.example" in question.headers["Content-Security-Policy"]
    assert "No vendor may read anything" in other.get("/grants").text
    given = answer(other, question)
    assert given.status_code == 303, given.text
    code = parse_qs(urlsplit(given.location).query)["code"][0]
    assert bookshop.redeem(code).status_code == 200
    assert "You gave books.example something for the first time" in other.get("/").text
    clock.advance(minutes=10)
    soon = f"{clock() + dt.timedelta(days=20):%Y-%m-%d}"
    assert consent(other, bookshop, until=soon, window={"max_age": "P30D"}).status_code == 303
    assert "see more, or for longer" in consent(other, bookshop, window={"max_age": "P30D"}).text
    refused = other.post("/oauth/authorize/decision", {"request": other.open(bookshop.ask()).rpartition("/")[2], "answer": "refuse"})
    assert refused.status_code == 303
    assert "access_denied" in refused.location


def test_more_than_before_is_asked_for(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    bookshop.connect(alice, [purchases(window={"max_age": "P30D"})])
    clock.advance(minutes=10)
    question = consent(alice, bookshop, window={"max_age": "P60D"})
    assert question.status_code == 403
    assert "see more, or for longer" in question.text
    assert answer(alice, question).status_code == 303


def test_what_has_ended_is_given_again_only_by_the_person(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """A grant that was revoked is none that runs: giving the same again asks who it is."""
    bookshop.connect(alice)
    soon = f"{clock() + dt.timedelta(days=20):%Y-%m-%d}"
    clock.advance(minutes=10)
    assert consent(alice, bookshop, until=soon).status_code == 303
    for grant in re.findall(r'href="(/grants/[A-Za-z0-9_-]{22})"', alice.get("/grants").text):
        alice.post(f"{grant}/revoke", page="/grants")
    assert "see more, or for longer" in consent(alice, bookshop, until=soon).text


def test_something_sensitive_says_so(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """Ticked by hand, of what terms let in: no look at the rest of the clause."""
    terms = DEFAULT_TERMS.to_json()
    set_terms(alice.app.extensions["broker"], alice.person_id, {**terms, "allow": [{**rule, "sensitive": ["health"]} for rule in terms["allow"]], "deny": []})
    bookshop.connect(alice)
    clock.advance(minutes=10)
    place = alice.open(bookshop.ask([purchases(sensitive=["health"])]))
    found = re.search(r'name="([^"]*sensitive)" value="health"', alice.get(place).text)
    assert found
    form = alice.form(place)
    data = {**form, "give": form.pop("offered"), "answer": "give", found[1]: "health"}
    question = alice.client.post("/oauth/authorize/decision", data=data, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    assert question.status_code == 403
    assert "see what is sensitive" in question.text


@pytest.mark.parametrize("away", ["https://evil.example/x", "//evil.example/x", "http://localhost:8441/x", "javascript:alert(1)"])
def test_not_going_on_stays_here(alice: Browser, clock: Clock, away: str) -> None:
    """The way back that a form names, or the page it says it stood on, leads nowhere else."""
    clock.advance(minutes=10)
    for asked_first in (
        alice.post("/devices/codes", {"confirm_back": away}, page="/devices"),
        alice.client.post(
            "/devices/codes", data={"csrf_token": alice.csrf("/devices")}, base_url=ORIGIN, headers={"Referer": away, "Sec-Fetch-Site": "same-origin"}
        ),
    ):
        assert QUESTION in asked_first.text
        found = re.search(r'<a [^>]*href="([^"]*)"[^>]*>\s*Do not go on', asked_first.text)
        assert found, asked_first.text[-2000:]
        assert found[1] == "/"


def test_what_never_asks(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """S9: endings, pauses, stricter terms, blocks, disconnecting a device, signing out."""
    bookshop.connect(alice)
    Extension.connect(alice)
    clock.advance(hours=1)
    grant = bookshop.tokens["grant_id"]
    for path, data in (
        (f"/grants/{grant}/pause", {}), ("/grants/pause-all", {}), ("/terms/block", {"vendor": "other.example"}),
        (f"/grants/{grant}/revoke", {}), ("/devices/sessions/end-others", {}),
    ):  # fmt: skip
        done = alice.post(path, data, page="/requests")
        assert done.status_code == 303, path
    stricter = alice.post("/terms/save", {"what": "remove", "rule": "recommendations", "based_on": "1"}, page="/terms")
    assert stricter.status_code == 303
    assert alice.post("/sign-out").status_code == 303


def test_forgetting_very_much(alice: Browser, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirming, "FREELY", 2)
    now = clock()
    alice.store(*[page_visit(now - dt.timedelta(hours=n), url=f"https://www.shop.example/{n}") for n in range(3)], page_visit(now - dt.timedelta(days=9)))
    clock.advance(minutes=10)
    few = {"from": f"{now - dt.timedelta(days=9):%Y-%m-%d}", "to": f"{now - dt.timedelta(days=9):%Y-%m-%d}", "number": "1"}
    assert alice.post("/activity/forget", few, page="/activity").status_code == 303
    question = alice.post("/activity/forget", {"kind": "page_visit", "site": "shop.example", "number": "3"}, page="/activity")
    assert question.status_code == 403, question.text[-2000:]
    assert "forget more than 1,000 events" in question.text
    assert answer(alice, question).status_code == 303


def test_the_question_is_counted(alice: Browser, clock: Clock) -> None:
    """Nobody tries passwords at an open session: the rate of sign-ins holds here too."""
    limits = alice.app.extensions["broker"].limits
    clock.advance(minutes=10)
    question = alice.post("/devices/codes", page="/devices")
    seen = []
    limits.count, count = lambda *args: seen.append(args), limits.count
    answer(alice, question, "wrong password")
    limits.count = count
    assert ("sign_in_name", alice.person_id.hex()) in seen


def test_another_program_of_a_known_vendor_is_a_new_one(app: Flask, alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """Who runs it may be somebody else: the page says so, and exactly what the first program may see asks who it is, and is told on Home."""
    bookshop.connect(alice)
    second = Shop.register(app, "books.example")
    clock.advance(minutes=10)
    soon = f"{clock() + dt.timedelta(days=20):%Y-%m-%d}"
    assert consent(alice, bookshop, until=soon).status_code == 303
    page = alice.get(alice.open(second.ask())).text
    assert "What you gave books.example before went to another program of its than this one" in page
    assert "went to another program" not in alice.get(alice.open(bookshop.ask())).text
    asked_first = consent(alice, second, until=soon)
    assert QUESTION in asked_first.text
    told = alice.get("/").text.count("something for the first time")
    assert answer(alice, asked_first).status_code == 303
    assert alice.get("/").text.count("something for the first time") > told
