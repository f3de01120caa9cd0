"""Rates bind under races: of reads, rows and answers asked for by many threads on two processes, never more leave than the clause's rate."""

import datetime as dt
import json
import random
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from granted import READ, Granted, a_client, a_person, granted
from makers import purchase, settings_in
from processes import Nursery, call
from sqlalchemy import select

from broker import close_app, create_app
from broker.db import utcnow
from broker.events import actions as events
from broker.events import shape
from broker.grants.models import use
from broker.ledger import actions as ledger

READS, ROWS, ROUNDS = 40, 60, 3
CLAUSES: dict[str, dict[str, Any]] = {
    "/v1/events?limit=1": {**READ, "rate": {"reads": f"{READS}/P1D", "rows": "100000/P1D"}},
    "/v1/events?limit=7": {**READ, "rate": {"reads": "10000/P1D", "rows": f"{ROWS}/P1D"}},
    "/v1/answers": {
        **READ, "form": "answers", "answers": ["frequency", "recency"], "fields": {}, "rate": {"reads": f"{READS}/P1D", "rows": "1/P1D"},
    },
}  # fmt: skip


@dataclass
class Race:
    """Eight readers, four on each process, all starting at once; each ends with its third refusal for the rate, or after enough reads to show that there is none."""

    ports: tuple[int, ...]
    path: str
    grant: Granted
    reads: int = 0
    rows: int = 0
    waits: set[int] = field(default_factory=set)
    others: set[int] = field(default_factory=set)

    def run(self) -> "Race":
        lock, start = threading.Lock(), threading.Barrier(8)

        def reader(port: int) -> None:
            refused = tried = 0
            start.wait()
            while refused < 3 and tried < 2 * READS:
                tried += 1
                answer = call(port, "GET", self.path, self.grant.headers("GET", self.path))
                assert answer is not None
                with lock:
                    if answer.status == 200:
                        self.reads += 1
                        self.rows += len(json.loads(answer.body).get("items", ()))
                    elif answer.status == 429:
                        refused += 1
                        self.waits.add(int(answer.headers["retry-after"]))
                    else:
                        self.others.add(answer.status)

        readers = [threading.Thread(target=reader, args=(port,)) for port in self.ports * 4]
        for each in readers:
            each.start()
        for each in readers:
            each.join()
        return self


def races(nursery: Nursery, where: Path, path: str, *plants: str, number: int = ROUNDS) -> tuple[list[Race], Callable[[], list[Any]]]:
    """Each race has a grant of its own; the second value gives what stands counted in the store."""
    settings = settings_in(where)
    app = create_app(settings)
    broker = app.extensions["broker"]
    person_id, now = a_person(broker), utcnow()
    bought = [shape.check(purchase(now - dt.timedelta(days=3 + number % 60, minutes=number)), now=now) for number in range(2 * ROWS)]
    events.take_in(broker, broker.keyring(person_id), bought, origin="test", within=None, entry=ledger.Entry("import", now))
    grants = granted(broker, person_id, a_client(broker), CLAUSES[path], number)
    close_app(app)
    with ExitStack() as ending:
        servers = tuple(nursery.serve(settings, *plants) for _ in range(2))
        for server in servers:
            ending.callback(server.kill)
        found = [Race(tuple(server.port for server in servers), path, grant).run() for grant in grants]

    def counted() -> list[Any]:
        app = create_app(settings)
        with app.extensions["broker"].reading() as tx:
            rows = [tuple(tx.execute(select(use.c.reads, use.c.rows).where(use.c.grant_id == grant.grant_id)).one()) for grant in grants]
        close_app(app)
        return rows

    print(path, [(race.reads, race.rows, sorted(race.others)) for race in found])
    return found, counted


def test_reads_never_exceed_the_rate(nursery: Nursery, tmp_path: Path, chance: random.Random) -> None:
    found, counted = races(nursery, tmp_path, "/v1/events?limit=1")
    assert [race.reads for race in found] == [READS] * ROUNDS
    assert counted() == [(READS, READS)] * ROUNDS
    assert all(race.others <= {503} and race.waits and max(race.waits) <= 86_400 and min(race.waits) > 0 for race in found)


def test_rows_never_exceed_the_rate(nursery: Nursery, tmp_path: Path, chance: random.Random) -> None:
    """The last page is cut to what is left; then 429."""
    found, counted = races(nursery, tmp_path, "/v1/events?limit=7")
    assert [race.rows for race in found] == [ROWS] * ROUNDS
    assert [rows for _, rows in counted()] == [ROWS] * ROUNDS
    assert all(race.others <= {503} and race.waits for race in found)


def test_answers_never_exceed_the_rate(nursery: Nursery, tmp_path: Path, chance: random.Random) -> None:
    found, counted = races(nursery, tmp_path, "/v1/answers")
    assert [race.reads for race in found] == [READS] * ROUNDS
    assert counted() == [(READS, 0)] * ROUNDS
    assert all(race.others <= {503} and race.waits for race in found)


def test_the_control_is_noticed(nursery: Nursery, tmp_path: Path, chance: random.Random) -> None:
    """Where only the decision looks at the rate, some read that raced it is one too many."""
    found, _ = races(nursery, tmp_path, "/v1/events?limit=1", "counts_after_the_look", number=12)
    assert any(race.reads > READS for race in found)
