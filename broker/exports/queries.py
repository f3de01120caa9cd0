"""Reading how long things are kept, and what goes next."""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from broker.events.models import counts, retention, shreds
from broker.exports.periods import first_kept, goes_on, last_day


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
