"""Notices: what a person hears of, once, in the transaction of the act; and marking them as read."""

import re

from flask import Flask
from makers import Browser, Clock, Shop
from proofs import of_broker

from broker.ledger.actions import entry_key
from broker.notices import actions, sentences
from broker.notices.actions import KINDS, Notice


def said(person: Browser) -> list[str]:
    text = person.get("/notices").text
    return [re.sub(r"<[^>]+>", "", each).strip() for each in re.findall(r'<div class="notice[^"]*">\s*<p>(.*?)</p>', text, re.DOTALL)]


def test_every_kind_has_its_words() -> None:
    assert sentences.kinds() == KINDS
    for kind in KINDS:
        assert sentences.sentence(kind, {}).endswith(".")


def test_a_code_used_twice(app: Flask, alice: Browser, bob: Browser, bookshop: Shop, clock: Clock) -> None:
    """Rule T6: the grant ends, its person hears why; a double submit within a second is nobody's business."""
    answer = alice.give(bookshop.ask())
    assert bookshop.redeem(answer["code"]).status_code == 200
    assert bookshop.redeem(answer["code"]).status_code == 400
    assert not any("shown twice" in each for each in said(alice))
    clock.advance(seconds=2)
    assert bookshop.redeem(answer["code"]).status_code == 400
    assert any("The code of a grant to books.example was shown twice" in each for each in said(alice))
    assert "shown twice" in alice.get("/").text
    assert said(bob) == []


def test_an_assertion_used_twice(alice: Browser, bookshop: Shop) -> None:
    """Once a day per client, where it came with something of the person's; at PAR it concerns nobody yet."""
    bookshop.connect(alice)
    assertion = bookshop.assertion()
    data = {"client_assertion": assertion, "grant_type": "refresh_token", "refresh_token": bookshop.tokens["refresh_token"]}
    assert bookshop.form("/oauth/token", data).status_code == 200
    assert not any("had been used already" in each for each in said(alice))
    for _ in range(3):
        again = bookshop.form("/oauth/token", data)
        assert (again.status_code, again.json["error"]) == (401, "invalid_client")
    assert sum("had been used already" in each for each in said(alice)) == 1
    pushed = bookshop.assertion()
    assert bookshop.push(client_assertion=pushed).status_code == 201
    assert bookshop.push(client_assertion=pushed).status_code == 401
    assert sum("had been used already" in each for each in said(alice)) == 1


def test_an_assertion_of_another_client_tells_nobody(alice: Browser, bookshop: Shop, otherstore: Shop) -> None:
    bookshop.connect(alice)
    data = {"client_assertion": otherstore.assertion(), "grant_type": "refresh_token", "refresh_token": bookshop.tokens["refresh_token"]}
    assert [otherstore.form("/oauth/token", data).status_code for _ in range(2)] == [400, 401]
    assert not any("had been used already" in each for each in said(alice))


def test_a_token_from_another_key(app: Flask, alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """At the API and at the token endpoint: told once a day, and nothing is ended by it."""
    bookshop.connect(alice)
    thief = of_broker(app.extensions["broker"])
    for _ in range(2):
        headers = thief.headers("GET", "/v1/events", bookshop.tokens["access_token"])
        assert bookshop.client.get("/v1/events", base_url="http://localhost:8440", headers=headers).status_code == 401
    assert sum("has not the key it belongs to" in each for each in said(alice)) == 1
    refreshed = bookshop.refresh(headers={"DPoP": thief.proof("POST", "/oauth/token")})
    assert refreshed.json["error"] == "invalid_grant"
    assert sum("has not the key it belongs to" in each for each in said(alice)) == 1
    clock.advance(days=1)
    bookshop.refresh(headers={"DPoP": thief.proof("POST", "/oauth/token")})
    again = Browser.of(app, "alice")
    assert sum("has not the key it belongs to" in each for each in said(again)) == 2
    assert bookshop.refresh().status_code == 200


def test_a_new_vendor_once(alice: Browser, bookshop: Shop, otherstore: Shop) -> None:
    for shop in (bookshop, bookshop, otherstore):
        shop.connect(alice)
    assert sum("books.example something for the first time" in each for each in said(alice)) == 1
    assert sum("other.example something for the first time" in each for each in said(alice)) == 1


def test_reading_them(app: Flask, alice: Browser, bob: Browser, clock: Clock) -> None:
    """One, or all; only one's own; what is read is kept for 90 days."""
    broker = app.extensions["broker"]
    assert "Nothing has happened that you should know of." in alice.get("/notices").text
    for _ in range(3):
        actions.tell(broker, alice.person_id, Notice("factor", {"factor": "totp", "change": "added"}))
    assert "3 notices" in alice.get("/").text
    first = re.findall(r'name="notice" value="([0-9a-f]{32})"', alice.get("/notices").text)[0]
    assert bob.post("/notices/read", {"notice": first}).status_code == 303
    assert bob.post("/notices/read", {"notice": "zz"}).status_code == 404
    assert "3 notices" in alice.get("/").text
    assert alice.post("/notices/read", {"notice": first, "next": "/notices"}).location == "/notices"
    assert "2 notices" in alice.get("/").text
    assert alice.post("/notices/read", {"next": "//evil.example"}).location == "/"
    assert "Mark as read" not in alice.get("/notices").text
    assert len(said(alice)) == 3
    clock.advance(days=91)
    actions.tell(broker, alice.person_id, Notice("factor", {"factor": "totp", "change": "added"}))
    assert len(said(Browser.of(app, "alice"))) == 1


def test_words_lie_sealed(app: Flask, alice: Browser) -> None:
    broker = app.extensions["broker"]
    actions.tell(broker, alice.person_id, Notice("new-vendor", {"vendor": "https://needle.example"}))
    with broker.reading() as tx:
        rows = tx.exec_driver_sql("SELECT body FROM notices").all()
    assert rows
    assert all(b"needle" not in row[0] for row in rows)


def test_every_notice_can_be_reached(app: Flask, alice: Browser, bob: Browser, clock: Clock) -> None:
    """Page by page, each once; and all can be marked as read while any waits, wherever it stands."""
    broker, at = app.extensions["broker"], clock()
    key = entry_key(alice.ring, at)
    broker.write(lambda tx: [actions.add(tx, alice.ring, key, Notice("new-vendor", {"vendor": f"https://n{n}.example"}), at) for n in range(120)])
    seen, path = [], "/notices"
    while path:
        text = alice.get(path).text
        seen += re.findall(r"You gave (n[0-9]+)[.]example something", re.sub(r'about="[^"]*"|aria-label="[^"]*"', "", text))
        further = re.search(r'<a href="([^"]+)" rel="next"', text)
        path = further[1] if further else ""
    assert len(set(seen)) == 120
    assert alice.get("/notices?below=zz").status_code == 404
    assert "n1.example" not in bob.get("/notices").text
    for told in re.findall(r'name="notice" value="([0-9a-f]+)"', alice.get("/notices").text):
        assert alice.post("/notices/read", {"notice": told, "next": "/notices"}).status_code == 303
    assert "Mark all as read" in alice.get("/notices").text
    assert alice.post("/notices/read", {"next": "/notices"}).status_code == 303
    assert "Mark all as read" not in alice.get("/notices").text
