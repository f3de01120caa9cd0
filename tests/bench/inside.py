"""Cases in this process: taking in, importing, deciding, judging, and the size of the stores."""

import os
import random
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import bargains
import proofs
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256
from granted import PROOF_KEY, READ
from report import Line, cost, in_turn, per_call, rate, ratio
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable
from stores import Event, Store, in_order, scattered

from broker.db import DATA, utcnow
from broker.events import actions, models, queries
from broker.imports import chromium
from broker.imports.actions import take_in_file
from broker.imports.reports import Report
from broker.ledger import actions as ledger
from broker.oauth import dpop
from broker.oauth import queries as tokens
from broker.opening import Broker, opened
from broker.vault import credentials
from policies.clauses import Clause
from policies.decide import Asked, Grant, Permitted, decide
from policies.negotiate import negotiate
from policies.terms import DEFAULT_TERMS

BATCH = 100
EPOCH_1601 = 11_644_473_600
COLUMNS = [column.name for column in models.events.columns]


class Raw:
    """The floor of an upload: `executemany` into a table with the same columns, keys, indexes and number of rows, one durable commit per batch."""

    def __init__(self, store: Store, broker: Broker, where: Path) -> None:
        self._ring = broker.keyring(store.person_id)
        where.unlink(missing_ok=True)
        self._connection = sqlite3.connect(where, isolation_level=None)
        for name, value in DATA.items():
            self._connection.execute(f"PRAGMA {name} = {value}")
        dialect = sqlite.dialect()  # type: ignore[no-untyped-call]
        self._connection.execute(str(CreateTable(models.events).compile(dialect=dialect)))
        for index in models.events.indexes:
            self._connection.execute(str(CreateIndex(index).compile(dialect=dialect)))
        self._connection.execute("ATTACH ? AS full", (str(store.settings.data_dir / "data.db"),))
        self._connection.execute(f"INSERT INTO main.events SELECT {', '.join(COLUMNS)} FROM full.events")
        self._connection.execute("DETACH full")

    def __call__(self, found: list[Event]) -> float:
        """Events per second; they are sealed beforehand, and each batch comes in the order of the key."""
        batches = []
        for start in range(0, len(found), BATCH):
            placed = [actions.place_of(each) for each in found[start : start + BATCH]]
            batches.append([tuple(each.row[name] for name in COLUMNS) for each in actions.seal(self._ring, placed, "bench", utcnow())])
        statement = f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
        plain = [[(*row[:2], row[2].isoformat(), *row[3:]) for row in batch] for batch in batches]
        began = time.perf_counter()
        for batch in plain:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(statement, batch)
            self._connection.execute("COMMIT")
        return len(found) / (time.perf_counter() - began)

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()


def taking_in(store: Store, raw: Raw, batches: int, turns: int) -> list[Line]:
    """`take_in` without HTTP, events per second."""
    chance, lines = random.Random(3), []
    with opened(store.settings) as broker:
        ring = broker.keyring(store.person_id)
        for name, make in (("in order", in_order), ("scattered", scattered)):

            def ours(make: Any = make) -> float:
                found = make(BATCH * batches, utcnow(), chance)
                began = time.perf_counter()
                for start in range(0, len(found), BATCH):
                    entry = ledger.Entry("upload", broker.now())
                    actions.take_in(broker, ring, found[start : start + BATCH], origin="bench", within=None, entry=entry)
                return len(found) / (time.perf_counter() - began)

            ours()
            found = in_turn(ours, lambda make=make: raw(make(BATCH * batches, utcnow(), chance)), turns)
            lines.append(rate(f"take_in, {name}", "events/s", found, 0.25, "one caller"))
    return lines


def _history(where: Path, number: int) -> None:
    chance, now = random.Random(4), int(time.time())
    with closing(sqlite3.connect(where)) as made, made:
        made.execute("CREATE TABLE urls(id INTEGER PRIMARY KEY, url LONGVARCHAR, title LONGVARCHAR)")
        made.execute("CREATE TABLE visits(id INTEGER PRIMARY KEY, url INTEGER, visit_time INTEGER, from_visit INTEGER, transition INTEGER, visit_duration INTEGER)")
        pages = [(page, f"https://www.site{page % 300}.example/a/{page}", f"A page about the matter number {page}") for page in range(1, number // 3)]
        made.executemany("INSERT INTO urls VALUES (?, ?, ?)", pages)
        visits = [
            (visit, chance.randrange(1, number // 3), (EPOCH_1601 + now - 90 * 86_400 + visit * 250) * 10**6, max(0, visit - 1), 0x30000001, 10**7)
            for visit in range(1, number + 1)
        ]
        made.executemany("INSERT INTO visits VALUES (?, ?, ?, ?, ?, ?)", visits)


def importing(store: Store, work: Path, visits: int, turns: int) -> list[Line]:
    """Visits per second into the store against parsing alone."""
    history = work / "History"
    history.unlink(missing_ok=True)
    _history(history, visits)
    with opened(store.settings) as broker:

        def ours() -> float:
            # Each turn imports visits that are not there yet: the same file again would only find duplicates.
            with closing(sqlite3.connect(history)) as moved, moved:
                moved.execute("UPDATE visits SET visit_time = visit_time + 1000000")
            began = time.perf_counter()
            take_in_file(broker, store.person_id, history)
            return visits / (time.perf_counter() - began)

        def floor() -> float:
            began = time.perf_counter()
            assert sum(1 for _ in chromium.events(history, Report(), now=broker.now())) >= visits
            return visits / (time.perf_counter() - began)

        return [rate(f"import of {visits:,} visits", "visits/s", in_turn(ours, floor, turns), 0.3)]


def judging(store: Store, turns: int) -> list[Line]:
    """`decide`, and covers and trim of 100 events by the compiled slice, microseconds."""
    now = utcnow()
    clause = Clause.parse(READ).starting(now)
    grant = Grant(
        id="g", client="c", vendor="https://books.example", status="active", version=1, clauses=(clause,), given=now, expires_at=clause.validity.until or now, countersigned=True
    )
    asked = Asked(client="c", clause="c1")
    decision = decide(grant, DEFAULT_TERMS.deny, asked, now)
    assert isinstance(decision, Permitted)
    with opened(store.settings) as broker:
        ring = broker.keyring(store.person_id)
        with broker.reading() as tx:
            own = queries.own(tx, ring, queries.Wanted(("purchase",), last=now.date().replace(day=1))).events
    events = (own * 3)[:BATCH]
    judge = decision.slice.compiled()
    nothing = [lambda: None, lambda: [None for _ in events]]
    deciding = in_turn(lambda: per_call(lambda: decide(grant, DEFAULT_TERMS.deny, asked, now), 500), lambda: per_call(nothing[0], 500), turns)
    trimming = in_turn(lambda: per_call(lambda: [judge(each) for each in events], 100), lambda: per_call(nothing[1], 100), turns)
    lines = [cost("decide", "µs", deciding, 20), cost("covers and trim of 100 events", "µs", trimming, 300)]
    return lines + negotiating(turns)


def proving(store: Store, turns: int) -> list[Line]:
    """The proof of one call, and its token with it, microseconds, against one bare ES256 verification.

    Each proof is new, its key known from the call before.
    """
    prover, number = proofs.of_store(store.vendor.nonce_key, PROOF_KEY), 300
    public, message = PROOF_KEY.public_key, b"m" * 300
    signature = PROOF_KEY.private_key.sign(message, ECDSA(SHA256()))
    with opened(store.settings) as broker:

        def ours(*, with_token: bool) -> float:
            shown = iter([prover.proof("GET", "/v1/events", store.vendor.token) for _ in range(number)])
            url, key, now = f"{proofs.ORIGIN}/v1/events", broker.vault.nonce_key, broker.now()
            known = credentials.parse(broker.vault.route_key, "at", store.vendor.token)
            assert known

            def proof() -> None:
                dpop.verify(next(shown), method="GET", url=url, nonce_key=key, now=now, token=known.hash)

            def both() -> None:
                credential = credentials.parse(broker.vault.route_key, "at", store.vendor.token)
                assert credential
                with broker.reading() as tx:
                    tokens.by_token(tx, credential)
                proof()

            return per_call(both if with_token else proof, number)

        def floor() -> float:
            return per_call(lambda: public.verify(signature, message, ECDSA(SHA256())), number)

        names = {"proof": False, "token and proof": True}
        return [
            ratio(f"{name} over one ES256 verification", "µs", in_turn(lambda it=it: ours(with_token=it), floor, turns), 1.6) for name, it in names.items()
        ]


def negotiating(turns: int) -> list[Line]:
    """`negotiate` with 200 rules, microseconds: where a tenth of them speak to the vendor, and where all do."""
    asked, lines = bargains.request(), []
    for name, for_all, goal in (("", False, 2000), (", all for this vendor", True, None)):
        terms = bargains.terms(for_all=for_all)
        proposal = negotiate(terms, asked)
        found = in_turn(lambda terms=terms: per_call(lambda: negotiate(terms, asked), 30), lambda: per_call(lambda: None, 500), turns)
        lines.append(cost(f"negotiate with 200 rules{name}", "µs", found, goal, f"{len(proposal.clauses)} clauses, {len(proposal.narrowed)} lines"))
    return lines


def stored(store: Store, kept: Path) -> Line:
    """Bytes per event of all three stores, everything included."""
    folder = kept / str(store.count) / "data"
    size = sum(file.stat().st_size for file in folder.iterdir() if file.name != "ballast.bin")
    return cost("stored bytes per event", "bytes", ([size / store.count], [430.0]), 600, "floor: the design's plain row with three indexes")


def fresh(work: Path) -> Path:
    """An empty place for this run's files."""
    place = work / f"run-{os.getpid()}-{uuid4().hex[:6]}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


def slope(name: str, small: list[float], large: list[float]) -> Line:
    """How many times a read at 10^6 takes as long as at 10^4."""
    return ratio(name, "µs", ([1e6 / each for each in large], [1e6 / each for each in small]), 1.5)
