"""A second person on the same broker sees nothing of the first: every table, every page, every id (K34, K35, K38, K52)."""

import datetime as dt
import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from makers import ORIGIN, Browser, Clock, Extension, Shop, page_visit, purchase
from sqlalchemy import Engine, event

from broker import db
from broker.vault import models as vault

NEEDLE = "Needle"
PERSONAL = {
    table.name for metadata in (db.metadata, vault.keys) for table in metadata.tables.values() if next(iter(table.primary_key.columns)).name == "person_id"
}
# The operator's and the sweep's own statements, which speak of everyone and open nothing.
OF_EVERYONE = (
    "SELECT people.person_id \nFROM people ORDER BY", "SELECT count(*) AS count_1 \nFROM people", "WHERE people.name_tag", "grants.expires_at <=", "codes.used_at IS NULL AND codes.expires_at <=",
    "DISTINCT grants.person_id", "FROM ledger_heads ORDER BY ledger_heads.person_id", "ledger_heads.alarm IS NOT NULL",
)  # fmt: skip


@pytest.fixture
def life(alice: Browser, bookshop: Shop, clock: Clock) -> Browser:
    """Alice with events, grants, an open request, an extension and a ledger."""
    start = clock() - dt.timedelta(days=5)
    alice.store(*[purchase(start + dt.timedelta(hours=n), f"{NEEDLE} {n}") for n in range(5)], *[page_visit(start, title=NEEDLE) for _ in range(5)])
    bookshop.connect(alice)
    bookshop.read()
    bookshop.read("?kind=search")
    Extension.connect(alice)
    alice.open(bookshop.ask())
    return alice


def pages(app: Flask) -> list[str]:
    rules = [rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or set()) and not rule.arguments]
    return sorted(rule for rule in rules if not rule.startswith(("/v1", "/static", "/oauth", "/.well-known", "/docs", "/healthz", "/readyz", "/robots")))


def links(person: Browser) -> set[str]:
    """Every address with an id that a person's pages lead to."""
    found: set[str] = set()
    for path in pages(person.app):
        found |= set(re.findall(r'(?:href|action)="(/[^"?#]+/[^"?#]+)', person.get(path).text))
    return {path for path in found if re.search(r"/([0-9a-f]{16,}|[A-Za-z0-9_-]{22}|\d+)(/|$)", path) and not path.startswith("/static")}


def test_no_page_shows_another_persons_life(life: Browser, bob: Browser) -> None:
    shown = 0
    for path in pages(life.app):
        theirs, mine = bob.get(path).text, life.get(path).text
        shown += NEEDLE in mine
        assert NEEDLE not in theirs, path
        # The form of an invite names it as an example.
        assert "books.example" not in theirs.replace("Such as books.example.", "") or path.startswith("/problems"), path
    assert shown, "Alice's own pages should show her life"


def test_another_persons_ids_are_like_missing_ones(life: Browser, bob: Browser) -> None:
    """K38: status, body and headers of a foreign id are those of an id that never was."""
    found = links(life)
    assert len(found) > 3, found
    for path in sorted(found):
        missing = re.sub(r"[0-9a-f]{16,}|[A-Za-z0-9_-]{22}", lambda match: "A" * len(match[0]) if len(match[0]) == 22 else "0" * len(match[0]), path)
        for send in ("get", "post"):
            answers = [bob.post(each) if send == "post" else bob.get(each) for each in (path, missing)]
            if re.search(r"/\d+$", path) and answers[0].status_code == 200:
                # An entry's number counts one's own entries; what it shows is Bob's.
                assert NEEDLE not in answers[0].text
                continue
            assert answers[0].status_code == answers[1].status_code, (send, path)
            assert answers[0].status_code in {303, 404, 405}, (send, path)
            scrub = re.compile(r'nonce="[^"]+"|request <code>[^<]+|csrf_token" value="[^"]+"')
            assert scrub.sub("", answers[0].text).replace(path, "") == scrub.sub("", answers[1].text).replace(missing, ""), path
    assert all(life.get(path).status_code in {200, 405} for path in found)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Every statement that touches a person's table without naming the person."""
    strays: list[str] = []

    def look(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        touched = {name for name in PERSONAL if re.search(rf"\b{name}\b", statement)}
        if touched and not re.search(r"person_id\s*(=|IN)|\(person_id|INSERT INTO", statement) and not any(known in statement for known in OF_EVERYONE):
            strays.append(statement)

    event.listen(Engine, "before_cursor_execute", look)
    try:
        yield strays
    finally:
        event.remove(Engine, "before_cursor_execute", look)


def test_every_statement_names_the_person(life: Browser, bookshop: Shop) -> None:
    """K35: over all pages, a read, a refresh and a consent; a planted query trips it."""
    with watched() as strays:
        for path in (*pages(life.app), *links(life)):
            life.get(path)
        bookshop.connect(life)
        bookshop.read("?limit=1")
        bookshop.refresh()
        assert strays == []
        with life.app.extensions["broker"].reading() as tx:
            tx.exec_driver_sql("SELECT count(*) FROM events")
        assert len(strays) == 1
    # The few statements that run on the driver itself are looked at as they were prepared.
    prepared = [each._sql for each in gc.get_objects() if isinstance(each, db.Prepared)]
    assert len(prepared) > 5
    for statement in prepared:
        personal = any(re.search(rf"\b{table}\b", statement) for table in PERSONAL)
        assert not personal or re.search(r"person_id\s*=|INSERT INTO \w+ \(person_id|\(person_id", statement), statement


def dump(app: Flask) -> dict[str, list[Any]]:
    with app.extensions["broker"].reading() as tx:
        return {name: list(tx.execute(table.select())) for name, table in db.metadata.tables.items()}


def test_a_pages_get_writes_nothing(life: Browser, clock: Clock) -> None:
    """K52: looking changes nothing; an hour later only the session's last use."""
    everything = [*pages(life.app), *sorted(links(life))]
    before = dump(life.app)
    for path in everything:
        life.get(path)
    assert dump(life.app) == before
    clock.advance(hours=2)
    life.get("/")
    after = dump(life.app)
    assert {name for name in after if after[name] != before[name]} == {"sessions"}


def test_every_post_needs_its_token(life: Browser) -> None:
    """Each route that changes something refuses a form without token, and a stranger."""
    rules = [
        rule
        for rule in life.app.url_map.iter_rules()
        if "POST" in (rule.methods or set()) and not rule.rule.startswith(("/v1", "/oauth/par", "/oauth/token", "/oauth/revoke", "/oauth/register"))
    ]
    assert len(rules) > 5
    before = dump(life.app)
    for rule in rules:
        path = re.sub(r"<[^>]+>", "0" * 32, rule.rule)
        assert life.client.post(path, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 403, path
        assert life.client.post(path, base_url=ORIGIN, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403, path
    assert dump(life.app) == before
