"""Reading notices, newest first."""

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Connection, func, select

from broker.errors import Unsealable
from broker.notices.models import notices
from broker.vault.envelope import Place
from broker.vault.keys import Keyring

PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class Told:
    """One notice as its person reads it."""

    id: bytes
    kind: str
    made_at: dt.datetime
    seen_at: dt.datetime | None
    about: dict[str, Any]


def place(person_id: bytes, notice_id: bytes) -> bytes:
    """Where a notice's words are sealed."""
    return Place(person_id, "notices").at(notice_id)


def is_there(tx: Connection, person_id: bytes, notice_id: bytes) -> bool:
    """Whether this notice was written already."""
    return tx.execute(select(notices.c.kind).where(notices.c.person_id == person_id, notices.c.notice_id == notice_id)).first() is not None


def unread(tx: Connection, person_id: bytes) -> int:
    """How many notices wait to be read."""
    return tx.execute(select(func.count()).select_from(notices).where(notices.c.person_id == person_id, notices.c.seen_at.is_(None))).scalar_one()


def newest(tx: Connection, ring: Keyring, *, unread_only: bool = False, limit: int = PAGE) -> list[Told]:
    """The newest notices; one whose words can no longer be opened is left out."""
    mine = select(notices).where(notices.c.person_id == ring.person_id)
    if unread_only:
        mine = mine.where(notices.c.seen_at.is_(None))
    found = []
    for row in tx.execute(mine.order_by(notices.c.made_at.desc()).limit(limit)):
        try:
            about = orjson.loads(ring.unseal(place(ring.person_id, row.notice_id), row.body))
        except Unsealable:
            continue
        found.append(Told(row.notice_id, row.kind, row.made_at, row.seen_at, about))
    return found
