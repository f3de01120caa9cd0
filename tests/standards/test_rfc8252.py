"""Loopback redirects (RFC 8252 section 7.3; attack row 14)."""

import pytest
from flask import Flask
from makers import ORIGIN

from broker.oauth.gate import same_redirect
from broker.vendors.actions import EXTENSION_REDIRECTS

KNOWN = ("http://127.0.0.1:8450/callback", "http://[::1]/callback")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:8450/callback", "http://127.0.0.1:1/callback", "http://127.0.0.1/callback", "http://[::1]:9999/callback"])
def test_any_port_works(uri: str) -> None:
    """Row 14, section 7.3."""
    assert same_redirect(KNOWN, uri)


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost:8450/callback", "http://127.0.0.1:8450/callback/", "http://127.0.0.1:8450/other", "https://127.0.0.1:8450/callback",
        "http://127.0.0.1:99999/callback", "http://127.0.0.1:08/callback", "http://127.0.0.1@evil.example/callback", "http://127.0.0.1:8450/callback?x",
        "http://127.0.0.1:8450/callback#x", "http://127.0.0.2:8450/callback", "http://127.0.0.1:8450/callback\n",
    ],
)  # fmt: skip
def test_nothing_else_does(uri: str) -> None:
    """Row 14: the path is exact, `localhost` is another host."""
    assert not same_redirect(KNOWN, uri)


def test_the_extension_on_a_loopback_address(app: Flask) -> None:
    """Row 14 at PAR: Firefox listens on whatever port is free; the path is exact, and `localhost`, which may be somebody else, is refused."""
    path = next(uri for uri in EXTENSION_REDIRECTS if uri.startswith("http://127.0.0.1")).removeprefix("http://127.0.0.1")

    def pushed(uri: str) -> int:
        data = {
            "client_id": "extension", "response_type": "code", "redirect_uri": uri, "scope": "events:write", "code_challenge": "c" * 43,
            "code_challenge_method": "S256", "dpop_jkt": "k" * 43,
        }  # fmt: skip
        answer = app.test_client().post("/oauth/par", data=data, base_url=ORIGIN)
        assert answer.status_code == 201 or answer.json["error"] == "invalid_request"
        return answer.status_code

    for good in (f"http://127.0.0.1{path}", f"http://127.0.0.1:1{path}", f"http://127.0.0.1:65535{path}"):
        assert pushed(good) == 201, good
    for wrong in (f"http://localhost:5555{path}", f"http://127.0.0.1:5555{path}/", "http://127.0.0.1:5555/", f"http://127.0.0.1:65536{path}", f"http://[::1]:5555{path}"):
        assert pushed(wrong) == 400, wrong
