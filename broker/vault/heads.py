"""heads.db: the little that must never be rolled back. Here: which grants have ended, so that a restored data.db cannot revive them."""

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from broker.db import Store, upsert
from broker.vault.models import destroyed_keys, ended_grants, erased_people


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


def note_destroyed(store: Store, person_id: bytes, key_ids: Sequence[bytes], at: dt.datetime) -> None:
    """Note durably that keys are to be gone; saying it twice is fine."""
    rows = [{"person_id": person_id, "key_id": key_id, "destroyed_at": at} for key_id in key_ids]
    if rows:
        with store.writing() as tx:
            tx.execute(upsert(destroyed_keys).on_conflict_do_nothing(), rows)


def note_erased(store: Store, person_id: bytes, at: dt.datetime) -> None:
    """Note durably that a person erased everything; saying it twice is fine."""
    with store.writing() as tx:
        tx.execute(upsert(erased_people).values(person_id=person_id, erased_at=at).on_conflict_do_nothing())


def erased(store: Store) -> list[bytes]:
    """Everyone who erased everything."""
    with store.reading() as tx:
        return list(tx.execute(select(erased_people.c.person_id)).scalars())
