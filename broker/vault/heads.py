"""heads.db: the little that must never be rolled back: which grants have ended, the last checkpoint of each log, and how far time has come."""

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from broker.db import Store, upsert
from broker.vault.models import checkpoints, destroyed_keys, ended_grants, erased_people, times

log = logging.getLogger(__name__)
# The highest time that the broker has seen, and that which retention has come to.
SEEN: Final = "seen"
KEPT: Final = "kept"


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
        # Nobody is left whom a log that is gone should alarm.
        tx.execute(delete(checkpoints).where(checkpoints.c.person_id == person_id))


def erased(store: Store) -> list[bytes]:
    """Everyone who erased everything."""
    with store.reading() as tx:
        return list(tx.execute(select(erased_people.c.person_id)).scalars())


@dataclass(frozen=True, slots=True)
class Signed:
    """A log's last checkpoint: its signed note, what that says, and the frontier that the tree grows on from."""

    origin: str
    size: int
    root: bytes
    frontier: bytes
    note: bytes
    signed_at: dt.datetime


_SIGNED = (checkpoints.c.origin, checkpoints.c.size, checkpoints.c.root, checkpoints.c.frontier, checkpoints.c.note, checkpoints.c.signed_at)


def checkpoint(store: Store, person_id: bytes, log_id: bytes) -> Signed | None:
    """The last checkpoint of a log."""
    with store.reading() as tx:
        row = tx.execute(select(*_SIGNED).where(checkpoints.c.person_id == person_id, checkpoints.c.log_id == log_id)).first()
    return Signed(*row) if row else None


def checkpoints_of(store: Store, person_id: bytes) -> dict[bytes, Signed]:
    """The last checkpoint of each of a person's logs."""
    with store.reading() as tx:
        rows = tx.execute(select(checkpoints.c.log_id, *_SIGNED).where(checkpoints.c.person_id == person_id))
        return {row.log_id: Signed(*row[1:]) for row in rows}


def signed_heads(store: Store) -> dict[tuple[bytes, bytes], tuple[int, bytes]]:
    """(person_id, log_id) -> (size, root) of every last checkpoint."""
    with store.reading() as tx:
        rows = tx.execute(select(checkpoints.c.person_id, checkpoints.c.log_id, checkpoints.c.size, checkpoints.c.root))
        return {(row.person_id, row.log_id): (row.size, row.root) for row in rows}


def swap(store: Store, person_id: bytes, log_id: bytes, old: Signed | None, new: Signed) -> bool:
    """Put `new` in the place of `old`, durably; False, and nothing done, where another one has come there meanwhile."""
    mine = (checkpoints.c.person_id == person_id) & (checkpoints.c.log_id == log_id)
    try:
        with store.writing() as tx:
            if old is None:
                tx.execute(checkpoints.insert().values(person_id=person_id, log_id=log_id, **asdict(new)))
                return True
            wanted = mine & (checkpoints.c.size == old.size) & (checkpoints.c.root == old.root)
            return tx.execute(update(checkpoints).where(wanted).values(asdict(new))).rowcount == 1
    except IntegrityError:
        return False


def reached(store: Store, name: str) -> dt.datetime | None:
    """How far time has come (`SEEN` or `KEPT`); None where nothing is noted, or nothing that can be read."""
    try:
        with store.reading() as tx:
            return tx.execute(select(times.c.at).where(times.c.name == name)).scalar()
    except (ValueError, TypeError):
        log.exception("the time that is noted as %s is damaged", name)
        return None


def reach(store: Store, name: str, at: dt.datetime) -> dt.datetime:
    """Note durably that time has come to `at`, unless it is further already; returns how far it is."""
    later = upsert(times).values(name=name, at=at)
    with store.writing() as tx:
        tx.execute(later.on_conflict_do_update(index_elements=[times.c.name], set_={"at": at}, where=times.c.at < at))
    return reached(store, name) or at


def set_back(store: Store, at: dt.datetime) -> None:
    """Note that time is no further than `at`."""
    with store.writing() as tx:
        tx.execute(update(times).where(times.c.at > at).values(at=at))
