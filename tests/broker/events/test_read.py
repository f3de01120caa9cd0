"""`GET /v1/events`: what a vendor gets, what it is refused, and what the person sees of both (interface.md section 11)."""

import datetime as dt
from typing import Any

import pytest
from makers import ORIGIN, Browser, Clock, Shop, page_visit, purchase, purchases

from broker import errors
from broker.ledger import queries as ledger
from broker.terms.actions import set_terms

TERMS: dict[str, Any] = {
    "type": "Terms", "version": 1, "vocabulary": 1, "base": "SD-BASE", "requests": "AgentAllowsRequests", "auto_accept": "never",
    "allow": [
        {
            "id": "wide", "label": "Wide", "vendors": ["*"], "action": "read", "purposes": ["dpv:ProvideProductRecommendations", "dpv:CustomerCare"],
            "kinds": ["purchase", "page_visit"], "form": "rows",
            "fields": {"time": "exact", "site": "host", "url": "exact", "title": "exact", "category": "leaf", "price": "exact", "order_id": "pairwise"},
            "window": {"max_age": "P365D", "min_age": "PT0H"}, "rate": {"reads": "40/P1D", "rows": "5000/P1D"},
        }
    ],
    "deny": [],
}  # fmt: skip


def wide(**want: Any) -> list[dict[str, Any]]:
    asked = purchases(fields={"time": "day", "site": "domain", "category": "leaf", "price": "exact", "order_id": "pairwise"}, window={"max_age": "P365D"}, **want)
    return [{**asked, "datatypes": ["purchase", "page_visit"]}]


@pytest.fixture
def told(alice: Browser, bookshop: Shop, clock: Clock) -> list[dict[str, Any]]:
    """Alice's terms are wide, she has 30 purchases and 30 visits, and gave the bookshop all of it by day."""
    set_terms(alice.app.extensions["broker"], alice.person_id, TERMS)
    start = clock() - dt.timedelta(days=20)
    events = [purchase(start + dt.timedelta(hours=12 * n), minor=1000 + n) for n in range(30)]
    events += [page_visit(start + dt.timedelta(hours=12 * n), title=f"Page {n}") for n in range(30)]
    assert set(alice.store(*events).values()) == {"accepted"}
    bookshop.connect(alice, wide())
    return events


def entries(person: Browser) -> list[dict[str, Any]]:
    broker = person.app.extensions["broker"]
    with broker.reading() as tx:
        return ledger.page(tx, person.ring).entries


def test_pages_give_every_row_once_in_order(bookshop: Shop, told: list[dict[str, Any]]) -> None:
    """Ordered by (time as seen, row id); the cursor goes on exactly where the page ended; no totals."""
    rows: list[dict[str, Any]] = []
    answer = bookshop.read("?limit=7")
    while True:
        assert answer.status_code == 200
        rows += answer.json["items"]
        if "next" not in answer.json:
            break
        assert set(answer.json) == {"items", "next"}
        assert answer.headers["Link"].endswith('rel="next"')
        answer = bookshop.read(f"?limit=7&cursor={answer.json['next']}")
    assert len(rows) == len({row["id"] for row in rows}) == len(told)
    assert [(row["time"], row["id"]) for row in rows] == sorted((row["time"], row["id"]) for row in rows)
    assert len(bookshop.read("?limit=1000").json["items"]) == len(told)


def test_filters(bookshop: Shop, told: list[dict[str, Any]], clock: Clock) -> None:
    assert {row["kind"] for row in bookshop.read("?kind=purchase").json["items"]} == {"purchase"}
    assert len(bookshop.read("?kind=purchase,page_visit").json["items"]) == 60
    middle = f"{clock() - dt.timedelta(days=10):%Y-%m-%dT00:00:00Z}"
    late, early = (bookshop.read(f"?{edge}={middle}").json["items"] for edge in ("after", "before"))
    assert len(late) + len(early) == 60
    assert min(row["time"] for row in late) >= middle[:10] > max(row["time"] for row in early)
    assert len(bookshop.read("?site=shop.example").json["items"]) == 60
    assert bookshop.read("?site=other.example").json == {"items": []}
    assert len(bookshop.read("?category=books").json["items"]) == 30


def test_rows_carry_only_what_was_granted(bookshop: Shop, told: list[dict[str, Any]]) -> None:
    row = bookshop.read("?kind=purchase").json["items"][0]
    assert set(row) == {"id", "kind", "time", "site", "order_id", "items"}
    assert row["site"] == "shop.example"
    assert row["time"].endswith("T00:00:00.000Z") or row["time"].endswith("T00:00:00Z")
    assert row["order_id"] not in {event.get("order_id") for event in told}
    assert row["id"] not in {event["id"] for event in told}
    visit = bookshop.read("?kind=page_visit").json["items"][0]
    assert set(visit) == {"id", "kind", "time", "site"}


def test_two_grants_share_no_id(alice: Browser, bookshop: Shop, otherstore: Shop, told: list[dict[str, Any]]) -> None:
    """P15, K29: row ids and order aliases of two grants have nothing in common, a renewal's neither."""
    first = bookshop.read().json["items"]
    bookshop.connect(alice, wide())
    otherstore.connect(alice, wide())
    for shop in (bookshop, otherstore):
        rows = shop.read().json["items"]
        assert len(rows) == len(first)
        assert not {row["id"] for row in rows} & {row["id"] for row in first}
        assert not {row.get("order_id") for row in rows if "order_id" in row} & {row.get("order_id") for row in first}


REFUSED = {
    "?colour=blue": (422, "unprocessable", "bad-request"),
    "?limit=0": (422, "unprocessable", "bad-request"),
    "?limit=1001": (422, "unprocessable", "bad-request"),
    "?limit=x": (422, "unprocessable", "bad-request"),
    "?kind=thought": (422, "unprocessable", "bad-request"),
    "?after=yesterday": (422, "unprocessable", "bad-request"),
    "?after=2026-01-01T00:00:00": (422, "unprocessable", "bad-request"),
    "?kind=purchase&kind=search": (400, "bad-request", "bad-request"),
    f"?site={'x' * 600}": (400, "bad-request", "bad-request"),
    "?cursor=AAAA": (400, "invalid-cursor", "invalid-cursor"),
    "?cursor=%25": (400, "invalid-cursor", "invalid-cursor"),
    "?purpose=dpv:Advertising": (403, "not-granted", "wrong-purpose"),
    "?clause=c9": (403, "not-granted", "no-clause"),
    "?kind=search": (403, "not-granted", "out-of-slice"),
    "?site==www.shop.example": (403, "not-granted", "filter-too-fine"),
}


@pytest.mark.parametrize("query", REFUSED)
def test_it_refuses(alice: Browser, bookshop: Shop, told: list[dict[str, Any]], query: str) -> None:
    """A problem document for the vendor, every reason for the person."""
    status, slug, reason = REFUSED[query]
    assert bookshop.read().status_code == 200
    answer = bookshop.read(query)
    assert (answer.status_code, answer.json["type"]) == (status, f"/problems/{slug}")
    assert answer.headers["Content-Type"] == "application/problem+json"
    newest = entries(alice)[0]
    assert (newest["act"], newest["outcome"]) == ("read", "denied")
    assert reason in newest["reasons"]
    assert newest["request"] == answer.headers["Request-Id"] == answer.json["request_id"]


def test_one_answer_for_every_cause_of_403(bookshop: Shop, told: list[dict[str, Any]]) -> None:
    """Rule R2: a refusal is no probe of the terms."""
    bodies = [bookshop.read(query).json for query in ("?purpose=dpv:Advertising", "?clause=c9", "?kind=search", "?site==www.shop.example")]
    assert len({(body["type"], body["title"], body["detail"]) for body in bodies}) == 1


def test_a_foreign_or_old_cursor(alice: Browser, bookshop: Shop, otherstore: Shop, told: list[dict[str, Any]], clock: Clock) -> None:
    """K28, row 100: bound to grant, filters and 15 minutes."""
    cursor = bookshop.read("?limit=5").json["next"]
    assert bookshop.read(f"?limit=9&cursor={cursor}").status_code == 200
    assert bookshop.read(f"?kind=purchase&cursor={cursor}").json["type"] == "/problems/invalid-cursor"
    otherstore.connect(alice, wide())
    assert otherstore.read(f"?limit=5&cursor={cursor}").json["type"] == "/problems/invalid-cursor"
    clock.advance(minutes=16)
    bookshop.refresh()
    assert bookshop.read(f"?limit=5&cursor={cursor}").json["type"] == "/problems/invalid-cursor"
    assert entries(alice)[0]["reasons"] == ["invalid-cursor"]


def test_the_rate_binds(alice: Browser, bookshop: Shop, clock: Clock) -> None:
    """Reads and rows a day; 429 with the seconds to the next UTC midnight, and a new day is a new count."""
    limited = {**TERMS, "allow": [{**TERMS["allow"][0], "rate": {"reads": "3/P1D", "rows": "5/P1D"}}]}
    set_terms(alice.app.extensions["broker"], alice.person_id, limited)
    alice.store(*[purchase(clock() - dt.timedelta(days=2, minutes=n)) for n in range(12)])
    bookshop.connect(alice, wide())
    assert len(bookshop.read("?limit=4").json["items"]) == 4
    assert len(bookshop.read("?limit=4").json["items"]) == 1
    refused = bookshop.read()
    assert (refused.status_code, refused.json["type"]) == (429, "/problems/rate-limit")
    assert 0 < int(refused.headers["Retry-After"]) <= 86400
    clock.advance(seconds=int(refused.headers["Retry-After"]) + 1)
    bookshop.refresh()
    assert len(bookshop.read("?limit=4").json["items"]) == 4


def test_a_standing_deny_binds_at_once(alice: Browser, bookshop: Shop, told: list[dict[str, Any]]) -> None:
    """Rule O5: newer terms shrink a running grant, and never enlarge it."""
    broker = alice.app.extensions["broker"]
    assert len(bookshop.read().json["items"]) == 60
    set_terms(broker, alice.person_id, {**TERMS, "deny": [{"id": "no-visits", "kinds": ["page_visit"]}]})
    assert {row["kind"] for row in bookshop.read().json["items"]} == {"purchase"}
    set_terms(broker, alice.person_id, {**TERMS, "deny": [{"id": "no-shop", "vendors": ["https://books.example"]}]})
    assert bookshop.read().json["type"] == "/problems/not-granted"
    set_terms(broker, alice.person_id, TERMS)
    assert len(bookshop.read().json["items"]) == 60


CHALLENGE = f'DPoP {{}}algs="ES256 Ed25519 PS256", resource_metadata="{ORIGIN}/.well-known/oauth-protected-resource/v1"'


def test_tokens(bookshop: Shop, told: list[dict[str, Any]]) -> None:
    """Rows 98 and 99: only the header counts; wrong ones get one answer (RFC 6750)."""
    good = bookshop.tokens["access_token"]
    client = bookshop.client
    none = client.get("/v1/events", base_url=ORIGIN)
    assert (none.status_code, none.json["type"], none.headers["WWW-Authenticate"]) == (401, "/problems/no-token", CHALLENGE.format(""))
    assert client.get(f"/v1/events?access_token={good}", base_url=ORIGIN).status_code == 401
    altered = f"{good[:-1]}{'1' if good.endswith('0') else '0'}"
    wrong = [f"DPoP {altered}", f"Basic {good}", f"DPoP {bookshop.tokens['refresh_token']}", "DPoP x", f"Bearer {good}"]
    bodies = set()
    for header in wrong:
        answer = bookshop.send("GET", "/v1/events", headers={"Authorization": header})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == CHALLENGE.format('error="invalid_token", ')
        bodies.add((answer.json["type"], answer.json["detail"]))
    assert bodies == {("/problems/invalid-token", "This token is not valid, or no longer.")}
    assert bookshop.send("GET", "/v1/events", headers={"Authorization": f"dpop {good}"}).status_code == 200


def test_an_erased_event_is_not_read(alice: Browser, bookshop: Shop, told: list[dict[str, Any]]) -> None:
    from broker.events import actions, queries

    broker = alice.app.extensions["broker"]
    with broker.reading() as tx:
        keys = queries.matching(tx, alice.ring, queries.Wanted(kinds=("page_visit",)))
    assert actions.forget(broker, alice.ring, keys, {"kinds": ["page_visit"]}) == 30
    assert {row["kind"] for row in bookshop.read().json["items"]} == {"purchase"}


def test_the_preview_shows_what_is_then_read(alice: Browser, bookshop: Shop, told: list[dict[str, Any]]) -> None:
    """C6: preview rows are what the vendor then gets, row ids apart; C7: a preview leaves the database unchanged."""
    from broker.oauth import consent

    broker = alice.app.extensions["broker"]
    path = alice.open(bookshop.ask(wide()))
    before = (broker.settings.data_dir / "data.db").read_bytes()
    made = consent.load(broker, alice.ring, bytes.fromhex(path.rsplit("/", 1)[1]))
    consent.add_previews(broker, alice.ring, made)
    seen = made.choices[0].seen[0].preview
    assert seen.number == 60
    assert (broker.settings.data_dir / "data.db").read_bytes() == before
    bookshop.connect(alice, wide())
    read = [{name: value for name, value in row.items() if name not in {"id", "order_id"}} for row in bookshop.read().json["items"]]
    for row in seen.rows:
        assert {name: value for name, value in row.items() if name != "order_id"} in read


@pytest.mark.parametrize("failed", [errors.Busy(retry_after=3), errors.OutcomeUnknown(retry_after=5)], ids=["not entered", "perhaps entered"])
def test_without_its_entry_nothing_is_read(alice: Browser, bookshop: Shop, clock: Clock, monkeypatch: pytest.MonkeyPatch, failed: Exception) -> None:
    """K64: the entry cannot be written, or nobody knows whether it was; no byte of a row leaves."""
    alice.store(purchase(clock() - dt.timedelta(days=2), "A Study in Ink"))
    bookshop.connect(alice)

    def refused(*_args: object, **_more: object) -> None:
        raise failed

    monkeypatch.setattr(type(alice.app.extensions["broker"]), "write", refused)
    answer = bookshop.read()
    assert (answer.status_code, answer.json["type"]) == (503, "/problems/ledger-unavailable")
    assert "A Study in Ink" not in answer.text
