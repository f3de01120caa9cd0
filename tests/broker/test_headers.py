"""Every answer carries exactly the headers of the design, and differs from them only in the two ways it allows."""

import base64
import re
from collections.abc import Callable, Iterator

import pytest
from flask import Flask, Response, jsonify, url_for
from flask.testing import FlaskClient

from broker import headers
from broker.config import Settings

EXPECTED = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'nonce-{n}'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types htmx"
    ),
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
Make = Callable[[str], Flask]


@pytest.fixture
def make() -> Make:
    def build(origin: str) -> Flask:
        app = Flask("broker")
        headers.setup(app, Settings(origin=origin))

        @app.get("/page")
        def page() -> str:
            return headers.csp_nonce() + " " + headers.csp_nonce()

        @app.get("/v1/events")
        def events() -> Response:
            return jsonify(items=[])

        @app.get("/leave/<path:target>")
        def leave(target: str) -> str:
            headers.widen_form_action(target)
            return ""

        @app.get("/same-for-all")
        def same_for_all() -> str:
            headers.allow_caching("public, max-age=300")
            return ""

        @app.get("/address")
        def address() -> str:
            return url_for("static", filename="style.css")

        return app

    return build


@pytest.fixture
def client(make: Make) -> Iterator[FlaskClient]:
    with make("http://localhost:8440").test_client() as client:
        yield client


def policy(client: FlaskClient, path: str) -> str:
    return client.get(path).headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/page", "/v1/events", "/missing"])
def test_exactly_these_headers(client: FlaskClient, path: str) -> None:
    answer = client.get(path).headers
    nonce = re.search(r"'nonce-([\w-]+)'", answer["Content-Security-Policy"])
    assert nonce is not None
    found = {name: value.replace(nonce[1], "{n}") for name, value in answer.items() if name not in {"Content-Type", "Content-Length"}}
    assert found == EXPECTED


def test_a_nonce_is_fresh_has_128_bits_and_is_the_same_within_a_page(client: FlaskClient) -> None:
    seen = set()
    for _ in range(20):
        answer = client.get("/page")
        one, two = answer.text.split()
        assert one == two
        assert f"'nonce-{one}'" in answer.headers["Content-Security-Policy"]
        assert len(base64.urlsafe_b64decode(one + "==")) == 16
        seen.add(one)
    assert len(seen) == 20


def test_strict_transport_security_stands_on_https_alone(make: Make) -> None:
    assert make("https://broker.example").test_client().get("/page").headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in make("http://localhost:8440").test_client().get("/page").headers


def test_the_consent_page_alone_adds_the_origin_it_returns_to(client: FlaskClient) -> None:
    assert "form-action 'self' https://books.example;" in policy(client, "/leave/https://books.example/cb?x=1")
    assert "form-action 'self' http://127.0.0.1:5001;" in policy(client, "/leave/http://127.0.0.1:5001/cb")
    assert "form-action 'self' http:;" in policy(client, "/leave/http://[::1]:5001/cb")
    assert "form-action 'self';" in policy(client, "/page")


@pytest.mark.parametrize("target", ["javascript:alert(1)", "/cb", "https:///cb", "https://a;script-src *", "https://a b/cb", "https://*/cb"])
def test_nothing_else_can_be_written_into_the_policy(client: FlaskClient, target: str) -> None:
    client.application.testing = True
    with client.application.test_request_context(), pytest.raises(ValueError):  # noqa: PT011 - idna raises its own kind of ValueError.
        headers.widen_form_action(target)


def test_a_static_address_names_its_content_and_may_be_kept(client: FlaskClient) -> None:
    address = client.get("/address").text
    assert re.fullmatch(r"/static/style\.css\?v=[0-9a-f]{16}", address)
    with client.get(address) as answer:
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/static/style.css", "/static/style.css?v=0123456789abcdef"])
def test_a_static_address_without_the_right_hash_is_asked_for_again(client: FlaskClient, path: str) -> None:
    with client.get(path) as answer:
        assert answer.headers["Cache-Control"] == "no-cache"


def test_a_document_for_everyone_may_be_cached_when_it_says_so(client: FlaskClient) -> None:
    assert client.get("/same-for-all").headers["Cache-Control"] == "public, max-age=300"
