"""Whatever is sent, nothing breaks (attack row 108): no 5xx and no stack trace, at the OAuth endpoints by their grammar, and at every route there is."""

import json
import secrets
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from makers import ORIGIN, Browser, Shop, purchases
from shares import CASES, PER_MILLE, cases, share
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from broker.people import actions as people
from broker.vendors.actions import invite

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


@cases(share("parameters"))
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


@cases(share("bodies", 4))
@given(raw=st.binary(max_size=200) | VALUES.map(lambda text: f"client_id={quote(text)}&scope=%zz".encode()), kind=st.sampled_from(("application/x-www-form-urlencoded", "application/json", "", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded; charset=utf-16")))
@pytest.mark.parametrize("path", ["/oauth/par", "/oauth/token", "/oauth/revoke", "/oauth/register"])
def test_whatever_body_is_sent_to_oauth(bookshop: Shop, path: str, raw: bytes, kind: str) -> None:
    """Row 108, rule A2: bytes that are no form at all."""
    of_oauth(bookshop.client.post(path, data=raw, content_type=kind, base_url=ORIGIN))


@cases(share("details"))
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


TOLD = st.dictionaries(
    st.sampled_from(("client_name", "redirect_uris", "jwks", "token_endpoint_auth_method", "contacts", "grant_types", "response_types", "jwks_uri", "software_statement", "client_secret", "logo_uri")),
    JSON | VALUES | st.lists(VALUES, max_size=3), max_size=3,
)  # fmt: skip
KEY = ECKey.generate_key("P-256", {"kid": "k1"}).as_dict(private=False)


@cases(share("registration"))
@given(changes=TOLD, dropped=st.sets(st.sampled_from(("client_name", "redirect_uris", "jwks")), max_size=1), key=st.none() | st.dictionaries(st.sampled_from((*sorted(KEY), "d", "n", "e", "alg", "use")), JSON | VALUES, max_size=2))
def test_whatever_is_registered(app: Flask, changes: dict[str, Any], dropped: set[str], key: dict[str, Any] | None) -> None:
    """Row 108, RFC 7591 section 3.2.2: good metadata with some members exchanged, by somebody with a good invite; a refusal leaves the invite good."""
    good = {"client_name": "New", "redirect_uris": ["https://new.example/cb"], "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [{**KEY, **(key or {})}]}}
    told = {name: value for name, value in {**good, **changes}.items() if name not in dropped}
    token = invite(app.extensions["broker"], "new.example").text
    client = app.test_client()

    def register(document: dict[str, Any]) -> TestResponse:
        return client.post("/oauth/register", data=json.dumps(document), content_type="application/json", base_url=ORIGIN, headers={"Authorization": f"Bearer {token}"})

    answer = register(told)
    of_oauth(answer)
    if answer.status_code == 201:
        assert register(told).status_code == 401
    else:
        assert answer.status_code in {400, 413}
        assert register({**good, "jwks": {"keys": [KEY]}}).status_code == 201


@pytest.fixture
def callers(alice: Browser, bookshop: Shop) -> list[tuple[FlaskClient, dict[str, str]]]:
    """Alice with her form's token, and nobody."""
    return [(alice.client, {"csrf_token": alice.csrf("/requests")}), (alice.app.test_client(), {})]


@cases(share("authorize"))
@given(changes=st.dictionaries(st.sampled_from(("client_id", "request_uri", "state", "prompt", "response_type")), st.none() | VALUES, max_size=2), prompt=st.sampled_from((None, None, "none", "login", '"')), twice=st.booleans(), by=st.integers(0, 1))
def test_whatever_is_opened(bookshop: Shop, callers: list[tuple[FlaskClient, dict[str, str]]], changes: dict[str, str | None], prompt: str | None, twice: bool, by: int) -> None:  # noqa: FBT001 - hypothesis gives it by name
    """Row 108: a good link with something exchanged, opened by Alice or by somebody signed out; a page, and a redirect only for a good one."""
    pushed = bookshop.push(prompt=prompt)
    assert pushed.status_code == 201
    good = {"client_id": bookshop.client_id, "request_uri": pushed.json["request_uri"]}
    query = MultiDict([(name, value) for name, value in {**good, **changes}.items() if value is not None])
    if twice:
        query.add("client_id", "another")
    answer = callers[by][0].get("/oauth/authorize", query_string=query, base_url=ORIGIN)
    sound(answer)
    whole = all(query.get(name) == value for name, value in good.items())
    # Two values of 5,000 characters make a longer address than is read.
    assert answer.status_code == (303 if whole else 400) or (answer.status_code == 414 and "a" * 5000 in (query.get("client_id"), query.get("request_uri"), *query.values()))
    if prompt == "none" and answer.status_code == 303:
        assert answer.location.startswith(f"{bookshop.redirect_uri}?error=consent_required")


LEVELS = st.sampled_from(("exact", "day", "hidden", "top", "leaf", "bucket:10", "month", "x", "", "0", "2027-01-01", "1999-01-01", "on", "c1", "i1~any", "/P1D", "P1D")) | VALUES


class People:
    """One person after another: a page looks at all that its person ever gave, and thousands of grants would make it slow."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.cases = 0
        self.last = Browser.of(app, "alice")

    def next(self) -> Browser:
        """The same person for fifty cases, then a new one."""
        self.cases += 1
        if self.cases % 50 == 0:
            name = f"person-{self.cases}"
            people.add(self.app.extensions["broker"], name, secrets.token_hex())
            self.last = Browser.of(self.app, name)
        return self.last


@pytest.fixture
def someone(app: Flask) -> People:
    """Whoever answers."""
    return People(app)


def consent_form(alice: Browser, bookshop: Shop, data: st.DataObject) -> dict[str, Any]:
    """The form of a page that is open, with everything ticked, some of its fields exchanged and some that it never had."""
    form = alice.form(alice.open(bookshop.ask([purchases(), {**purchases(), "want": {"form": "answers", "answers": ["recency"]}}])))
    full = {**form, "give": form.pop("offered"), "answer": "give", "until": ""}
    names = st.sampled_from((*sorted(full), "part", "without", "exchange", "c1.without", "c1.field.time", "text"))
    changes = data.draw(st.dictionaries(names, st.none() | LEVELS | st.lists(LEVELS, max_size=3), max_size=3))
    # What lets the form in at all stays most times, or nothing behind it would be reached.
    kept = {} if data.draw(st.integers(0, 9)) == 0 else {name: full[name] for name in ("csrf_token", "request")}
    return {name: value for name, value in {**full, **changes, **kept}.items() if value is not None}


@cases(share("decision"))
@given(data=st.data())
def test_whatever_is_decided(someone: People, bookshop: Shop, data: st.DataObject) -> None:
    """Row 108, rule G2: a redirect to the vendor with a code or a refusal, or a page; never a failure, and never more than one code."""
    alice = someone.next()
    form = consent_form(alice, bookshop, data)
    answers = [alice.client.post("/oauth/authorize/decision", data=form, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"}) for _ in range(2)]
    for answer in answers:
        sound(answer)
        assert answer.status_code in {303, 400, 403, 404, 409, 422}, answer.status_code
    codes = [answer for answer in answers if answer.status_code == 303 and "code=" in answer.location]
    assert len(codes) <= 1
    for answer in codes:
        code = parse_qs(urlsplit(answer.location).query)["code"][0]
        assert bookshop.redeem(code).status_code == 200


@cases(share("preview"))
@given(data=st.data())
def test_whatever_is_previewed(someone: People, bookshop: Shop, data: st.DataObject) -> None:
    """Row 108: a page, whole or the part that htmx asks for."""
    alice = someone.next()
    form = consent_form(alice, bookshop, data)
    headers = {"Sec-Fetch-Site": "same-origin", **data.draw(st.sampled_from(({}, {"HX-Request": "true"})))}
    answer = alice.client.post("/oauth/authorize/preview", data=form, base_url=ORIGIN, headers=headers)
    sound(answer)
    assert answer.status_code in {200, 400, 403, 404, 409, 422}, answer.status_code


def filled(rule: str, values: list[str]) -> str:
    """A route with something in its places."""
    left = list(values)
    parts = [quote(left.pop() if left else "x", safe="") or "x" if part.startswith("<") else part for part in rule.split("/")]
    return "/".join(parts)


@cases(share("anywhere"))
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


def test_the_shares_are_all_there_is() -> None:
    """2,000 cases in CI, 50,000 with --deep, those that are made from the description among them."""
    assert sum(PER_MILLE.values()) == 1000
    assert sum(share(name) for name in PER_MILLE) >= CASES
