"""A sealed broker (K81): what works, what waits, and unlocking it in every process."""

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask
from makers import ORIGIN, Browser, Clock, Extension, Shop, page_visit, purchase
from signing_in import HERE, PASSWORD, token_on

from broker import close_app, create_app
from broker.config import Settings
from broker.ledger import queries as ledger
from broker.vault import slots

PASSPHRASE = "five unrelated words in a row"


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2id is slow on purpose; what it must cost is measured by a test of its own."""
    monkeypatch.setattr(slots, "START", dict(slots.FLOOR))
    monkeypatch.setattr(slots, "LEAST_SECONDS", 0.0)


@pytest.fixture
def told(app: Flask, alice: Browser, bookshop: Shop, clock: Clock, cheap: None) -> tuple[Shop, Extension]:
    """A bookshop that reads, an extension that uploads, and a passphrase in place of the key file."""
    alice.store(*[purchase(clock() - dt.timedelta(days=2 + n)) for n in range(3)])
    bookshop.connect(alice)
    assert bookshop.read().json["items"]
    extension = Extension.connect(alice)
    vault = app.extensions["broker"].vault
    vault.add_passphrase(PASSPHRASE)
    vault.remove_slot(next(slot.id for slot in vault.slots() if slot.kind == slots.KEY_FILE))
    return bookshop, extension


@pytest.fixture
def sealed(told: tuple[Shop, Extension], app: Flask, settings: Settings, clock: Clock) -> Iterator[Flask]:
    """The same broker, started again without what opens it; the first one goes on beside it, as another process would."""
    again = create_app(settings, clock)
    assert again.extensions["broker"].vault.sealed
    yield again
    close_app(again)


def at(app: Flask, person: Browser) -> Browser:
    """The same browser, at another process."""
    made = Browser(app, person.name, person.person_id, app.test_client())
    made.client.set_cookie("session-8440", person.client.get_cookie("session-8440", domain="localhost").value, domain="localhost")  # type: ignore[union-attr]
    return made


def test_endings_work(sealed: Flask, app: Flask, alice: Browser, told: tuple[Shop, Extension]) -> None:
    """S9: sign in, see whom one gave something, pause, pause all, revoke; each stands in the ledger once it can be read."""
    shop, _ = told
    client = sealed.test_client()
    data = {"csrf_token": token_on(client, "/sign-in"), "name": "alice", "password": PASSWORD, "next": "/grants"}
    assert client.post("/sign-in", data=data, **HERE).location == "/grants"
    mine = at(sealed, alice)
    assert mine.get("/").location == "/grants"
    page = mine.get("/grants").text
    assert "books.example" in page
    assert "You can still pause and revoke" in page
    assert mine.post(f"/grants/{shop.tokens['grant_id']}/pause", page="/grants").status_code == 303
    assert "Paused" in mine.get("/grants").text
    assert mine.post("/grants/pause-all", page="/grants").status_code == 303
    assert mine.post(f"/grants/{shop.tokens['grant_id']}/revoke", page="/grants").status_code == 303
    assert shop.tokens["grant_id"] not in mine.get("/grants").text
    # The process beside it, which is open, refuses at once and reads what the sealed one entered.
    assert shop.read().status_code == 401
    with app.extensions["broker"].reading() as tx:
        entries = ledger.page(tx, alice.ring).entries
        assert ledger.verify(tx, alice.ring)[0].problem == ""
    acts = [entry["act"] for entry in entries]
    assert acts[:5].count("revoke") == 1
    assert "pause" in acts
    assert "sign_in" in acts
    with app.extensions["broker"].reading() as tx:
        of_grant = ledger.page(tx, alice.ring, ledger.Wanted(grant=shop.tokens["grant_id"])).entries
    assert {"give", "pause", "revoke"} <= {entry["act"] for entry in of_grant}


def test_a_grant_can_be_handed_back(sealed: Flask, app: Flask, told: tuple[Shop, Extension]) -> None:
    """RFC 7009 at a sealed process: the refresh token ends its grant."""
    shop, _ = told
    there = Shop(sealed, shop.client_id, shop.domain, shop.key, sealed.test_client(), shop.prover, tokens=shop.tokens)
    assert there.form("/oauth/revoke", {"token": shop.tokens["refresh_token"]}).status_code == 200
    assert shop.read().status_code == 401


def test_the_rest_waits(sealed: Flask, alice: Browser, told: tuple[Shop, Extension], clock: Clock) -> None:
    """Reads and uploads: 503 with a sentence and Retry-After; pages lead to where it is unlocked; nothing is lost by it."""
    shop, extension = told
    there = Shop(sealed, shop.client_id, shop.domain, shop.key, sealed.test_client(), shop.prover, tokens=shop.tokens)
    far = Extension(sealed, sealed.test_client(), extension.prover, extension.tokens)
    for answer in (there.read(), far.upload(page_visit(clock()))):
        assert answer.status_code == 503
        assert answer.json["type"] == "/problems/sealed"
        assert answer.headers["Retry-After"] == "60"
    refused = there.refresh()
    assert (refused.status_code, refused.json["error"]) == (503, "temporarily_unavailable")
    mine = at(sealed, alice)
    for path in ("/activity", "/ledger", "/terms", f"/grants/{shop.tokens['grant_id']}", "/import", "/vendors", "/notices"):
        page = mine.get(path)
        assert page.status_code == 503, path
        assert 'href="/unlock"' in page.text, path
    assert shop.read().status_code == 200


def test_unlocking(sealed: Flask, app: Flask, alice: Browser, told: tuple[Shop, Extension]) -> None:
    """By the passphrase, on a page, after a wrong one; then everything that waited goes on."""
    shop, _ = told
    client = sealed.test_client()
    token = token_on(client, "/unlock")
    for wrong in ("", "wrong", PASSPHRASE + " ", "0000-" * 8):
        refused = client.post("/unlock", data={"csrf_token": token, "secret": wrong}, **HERE)
        assert refused.status_code == 422
        assert "This is no passphrase or recovery key of this broker" in refused.text
    assert sealed.extensions["broker"].vault.sealed
    assert client.post("/unlock", data={"csrf_token": token, "secret": PASSPHRASE, "next": "/activity"}, **HERE).location == "/activity"
    there = Shop(sealed, shop.client_id, shop.domain, shop.key, sealed.test_client(), shop.prover, tokens=shop.tokens)
    assert there.read().json["items"]
    assert at(sealed, alice).get("/activity").status_code == 200


def test_one_unlock_opens_every_process(sealed: Flask, settings: Settings, clock: Clock, alice: Browser) -> None:
    """ROOT goes from one to the other, sealed to a key that lies in its memory alone; a lock takes it from this one."""
    third = create_app(settings, clock)
    try:
        assert third.extensions["broker"].vault.sealed
        assert third.extensions["broker"].vault.unlock(slots.PASSPHRASE, PASSPHRASE)
        sealed.extensions["broker"].vault._looked = 0.0
        assert not sealed.extensions["broker"].vault.sealed
        assert at(sealed, alice).get("/activity").status_code == 200
        third.extensions["broker"].vault.lock()
        assert third.extensions["broker"].vault.sealed
        assert at(third, alice).get("/activity").status_code == 503
        assert at(sealed, alice).get("/activity").status_code == 200
    finally:
        close_app(third)


def test_a_recovery_key_opens_it(told: tuple[Shop, Extension], app: Flask, settings: Settings, clock: Clock) -> None:
    made = app.extensions["broker"].vault.add_recovery_key()
    again = create_app(settings, clock)
    try:
        client = again.test_client()
        token = token_on(client, "/unlock")
        typo = ("1" if made[0] != "1" else "2") + made[1:]
        assert client.post("/unlock", data={"csrf_token": token, "secret": typo}, **HERE).status_code == 422
        assert client.post("/unlock", data={"csrf_token": token, "secret": made.upper().replace("-", " ")}, **HERE).status_code == 303
        assert not again.extensions["broker"].vault.sealed
    finally:
        close_app(again)


def test_attempts_are_limited(told: tuple[Shop, Extension], settings: Settings) -> None:
    limited = create_app(replace(settings, rate_unlock="2/15 minutes"))
    try:
        client = limited.test_client()
        token = token_on(client, "/unlock")
        seen = [client.post("/unlock", data={"csrf_token": token, "secret": "wrong"}, **HERE).status_code for _ in range(3)]
        assert seen == [422, 422, 429]
        assert re.search("Too many attempts", client.post("/unlock", data={"csrf_token": token, "secret": PASSPHRASE}, **HERE).text)
        assert limited.extensions["broker"].vault.sealed
    finally:
        close_app(limited)


def test_an_open_broker_needs_no_unlocking(app: Flask) -> None:
    client = app.test_client()
    assert "It is open" in client.get("/unlock", base_url=ORIGIN).text
