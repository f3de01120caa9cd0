"""A broker whose files have one wrong bit: what it was before, where the bit lies, and all that is then shown and served."""

import datetime as dt
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from granted import READ, WRITE, Granted, a_client, granted
from makers import Clock, page_visit, purchase, settings_in
from sqlalchemy import select

from broker import close_app, create_app
from broker.events import actions as events
from broker.events import shape
from broker.events.models import events as event_rows
from broker.events.stored import Opener
from broker.grants import actions as grant_actions
from broker.grants import agreed
from broker.grants import queries as grants
from broker.ledger import actions as ledger
from broker.ledger import checkpoints
from broker.ledger import queries as entries
from broker.ledger.models import entries as entry_rows
from broker.opening import Broker
from broker.people import actions as people
from broker.people import queries as people_queries
from broker.people.models import people as people_rows
from broker.terms import actions as terms_actions
from broker.terms import queries as terms
from broker.vendors.actions import EXTENSION
from policies.terms import DEFAULT_TERMS

FILES: Final = ("data/data.db", "data/data.db-wal", "data/keys.db", "data/heads.db", "keys/key")
PAGES: Final = ("/activity", "/grants", "/ledger", "/terms")
EACH: Final = 15
NAMES: Final = ("alice", "bob")
Shown = dict[tuple[Any, ...], Any]


@dataclass
class Template:
    """The stores before: two people, their sessions, and what each token may do."""

    where: Path
    people: list[bytes]
    sessions: list[str]
    live: list[Granted]
    dead: list[Granted]
    devices: list[Granted]
    truth: Shown = field(default_factory=dict)
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)
    # The terms that were in force before those that are.
    earlier: list[Any] = field(default_factory=list)

    @classmethod
    def make(cls, where: Path, *, stopped: bool) -> "Template":
        """With `stopped` it was closed in order, else everything of the last minutes still lies in the write-ahead log."""
        working = where / "working"
        clock = Clock()
        app = create_app(settings_in(working), clock)
        broker: Broker = app.extensions["broker"]
        broker.vault.add_recovery_key()
        client_id = a_client(broker)
        made = cls(where / "template", [], [], [], [], [])
        for name in NAMES:
            person_id = people.add(broker, name, "correct horse battery staple")
            made.people.append(person_id)
            _events(broker, person_id, name)
            _terms(broker, person_id)
            live, revoked, paused = granted(broker, person_id, client_id, READ, 3)
            grant_actions.revoke(broker, person_id, revoked.grant_id)
            grant_actions.pause(broker, person_id, paused.grant_id)
            made.live.append(live)
            made.dead += [revoked, paused]
            made.devices += granted(broker, person_id, EXTENSION, WRITE)
            made.sessions.append(people.sign_in_as(broker, person_id).text)
            checkpoints.sign(broker, person_id)
        made.truth = everything(broker, made.people)
        for person_id in made.people:
            with broker.reading() as tx:
                made.earlier += [terms.at(tx, broker.keyring(person_id), number) for number in (0, 1)]
        if stopped:
            close_app(app)
        shutil.copytree(working, made.where, ignore=shutil.ignore_patterns("*-shm", "ballast.bin", "turn*"))
        if not stopped:
            close_app(app)
        made.rows = dump(made.where)
        made.columns = {table: columns(made.where.parent / "dumped", table) for table in made.rows}
        return made


def _events(broker: Broker, person_id: bytes, name: str) -> None:
    now = broker.now()
    some = [(n, now - dt.timedelta(days=2 + n)) for n in range(EACH)]
    many = [purchase(at, f"Book {n} of {name}", minor=1000 + n) for n, at in some]
    many += [page_visit(at, f"https://www.shop.example/{name}/{n}", f"Page {n} of {name}") for n, at in some]
    many += [purchase(at, f"Denied {n} of {name}", site="www.clinic.example", minor=5000 + n) for n, at in some[:5]]
    checked = [shape.check(each, now=now, own=True) for each in many]
    events.take_in(broker, broker.keyring(person_id), checked, origin="test", within=None, entry=ledger.Entry("import", now))


def _terms(broker: Broker, person_id: bytes) -> None:
    """Two versions; only the second hides the clinic."""
    terms_actions.set_terms(broker, person_id, {**DEFAULT_TERMS.to_json(), "deny": [{"id": "other", "sites": ["bank.example"]}]})
    terms_actions.set_terms(broker, person_id, {**DEFAULT_TERMS.to_json(), "deny": [{"id": "clinic", "sites": ["clinic.example"]}]})


def everything(broker: Broker, whose: list[bytes], failed: Callable[[Exception], None] = lambda _why: None) -> Shown:
    """Every event, entry, grant, agreement and version of the terms, each opened by itself as the broker opens it; `failed` hears of what does not."""
    found: Shown = {}

    def put(what: Any, name: tuple[Any, ...]) -> None:
        try:
            found[name] = what()
        except Exception as why:
            failed(why)

    for person_id in whose:
        put(lambda person_id=person_id: _of_person(broker, person_id, put), ("person", person_id))
    return {name: value for name, value in found.items() if value is not None}


def _of_person(broker: Broker, person_id: bytes, put: Callable[[Any, tuple[Any, ...]], None]) -> None:
    ring = broker.keyring(person_id)
    with broker.reading() as tx:
        rows = tx.execute(select(event_rows).where(event_rows.c.person_id == person_id)).all()
        opener = Opener(ring)
        for row in rows:
            put(lambda row=row: opener(row.kind, row.day, row.event_tag, row.body), ("event", person_id, row.event_tag))
        for seq in tx.execute(select(entry_rows.c.seq).where(entry_rows.c.person_id == person_id)).scalars():
            put(lambda seq=seq: entries.one(tx, ring, seq), ("entry", person_id, seq))
        for grant_id in [grants.to_bytes(each) for each in grants.ids(tx, person_id)]:
            put(lambda each=grant_id: sealed_of(grants.one(tx, ring, each)), ("grant", person_id, grant_id))
            put(lambda each=grant_id: agreed.agreement(tx, ring, each), ("agreement", person_id, grant_id))
            put(lambda each=grant_id: agreed.changes_of(tx, ring, each), ("changes", person_id, grant_id))
        put(lambda: terms.current(tx, ring), ("terms", person_id))
        put(lambda: people_queries.name_of(broker, tx, person_id), ("name", person_id))
        password = tx.execute(select(people_rows.c.password).where(people_rows.c.person_id == person_id)).scalar_one()
        put(lambda: people_queries.secret_of(broker, person_id, "password", password), ("password", person_id))
        put(lambda: [each.device for each in people_queries.live_sessions(broker, tx, person_id)], ("devices", person_id))
    put(lambda: [each.size for each in checkpoints.states(broker, ring)][1:] or None, ("checkpoints", person_id))


def sealed_of(grant: grants.Grant) -> tuple[Any, ...]:
    """What of a grant is sealed; its status and dates lie open."""
    return grant.clauses, grant.details


def dump(where: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of the three stores, as SQLite finds them; works on a copy. What cannot be read is a row of its own."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    copy = where.parent / "dumped"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(where / "data", copy)
    for name in ("data", "keys", "heads"):
        connection = sqlite3.connect(copy / f"{name}.db")
        connection.text_factory = bytes
        try:
            tables = [row[0].decode() for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
            for table in tables:
                found[f"{name}.{table}"] = sorted(connection.execute(f'SELECT * FROM "{table}"').fetchall(), key=repr)
        except (sqlite3.Error, UnicodeDecodeError) as why:
            found[f"{name}: {why}"] = []
        connection.close()
    return found


def columns(where: Path, table: str) -> list[str]:
    """The columns of `<store>.<table>`, of stores that may be touched."""
    store, _, name = table.partition(".")
    connection = sqlite3.connect(where / f"{store}.db")
    found = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
    connection.close()
    return found


@dataclass(frozen=True)
class Flip:
    """One bit of one file, as the offset of its byte and its number there."""

    file: str
    at: int
    bit: int

    def do(self, where: Path) -> None:
        """Flip it."""
        path = where / self.file
        raw = bytearray(path.read_bytes())
        raw[self.at] ^= 1 << self.bit
        path.write_bytes(raw)


def flips(template: Template, chance: random.Random) -> Iterator[Flip]:
    """Without end: one anywhere, one in a stored value, one in the few bytes before a stored value, where its row's header and numbers lie."""
    files = {name: (template.where / name).read_bytes() for name in FILES if (template.where / name).exists()}
    stores = {name.rpartition("/")[2].partition(".")[0]: name for name in files if name.endswith(".db")}
    values = {
        table: [each for row in rows for each in row if isinstance(each, bytes) and len(each) > 5]
        for table, rows in template.rows.items() if not table.endswith("alembic_version")
    }  # fmt: skip
    tables = [table for table, known in sorted(values.items()) if known]
    while True:
        # The larger file takes more of them, but not all.
        name = chance.choice([*files, max(files, key=lambda each: len(files[each]))])
        yield Flip(name, chance.randrange(len(files[name])), chance.randrange(8))
        for before in (False, True):
            table = chance.choice(tables)
            value = chance.choice(values[table])
            file = stores[table.partition(".")[0]]
            places = [(each, files[each].rfind(value)) for each in (file, f"{file}-wal") if each in files and value in files[each]]
            if places:
                file, start = places[-1]
                at = max(start - chance.randint(1, 40), 0) if before else start + chance.randrange(len(value))
                yield Flip(file, at, chance.randrange(8))
