"""Other people's clients complete the flow against a real broker: openid-client, oauth4webapi, and Authlib's as far as it goes."""

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc import jws
from joserfc.jwk import ECKey
from makers import page_visit, purchase, purchases
from oauthlib.oauth2 import OAuth2Error
from oracles import NODE
from requests_oauthlib import OAuth2Session as RequestsSession
from servers import Server, running
from visitors import Page, give, signed_up

from broker.db import utcnow
from broker.vendors.actions import EXTENSION, EXTENSION_REDIRECTS

CALLBACK = "https://books.example/callback"
SECONDS = 60


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path) as started:
        yield started


@pytest.fixture
def alice(server: Server) -> Iterator[Page]:
    page = signed_up(server)
    yield page
    page.client.close()


@dataclass
class Vendor:
    """A registered vendor's client and its private key."""

    client_id: str
    key: ECKey

    @classmethod
    def register(cls, server: Server, where: Path) -> "Vendor":
        key = ECKey.generate_key("P-256", {"kid": "k1"}, private=True)
        metadata = {"client_name": "Books", "domain": "books.example", "redirect_uris": [CALLBACK], "jwks": {"keys": [key.as_dict(private=False)]}}
        (where / "client.json").write_text(json.dumps(metadata))
        return cls(server.command("client", "add", str(where / "client.json")).strip(), key)

    def told(self, server: Server) -> dict[str, Any]:
        """What a script needs to be this vendor; the clients import a key without `kid`, and sign with it alone."""
        key = {name: value for name, value in self.key.as_dict(private=True).items() if name in {"kty", "crv", "x", "y", "d"}}
        return {"issuer": server.origin, "client_id": self.client_id, "key": key, "kid": "k1", "redirect_uri": CALLBACK, "details": [purchases()]}

    def signature(self, payload: str) -> dict[str, str]:
        """The countersignature of an agreement."""
        header = {"alg": "ES256", "kid": self.key.thumbprint(), "typ": "consent-agreement+jws"}
        raw = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        protected, _, signature = jws.serialize_compact(header, raw, self.key).split(".")
        return {"protected": protected, "signature": signature}


class Script:
    """One of the scripts, told what to be and answered line by line."""

    def __init__(self, node: str, name: str, told: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            [node, name], cwd=NODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "NODE_NO_WARNINGS": "1"}
        )
        self.heard = self.answer(told)

    def answer(self, told: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            _, said = self.process.communicate(timeout=SECONDS)
            pytest.fail(said[-3000:])
        self.heard = dict(json.loads(line))
        return self.heard

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def batch(*events: dict[str, Any]) -> dict[str, Any]:
    """An upload of the extension's."""
    return {
        "schema": "events/1", "batch": "0195d0c2-7a10-7c3e-9b41-5d1f0a2b3c4d", "client": {"version": "1.0.0", "browser": "chromium"},
        "notice_version": "2027-1", "collection_version": 1, "events": list(events),
    }  # fmt: skip


def test_the_extension_by_oauth4webapi_then_a_vendor_by_openid_client(server: Server, alice: Page, node: str, tmp_path: Path) -> None:
    """What one puts in the other gets out: PKCE, PAR, DPoP with nonce and a key that cannot be taken out, iss, refresh, revocation."""
    bought = purchase(utcnow() - timedelta(days=2))
    extension = {"issuer": server.origin, "client_id": EXTENSION, "redirect_uri": EXTENSION_REDIRECTS[0], "batch": batch(bought, page_visit(utcnow()))}
    with Script(node, "oauth4webapi.mjs", extension) as script:
        said = script.answer({"callback": give(alice, script.heard["url"])})
    assert [each["status"] for each in said["used"]["results"]] == ["accepted", "accepted"]
    assert (said["token_type"], said["scope"], said["refused"]) == ("dpop", "events:write", "invalid_grant")
    assert said["nonces"] == ["use_dpop_nonce"], "asked for once, then carried on"

    vendor = Vendor.register(server, tmp_path)
    with Script(node, "openid-client.mjs", vendor.told(server)) as script:
        script.answer({"callback": give(alice, script.heard["url"])})
        said = script.answer({"signature": vendor.signature(script.heard["payload"])})
    assert (said["token_type"], said["scope"], said["signed"]) == ("dpop", "events:read", 204)
    assert [item["kind"] for item in said["items"]] == ["purchase"]
    assert said["again"] == said["items"]
    assert said["same_refresh_token"] is True
    assert said["ended"] == "401 dpop invalid_token"
    assert said["details"][0]["datatypes"] == ["purchase"]


def test_a_vendor_by_oauth4webapi_that_knows_the_address_of_the_api(server: Server, alice: Page, node: str, tmp_path: Path) -> None:
    vendor = Vendor.register(server, tmp_path)
    with Script(node, "oauth4webapi.mjs", vendor.told(server)) as script:
        said = script.answer({"callback": give(alice, script.heard["url"])})
    assert said["used"]["status"] == "active"
    assert (said["scope"], said["refused"]) == ("events:read", "invalid_grant")


def test_what_the_clients_check_would_stop_them(server: Server, alice: Page, node: str, tmp_path: Path) -> None:
    """The controls: a callback of another issuer, without one, or of another state is refused by the client itself."""
    vendor = Vendor.register(server, tmp_path)
    for name, changed in (("iss", "https://evil.example"), ("iss", None), ("state", "other")):
        with Script(node, "openid-client.mjs", vendor.told(server)) as script:
            callback = give(alice, script.heard["url"])
            kept = [part for part in callback.partition("?")[2].split("&") if not part.startswith(f"{name}=")]
            forged = "&".join([*kept, *([f"{name}={changed}"] if changed else [])])
            with pytest.raises(pytest.fail.Exception, match=r"iss|state"):
                script.answer({"callback": f"{CALLBACK}?{forged}"})


def test_authlibs_own_client_comes_as_far_as_the_proof(server: Server, tmp_path: Path) -> None:
    """It authenticates and is understood; it knows no proofs, and is told what is missing.

    By itself it would name the token endpoint as audience, and let an assertion live an hour: both are refused (FAPI 2.0, section 5.3.2.1).
    """
    vendor = Vendor.register(server, tmp_path)
    endpoint = f"{server.origin}/oauth/token"
    for audience, lives, error in ((server.origin, 50, "invalid_dpop_proof"), (endpoint, 50, "invalid_client"), (server.origin, 3600, "invalid_client")):
        session = AuthlibSession(vendor.client_id, vendor.key, token_endpoint_auth_method="private_key_jwt")
        session.register_client_auth_method(PrivateKeyJWT(audience, claims={"exp": int(time.time()) + lives}, alg="ES256"))
        with pytest.raises(OAuthError) as refused:
            session.refresh_token(endpoint, refresh_token="x")
        assert refused.value.error == error


def test_requests_oauthlib_comes_as_far_as_the_proof(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as a public client; its own check of https is put off for loopback."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    for client_id, error in ((EXTENSION, "invalid_dpop_proof"), ("nobody", "invalid_client")):
        session = RequestsSession(client_id, redirect_uri=EXTENSION_REDIRECTS[0], pkce="S256")
        asked, _ = session.authorization_url(f"{server.origin}/oauth/authorize")
        page = httpx2.get(asked)
        assert (page.status_code, "location" in page.headers) == (400, False), "it cannot push its request"
        with pytest.raises(OAuth2Error) as refused:
            session.fetch_token(f"{server.origin}/oauth/token", code="x", include_client_id=True)
        assert refused.value.error == error
