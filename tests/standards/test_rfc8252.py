"""Loopback redirects (RFC 8252 section 7.3; attack row 14)."""

import pytest

from broker.oauth.gate import same_redirect

KNOWN = ("http://127.0.0.1:8450/callback", "http://[::1]/callback")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:8450/callback", "http://127.0.0.1:1/callback", "http://127.0.0.1/callback", "http://[::1]:9999/callback"])
def test_any_port_works(uri: str) -> None:
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
    assert not same_redirect(KNOWN, uri)
