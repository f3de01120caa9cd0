"""heads.db: the little that must never be rolled back. Here: which grants have ended, so that a restored data.db cannot revive them."""

import datetime as dt

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from broker.db import Store
from broker.vault.models import ended_grants


def note_ended(store: Store, person_id: bytes, grant_id: bytes, at: dt.datetime) -> None:
    """Note durably that a grant has ended; saying it twice is fine."""
    try:
        with store.writing() as tx:
            tx.execute(ended_grants.insert().values(person_id=person_id, grant_id=grant_id, ended_at=at))
    except IntegrityError:
        return


def ended(store: Store) -> list[tuple[bytes, bytes]]:
    """(person_id, grant_id) of every grant that was ever ended."""
    with store.reading() as tx:
        return [(row.person_id, row.grant_id) for row in tx.execute(select(ended_grants.c.person_id, ended_grants.c.grant_id))]
