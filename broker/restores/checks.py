"""A backup before it is used: whether it can go where it should, whether it is this program's, and what is in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from broker import migrations
from broker.backups import copies
from broker.backups.copies import Pair, Read
from broker.db import KEYS, Store
from broker.errors import Unsealable
from broker.events import stored
from broker.events.models import events
from broker.ledger import queries as ledger
from broker.ledger.notes import OK, RESTORED
from broker.opening import Broker
from broker.people import queries as people
from broker.vault import heads
from broker.vault.backups import BackupRefused
from broker.vault.turns import hold
from broker.vault.vault import id_in
from broker.words import many

PARTS: Final = "restoring"
LEFT: Final = (
    "{where} is not empty: it holds {names}. Move what is there away, all but heads.db (and heads.db-journal, where there is one), which the broker that "
    "comes back needs. Nothing was restored."
)
RUNS: Final = "A broker runs on {where}, or is being put back there. Stop it, and move away what is there, all but heads.db. Nothing was restored."
OTHERS: Final = (
    "heads.db in {where} is of another broker than this backup. If this is a new computer, or you only tried a new broker here, move heads.db away as "
    "well; else find the backup of this broker. Nothing was restored."
)
STAYS: Final = frozenset({"heads.db", "heads.db-journal"})


@dataclass(frozen=True, slots=True)
class Report:
    """What is in a backup, in one sentence; or what is wrong with it."""

    sentence: str
    problem: str = ""


@contextmanager
def alone(where: Path) -> Iterator[None]:
    """Have a data directory alone, made where it is missing; `BackupRefused` where a broker runs on it, or anything but heads.db lies in it."""
    where.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        release = hold(where, alone=True)
    except BlockingIOError:
        raise BackupRefused(RUNS.format(where=where)) from None
    try:
        names = sorted(path.name for path in where.iterdir() if path.name not in {*STAYS, PARTS})
        if names:
            raise BackupRefused(LEFT.format(where=where, names=", ".join(names[:5])))
        yield
    finally:
        release()


def read_stores(pair: Pair, text: str, folder: Path) -> Read:
    """Read both stores of a backup into a folder. Raises `BackupRefused`, or `SchemaTooNew` before anything of them is used."""
    read = copies.read(pair, text, folder / "data.db", folder / "keys.db")
    for name in (copies.DATA_FILE, copies.KEYS_FILE):
        store = Store(folder / f"{name}.db", KEYS)
        try:
            migrations.behind(name, store)
        finally:
            store.close()
    return read


def put_in_place(where: Path, parts: Path) -> None:
    """Say in heads.db, where the old one is, that a restore is under way; then name both stores, the keys last: without them nothing starts."""
    if (where / "heads.db").exists():
        # What a process left half done there is undone by opening it.
        store = Store(where / "heads.db", KEYS)
        try:
            migrations.upgrade("heads", store)
            if heads.mark(store, heads.BROKER) not in {None, _broker_in(parts)}:
                raise BackupRefused(OTHERS.format(where=where))
            heads.set_mark(store, heads.RESTORING, os.urandom(16), keep=True)
        finally:
            store.close()
    for name in ("data.db", "keys.db"):
        (parts / name).replace(where / name)
        copies.sync(where)


def _broker_in(parts: Path) -> bytes:
    """The id of the broker that a restored keys.db is of."""
    store = Store(parts / "keys.db", KEYS)
    try:
        return id_in(store)
    finally:
        store.close()


def verified(broker: Broker) -> Report:
    """Open and verify everything: everybody's keys, every entry of every ledger, every event of everybody."""
    with broker.reading() as tx:
        everyone = people.everyone(tx)
        entries = 0
        for person_id in everyone:
            try:
                ring = broker.keyring(person_id)
                verdicts = ledger.verify(tx, ring)
                for row in tx.execute(select(events.c.kind, events.c.day, events.c.event_tag, events.c.body).where(events.c.person_id == person_id)):
                    ring.unseal(stored.place(person_id, row.kind, row.day, row.event_tag), row.body)
            except Unsealable:
                return Report("", "the keys in it do not open all of the data. Are both files of one broker?")
            wrong = next((each.problem for each in verdicts if each.code not in {OK, RESTORED}), "")
            if wrong:
                return Report("", wrong)
            entries += sum(each.size for each in verdicts)
        number = tx.execute(select(func.count()).select_from(events)).scalar_one()
    return Report(f"{many(len(everyone), 'person', 'people')}, {many(number, 'event')}, {many(entries, 'entry', 'entries')} of ledgers, all in order.")
