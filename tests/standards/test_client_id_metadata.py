"""Client ID Metadata Documents (draft-ietf-oauth-client-id-metadata-document): a vendor is a host it controls, and asks nobody first."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from joserfc.jwk import ECKey, RSAKey
from makers import ORIGIN, Browser, Clock, Shop, purchase
from proofs import of_broker
from webhosts import Hosts, hosting, said

from broker import close_app, create_app
from broker.config import Settings
from broker.vendors import queries
from broker.vendors.actions import disable_client

ID = "https://books.example/oauth/client.json"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with hosting(tmp_path) as made:
        yield made


@pytest.fixture
def app(settings: Settings, clock: Clock, hosts: Hosts) -> Iterator[Flask]:
    """A broker whose way out leads to the test's host."""
    made = create_app(settings, clock, hosts.fetcher())
    yield made
    close_app(made)


@pytest.fixture
def shop(app: Flask, hosts: Hosts) -> Shop:
    """A vendor that nobody has registered."""
    key = ECKey.generate_key("P-256", {"kid": "k1"}, private=True)
    made = Shop(app, ID, "books.example", key, app.test_client(), of_broker(app.extensions["broker"]))
    publish(hosts, made)
    return made


def document(shop: Shop, **changes: Any) -> dict[str, Any]:
    full = {
        "client_id": ID, "client_name": "Books & Co", "redirect_uris": [shop.redirect_uri], "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [shop.key.as_dict(private=False)]}, "contacts": ["privacy@books.example"], "logo_uri": "https://books.example/logo.png", **changes,
    }  # fmt: skip
    return {name: value for name, value in full.items() if value is not None}


def publish(hosts: Hosts, shop: Shop, **changes: Any) -> None:
    hosts.paths["/oauth/client.json"] = said(json.dumps(document(shop, **changes)).encode())


def test_a_vendor_asks_without_being_registered(app: Flask, alice: Browser, shop: Shop, hosts: Hosts, clock: Clock) -> None:
    """Section 3: the address is the id; from the address of the API to rows, and the person sees the domain."""
    alice.store(purchase(clock()))
    assert shop.client.get("/.well-known/oauth-authorization-server", base_url=ORIGIN).json["client_id_metadata_document_supported"] is True
    page = alice.get(alice.open(shop.ask())).text
    assert "books.example" in page
    assert "Books &amp; Co" in page
    shop.connect(alice)
    assert shop.read().status_code == 200
    assert hosts.asked == [ID], "one look, however many calls"
    with app.extensions["broker"].reading() as tx:
        found = queries.client(tx, ID)
    assert found
    assert (found.vendor_id, found.domain, found.contact) == ("https://books.example", "books.example", "privacy@books.example")


def test_keys_at_an_address_of_their_own(alice: Browser, shop: Shop, hosts: Hosts) -> None:
    publish(hosts, shop, jwks=None, jwks_uri="https://books.example/keys")
    hosts.paths["/keys"] = said(json.dumps({"keys": [shop.key.as_dict(private=False)]}).encode(), kind="application/jwk-set+json")
    shop.connect(alice)
    assert hosts.asked == [ID, "https://books.example/keys"]


def test_a_key_that_was_taken_out_is_refused_within_twenty_minutes(alice: Browser, shop: Shop, hosts: Hosts, clock: Clock) -> None:
    """Row 51; and one that was put in is taken."""
    shop.connect(alice)
    fresh = ECKey.generate_key("P-256", {"kid": "k2"}, private=True)
    publish(hosts, shop, jwks={"keys": [fresh.as_dict(private=False)]})
    clock.advance(minutes=19)
    assert shop.refresh().status_code == 200, "what was fetched is believed for twenty minutes"
    clock.advance(minutes=2)
    refused = shop.refresh()
    assert (refused.status_code, refused.json["error"]) == (401, "invalid_client")
    assert len(hosts.asked) == 2


def test_a_document_that_is_gone_ends_its_client(alice: Browser, shop: Shop, hosts: Hosts, clock: Clock) -> None:
    """Fails closed, and works again when the document is back."""
    shop.connect(alice)
    good = hosts.paths.pop("/oauth/client.json")
    clock.advance(minutes=21)
    assert shop.refresh().status_code == 401
    hosts.paths["/oauth/client.json"] = good
    assert shop.refresh().status_code == 200


OTHER = ECKey.generate_key("P-256", private=True)
WRONG: dict[str, dict[str, Any]] = {
    "another client_id": {"client_id": "https://books.example/oauth/other.json"}, "no client_id": {"client_id": None}, "client_id a list": {"client_id": [ID]},
    "no redirect_uris": {"redirect_uris": None}, "redirect on another host": {"redirect_uris": ["https://evil.example/callback"]},
    "redirect on a look-alike": {"redirect_uris": ["https://evilbooks.example/callback"]}, "redirect by http": {"redirect_uris": ["http://books.example/callback"]},
    "redirect by script": {"redirect_uris": ["javascript:alert(1)"]}, "redirect anywhere": {"redirect_uris": ["https://*.books.example/callback"]},
    "a secret": {"client_secret": "x"}, "by secret": {"token_endpoint_auth_method": "client_secret_post"}, "by nothing": {"token_endpoint_auth_method": "none"},
    "no method": {"token_endpoint_auth_method": None}, "no keys": {"jwks": None}, "two places of keys": {"jwks_uri": "https://books.example/keys"},
    "keys at a private address": {"jwks": None, "jwks_uri": "https://127.0.0.1/keys"}, "keys by http": {"jwks": None, "jwks_uri": "http://books.example/keys"},
    "keys that are not there": {"jwks": None, "jwks_uri": "https://books.example/nothing"}, "an empty key set": {"jwks": {"keys": []}},
    "a private key": {"jwks": {"keys": [OTHER.as_dict(private=True)]}}, "a symmetric key": {"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}},
    "a key of no type that could be": {"jwks": {"keys": [{"kty": ["EC"], "crv": "P-256"}]}},
    "RSA alone": {"jwks": {"keys": [RSAKey.generate_key(2048).as_dict(private=False)]}}, "a name too long": {"client_name": "x" * 81},
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_documents_that_are_not_taken(shop: Shop, hosts: Hosts, name: str) -> None:
    """Section 4, rows 50 and 102: the caller gets the one answer of an unknown client, and no client is kept."""
    publish(hosts, shop, **WRONG[name])
    answer = shop.push()
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    with shop.app.extensions["broker"].reading() as tx:
        assert queries.client(tx, ID) is None
    publish(hosts, shop)
    assert shop.push().status_code == 201


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"client_id": 1, "client_id": 2}', b'"text"', b"\xff", b"[" * 10_000])
def test_answers_that_are_no_document(shop: Shop, hosts: Hosts, body: bytes) -> None:
    hosts.paths["/oauth/client.json"] = said(body)
    assert shop.push().status_code == 401


@pytest.mark.parametrize("client_id", ["https://books.example/", "https://books.example", "https://127.0.0.1/c", "https://books.example/c?x", "https://books.example:444/c", "http://books.example/c"])
def test_addresses_that_are_no_id(shop: Shop, hosts: Hosts, client_id: str) -> None:
    """Section 3: nobody is asked at all."""
    answer = shop.push(client_assertion=shop.assertion(iss=client_id, sub=client_id))
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    assert hosts.connected == []


def test_a_private_address_behind_a_public_name(shop: Shop, hosts: Hosts) -> None:
    """Row 50."""
    hosts.addresses["books.example"] = ["127.0.0.1"]
    assert shop.push().status_code == 401
    assert hosts.connected == []
    del hosts.addresses["books.example"]
    assert shop.push().status_code == 201


def test_a_client_taken_out_of_service_stays_out(alice: Browser, shop: Shop, hosts: Hosts, clock: Clock) -> None:
    """An operator's no is not undone by the next look at the document."""
    shop.connect(alice)
    assert disable_client(shop.app.extensions["broker"], ID)
    clock.advance(minutes=21)
    assert shop.refresh().status_code == 401
    assert shop.push().status_code == 401
    assert len(hosts.asked) == 1


def test_somebody_elses_key_is_not_the_vendors(shop: Shop, hosts: Hosts) -> None:
    """The document is good; whoever calls does not hold its key."""
    shop.key = ECKey.generate_key("P-256", {"kid": "k1"}, private=True)
    assert shop.push().status_code == 401
    assert hosts.asked == [ID]


def test_one_host_is_asked_so_often_and_no_more(settings: Settings, clock: Clock, hosts: Hosts) -> None:
    """What strangers send must not turn the broker against a third host."""
    app = create_app(replace(settings, rate_fetch="2/minute"), clock, hosts.fetcher())
    try:
        shop = Shop(app, ID, "books.example", ECKey.generate_key("P-256", {"kid": "k1"}, private=True), app.test_client(), of_broker(app.extensions["broker"]))
        assert [shop.push().status_code for _ in range(4)] == [401, 401, 429, 429]
        assert len(hosts.asked) == 2
    finally:
        close_app(app)


def test_no_third_host_is_asked_more_by_way_of_keys(settings: Settings, clock: Clock) -> None:
    """Documents of many hosts that all say their keys are at one: its rate is its own, whoever leads there."""
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        host = url.split("/")[2]
        told = {"client_id": url, "redirect_uris": [f"https://{host}/x"], "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://victim.example/keys"}
        return b"no keys" if host == "victim.example" else json.dumps(told).encode()

    app = create_app(replace(settings, rate_fetch="2/minute"), clock, fetch)
    try:
        key = ECKey.generate_key("P-256", {"kid": "k1"}, private=True)
        shops = [Shop(app, f"https://h{number}.example/c", "", key, app.test_client(), of_broker(app.extensions["broker"])) for number in range(5)]
        assert [shop.push().status_code for shop in shops] == [401, 401, 429, 429, 429]
        assert asked.count("https://victim.example/keys") == 2
    finally:
        close_app(app)
