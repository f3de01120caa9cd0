"""Pushed authorization requests (RFC 9126) and the page that opens them (attack rows 1-35 of the authorization design)."""

import json
import re
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
from makers import ORIGIN, Browser, Clock, Extension, Shop, purchases
from sqlalchemy import func, select, update

from broker.grants import queries as grants
from broker.oauth.models import codes
from broker.vendors.actions import EXTENSION_REDIRECTS
from broker.vendors.models import clients


def test_it_works(bookshop: Shop) -> None:
    """Section 2.2: 201, a request_uri, how long it lives; never cached."""
    pushed = bookshop.push()
    assert pushed.status_code == 201
    assert pushed.json["request_uri"].startswith("urn:ietf:params:oauth:request_uri:pfr_ru_")
    assert pushed.json["expires_in"] == 90
    assert pushed.headers["Cache-Control"] == "no-store"


REFUSED = {
    "request_uri inside (5)": ({"request_uri": "urn:x"}, "invalid_request"),
    "no challenge (8)": ({"code_challenge": None}, "invalid_request"),
    "plain (9)": ({"code_challenge_method": "plain"}, "invalid_request"),
    "no method (9)": ({"code_challenge_method": None}, "invalid_request"),
    "short challenge (10)": ({"code_challenge": "x" * 42}, "invalid_request"),
    "challenge with newline (10)": ({"code_challenge": "x" * 42 + "\n"}, "invalid_request"),
    "no redirect_uri (11)": ({"redirect_uri": None}, "invalid_request"),
    "token (15)": ({"response_type": "token"}, "unsupported_response_type"),
    "hybrid (15)": ({"response_type": "code id_token"}, "unsupported_response_type"),
    "none (15)": ({"response_type": "none"}, "unsupported_response_type"),
    "quoted (15)": ({"response_type": '"code"'}, "unsupported_response_type"),
    "unknown scope (16)": ({"scope": "everything"}, "invalid_scope"),
    "write scope (119)": ({"scope": "events:write"}, "invalid_scope"),
    "resource (18)": ({"resource": "https://elsewhere.example/v1"}, "invalid_target"),
    "resource with fragment (18)": ({"resource": f"{ORIGIN}/v1#x"}, "invalid_target"),
    "state of 4 kB (21)": ({"state": "s" * 4096}, "invalid_request"),
    "request object (36)": ({"request": "eyJ"}, "request_not_supported"),
    "merge (G7)": ({"grant_management_action": "merge"}, "invalid_request"),
    "grant_id (G7)": ({"grant_id": "x"}, "invalid_request"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses(bookshop: Shop, name: str) -> None:
    changes, error = REFUSED[name]
    assert bookshop.push().status_code == 201
    answer = bookshop.push(**changes)
    assert answer.status_code == 400
    assert answer.json["error"] == error


SAME = "https://books.example/callback"
TRICKY = [
    f"{SAME}/", f"{SAME}/more", f"{SAME}/../callback", f"{SAME}?x=1", f"{SAME}#f", f"{SAME}%2F", "https://books.example/CALLBACK", "https://BOOKS.example/callback",
    "http://books.example/callback", "https://books.example:8443/callback", "https://a@books.example/callback", "https://books.example.evil.example/callback",
    "https://books.example/callback\r\nX: y", 'https://books.example/"callback', "https://böoks.example/callback", f"{SAME}{'a' * 10_000}", "javascript:alert(1)",
    "//books.example/callback", "https://books.example\\@evil.example/callback", "http://localhost/callback",
]  # fmt: skip


@pytest.mark.parametrize("uri", TRICKY)
def test_it_refuses_tricky_redirect_uris(bookshop: Shop, uri: str) -> None:
    """Rows 12 and 13."""
    answer = bookshop.push(redirect_uri=uri)
    assert answer.status_code in {400, 413}
    assert answer.json["error"] == "invalid_request"


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_it_takes_only_post(bookshop: Shop, method: str) -> None:
    """Row 6."""
    answer = getattr(bookshop.client, method)("/oauth/par", base_url=ORIGIN)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"


def test_it_needs_client_authentication(bookshop: Shop) -> None:
    """Row 7; the challenge header is never sent (rule A9)."""
    answer = bookshop.push(client_assertion=None, client_assertion_type=None)
    assert answer.status_code == 401
    assert answer.json["error"] == "invalid_client"
    assert "WWW-Authenticate" not in answer.headers


def test_parameters_come_once_and_in_the_body(bookshop: Shop) -> None:
    """Rows 18, 19, 59, 60 and 61."""
    for path in ("/oauth/par", "/oauth/token", "/oauth/revoke"):
        post = bookshop.client.post
        form = {"content_type": "application/x-www-form-urlencoded", "base_url": ORIGIN}
        assert post(f"{path}?state=1", data="a=1", **form).json["error"] == "invalid_request"
        assert post(path, data="a=1&a=2", **form).json["error"] == "invalid_request"
        assert post(path, data="resource=a&resource=b", **form).json["error"] == "invalid_target"
        assert post(path, data="a=%ff", **form).json["error"] == "invalid_request"
        assert post(path, data="a=%00", **form).json["error"] == "invalid_request"
        assert post(path, json={"a": 1}, base_url=ORIGIN).status_code == 415
        assert post(path, data=f"a={'x' * 40_000}", **form).status_code == 413
        assert post(path, data="a=1", headers={"Content-Encoding": "gzip"}, **form).status_code == 415


def test_unknown_parameters_are_ignored(bookshop: Shop) -> None:
    """Rows 20 and 22."""
    for length in (64, 384):
        assert bookshop.push(colour="blue", nonce="n" * length).status_code == 201


def test_the_order_of_scopes_means_nothing(bookshop: Shop) -> None:
    """Row 23, RFC 6749 section 3.3: a list without order; a client of ours can ask for one scope, so what can be turned round is refused either way."""
    assert bookshop.push(scope="events:read events:read").status_code == 201
    for scope in ("events:read events:write", "events:write events:read"):
        assert bookshop.push(scope=scope).json["error"] == "invalid_scope"


def test_state_comes_back_exactly(alice: Browser, bookshop: Shop) -> None:
    """Rows 21, 30 and 32: the state as sent, `iss` always, 303."""
    state = "a b+c&d=é\u2028" + "x" * (1024 - 10)
    assert len(state) == 1024
    assert bookshop.push(state=state + "x").json["error"] == "invalid_request"
    assert alice.give(bookshop.ask(state=state)) | {"code": "", "iss": ""} == {"code": "", "state": state, "iss": ""}
    without = alice.give(bookshop.ask(state=None))
    assert "state" not in without
    assert without["iss"] == ORIGIN


def test_authorize_needs_a_pushed_request(alice: Browser, bookshop: Shop, otherstore: Shop, clock: Clock) -> None:
    """Rows 1, 2, 3, 24: an error page, never a redirect."""
    url = bookshop.ask()
    uri = parse_qs(urlsplit(url).query)["request_uri"][0]
    for query in (
        "",
        f"client_id={bookshop.client_id}",
        f"client_id={otherstore.client_id}&request_uri={uri}",
        f"client_id={bookshop.client_id}&request_uri={uri}x",
    ):
        answer = alice.get(f"/oauth/authorize?{query}")
        assert answer.status_code == 400
        assert "Location" not in answer.headers
    assert alice.open(url).startswith("/requests/")
    late = bookshop.ask()
    clock.advance(seconds=91)
    assert alice.get(late).status_code == 400


def test_it_can_be_reloaded_until_it_is_decided(alice: Browser, bookshop: Shop) -> None:
    """Rows 4 and 29: a reload works, a second decision gives nothing more."""
    url = bookshop.ask()
    path = alice.open(url)
    assert alice.open(url) == path
    form = alice.form(path)
    decision = {**form, "give": form.pop("offered"), "answer": "give"}
    first = alice.client.post("/oauth/authorize/decision", data=decision, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    second = alice.client.post("/oauth/authorize/decision", data=decision, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    assert first.status_code == 303
    assert second.status_code == 409
    assert "Location" not in second.headers
    assert alice.get(url).status_code == 400
    assert alice.get(path).status_code == 400


def test_of_parallel_decisions_one_gives(alice: Browser, bookshop: Shop) -> None:
    """Row 29: one grant, one code, however often the button was pressed."""
    form = alice.form(alice.open(bookshop.ask()))
    decision = {**form, "give": form.pop("offered"), "answer": "give"}
    cookies = {cookie.key: cookie.value for cookie in alice.client._cookies.values()}  # type: ignore[union-attr]
    barrier, found = threading.Barrier(8), []

    def one() -> None:
        client = alice.app.test_client()
        for name, value in cookies.items():
            client.set_cookie(name, value, domain="localhost")
        barrier.wait()
        found.append(client.post("/oauth/authorize/decision", data=decision, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"}).status_code)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [303, *[409] * 7]
    with alice.app.extensions["broker"].reading() as tx:
        assert len(grants.every(tx, alice.ring)) == tx.execute(select(func.count()).select_from(codes)).scalar() == 1


def test_another_browser_or_person_cannot_open_it(alice: Browser, bob: Browser, bookshop: Shop) -> None:
    """Row 117; another person's request is like a missing one."""
    url = bookshop.ask()
    path = alice.open(url)
    assert bob.get(url).status_code == 400
    assert bob.get(path).status_code == alice.get("/requests/" + "0" * 32).status_code == 404


def test_signed_out_leads_to_the_sign_in_page(alice: Browser, bookshop: Shop) -> None:
    """Rule G4: 303 to a page, and back; the request waits."""
    url = bookshop.ask()
    stranger = alice.app.test_client()
    answer = stranger.get(url, base_url=ORIGIN)
    assert answer.status_code == 303
    assert answer.location.startswith("/sign-in?next=/oauth/authorize")


@pytest.mark.parametrize("ticked", [[], None])
def test_refusing_and_giving_nothing_are_alike(alice: Browser, bookshop: Shop, ticked: list[str] | None) -> None:
    """Rows 25 and 26."""
    path = alice.open(bookshop.ask())
    form = alice.form(path)
    form.pop("offered")
    data = {**form, "answer": "refuse"} if ticked is None else {**form, "answer": "give", "give": ticked}
    answer = alice.client.post("/oauth/authorize/decision", data=data, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 303
    assert parse_qs(urlsplit(answer.location).query) == {"error": ["access_denied"], "state": ["s-1"], "iss": [ORIGIN]}


def test_a_wider_or_forged_choice_gives_nothing(alice: Browser, bookshop: Shop) -> None:
    """Row 27, assertion C4."""
    bookshop.ask()
    path = alice.open(bookshop.ask())
    form = alice.form(path)
    offered = form.pop("offered")
    for forged in (
        {"give": [*offered, "i9~all"]},
        {"give": offered, "1.field.price": "exact"},
        {"give": offered, "1.max_age": "P365D"},
        {"give": offered, "1.reads": "100"},
    ):
        data = {**form, **forged, "answer": "give"}
        answer = alice.client.post("/oauth/authorize/decision", data=data, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
        assert answer.status_code == 400, forged
    good = alice.client.post(
        "/oauth/authorize/decision", data={**form, "give": offered, "answer": "give"}, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"}
    )
    assert good.status_code == 303


def test_a_decision_needs_its_token_and_origin(alice: Browser, bob: Browser, bookshop: Shop) -> None:
    """Row 28."""
    path = alice.open(bookshop.ask())
    form = alice.form(path)
    data = {**form, "give": form.pop("offered"), "answer": "give"}
    send = alice.client.post
    assert send("/oauth/authorize/decision", data={**data, "csrf_token": ""}, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 403
    other = {**data, "csrf_token": bob.csrf("/requests")}
    assert send("/oauth/authorize/decision", data=other, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 403
    other = {**data, "csrf_token": Browser.of(alice.app, "alice").csrf("/requests")}
    assert send("/oauth/authorize/decision", data=other, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 403
    assert send("/oauth/authorize/decision", data=data, base_url=ORIGIN, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert send("/oauth/authorize/decision", data=data, base_url=ORIGIN, headers={"Origin": "https://evil.example"}).status_code == 403
    assert send("/oauth/authorize/decision", data=data, base_url=ORIGIN, headers={"Origin": ORIGIN}).status_code == 303


def test_headers_of_the_consent_page(alice: Browser, bookshop: Shop) -> None:
    """Rows 31 and 33: no framing, forms only to us and to this redirect, no CORS."""
    url = bookshop.ask()
    answer = alice.get(alice.open(url))
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' https://books.example;" in policy
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    for path in (url, urlsplit(url).path):
        answered = alice.client.get(path, base_url=ORIGIN, headers={"Origin": "https://books.example"})
        assert "Access-Control-Allow-Origin" not in answered.headers, path


def test_prompt_none(alice: Browser, bookshop: Shop) -> None:
    """Row 34, rule G6."""
    answer = alice.get(bookshop.ask(prompt="none"))
    assert answer.status_code == 303
    assert parse_qs(urlsplit(answer.location).query)["error"] == ["consent_required"]


def test_nothing_is_given_silently(alice: Browser, bookshop: Shop) -> None:
    """Row 34: also not the second time, and never to a public client, which anybody can pretend to be."""
    bookshop.connect(alice)
    assert alice.open(bookshop.ask()).startswith("/requests/")
    extension = Extension.connect(alice)
    pushed = {
        "client_id": "extension", "response_type": "code", "redirect_uri": EXTENSION_REDIRECTS[0], "scope": "events:write", "code_challenge": "c" * 43,
        "code_challenge_method": "S256", "dpop_jkt": extension.prover.jkt,
    }  # fmt: skip
    for prompt, leads in (("", "/requests/"), ("none", f"{EXTENSION_REDIRECTS[0]}?error=consent_required")):
        answer = extension.client.post("/oauth/par", data={**pushed, "prompt": prompt}, base_url=ORIGIN)
        opened = alice.get(f"/oauth/authorize?client_id=extension&request_uri={answer.json['request_uri']}")
        assert opened.location.startswith(leads)
    with alice.app.extensions["broker"].reading() as tx:
        assert len(grants.every(tx, alice.ring)) == 2


def test_a_hostile_vendor_is_escaped(alice: Browser, bookshop: Shop) -> None:
    """Row 35: markup and direction marks of the vendor's words never act."""
    hostile = {**purchases(), "why": '<script>alert(1)</script>\u202e"&'}
    text = alice.get(alice.open(bookshop.ask([hostile]))).text
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_a_hostile_name_is_escaped_and_nothing_is_fetched(alice: Browser, bookshop: Shop) -> None:
    """Row 35: even a name that no registration would take; the page asks the vendor for no picture and no script."""
    name = '"><img src="https://books.example/logo.png" onerror=alert(1)><link rel=x>'
    broker = alice.app.extensions["broker"]
    broker.write(lambda tx: tx.execute(update(clients).where(clients.c.client_id == bookshop.client_id).values(name=name)))
    answer = alice.get(alice.open(bookshop.ask()))
    assert "&lt;img src=" in answer.text
    assert "<img src=" not in answer.text
    fetched = re.findall(r'<(?!a\b|form\b)[a-z]+\b[^>]*\s(?:src|href|action|data)="([^"]*)"', answer.text)
    assert fetched
    assert [address for address in fetched if not address.startswith("/static/")] == []
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "img-src 'self'" in answer.headers["Content-Security-Policy"]


def test_terms_changed_while_the_page_was_open(alice: Browser, bookshop: Shop) -> None:
    """Row 116."""
    from broker.terms.actions import set_terms
    from policies.terms import DEFAULT_TERMS

    path = alice.open(bookshop.ask())
    form = alice.form(path)
    data = {**form, "give": form.pop("offered"), "answer": "give"}
    changed = json.loads(json.dumps(DEFAULT_TERMS.to_json()))
    changed["allow"][0]["fields"]["price"] = "band"
    set_terms(alice.app.extensions["broker"], alice.person_id, changed)
    answer = alice.client.post("/oauth/authorize/decision", data=data, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 409
    assert "Look at it again" in answer.text
    assert len(alice.give(bookshop.ask())["code"]) > 40


def test_a_revoke_kills_what_was_pushed_before_it(alice: Browser, bookshop: Shop) -> None:
    """A request pushed before the person ended a grant of this client cannot be given any more."""
    from broker.grants import actions, queries

    tokens = bookshop.connect(alice)
    url = bookshop.ask()
    path = alice.open(url)
    form = alice.form(path)
    data = {**form, "give": form.pop("offered"), "answer": "give"}
    actions.revoke(alice.app.extensions["broker"], alice.person_id, queries.to_bytes(tokens["grant_id"]))
    answer = alice.client.post("/oauth/authorize/decision", data=data, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 409
    assert bookshop.connect(alice)["grant_id"] != tokens["grant_id"]
