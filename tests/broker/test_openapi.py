"""The description of the API is valid, complete and made of the tables; its page shows all of it; what it found out about the API stays mended."""

import ast
import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from flask import Flask
from makers import ORIGIN, Browser, Extension, Shop, everything, page_visit
from schemathesis.specs.openapi.definitions import OPENAPI_31
from werkzeug.test import TestResponse

from broker import errors, health
from broker.access import ACTION_OF
from broker.events import schemas, shape
from broker.events.api import MAX_BATCH
from broker.oauth import endpoints
from broker.oauth.schemas import MOST_ENTRIES
from broker.opening import Broker
from policies.purposes import PURPOSES
from policies.slices import Slice
from policies.vocabulary import FIELDS, HIDDEN, KINDS

ROOT = Path(__file__).resolve().parents[2]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
METADATA = ("/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource/v1", "/openapi.json")


def get(app: Flask, path: str, **headers: str) -> TestResponse:
    return app.test_client().get(path, base_url=ORIGIN, headers=headers)


@pytest.fixture
def described(app: Flask) -> dict[str, Any]:
    found: dict[str, Any] = get(app, "/openapi.json").json
    return found


def operations(described: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{method.upper()} {path}": operation for path, methods in described["paths"].items() for method, operation in methods.items()}


def schema(described: dict[str, Any], name: str) -> Any:
    return jsonschema_rs.validator_for({"$schema": DIALECT, "$ref": f"#/components/schemas/{name}", "components": described["components"]})


def test_it_is_valid(described: dict[str, Any]) -> None:
    """By the schema that the OpenAPI Initiative publishes; and each form by that of its own dialect."""
    assert described["openapi"] == "3.1.0"
    jsonschema_rs.validate(OPENAPI_31, described)
    for form in described["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": DIALECT, **form})
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(described)))
    assert names <= set(described["components"]["schemas"])
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(OPENAPI_31, {**described, "paths": {"v1": {}}})


def test_it_has_every_route_and_no_other(app: Flask, described: dict[str, Any]) -> None:
    """What the OAuth endpoints take only to refuse it (405) is no call; neither is a page of somebody who is signed in."""
    found = set()
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith(("/v1", "/oauth/", "/.well-known/", "/openapi.json", "/healthz", "/readyz")) or getattr(
            app.view_functions[rule.endpoint], "is_gate", False
        ):
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            if app.test_client().open(rule.rule, method=method, base_url=ORIGIN).status_code != 405:
                found.add(f"{method} {path}")
    assert set(operations(described)) == found
    assert "GET /v1/events" in found
    assert len(found) >= 17


def test_every_refusal_has_its_page(app: Flask, described: dict[str, Any]) -> None:
    slugs = set(re.findall(r'"/problems/([a-z-]+)"', json.dumps(described)))
    assert slugs == {error.slug for error in errors.every_error()}
    for label, operation in operations(described).items():
        for status, answer in operation["responses"].items():
            for slug in re.findall(r"\(/problems/([a-z-]+)\)", answer["description"]):
                assert get(app, f"/problems/{slug}").status_code == 200, (label, slug)
                assert next(error for error in errors.every_error() if error.slug == slug).status == int(status), (label, slug)


def test_it_is_made_of_the_tables(described: dict[str, Any]) -> None:
    text = json.dumps(described)
    forms = described["components"]["schemas"]
    assert forms["Kind"]["enum"] == list(KINDS)
    assert forms["Purpose"]["enum"] == list(PURPOSES)
    assert {name: about["enum"] for name, about in forms["FieldsAsked"]["properties"].items()} == {name: list(about.levels) for name, about in FIELDS.items()}
    assert forms["Asked"]["maxItems"] == MOST_ENTRIES
    assert forms["Batch"]["properties"]["events"]["maxItems"] == schemas.MOST_EVENTS
    assert {kind["$ref"].rpartition("/")[2] for kind in forms["Event"]["anyOf"]} == {kind.__name__ for kind in shape.KINDS.values()} - {"CartAbandoned"}
    parameters = {each["name"]: each for each in operations(described)["GET /v1/events"]["parameters"]}
    assert set(parameters) == set(schemas.EventsQuery().fields)
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": schemas.MOST_ROWS, "default": schemas.DEFAULT_ROWS}
    assert all(each["description"] for operation in operations(described).values() for each in operation.get("parameters", ()))
    scopes = {way["token"][0] for operation in operations(described).values() for way in operation["security"] if "token" in way}
    assert scopes == set(ACTION_OF)
    assert all(name in text for name in ("DPoP-Nonce", "WWW-Authenticate", "Retry-After"))


def words_of(*paths: str) -> set[str]:
    """The OAuth errors that stand in the code: the first words of `Refused`, `WrongMetadata` and of the functions that make them."""
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                if name in {"Refused", "WrongMetadata"} and node.args and isinstance(node.args[0], ast.Constant):
                    found.add(node.args[0].value)
            if isinstance(node, ast.IfExp) and isinstance(node.body, ast.Constant) and str(node.body.value).startswith("invalid_"):
                found |= {node.body.value, node.orelse.value if isinstance(node.orelse, ast.Constant) else ""}
    return found


def test_every_oauth_error_in_the_code_is_described(described: dict[str, Any]) -> None:
    told: set[str] = set()
    for label, operation in operations(described).items():
        if label.startswith("POST /oauth"):
            for status, answer in operation["responses"].items():
                told |= set(answer["content"]["application/json"]["schema"]["properties"]["error"]["enum"]) if int(status) >= 400 else set()
    written = words_of(*(f"broker/oauth/{name}.py" for name in ("gate", "endpoints", "server", "schemas", "actions", "callers")), "broker/vendors/documents.py")
    assert told == written | {"temporarily_unavailable", "server_error"}


def test_every_parameter_that_the_code_reads_is_described(described: dict[str, Any]) -> None:
    read = set()
    for name in ("gate", "endpoints", "server", "callers", "actions"):
        text = (ROOT / "broker" / "oauth" / f"{name}.py").read_text()
        read |= set(re.findall(r'(?:form|payload\.data)(?:\.get\(|\[)"([a-z_]+)"', text)) | set(re.findall(r'"([a-z_]+)" (?:not )?in form', text))
    told: set[str] = set()
    for label in ("POST /oauth/par", "POST /oauth/token", "POST /oauth/revoke"):
        told |= set(operations(described)[label]["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]["properties"])
    # These are read to be refused.
    refused = {"request", "request_uri", "client_secret", "grant_id"}
    assert read - refused <= told
    # Authlib reads the one, and nobody the other.
    assert told - read == {"grant_type", "token_type_hint"}


def test_every_level_of_every_field_fits_a_row(described: dict[str, Any]) -> None:
    """Rows are trimmed by the engine and checked by the description."""
    rows = schema(described, "Row")
    shown = set()
    for event in everything(dt.datetime.now(dt.UTC)):
        placed = {**shape.check(event), "host": event["site"], "domain": "shop.example", "class": "shop", "referrer_class": "search"}
        for name, about in FIELDS.items():
            for level in (each for each in about.levels if each != HIDDEN and event["kind"] in about.kinds):
                fields = {"site": "host", "url": "exact", "product": "exact", name: level}
                row = Slice.parse({"kinds": [event["kind"]], "fields": fields}).trim(placed, alias=lambda _: "0" * 32)
                rows.validate(row)
                text = json.dumps(row)
                shown |= {(name, level)} if f'"{name}"' in text or name == "site" else set()
    assert {(name, level) for name, about in FIELDS.items() for level in about.levels if level != HIDDEN} - shown == {
        ("url", "origin"),
        ("url", "path1"),
        ("title", "exact"),
    } - shown
    assert not rows.is_valid({"id": "0" * 32, "kind": "purchase", "time": 7})
    assert not rows.is_valid({"id": "0" * 32, "kind": "purchase", "offset": 60})


@pytest.mark.parametrize("path", METADATA)
def test_what_has_not_changed_is_not_sent_again(app: Flask, path: str) -> None:
    first = get(app, path)
    assert (first.status_code, first.headers["Cache-Control"]) == (200, "no-cache")
    again = get(app, path, **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert get(app, path, **{"If-None-Match": '"another"'}).status_code == 200


def test_the_page_shows_all_of_it(app: Flask, described: dict[str, Any]) -> None:
    page = get(app, "/docs/api")
    assert page.status_code == 200
    assert len(page.data) <= 60_000
    for label, operation in operations(described).items():
        assert f'<h2 id="{operation["operationId"]}"><code>{label}</code></h2>' in page.text
    assert '<a href="/docs/api">The API</a>' in get(app, "/docs").text
    for name in described["components"]["schemas"]:
        shown = get(app, f"/docs/api/forms/{name}")
        assert shown.status_code == 200, name
        assert len(shown.data) <= 60_000, name
        for text in (page.text, shown.text):
            assert not re.search(r"\sstyle=|<style|\son[a-z]+=", text)
    for href in sorted(set(re.findall(r'href="(/[^"#?]*)', page.text))):
        if href.startswith("/static/"):
            continue
        assert get(app, href).status_code in {200, 303}, href
    assert get(app, "/docs/api/forms/nothing").status_code == 404


# What schemathesis found.


@pytest.mark.parametrize(
    "query",
    [
        "limit=1_0",
        "limit=%2010",
        "limit=٣",
        "limit=0",
        "limit=1001",
        "site=shop.example/x",
        "site=shop.example%0A",
        "category=books%00",
        "after=2026-01-01T00:00:00Zx",
    ],
)
def test_a_parameter_is_right_to_its_end(alice: Browser, bookshop: Shop, query: str) -> None:
    bookshop.connect(alice)
    assert bookshop.read("?limit=10").status_code == 200
    answer = bookshop.read(f"?{query}")
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, f"/{query.partition('=')[0]}")


def test_an_upload_may_be_as_large_as_is_said(alice: Browser) -> None:
    """It stopped at the 64 KiB of forms."""
    extension = Extension.connect(alice)
    now = dt.datetime.now(dt.UTC)
    events = [page_visit(now, f"https://www.shop.example/{'a' * 1500}/{number}", "t" * 200) for number in range(100)]
    answer = extension.upload(*events)
    assert answer.status_code == 200
    assert 128 * 1024 < int(answer.request.headers["Content-Length"]) <= MAX_BATCH
    assert {each["status"] for each in answer.json["results"]} == {"accepted"}
    larger = extension.upload(*events, notice_version="n" * MAX_BATCH)
    assert (larger.status_code, larger.json["type"]) == (413, "/problems/too-large")


def test_oauth_refuses_in_its_own_words_whatever_went_wrong(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule R1: not with a page, also where nothing of OAuth was reached."""

    def broken() -> None:
        raise RuntimeError("secret")

    client = app.test_client()
    told = [
        client.post("/oauth/token", base_url="http://elsewhere.example"),
        client.post("/oauth/par", base_url=ORIGIN, headers={"X-Long": "x" * 20_000}),
        client.post(f"/oauth/revoke?{'x' * 9000}", base_url=ORIGIN),
    ]
    monkeypatch.setattr(endpoints, "server", broken)
    told.append(client.post("/oauth/revoke", base_url=ORIGIN))
    assert [answer.status_code for answer in told] == [421, 431, 414, 500]
    for answer in told:
        assert answer.headers["Content-Type"] == "application/json"
        assert set(answer.json) == {"error", "error_description"}
        assert "secret" not in answer.text
        assert answer.headers["Request-Id"]


def test_programs_are_told_of_errors_as_problems_and_people_by_a_page(app: Flask) -> None:
    for path in ("/.well-known/nothing", "/v1/nothing"):
        assert get(app, path).headers["Content-Type"] == "application/problem+json"
    assert get(app, "/nothing").headers["Content-Type"].startswith("text/html")


def test_every_answer_has_its_own_request_id(app: Flask) -> None:
    """UUIDv7 (RFC 9562); a client's own is ignored."""
    asked = {"Origin": "moz-extension://5f", "Access-Control-Request-Method": "POST", "Request-Id": "mine"}
    answers = [
        get(app, "/healthz"), get(app, "/nothing"), get(app, "/v1"), get(app, "/openapi.json"),
        app.test_client().options("/v1/events", base_url=ORIGIN, headers=asked),
    ]  # fmt: skip
    ids = [answer.headers["Request-Id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", each) for each in ids)


def test_the_checks_of_health_say_what_is_described(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (get(app, "/healthz").text, get(app, "/readyz").text) == ("ok\n", "ready\n")

    def busy(*_: object) -> None:
        raise errors.Busy

    monkeypatch.setitem(health._last_write, "at", 0.0)
    monkeypatch.setattr(Broker, "write", busy)
    answer = get(app, "/readyz")
    assert (answer.status_code, answer.text) == (503, "storage\n")
    described = get(app, "/openapi.json").json["paths"]["/readyz"]["get"]["responses"]["503"]["content"]["text/plain"]["schema"]
    monkeypatch.undo()
    monkeypatch.setattr(health.checkpoints, "alarmed", lambda _tx: True)
    words = {answer.text, get(app, "/readyz").text}
    assert words == {"storage\n", "ledger\n"}
    assert all(re.fullmatch(described["pattern"], each) if "pattern" in described else each in described["enum"] for each in words)
