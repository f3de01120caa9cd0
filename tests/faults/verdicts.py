"""The oracle of a kill: opens the stores and says what of all that was acknowledged is not there."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
from loads import Heard
from sqlalchemy import func, select

from broker.events import queries
from broker.events.actions import tag_of
from broker.events.models import counts, events
from broker.grants import queries as grants
from broker.ledger import models
from broker.ledger import queries as ledger
from broker.ledger.proofs import place
from broker.opening import Broker


def integrity(broker: Broker) -> Iterator[str]:
    """What SQLite itself finds wrong with the three files."""
    for store in (broker.data, broker.keys, broker.heads):
        connection = sqlite3.connect(store.path)
        found = connection.execute("PRAGMA integrity_check").fetchone()[0]
        connection.close()
        if found != "ok":
            yield f"{store.path.name}: {found}"


def losses(broker: Broker, person_id: bytes, heard: Heard, start: int = 0) -> list[str]:
    """Every acknowledged act that is not in the stores, and every store that does not hold; `start` is the ledger's size before the load."""
    ring = broker.keyring(person_id)
    found = [*heard.wrong, *integrity(broker)]
    with broker.reading() as tx:
        found += [f"ledger: {each.problem}" for each in ledger.verify(tx, ring) if each.code]
        told = entries(tx, ring, start)
        found += [loss for read in heard.reads if (loss := _loss_of_read(read, told.get(read.request)))]
        found += _lost_events(tx, ring, [event["id"] for batch in heard.uploads for event in batch])
        found += [f"grant {each.grant} is alive after its revoke" for each in heard.revoked if grants.is_live(tx, person_id, each.grant_id)]
        ended = {entry["grant"] for entry in told.values() if entry["act"] == "revoke"}
        found += [f"the revoke of {each.grant} has no entry" for each in heard.revoked if each.grant not in ended]
        found += _wrong_counts(tx, person_id)
    return found


def size(broker: Broker, person_id: bytes) -> int:
    """How many entries the person's ledger has."""
    with broker.reading() as tx:
        return int(tx.execute(select(models.heads.c.size).where(models.heads.c.person_id == person_id)).scalar_one())


def entries(tx: Any, ring: Any, start: int) -> dict[str, dict[str, Any]]:
    """The person's entries from `start` on, by their request or, where there was none, by their place."""
    table = models.entries
    rows = tx.execute(select(table.c.log_id, table.c.seq, table.c.body).where(table.c.person_id == ring.person_id, table.c.seq >= start))
    found = [orjson.loads(ring.unseal(place(ring.person_id, "ledger_entries", row.log_id, row.seq), row.body)) for row in rows]
    return {entry.get("request", f"seq {entry['seq']}"): entry for entry in found}


def _loss_of_read(read: Any, entry: dict[str, Any] | None) -> str:
    if entry is None or entry["act"] != "read" or entry["outcome"] != "permitted":
        return f"read {read.request} left without an entry"
    if read.count is not None and (entry["count"] != read.count or entry["body"] != read.digest):
        return f"read {read.request} left {read.count} rows, its entry says {entry['count']}"
    return ""


def _lost_events(tx: Any, ring: Any, ids: list[str]) -> list[str]:
    kept = Counter(event["id"] for event in queries.kept(tx, ring, [tag_of(ring, each) for each in ids]))
    return [f"event {each} is there {kept[each]} times" for each in ids if kept[each] != 1]


def _wrong_counts(tx: Any, person_id: bytes) -> list[str]:
    of = events.c
    rows = tx.execute(select(of.day, of.kind, func.count()).where(of.person_id == person_id).group_by(of.day, of.kind))
    true = {(row[0], row[1]): row[2] for row in rows}
    told = {(row.day, row.kind): row.number for row in tx.execute(select(counts).where(counts.c.person_id == person_id)) if row.number}
    return [
        f"counter of {day} {kind}: {told.get((day, kind))}, rows: {true.get((day, kind))}"
        for day, kind in true.keys() | told.keys()
        if true.get((day, kind)) != told.get((day, kind))
    ]
