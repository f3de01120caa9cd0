"""Dynamic client registration by invite (RFC 7591): one client, one domain, once, within seven days."""

import json
import re
import threading
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey
from makers import ORIGIN, Browser, Clock, Shop
from proofs import of_broker

from broker.vendors import queries
from broker.vendors.actions import invite

DOMAIN = "books.example"


class Newcomer:
    """A vendor with an invite in its hand."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.broker = app.extensions["broker"]
        self.key = ECKey.generate_key("P-256", {"kid": "k1"}, private=True)
        self.token = invite(self.broker, DOMAIN).text
        self.client = app.test_client()

    def metadata(self, **changes: Any) -> dict[str, Any]:
        full = {
            "client_name": "Books & Co", "redirect_uris": [f"https://{DOMAIN}/callback"], "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [self.key.as_dict(private=False)]}, "grant_types": ["authorization_code"], "response_types": ["code"],
            "logo_uri": "https://books.example/logo.png", **changes,
        }  # fmt: skip
        return {name: value for name, value in full.items() if value is not None}

    def register(self, body: Any = None, token: str | None = None, **changes: Any) -> Any:
        data = json.dumps(self.metadata(**changes)) if body is None else body
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        return self.client.post("/oauth/register", data=data, content_type="application/json", base_url=ORIGIN, headers=headers)


@pytest.fixture
def newcomer(alice: Browser) -> Newcomer:
    return Newcomer(alice.app)


def test_it_registers_and_the_client_works(newcomer: Newcomer, alice: Browser) -> None:
    """Section 3.2.1; what was registered is told back, and no secret."""
    document = newcomer.client.get("/.well-known/oauth-authorization-server", base_url=ORIGIN).json
    assert document["registration_endpoint"] == f"{ORIGIN}/oauth/register"
    answer = newcomer.register()
    assert answer.status_code == 201, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    told = answer.json
    assert re.fullmatch(r"books-co-[0-9a-f]{16}", told["client_id"]), "long enough for all who are called alike"
    assert told["redirect_uris"] == [f"https://{DOMAIN}/callback"]
    assert told["token_endpoint_auth_method"] == "private_key_jwt"
    assert abs(told["client_id_issued_at"] - newcomer.broker.now().timestamp()) < 60
    assert not {"client_secret", "logo_uri"} & told.keys()
    shop = Shop(newcomer.app, told["client_id"], DOMAIN, newcomer.key, newcomer.client, of_broker(newcomer.broker))
    assert shop.connect(alice)["scope"] == "events:read"
    assert DOMAIN in alice.get("/grants").text


def test_an_invite_works_once(newcomer: Newcomer) -> None:
    assert newcomer.register().status_code == 201
    again = newcomer.register()
    assert (again.status_code, again.json["error"]) == (401, "invalid_token")


def test_of_parallel_uses_one_wins(newcomer: Newcomer) -> None:
    barrier, found = threading.Barrier(8), []

    def one() -> None:
        barrier.wait()
        client = newcomer.app.test_client()
        headers = {"Authorization": f"Bearer {newcomer.token}"}
        found.append(client.post("/oauth/register", json=newcomer.metadata(), base_url=ORIGIN, headers=headers).status_code)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [201, *[401] * 7]


def test_an_invite_runs_out(newcomer: Newcomer, clock: Clock) -> None:
    clock.advance(days=6, hours=23)
    good = invite(newcomer.broker, DOMAIN).text
    clock.advance(hours=2)
    assert newcomer.register().status_code == 401
    assert newcomer.register(token=good).status_code == 201


def test_without_an_invite(newcomer: Newcomer, bookshop: Shop, alice: Browser) -> None:
    """Not even with another credential of ours."""
    bookshop.connect(alice)
    altered = newcomer.token[:-1] + ("1" if newcomer.token.endswith("0") else "0")
    for token in ("", "x", altered, bookshop.tokens["access_token"], bookshop.tokens["refresh_token"]):
        answer = newcomer.register(token=token)
        assert (answer.status_code, answer.json["error"]) == (401, "invalid_token"), token
        assert "WWW-Authenticate" not in answer.headers, "rule A9"
    assert newcomer.client.post("/oauth/register", json=newcomer.metadata(), base_url=ORIGIN).status_code == 401
    assert newcomer.register().status_code == 201


OTHER = ECKey.generate_key("P-256", private=True)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "http off loopback": ({"redirect_uris": ["http://books.example/callback"]}, "invalid_redirect_uri"),
    "script": ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
    "wildcard": ({"redirect_uris": ["https://*.books.example/callback"]}, "invalid_redirect_uri"),
    "fragment": ({"redirect_uris": ["https://books.example/callback#x"]}, "invalid_redirect_uri"),
    "another host": ({"redirect_uris": ["https://evil.example/callback"]}, "invalid_redirect_uri"),
    "a look-alike host": ({"redirect_uris": ["https://evilbooks.example/callback"]}, "invalid_redirect_uri"),
    "none": ({"redirect_uris": []}, "invalid_redirect_uri"),
    "no redirect_uris": ({"redirect_uris": None}, "invalid_redirect_uri"),
    "a quote in it": ({"redirect_uris": ['https://books.example/"']}, "invalid_redirect_uri"),
    "jwks_uri": ({"jwks": None, "jwks_uri": "https://books.example/keys"}, "invalid_client_metadata"),
    "jwks with jwks_uri": ({"jwks_uri": "https://books.example/keys"}, "invalid_client_metadata"),
    "no keys": ({"jwks": None}, "invalid_client_metadata"),
    "a symmetric key": ({"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}, "invalid_client_metadata"),
    "a private key": ({"jwks": {"keys": [OTHER.as_dict(private=True)]}}, "invalid_client_metadata"),
    "a key of no type that could be": ({"jwks": {"keys": [{"kty": ["EC"], "crv": "P-256"}]}}, "invalid_client_metadata"),
    "a key of no curve that could be": ({"jwks": {"keys": [{"kty": "OKP", "crv": {}}]}}, "invalid_client_metadata"),
    "RSA alone": ({"jwks": {"keys": [RSAKey.generate_key(2048).as_dict(private=False)]}}, "invalid_client_metadata"),
    "software_statement": ({"software_statement": "eyJ"}, "invalid_software_statement"),
    "a secret": ({"client_secret": "x"}, "invalid_client_metadata"),
    "by secret": ({"token_endpoint_auth_method": "client_secret_basic"}, "invalid_client_metadata"),
    "by nothing": ({"token_endpoint_auth_method": "none"}, "invalid_client_metadata"),
    "no method": ({"token_endpoint_auth_method": None}, "invalid_client_metadata"),
    "implicit": ({"grant_types": ["implicit"]}, "invalid_client_metadata"),
    "token": ({"response_types": ["token"]}, "invalid_client_metadata"),
    "no name": ({"client_name": None}, "invalid_client_metadata"),
    "a name too long": ({"client_name": "x" * 81}, "invalid_client_metadata"),
}


@pytest.mark.parametrize("name", WRONG)
def test_metadata_that_is_not_taken(newcomer: Newcomer, name: str) -> None:
    """Row 102 and section 3.2.2: a sentence says what to change, and the invite is as good as before."""
    changes, error = WRONG[name]
    answer = newcomer.register(**changes)
    assert (answer.status_code, answer.json["error"]) == (400, error), answer.text
    assert answer.json["error_description"].endswith(".")
    assert newcomer.register().status_code == 201


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b'{"a": 1, "a": 2}', b"\xff", b"[" * 5000, b'{"jwks": NaN}'])
def test_bodies_that_are_none(newcomer: Newcomer, body: bytes) -> None:
    answer = newcomer.register(body)
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_client_metadata")


def test_envelopes_that_are_not_taken(newcomer: Newcomer) -> None:
    headers = {"Authorization": f"Bearer {newcomer.token}"}
    send = newcomer.client.open
    assert send("/oauth/register", method="GET", base_url=ORIGIN, headers=headers).status_code == 405
    assert send("/oauth/register", method="POST", data={"a": "b"}, base_url=ORIGIN, headers=headers).status_code == 415
    assert send("/oauth/register?x=1", method="POST", json=newcomer.metadata(), base_url=ORIGIN, headers=headers).status_code == 415
    assert send("/oauth/register", method="POST", json={"x": "y" * 40_000}, base_url=ORIGIN, headers=headers).status_code == 413
    assert newcomer.register().status_code == 201


def test_the_name_is_harmless_and_the_domain_the_invites(newcomer: Newcomer) -> None:
    client_id = newcomer.register(client_name="Books\u202e\u200b  & <b>Co", domain="evil.example", client_id="extension").json["client_id"]
    assert client_id != "extension"
    with newcomer.broker.reading() as tx:
        found = queries.client(tx, client_id)
    assert found
    assert (found.name, found.domain, found.vendor_id) == ("Books & <b>Co", DOMAIN, f"https://{DOMAIN}")
