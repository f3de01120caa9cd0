"""Reading with the vendor SDK: pages, refreshes, and each refusal as its own type."""

import json
from datetime import UTC, datetime, timedelta, timezone
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from flask import Response
from proffer_vendor import (
    Ask,
    BrokerRefused,
    Connection,
    GrantEnded,
    GrantPaused,
    InvalidCursor,
    MemoryStore,
    NotABroker,
    NotConnected,
    NotGranted,
    RateLimited,
    Tokens,
    Unavailable,
    Vendor,
)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def connection(vendor: Vendor, broker: Any, ask: Ask, store: MemoryStore) -> Connection:
    connection = Connection(vendor, store, "alice")
    pending = vendor.begin([ask])
    connection.complete(pending, broker.answer_to(pending.url))
    return connection


def problem(status: int, slug: str, **headers: str) -> Response:
    answer = Response(f'{{"type": "/problems/{slug}", "title": "T", "detail": "D", "request_id": "req-1"}}', status, content_type="application/problem+json")
    answer.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return answer


def test_it_reads_every_page_once_and_in_order(connection: Connection, broker: Any) -> None:
    assert [row["id"] for row in connection.read(kinds=("purchase", "cart"), limit=2)] == ["row0", "row1", "row2", "row3", "row4"]
    assert broker.reads == [{"kind": "purchase,cart", "limit": "2"} | extra for extra in ({}, {"cursor": "2"}, {"cursor": "4"})]


def test_it_asks_for_the_next_page_only_when_it_is_wanted(connection: Connection, broker: Any) -> None:
    rows = connection.read(limit=2)
    assert [next(rows)["id"], next(rows)["id"]] == ["row0", "row1"]
    assert len(broker.reads) == 1


def test_it_reads_answers(connection: Connection, broker: Any) -> None:
    assert connection.answers(clause="c1") == {"recency": 3}
    assert broker.reads == [{"clause": "c1"}]
    broker.answered = []
    with pytest.raises(NotABroker):
        connection.answers()


def test_an_ask_for_answers_asks_for_no_row() -> None:
    entry = Ask(("purchase",), "dpv:CustomerCare", "To thank you", {}, answers=("recency",)).details()
    assert entry["want"] == {"form": "answers", "answers": ["recency"]}


def test_it_goes_on_from_a_cursor(connection: Connection) -> None:
    pages = list(connection.pages(limit=2, cursor="2"))
    assert [len(page.items) for page in pages] == [2, 1]
    assert [page.next for page in pages] == ["4", ""]


def test_times_are_sent_in_utc(connection: Connection, broker: Any) -> None:
    berlin = timezone(timedelta(hours=1))
    list(connection.read(after=datetime(2026, 11, 1, tzinfo=berlin), before=datetime(2026, 12, 1, tzinfo=UTC), clause="c1", purpose="dpv:X"))
    assert broker.reads[0] == {"after": "2026-10-31T23:00:00Z", "before": "2026-12-01T00:00:00Z", "clause": "c1", "purpose": "dpv:X", "limit": "100"}
    with pytest.raises(ValueError, match="time zone"):
        list(connection.read(after=datetime(2026, 11, 1)))  # noqa: DTZ001 - the missing zone is what is refused.


@pytest.mark.parametrize(
    ("status", "slug", "kind"),
    [
        (403, "not-granted", NotGranted),
        (403, "grant-paused", GrantPaused),
        (400, "invalid-cursor", InvalidCursor),
        (429, "rate-limit", RateLimited),
        (503, "ledger-unavailable", Unavailable),
        (503, "sealed", Unavailable),
        (422, "unprocessable", BrokerRefused),
        (404, "not-found", BrokerRefused),
    ],
)
def test_each_refusal_has_its_type_and_the_grant_is_kept(
    connection: Connection, broker: Any, store: MemoryStore, status: int, slug: str, kind: type[BrokerRefused]
) -> None:
    broker.says = [problem(status, slug, Retry_After="7")]
    with pytest.raises(BrokerRefused) as refused:
        list(connection.read())
    assert type(refused.value) is kind
    assert (refused.value.status, refused.value.code, refused.value.request_id, refused.value.retry_after) == (status, slug, "req-1", 7)
    assert store.load("alice") is not None
    assert len(list(connection.read())) == 5


def test_a_token_at_its_end_is_renewed_before_the_call(connection: Connection, broker: Any, store: MemoryStore) -> None:
    store.save("alice", Tokens("old", "rt-1", 0.0, "g1"))
    assert len(list(connection.read())) == 5
    assert len(broker.reads) == 1
    assert store.load("alice") == connection.tokens
    assert connection.tokens.access_token == "at-2"


def test_a_refused_token_is_renewed_once(connection: Connection, broker: Any) -> None:
    broker.access.clear()
    assert len(list(connection.read())) == 5
    assert len(broker.reads) == 2


def test_an_ended_grant_is_forgotten(connection: Connection, broker: Any, store: MemoryStore) -> None:
    broker.ended = True
    with pytest.raises(GrantEnded):
        list(connection.read())
    assert store.load("alice") is None
    with pytest.raises(NotConnected):
        list(connection.read())


def test_an_unsigned_agreement_is_signed_and_the_read_repeated_once(connection: Connection, broker: Any) -> None:
    broker.says = [problem(403, "agreement-unsigned")]
    assert len(list(connection.read())) == 5
    assert len(broker.signatures) == 1
    broker.agreement["signatures"].pop()
    broker.says = [problem(403, "agreement-unsigned")]
    assert len(list(connection.read())) == 5
    assert len(broker.signatures) == 2


def test_a_broker_that_will_not_take_the_signature_is_asked_once(connection: Connection, broker: Any) -> None:
    broker.says = [problem(403, "agreement-unsigned"), problem(404, "not-found")]
    with pytest.raises(BrokerRefused):
        list(connection.read())


def test_the_agreement_is_signed_before_the_first_read_and_kept(connection: Connection, broker: Any, store: MemoryStore) -> None:
    """Both sides keep the same bytes; they stay when the tokens go."""
    assert len(broker.signatures) == 1
    assert broker.reads == []
    kept = store.agreement("g1")
    assert kept == json.dumps(broker.agreement, sort_keys=True, separators=(",", ":")).encode()
    connection.end()
    assert store.agreement("g1") == kept
    assert store.agreement("g2") is None


def test_an_answer_that_is_no_page_is_refused(connection: Connection, broker: Any) -> None:
    for wrong in (Response("<html>", 200), Response("[]", 200)):
        broker.says = [wrong]
        with pytest.raises(NotABroker):
            list(connection.read())
    assert len(list(connection.read())) == 5


def test_an_answer_without_problem_is_still_an_error(connection: Connection, broker: Any) -> None:
    broker.says = [Response("<html>", 502)]
    with pytest.raises(Unavailable):
        list(connection.read())


def test_giving_back_revokes_and_forgets(connection: Connection, broker: Any, store: MemoryStore) -> None:
    assert connection.grant()["status"] == "active"
    connection.end()
    assert broker.ended
    assert store.load("alice") is None
    connection.end()


def test_a_redirect_is_not_followed_with_the_token(connection: Connection, broker: Any) -> None:
    broker.says = [Response(status=307, headers={"Location": f"{broker.issuer}/v1/grants/g1"})]
    with pytest.raises(BrokerRefused):
        list(connection.read())


def test_the_package_imports_neither_broker_nor_policies() -> None:
    spec = util.find_spec("proffer_vendor")
    assert spec is not None
    assert spec.origin is not None
    for package in ("proffer_vendor", "bookshop"):
        for path in (Path(spec.origin).parent.parent / package).glob("*.py"):
            assert not any(line.startswith(("import broker", "from broker", "import policies", "from policies")) for line in path.read_text().splitlines())
