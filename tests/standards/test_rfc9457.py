"""Problem details (RFC 9457): one form for every refusal of the API, a page behind every type, and no word too many (rules R1, R2)."""

import json
from typing import Any

import pytest
from makers import ORIGIN, Browser, Shop

from broker.oauth import queries as oauth


@pytest.fixture
def connected(alice: Browser, bookshop: Shop) -> Shop:
    bookshop.connect(alice)
    return bookshop


CALLS: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "unknown member": ("GET", "/v1/events?colour=blue", {}, 422, "unprocessable"),
    "wrong cursor": ("GET", "/v1/events?cursor=x", {}, 400, "invalid-cursor"),
    "another kind": ("GET", "/v1/events?kind=search", {}, 403, "not-granted"),
    "another grant": ("GET", "/v1/grants/x", {}, 404, "not-found"),
    "no such route": ("GET", "/v1/nothing", {}, 404, "not-found"),
    "wrong method": ("PUT", "/v1/events", {}, 405, "method-not-allowed"),
    "no JSON": ("PUT", "/v1/grants/{grant}/signature", {"data": "{", "content_type": "application/json"}, 400, "bad-request"),
    "other media": ("PUT", "/v1/grants/{grant}/signature", {"data": "{}", "content_type": "text/plain"}, 415, "unsupported-media-type"),
    "Bearer": ("GET", "/v1/events", {"headers": {"Authorization": "Bearer x"}}, 401, "invalid-token"),
    "no proof": ("GET", "/v1/events", {"headers": {"DPoP": "x"}}, 401, "invalid-proof"),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_refusal_has_one_form(connected: Shop, name: str) -> None:
    """Section 3: type, title, status and detail; the type is a page that says what to do (section 4)."""
    method, path, more, status, slug = CALLS[name]
    answer = connected.send(method, path.replace("{grant}", connected.tokens["grant_id"]), **more)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    body = answer.json
    assert (body["type"], body["status"], body["request_id"]) == (f"/problems/{slug}", status, answer.headers["Request-Id"])
    assert {"type", "title", "status", "detail", "request_id"} <= set(body) <= {"type", "title", "status", "detail", "request_id", "errors", "retry_after"}
    assert connected.client.get(body["type"], base_url=ORIGIN).status_code == 200
    assert connected.call("GET").status_code == 200


def test_what_was_not_foreseen_tells_nothing(connected: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 108, section 5: a bare 500 with the number under which it stands in the log, and no word of the cause."""

    def broken(*_: object) -> None:
        raise RuntimeError("the secret of the house")

    assert connected.read().status_code == 200
    monkeypatch.setattr(oauth, "by_token", broken)
    answer = connected.read()
    assert answer.status_code == 500
    assert answer.json["request_id"] == answer.headers["Request-Id"]
    text = json.dumps(answer.json)
    assert "secret" not in text
    assert "RuntimeError" not in text
    assert "Traceback" not in text


def test_oauth_speaks_its_own_form(connected: Shop) -> None:
    """Rule R1, RFC 6749 section 5.2: never a problem document there, whatever went wrong."""
    for answer in (connected.push(response_type="x"), connected.redeem("x"), connected.client.get("/oauth/par", base_url=ORIGIN), connected.refresh(headers={"DPoP": None})):
        assert answer.headers["Content-Type"] == "application/json"
        assert set(answer.json) == {"error", "error_description"}
