"""Writing notices, in the transaction of the act they tell of, and marking them as read."""

import datetime as dt
import os
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from sqlalchemy import Connection, delete, update

from broker.db import upsert
from broker.ledger.actions import entry_key
from broker.notices import queries
from broker.notices.models import notices
from broker.opening import Broker
from broker.vault.envelope import OpenKey
from broker.vault.keys import Appending

KEPT: Final = dt.timedelta(days=90)
KINDS: Final = frozenset({"code-replayed", "assertion-replayed", "other-key", "new-vendor", "new-session", "factor", "recovery"})


@dataclass(frozen=True, slots=True)
class Notice:
    """What to tell a person: its kind, and `about` what (JSON). `once` names what is told of at most once a day."""

    kind: str
    about: dict[str, Any] = field(default_factory=dict)
    once: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"No such notice: {self.kind}")

    def number(self, ring: Appending, now: dt.datetime) -> bytes:
        """The notice's id, 16 bytes."""
        return ring.log_tag(f"notice {self.kind} {now:%Y-%m-%d} {self.once}") if self.once else os.urandom(16)


def add(tx: Connection, ring: Appending, key: OpenKey, notice: Notice, now: dt.datetime) -> None:
    """Write a notice inside the caller's transaction; `key` is the month's ledger key, which can be had while the broker is sealed.

    What was read 90 days ago goes, so that the list has a bound.
    """
    number = notice.number(ring, now)
    body = key.seal(queries.place(ring.person_id, number), orjson.dumps(notice.about))
    row = {"person_id": ring.person_id, "notice_id": number, "kind": notice.kind, "made_at": now, "body": body}
    tx.execute(delete(notices).where(notices.c.person_id == ring.person_id, notices.c.seen_at < now - KEPT))
    tx.execute(upsert(notices).values(row).on_conflict_do_nothing())


def tell(broker: Broker, person_id: bytes, notice: Notice) -> None:
    """Write a notice in a transaction of its own, for acts that change nothing else; nothing is written where it was told today."""
    ring, now = broker.appender(person_id), broker.now()
    with broker.reading() as tx:
        if notice.once and queries.is_there(tx, person_id, notice.number(ring, now)):
            return
    key = entry_key(ring, now)
    broker.write(lambda tx: add(tx, ring, key, notice, now))


def mark_read(broker: Broker, person_id: bytes, notice_id: bytes | None = None) -> None:
    """Mark one notice as read, or all of them."""
    mine = (notices.c.person_id == person_id) & notices.c.seen_at.is_(None)
    if notice_id is not None:
        mine &= notices.c.notice_id == notice_id
    now = broker.now()
    broker.write(lambda tx: tx.execute(update(notices).where(mine).values(seen_at=now)))
