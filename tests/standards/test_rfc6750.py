"""How a token is shown to the API, and what a wrong one is told (RFC 6750 section 3, RFC 9449 section 7; attack rows 76, 98-100, 118)."""

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from makers import ORIGIN, Browser, Clock, Extension, Shop, page_visit, purchase, purchases, settings_in
from proofs import of_broker

from broker import close_app, create_app
from broker.people import actions as people


@pytest.fixture
def connected(alice: Browser, bookshop: Shop, clock: Clock) -> Shop:
    """A shop that may read one purchase."""
    alice.store(purchase(clock() - dt.timedelta(days=3)))
    bookshop.connect(alice)
    return bookshop


def told(answer: Any) -> str:
    """The `error` of a challenge; empty where it has none."""
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith("DPoP "), "the one scheme: Basic and Bearer are not offered"
    assert f'resource_metadata="{ORIGIN}/.well-known/oauth-protected-resource/v1"' in challenge
    found = re.search(r'error="([^"]+)"', challenge)
    return found[1] if found else ""


def test_only_the_header_counts(connected: Shop) -> None:
    """Row 98, RFC 6750 sections 2.2 and 2.3: in the address or the body a token is none, as if nothing had been sent."""
    token = connected.tokens["access_token"]
    proof = {"DPoP": connected.prover.proof("GET", "/v1/events", token)}
    for path in (f"/v1/events?access_token={token}", f"/v1/events?authorization=DPoP+{token}"):
        answer = connected.client.get(path, base_url=ORIGIN, headers=proof)
        assert (answer.status_code, answer.json["type"], told(answer)) == (401, "/problems/no-token", "")
    for path, method in (("/v1/events", "POST"), ("/v1/events", "GET"), (f"/v1/grants/{connected.tokens['grant_id']}", "DELETE")):
        answer = connected.client.open(path, method=method, data={"access_token": token}, base_url=ORIGIN, headers={"DPoP": connected.prover.proof(method, path, token)})
        assert (answer.status_code, told(answer)) == (401, ""), (path, method)
    assert connected.read().status_code == 200


def test_a_token_that_ran_out(connected: Shop, clock: Clock) -> None:
    """Row 99: 401 `invalid_token`, and after a refresh the same call works."""
    assert connected.read().status_code == 200
    clock.advance(seconds=301)
    answer = connected.read()
    assert (answer.status_code, told(answer)) == (401, "invalid_token")
    connected.refresh()
    assert connected.read().status_code == 200


def test_a_token_of_another_broker(connected: Shop, tmp_path: Path, clock: Clock) -> None:
    """Row 99, other `aud`: every token is for the API of the broker that gave it, and opens no other, whoever's key it is bound to."""
    other = create_app(settings_in(tmp_path / "elsewhere"), clock)
    try:
        other.extensions["broker"].vault.add_recovery_key()
        people.add(other.extensions["broker"], "alice", "correct horse battery staple")
        there = Shop.register(other, "books.example")
        there.prover = of_broker(other.extensions["broker"], connected.prover.key)
        there.connect(Browser.of(other, "alice"))
        assert there.read().status_code == 200
        mine = connected.tokens
        connected.tokens = there.tokens
        answer = connected.read()
        assert (answer.status_code, told(answer)) == (401, "invalid_token")
        connected.tokens = mine
        assert connected.read().status_code == 200
    finally:
        close_app(other)


def test_a_clause_that_is_missing(connected: Shop) -> None:
    """Row 99: 403, one body whatever is missing (rule R2)."""
    bodies = set()
    for query in ("?clause=c9", "?purpose=dpv:Advertising", "?kind=search"):
        answer = connected.read(query)
        assert answer.status_code == 403
        assert told(answer) == "insufficient_scope"
        bodies.add((answer.json["type"], answer.json["detail"]))
    assert bodies == {("/problems/not-granted", "Nothing in this grant covers what was asked.")}
    assert connected.read("?clause=c1").status_code == 200


def test_nothing_of_one_vendor_means_anything_to_another(alice: Browser, bookshop: Shop, otherstore: Shop, clock: Clock) -> None:
    """Row 100, rule G10: ids of the person and of events differ, a cursor opens nothing, and no route takes an event's id."""
    alice.store(*[purchase(clock() - dt.timedelta(days=3, hours=hour)) for hour in range(3)])
    bookshop.connect(alice)
    otherstore.connect(alice)
    assert bookshop.call("GET").json["person"] != otherstore.call("GET").json["person"]
    first, second = bookshop.read("?limit=2").json, otherstore.read("?limit=2").json
    assert not {row["id"] for row in first["items"]} & {row["id"] for row in second["items"]}
    assert len(otherstore.read(f"?limit=2&cursor={second['next']}").json["items"]) == 1
    refused = otherstore.read(f"?limit=2&cursor={first['next']}")
    assert (refused.status_code, refused.json["type"]) == (400, "/problems/invalid-cursor")
    for shop in (bookshop, otherstore):
        assert shop.send("GET", f"/v1/events/{first['items'][0]['id']}").status_code == 404
        assert shop.read(f"?id={first['items'][0]['id']}").status_code == 422


def test_the_extensions_token_opens_one_route(app: Flask, alice: Browser, clock: Clock) -> None:
    """Row 118: 403 on every other route of the API there is, also on those to come."""
    extension = Extension.connect(alice)
    tried = 0
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<grant_id>", extension.tokens["grant_id"])
        if not path.startswith("/v1"):
            continue
        assert "<" not in path, "tell this test what stands there"
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            headers = extension.prover.headers(method, path, extension.tokens["access_token"])
            answer = extension.client.open(path, method=method, json={}, base_url=ORIGIN, headers=headers)
            if (method, path) == ("POST", "/v1/events"):
                assert answer.status_code == 422
            else:
                assert (answer.status_code, answer.json["type"]) == (403, "/problems/not-granted"), (method, path)
                tried += 1
    assert tried >= 5
    assert extension.upload(page_visit(clock())).status_code == 200


def test_no_vendor_gets_such_a_token(alice: Browser, bookshop: Shop) -> None:
    """Row 119: by scope and by action."""
    assert bookshop.push(scope="events:write").json["error"] == "invalid_scope"
    assert bookshop.push([{**purchases(), "actions": ["write"]}]).json["error"] == "invalid_authorization_details"
    bookshop.connect(alice)
    assert bookshop.send("POST", "/v1/events", json={}).json["type"] == "/problems/not-granted"
