"""`broker client add`: what a client's metadata must look like (RFC 7591; attack rows 50 and 102)."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from makers import SMALL_ORDER, weak
from marshmallow import ValidationError

from broker.config import Settings
from broker.vendors import actions, queries
from broker.vendors.schemas import ClientMetadata

KEY = OKPKey.generate_key("Ed25519", {"kid": "k1"}, private=True)
GOOD: dict[str, Any] = {
    "client_name": "Books & Co", "domain": "books.example", "redirect_uris": ["https://books.example/callback"], "jwks": {"keys": [KEY.as_dict(private=False)]},
}  # fmt: skip


def test_it_works(app: Flask) -> None:
    broker = app.extensions["broker"]
    client_id = actions.add_client(broker, ClientMetadata().load(GOOD))
    with broker.reading() as tx:
        client = queries.client(tx, client_id)
    assert client is not None
    assert (client.domain, client.vendor_id, client.enabled, client.public) == ("books.example", "https://books.example", True, False)


WRONG: dict[str, dict[str, Any]] = {
    "plain http": {"redirect_uris": ["http://books.example/callback"]},
    "localhost": {"redirect_uris": ["http://localhost/callback"]},
    "javascript": {"redirect_uris": ["javascript:alert(1)"]},
    "wildcard": {"redirect_uris": ["https://*.books.example/callback"]},
    "fragment": {"redirect_uris": ["https://books.example/#x"]},
    "name and password": {"redirect_uris": ["https://a:b@books.example/"]},
    "no redirect": {"redirect_uris": []},
    "broken port": {"redirect_uris": ["https://books.example:99999/"]},
    "space": {"redirect_uris": ["https://books.example/a b"]},
    "private key": {"jwks": {"keys": [KEY.as_dict(private=True)]}},
    "symmetric key": {"jwks": {"keys": [OctKey.generate_key(256).as_dict()]}},
    "other curve": {"jwks": {"keys": [ECKey.generate_key("P-384", private=False).as_dict()]}},
    "small RSA": {"jwks": {"keys": [KEY.as_dict(private=False), {"kty": "RSA", "e": "AQAB", "n": "u" * 171}]}},
    "no key to sign agreements with": {"jwks": {"keys": [RSAKey.generate_key(2048, private=False).as_dict(private=False)]}},
    "a long address": {"address": "x" * 201},
    "an empty contact": {"contact": ""},
    "off-curve point": {"jwks": {"keys": [{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}]}},
    "no keys": {"jwks": {"keys": []}},
    "jwks_uri": {"jwks_uri": "https://books.example/jwks"},
    "software_statement": {"software_statement": "x"},
    "secret": {"token_endpoint_auth_method": "client_secret_basic"},
    "domain": {"domain": "Books.Example"},
    "single label": {"domain": "localhost"},
    "address": {"domain": "127.0.0.1"},
    "no name": {"client_name": "\u202e\u200b"},
    "client_id": {"client_id": "../x"},
    "unknown": {"colour": "blue"},
}


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("name", WRONG)
def test_it_refuses(name: str) -> None:
    ClientMetadata().load(GOOD)
    with pytest.raises(ValidationError):
        ClientMetadata().load({**GOOD, **WRONG[name]})


@pytest.mark.parametrize("public", SMALL_ORDER, ids=bytes.hex)
def test_a_key_for_which_anybody_can_sign_is_refused(public: bytes) -> None:
    """Also beside a good one."""
    with pytest.raises(ValidationError) as refused:
        ClientMetadata().load({**GOOD, "jwks": {"keys": [KEY.as_dict(private=False), weak(public)]}})
    assert "small order" in str(refused.value)


def test_the_name_is_made_harmless() -> None:
    assert ClientMetadata().load({**GOOD, "client_name": "  Books\u202e \n& Co\u200b "})["client_name"] == "Books & Co"


def test_what_it_says_of_itself_stands_in_its_agreements(app: Flask) -> None:
    """Address and contact, made harmless; the key it signs with is its first Ed25519 key, else its first P-256 key."""
    broker = app.extensions["broker"]
    ec, ed = ECKey.generate_key("P-256", private=False).as_dict(private=False), KEY.as_dict(private=False)
    jwks = {"keys": [RSAKey.generate_key(2048, private=False).as_dict(private=False), ec, ed]}
    metadata = ClientMetadata().load({**GOOD, "jwks": jwks, "address": "1 Quay,\u202e Cork", "contact": "privacy@books.example"})
    client_id = actions.add_client(broker, metadata)
    with broker.reading() as tx:
        client = queries.client(tx, client_id)
    assert client
    assert (client.address, client.contact) == ("1 Quay, Cork", "privacy@books.example")
    assert client.signing_key == {name: ed[name] for name in ("crv", "kty", "x")}
    assert replace(client, keys=client.keys[:2]).signing_key == {name: ec[name] for name in ("crv", "kty", "x", "y")}
    assert replace(client, keys=client.keys[:1]).signing_key is None


def test_the_command(settings: Settings, tmp_path: Any) -> None:
    """Prints the client_id; mistakes are pointed at, and nothing is registered."""
    environment = {**os.environ, "BROKER_DATA_DIR": str(settings.data_dir), "BROKER_KEY_FILE": str(settings.key_file)}

    def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "broker", "client", *arguments], env=environment, input=text, capture_output=True, text=True, check=False)

    good = run("add", "-", text=json.dumps({**GOOD, "client_id": "books-web"}))
    assert (good.returncode, good.stdout) == (0, "books-web\n")
    again = run("add", "-", text=json.dumps({**GOOD, "client_id": "books-web"}))
    assert again.returncode == 1
    assert "Remove it first" in again.stderr
    bad = run("add", "-", text=json.dumps({**GOOD, "redirect_uris": ["http://books.example/"]}))
    assert bad.returncode == 2
    assert "/redirect_uris" in bad.stderr
    assert "books.example" in run("list").stdout
    assert run("remove", "books-web").returncode == 0
    assert "out of service" in run("list").stdout
    assert run("remove", "nobody").returncode == 1
