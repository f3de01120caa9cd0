"""Reading how long things are kept and what goes next; and who got what, by the ledger."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Connection, func, select

from broker.errors import Unsealable
from broker.events.models import counts, retention, shreds
from broker.exports.periods import first_kept, goes_on, last_day
from broker.ledger import queries as ledger
from broker.ledger.proofs import b64
from broker.opening import Broker
from broker.vault.keys import Keyring

AT_ONCE: Final = 500


def kept(tx: Connection, person_id: bytes) -> dict[str, int]:
    """Kind -> how many days it is kept; kinds without an end are not there."""
    return {row.kind: row.days for row in tx.execute(select(retention.c.kind, retention.c.days).where(retention.c.person_id == person_id))}


def older(tx: Connection, person_id: bytes, kind: str, days: int, today: dt.date) -> int:
    """How many events of a kind would go at once, were it kept for so many days."""
    mine = (counts.c.person_id == person_id) & (counts.c.kind == kind) & (counts.c.day < first_kept(today, days))
    return int(tx.execute(select(func.coalesce(func.sum(counts.c.number), 0)).where(mine)).scalar_one())


@dataclass(frozen=True, slots=True)
class Going:
    """The next of a kind to go: a month, how many events lie in it, and the day on which it goes."""

    month: dt.date
    number: int
    on: dt.date


def next_to_go(tx: Connection, person_id: bytes, kind: str, days: int, today: dt.date) -> Going | None:
    """What goes next of a kind that is kept for so many days."""
    mine = (counts.c.person_id == person_id) & (counts.c.kind == kind) & (counts.c.number > 0)
    oldest: dt.date | None = tx.execute(select(func.min(counts.c.day)).where(mine, counts.c.day >= first_kept(today, days))).scalar()
    if oldest is None:
        return None
    first = oldest.replace(day=1)
    number = tx.execute(select(func.sum(counts.c.number)).where(mine, counts.c.day.between(first, last_day(first)))).scalar_one()
    return Going(first, int(number), goes_on(first, days))


def under_way(tx: Connection, person_id: bytes) -> int:
    """How many months were erased of which the last keys are not destroyed yet."""
    return tx.execute(select(func.count()).select_from(shreds).where(shreds.c.person_id == person_id)).scalar_one()


@dataclass(slots=True)
class Recipient:
    """What one vendor read for one purpose: when first and last, how often, and how many rows."""

    vendor: str
    purpose: str
    first: str
    last: str = ""
    reads: int = 0
    rows: int = 0


def recipients(tx: Connection, ring: Keyring) -> list[Recipient]:
    """Who read what, by all entries of the ledger that open: each vendor with each purpose once, the first to read first."""
    found: dict[tuple[str, str], Recipient] = {}
    for log_id in ledger.logs(tx, ring.person_id):
        opened = ledger.Opener(ring, log_id)
        for seq, _, body in ledger.bodies(tx, ring, log_id, 0):
            try:
                entry = orjson.loads(opened(seq, body)) if body else {}
            except Unsealable:
                # Only its hash is left.
                continue
            if entry.get("act") == "read" and entry["outcome"] == "permitted":
                vendor, purpose = str(entry["by"].get("vendor") or entry["by"].get("id", "")), str(entry.get("purpose", ""))
                mine = found.setdefault((vendor, purpose), Recipient(vendor, purpose, entry["at"]))
                mine.last, mine.reads, mine.rows = entry["at"], mine.reads + entry["times"], mine.rows + entry.get("count", 0)
    return list(found.values())


def sent(broker: Broker, ring: Keyring) -> Iterator[dict[str, Any]]:
    """Which events each read sent, oldest first: the log and number of its entry, the events' ids, the slice they were cut by, and the cursor."""
    at = (b"", -1)
    while True:
        with broker.reading() as tx:
            numbers = ledger.with_rows(tx, ring.person_id, at, AT_ONCE)
            known = [(log_id, seq, _served(tx, ring, log_id, seq)) for log_id, seq in numbers]
        if not numbers:
            return
        for log_id, seq, served in known:
            if served is not None:
                yield {"log": b64(log_id), "seq": seq, "ids": served.ids, "slice": served.within, "next": served.cursor}
        at = numbers[-1]


def _served(tx: Connection, ring: Keyring, log_id: bytes, seq: int) -> ledger.Served | None:
    try:
        return ledger.served(tx, ring, log_id, seq)
    except Unsealable:
        return None
