"""Whatever is sent, nothing breaks (attack row 108): no 5xx and no stack trace, at the OAuth endpoints by their grammar, and at every route there is."""

import json
import os
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from makers import ORIGIN, Browser, Shop, purchases
from werkzeug.test import TestResponse

DEEP = bool(os.environ.get("PROFFER_DEEP"))
MANY = settings(
    max_examples=25_000 if DEEP else 400, derandomize=not DEEP, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
# Busy is an answer too; whoever sends very much may get it.
NEVER = (500, 501, 502, 504)
NAMES = (
    "client_id", "client_assertion", "client_assertion_type", "client_secret", "response_type", "redirect_uri", "code_challenge", "code_challenge_method",
    "authorization_details", "scope", "state", "resource", "dpop_jkt", "prompt", "request", "request_uri", "nonce", "grant_type", "code", "code_verifier",
    "refresh_token", "token", "token_type_hint", "grant_id", "grant_management_action",
)  # fmt: skip
WORDS = st.sampled_from(("code", "S256", "plain", "extension", "none", "events:read", "events:write", "authorization_code", "refresh_token", "[]", "{}", "[[", "null", "pfr_at_", "urn:ietf:params:oauth:request_uri:x", f"{ORIGIN}/v1", "https://books.example/callback", '"', "\\", "%", "\x00", "\r\n", "é", "\u202e", "\U0001f4a9", "a" * 5000))  # fmt: skip
VALUES = WORDS | st.text(max_size=30)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10), lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=8), each, max_size=4), max_leaves=12)
MEMBERS = ("type", "actions", "datatypes", "purposes", "why", "want", "minimum", "gives", "roster_accepts", "identifier", "form", "fields", "window", "rate", "duties", "validity", "sites", "categories", "answers")


def sound(answer: TestResponse) -> None:
    """No failure, and no word of how it is built."""
    assert answer.status_code not in NEVER, (answer.status_code, answer.data[:500])
    assert b"Traceback" not in answer.data
    assert b'File "' not in answer.data


def of_oauth(answer: TestResponse) -> None:
    """A refusal of RFC 6749 section 5.2: fixed words in ASCII, no echo."""
    sound(answer)
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        assert set(answer.json) == {"error", "error_description"}
        assert answer.json["error_description"].isascii()
        assert '"' not in answer.json["error_description"]
    assert answer.headers["Cache-Control"] == "no-store"


@MANY
@given(
    path=st.sampled_from(("/oauth/par", "/oauth/token", "/oauth/revoke")), changes=st.dictionaries(st.sampled_from(NAMES), st.none() | VALUES, max_size=5),
    grant_type=st.sampled_from(("authorization_code", "refresh_token")), proof=st.just("") | st.none() | VALUES.filter(lambda text: text.isprintable() and text.isascii()),
)  # fmt: skip
def test_whatever_is_sent_to_oauth(bookshop: Shop, path: str, changes: dict[str, str | None], grant_type: str, proof: str | None) -> None:
    """Row 108, RFC 6749 section 5.2: a good call with some parameters exchanged, so that what stands behind the first check is reached."""
    good = {"grant_type": grant_type, "code": "x", "refresh_token": "x", "code_verifier": "v" * 43, "redirect_uri": bookshop.redirect_uri, "token": "x"}
    headers = {} if proof == "" else {"DPoP": proof}
    if path == "/oauth/par":
        of_oauth(bookshop.push(headers=headers, **changes))
    else:
        of_oauth(bookshop.form(path, {**good, **changes}, headers=headers))


@MANY
@given(raw=st.binary(max_size=200) | VALUES.map(lambda text: f"client_id={quote(text)}&scope=%zz".encode()), kind=st.sampled_from(("application/x-www-form-urlencoded", "application/json", "", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded; charset=utf-16")))
@pytest.mark.parametrize("path", ["/oauth/par", "/oauth/token", "/oauth/revoke"])
def test_whatever_body_is_sent_to_oauth(bookshop: Shop, path: str, raw: bytes, kind: str) -> None:
    """Row 108, rule A2: bytes that are no form at all."""
    of_oauth(bookshop.client.post(path, data=raw, content_type=kind, base_url=ORIGIN))


@MANY
@given(inner=st.dictionaries(st.sampled_from(MEMBERS), JSON, min_size=1, max_size=3), want=st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=2), raw=st.none() | JSON)
def test_whatever_details_are_asked_for(alice: Browser, bookshop: Shop, inner: dict[str, Any], want: dict[str, Any], raw: Any) -> None:
    """Row 108, RFC 9396 section 5: a good entry with some members exchanged, or any JSON at all; what is taken, its page can show."""
    entry = {**purchases(**want), **inner}
    answer = bookshop.push(authorization_details=json.dumps([entry] if raw is None else raw))
    of_oauth(answer)
    if answer.status_code == 201:
        opened = alice.get(f"/oauth/authorize?client_id={bookshop.client_id}&request_uri={answer.json['request_uri']}", follow_redirects=True)
        sound(opened)
        assert opened.status_code == 200
    else:
        assert answer.json["error"] in {"invalid_authorization_details", "invalid_request"}


def filled(rule: str, values: list[str]) -> str:
    """A route with something in its places."""
    left = list(values)
    parts = [quote(left.pop() if left else "x", safe="") or "x" if part.startswith("<") else part for part in rule.split("/")]
    return "/".join(parts)


@pytest.fixture
def callers(alice: Browser, bookshop: Shop) -> list[tuple[FlaskClient, dict[str, str]]]:
    """Alice with her form's token, and nobody."""
    return [(alice.client, {"csrf_token": alice.csrf("/requests")}), (alice.app.test_client(), {})]


@MANY
@given(data=st.data())
def test_whatever_is_sent_anywhere(app: Flask, callers: list[tuple[FlaskClient, dict[str, str]]], data: st.DataObject) -> None:
    """Row 108: every route with every method, by a person and by nobody, with any query, form and header."""
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule not in {"/sign-out", "/static/<path:filename>"}]
    # Mostly what a route is for; each takes no method besides.
    calls = sorted({(rule.rule, method) for rule in rules for method in rule.methods or () if method not in {"HEAD", "OPTIONS"}})
    rule, method = data.draw(st.sampled_from(calls))
    method = data.draw(st.sampled_from((*[method] * 7, "HEAD", "OPTIONS", "PATCH")))
    path = filled(rule, data.draw(st.lists(VALUES, max_size=2)))
    client, form = data.draw(st.sampled_from(callers))
    names = st.sampled_from((*NAMES, "cursor", "limit", "kind", "clause", "purpose", "from", "to", "q", "page", "version", "until", "give", "answer", "next", "name", "password", "text", "label"))
    query = data.draw(st.dictionaries(names, VALUES, max_size=3))
    sent = {"data": {**form, **data.draw(st.dictionaries(names, VALUES, max_size=4))}} if method in {"POST", "PUT", "PATCH"} else {}
    headers = {"Sec-Fetch-Site": "same-origin", **data.draw(st.dictionaries(st.sampled_from(("Authorization", "DPoP", "Accept", "HX-Request", "If-None-Match", "Range", "Origin", "Accept-Language")), VALUES.filter(lambda text: text.isprintable() and text.isascii()), max_size=2))}
    sound(client.open(path, method=method, query_string=query, base_url=ORIGIN, headers=headers, **sent))


def test_the_fuzz_can_fail(app: Flask, bookshop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted defect: a check that reads a length as a number of something that may not be there."""
    from broker.oauth import endpoints

    monkeypatch.setattr(endpoints.gate, "challenge", lambda form: form["code_challenge"][42])
    with pytest.raises(AssertionError):
        of_oauth(bookshop.push(code_challenge="short"))
