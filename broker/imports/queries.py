"""Reading imports: a person's batches, and which of a file's events are here already."""

import binascii
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Connection, select

from broker.db import AnyRow
from broker.errors import NotFound, Unsealable
from broker.events.models import events, forgotten
from broker.imports.findings import Findings
from broker.imports.models import batches
from broker.imports.purchases import Mapping
from broker.vault.envelope import Place
from broker.vault.keys import Keyring

# A worker writes its progress every few seconds; after this long without, its process has died.
SILENCE: Final = dt.timedelta(seconds=60)
WORKING: Final = frozenset({"reading", "taking", "undoing"})
HELD: Final = frozenset({"taking", "done", "undoing"})
BYTES_OF_ID: Final = 16


@dataclass(frozen=True, slots=True)
class Batch:
    """One import. `details` has the file's `name`, its `kind`, where it came `from` (upload, browser, file), and with time `found`, `mapping`, `why`."""

    batch_id: bytes
    state: str
    made_at: dt.datetime
    changed_at: dt.datetime
    total: int
    done: int
    details: dict[str, Any]

    @property
    def id(self) -> str:
        """As it stands in addresses and on the command line."""
        return self.batch_id.hex()

    @property
    def found(self) -> Findings:
        """What the last run over the file found."""
        return Findings(**self.details.get("found", {}))

    @property
    def mapping(self) -> Mapping | None:
        """Which column is what, where the person said so."""
        told = self.details.get("mapping")
        return Mapping(**told) if told else None

    def is_silent(self, now: dt.datetime) -> bool:
        """Whether work on it began and nobody has gone on with it for a minute."""
        return self.state in WORKING and now - self.changed_at > SILENCE


def place(person_id: bytes, batch_id: bytes) -> bytes:
    """Where a batch's details are sealed."""
    return Place(person_id, "import_batches", "details").at(batch_id)


def to_bytes(batch: str) -> bytes:
    """A batch's id from its text; `NotFound` for anything that is none."""
    try:
        raw = binascii.unhexlify(batch)
    except (binascii.Error, ValueError):
        raise NotFound from None
    if len(raw) != BYTES_OF_ID:
        raise NotFound
    return raw


def _batch(ring: Keyring, row: AnyRow) -> Batch:
    details = orjson.loads(ring.unseal(place(ring.person_id, row.batch_id), row.details))
    return Batch(bytes(row.batch_id), row.state, row.made_at, row.changed_at, row.total, row.done, details)


def one(tx: Connection, ring: Keyring, batch_id: bytes) -> Batch:
    """One batch of this person; `NotFound` for others'."""
    row = tx.execute(select(batches).where(batches.c.person_id == ring.person_id, batches.c.batch_id == batch_id)).first()
    if row is None:
        raise NotFound
    return _batch(ring, row)


def every(tx: Connection, ring: Keyring, limit: int = 50) -> list[Batch]:
    """The person's batches, newest first."""
    mine = select(batches).where(batches.c.person_id == ring.person_id).order_by(batches.c.made_at.desc(), batches.c.batch_id).limit(limit)
    return [_batch(ring, row) for row in tx.execute(mine)]


def names(tx: Connection, ring: Keyring, limit: int) -> dict[str, str]:
    """The names of the files that the newest batches came from, by the batch's id; of one that does not open it is empty."""
    mine = select(batches.c.batch_id, batches.c.details).where(batches.c.person_id == ring.person_id).order_by(batches.c.made_at.desc()).limit(limit)
    return {bytes(row.batch_id).hex(): _name(ring, row) for row in tx.execute(mine)}


def _name(ring: Keyring, row: AnyRow) -> str:
    try:
        return str(orjson.loads(ring.unseal(place(ring.person_id, row.batch_id), row.details))["name"])
    except Unsealable:
        return ""


def status(tx: Connection, ring: Keyring, ids: Sequence[str]) -> dict[str, str]:
    """What would become of events with these ids: accepted, duplicate or forgotten; at most some hundreds at a time."""
    tag = ring.tag("", "events", "event")
    tags = {tag(event_id): event_id for event_id in ids}
    known = set(tx.execute(select(events.c.event_tag).where(events.c.person_id == ring.person_id, events.c.event_tag.in_(tags))).scalars())
    gone = set(tx.execute(select(forgotten.c.event_tag).where(forgotten.c.person_id == ring.person_id, forgotten.c.event_tag.in_(tags))).scalars())
    return {event_id: "forgotten" if each in gone else "duplicate" if each in known else "accepted" for each, event_id in tags.items()}
