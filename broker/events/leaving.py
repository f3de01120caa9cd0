"""All events of a kind for their own person, oldest first, in whole days: what an export is made of."""

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, select, tuple_

from broker.errors import Unsealable
from broker.events import queries, shape
from broker.events.models import events
from broker.events.stored import Event, Opener
from broker.opening import Broker
from broker.vault.keys import Keyring

AT_ONCE: Final = 1000
MEMBERS: Final = {kind: ("kind", *(name for name in about.__struct_fields__ if name != "received")) for kind, about in shape.KINDS.items()}
"""What an upload may give of each kind, in the order that lines have; what the broker itself adds is not there."""


def kinds(tx: Connection, person_id: bytes) -> list[str]:
    """The kinds of which the person has events."""
    mine = select(events.c.event_tag).where(events.c.person_id == person_id)
    return [kind for kind in shape.KINDS if tx.execute(mine.where(events.c.kind == kind).limit(1)).first()]


def by_day(broker: Broker, ring: Keyring, kind: str, lost: Counter[str]) -> Iterator[list[Event]]:
    """Whole days of events, in order of time and id: the same in any broker. Those that do not open are counted in `lost`.

    No transaction is held between two days, since whoever reads may be slow, and what is forgotten meanwhile must be able to go.
    """
    opened, at = Opener(ring), (queries.FIRST_DAY, b"")
    day, held = queries.FIRST_DAY, list[Event]()
    while rows := _rows(broker, ring.person_id, kind, at):
        for row in rows:
            if row.day != day:
                yield _sorted(held)
                day, held = row.day, []
            try:
                held.append(opened(kind, row.day, row.event_tag, row.body))
            except Unsealable:
                lost[kind] += 1
        at = (rows[-1].day, rows[-1].event_tag)
    yield _sorted(held)


def _sorted(held: list[Event]) -> list[Event]:
    return sorted(held, key=lambda event: (event["time"], event["id"]))


def _rows(broker: Broker, person_id: bytes, kind: str, at: tuple[dt.date, bytes]) -> list[Any]:
    later = tuple_(events.c.day, events.c.event_tag) > at
    wanted = select(*queries.COLUMNS).where(events.c.person_id == person_id, events.c.kind == kind, later)
    with broker.reading() as tx:
        return list(tx.execute(wanted.order_by(events.c.day, events.c.event_tag).limit(AT_ONCE)).all())
