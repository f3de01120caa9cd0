"""`POST /v1/events`: what the extension may send, and the one answer each event gets (extension.md section 7)."""

import datetime as dt
from typing import Any

import pytest
from makers import ORIGIN, Browser, Clock, Extension, Shop, page_visit, purchase

from broker.events import queries
from broker.grants import actions as grants
from broker.grants.queries import to_bytes


def statuses(answer: object) -> list[str]:
    return [result["status"] for result in answer.json["results"]]  # type: ignore[attr-defined]


def test_it_works(alice: Browser, clock: Clock) -> None:
    extension = Extension.connect(alice)
    assert extension.tokens["scope"] == "events:write"
    events = [page_visit(clock() - dt.timedelta(hours=1)), purchase(clock() - dt.timedelta(hours=2))]
    answer = extension.upload(*events)
    assert answer.status_code == 200
    assert statuses(answer) == ["accepted", "accepted"]
    assert "collection" not in answer.json
    with alice.app.extensions["broker"].reading() as tx:
        assert queries.totals(tx, alice.person_id) == {"page_visit": 1, "purchase": 1}


def test_the_same_again_is_a_duplicate_and_a_change_a_conflict(alice: Browser, clock: Clock) -> None:
    extension = Extension.connect(alice)
    event = page_visit(clock() - dt.timedelta(hours=1))
    assert statuses(extension.upload(event)) == ["accepted"]
    assert statuses(extension.upload(event)) == ["duplicate"]
    assert statuses(extension.upload({**event, "title": "Other"})) == ["conflict"]
    with alice.app.extensions["broker"].reading() as tx:
        assert queries.totals(tx, alice.person_id) == {"page_visit": 1}


def test_each_event_gets_its_own_answer(alice: Browser, clock: Clock) -> None:
    """One event's fault costs the others nothing."""
    extension = Extension.connect(alice)
    good = page_visit(clock() - dt.timedelta(hours=1))
    wrong = {**page_visit(clock()), "colour": "blue"}
    huge = {**page_visit(clock()), "title": "t" * 17_000}
    answer = extension.upload(good, wrong, huge, "nonsense")
    found = {result["id"]: (result["status"], result.get("reason")) for result in answer.json["results"]}
    assert found[good["id"]] == ("accepted", None)
    assert found[wrong["id"]] == ("refused", "invalid")
    assert found[huge["id"]] == ("refused", "too_large")
    assert found[None] == ("refused", "invalid")


def test_the_collection_is_applied_again(alice: Browser, clock: Clock) -> None:
    """The person left out page visits: the broker refuses them, whatever the device thinks; hidden fields are not stored."""
    extension = Extension.connect(alice, **{"1.without": ["page_visit"], "1.field.title": "hidden"})
    answer = extension.upload(page_visit(clock()), purchase(clock() - dt.timedelta(hours=1)), collection_version=0)
    assert sorted(statuses(answer)) == ["accepted", "refused"]
    assert answer.json["collection"]["version"] == 1
    assert "page_visit" not in answer.json["collection"]["slice"]["kinds"]


def test_hidden_fields_are_not_stored(alice: Browser, clock: Clock) -> None:
    """What the person hid in the collection never reaches the database, inside items neither."""
    extension = Extension.connect(alice, **{"1.field.product": "hidden", "1.field.total": "hidden", "1.field.title": "hidden"})
    assert statuses(extension.upload(purchase(clock() - dt.timedelta(hours=1)), page_visit(clock()))) == ["accepted", "accepted"]
    with alice.app.extensions["broker"].reading() as tx:
        stored = {event["kind"]: event for event in queries.own(tx, alice.ring, queries.Wanted(kinds=("purchase", "page_visit"))).events}
    assert "total" not in stored["purchase"]
    assert set(stored["purchase"]["items"][0]) == {"category", "quantity", "price"}
    assert "title" not in stored["page_visit"]
    assert stored["page_visit"]["url"]


def test_a_sensitive_site_is_outside_the_collection(alice: Browser, clock: Clock) -> None:
    extension = Extension.connect(alice)
    clinic = page_visit(clock(), "https://www.nhs.uk/conditions", "Conditions")
    bookshop = page_visit(clock())
    found = {result["id"]: result["status"] for result in extension.upload(clinic, bookshop).json["results"]}
    assert found == {clinic["id"]: "refused", bookshop["id"]: "accepted"}


def test_it_can_never_read(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """Row 118: the token opens this one route; a vendor's token opens it not."""
    extension = Extension.connect(alice)
    assert extension.client.get("/v1/events", base_url=ORIGIN, headers=extension.headers("GET")).status_code == 403
    bookshop.connect(alice)
    batch = {"schema": "events/1", "events": []}
    assert bookshop.send("POST", "/v1/events", json=batch).status_code == 403
    assert statuses(extension.upload(page_visit(clock()))) == ["accepted"]


WRONG = {
    "schema": ({"schema": "events/2"}, 422), "batch": ({"batch": "x"}, 422), "unknown member": ({"colour": 1}, 422), "events": ({"events": {}}, 422),
    "client": ({"client": {"version": "1"}}, 422),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_it_refuses_a_wrong_envelope(alice: Browser, clock: Clock, name: str) -> None:
    extension = Extension.connect(alice)
    changes, status = WRONG[name]
    answer = extension.upload(page_visit(clock()), **changes)
    assert answer.status_code == status
    assert answer.json["errors"][0]["pointer"].startswith("/")
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_sizes(alice: Browser, clock: Clock) -> None:
    """Section 9 of the reliability design: 100 events, 256 KiB, one media type, strict JSON."""
    extension = Extension.connect(alice)

    def post(**sent: Any) -> Any:
        headers = {**extension.headers("POST"), **sent.pop("headers", {})}
        return extension.client.post("/v1/events", base_url=ORIGIN, headers=headers, **sent)

    assert extension.upload(*[page_visit(clock()) for _ in range(100)]).status_code == 200
    assert extension.upload(*[page_visit(clock()) for _ in range(101)]).status_code == 413
    assert post(data=b"x" * 300_000, content_type="application/json").status_code == 413
    assert post(data={"a": 1}).status_code == 415
    assert post(data="{}", content_type="application/json", headers={"Content-Encoding": "gzip"}).status_code == 415
    for text in ("{", '{"a":1,"a":2}', '{"a":NaN}', "[" * 40 + "]" * 40, '"\\ud800"'):
        answer = post(data=text, content_type="application/json")
        assert (answer.status_code, answer.json["type"]) == (400, "/problems/bad-request"), text


def test_a_revoke_stops_it(alice: Browser, clock: Clock) -> None:
    extension = Extension.connect(alice)
    assert statuses(extension.upload()) == []
    grants.revoke(alice.app.extensions["broker"], alice.person_id, to_bytes(extension.tokens["grant_id"]))
    assert extension.upload(page_visit(clock())).status_code == 401
    with alice.app.extensions["broker"].reading() as tx:
        assert queries.totals(tx, alice.person_id) == {}


def test_the_extension_asks_for_nothing_else(app: object, alice: Browser) -> None:
    """Rule T15: one scope, no details, its own redirects only."""
    client = alice.app.test_client()
    base = {"client_id": "extension", "response_type": "code", "code_challenge": "c" * 43, "code_challenge_method": "S256"}
    good = "http://127.0.0.1:5000/mozoauth2/1418fe2b992f6182c031348fa5957aeacefdbebe/cb"
    for changes, error in (
        ({"scope": "events:read", "redirect_uri": good}, "invalid_scope"),
        ({"scope": "events:write events:read", "redirect_uri": good}, "invalid_scope"),
        ({"scope": "events:write", "redirect_uri": good, "authorization_details": "[]"}, "invalid_authorization_details"),
        ({"scope": "events:write", "redirect_uri": "https://evil.chromiumapp.org/cb"}, "invalid_request"),
    ):
        answer = client.post("/oauth/par", data={**base, **changes}, base_url=ORIGIN)
        assert (answer.status_code, answer.json["error"]) == (400, error)
    assert client.post("/oauth/par", data={**base, "scope": "events:write", "redirect_uri": good, "dpop_jkt": "x" * 43}, base_url=ORIGIN).status_code == 201


def test_a_full_disk_takes_nothing_in(alice: Browser, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """507 under 64 MiB free; a revoke still works."""
    from broker.events import actions

    extension = Extension.connect(alice)
    monkeypatch.setattr(actions, "ROOM_KEPT", 2**62)
    refused = extension.upload(page_visit(clock()))
    assert (refused.status_code, refused.json["type"]) == (507, "/problems/storage-full")
    assert grants.revoke(alice.app.extensions["broker"], alice.person_id, to_bytes(extension.tokens["grant_id"]))
