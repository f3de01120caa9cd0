"""Reading notices, newest first."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Connection, func, select

from broker.db import AnyRow
from broker.errors import Unsealable
from broker.notices.models import notices
from broker.vault.envelope import Place
from broker.vault.keys import Keyring

PAGE: Final = 50
_NEWEST: Final = (notices.c.made_at.desc(), notices.c.notice_id.desc())


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


def page(tx: Connection, ring: Keyring, below: bytes | None) -> tuple[list[Told], bytes | None]:
    """(the newest notices older than the one called `below`, what the next page is below)."""
    mine = notices.c.person_id == ring.person_id
    if below is not None:
        made_at = select(notices.c.made_at).where(mine, notices.c.notice_id == below).scalar_subquery()
        mine &= (notices.c.made_at < made_at) | ((notices.c.made_at == made_at) & (notices.c.notice_id < below))
    rows = tx.execute(select(notices).where(mine).order_by(*_NEWEST).limit(PAGE + 1)).all()
    return _opened(ring, rows[:PAGE]), rows[PAGE - 1].notice_id if len(rows) > PAGE else None


def newest(tx: Connection, ring: Keyring, limit: int) -> list[Told]:
    """The newest notices that wait to be read."""
    mine = (notices.c.person_id == ring.person_id) & notices.c.seen_at.is_(None)
    return _opened(ring, tx.execute(select(notices).where(mine).order_by(*_NEWEST).limit(limit)).all())


def _opened(ring: Keyring, rows: Iterable[AnyRow]) -> list[Told]:
    """One whose words can no longer be opened is left out."""
    found = []
    for row in rows:
        try:
            about = orjson.loads(ring.unseal(place(ring.person_id, row.notice_id), row.body))
        except Unsealable:
            continue
        found.append(Told(row.notice_id, row.kind, row.made_at, row.seen_at, about))
    return found
