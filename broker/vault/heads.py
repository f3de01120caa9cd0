"""heads.db: the little that must never be rolled back: what has ended or was taken away, the last checkpoint of each log, and how far time has come."""

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError

from broker.db import Store, lots, upsert
from broker.vault.models import checkpoints, destroyed_keys, ended_grants, erased_people, forgotten, lessened, marks, removed_slots, times

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


def destroyed_of(store: Store, person_id: bytes) -> set[bytes]:
    """The ids of a person's keys that are to be gone."""
    with store.reading() as tx:
        return set(tx.execute(select(destroyed_keys.c.key_id).where(destroyed_keys.c.person_id == person_id)).scalars())


def note_erased(store: Store, person_id: bytes, at: dt.datetime) -> None:
    """Note durably that a person erased everything; saying it twice is fine."""
    with store.writing() as tx:
        tx.execute(upsert(erased_people).values(person_id=person_id, erased_at=at).on_conflict_do_nothing())
        # Nobody is left whom a log that is gone should alarm.
        for table in (checkpoints, lessened, forgotten):
            tx.execute(delete(table).where(table.c.person_id == person_id))


def erased(store: Store) -> list[bytes]:
    """Everyone who erased everything."""
    with store.reading() as tx:
        return list(tx.execute(select(erased_people.c.person_id)).scalars())


def is_erased(store: Store, person_id: bytes) -> bool:
    """Whether this person erased everything."""
    with store.reading() as tx:
        return tx.execute(select(erased_people.c.person_id).where(erased_people.c.person_id == person_id)).first() is not None


def note_lessened(store: Store, person_id: bytes, grant_id: bytes, version: int, *, narrowed: bool) -> None:
    """Note durably that a grant was paused, or narrowed, and is of this version since."""
    known = (lessened.c.person_id == person_id) & (lessened.c.grant_id == grant_id)
    with store.writing() as tx:
        row = tx.execute(select(lessened.c.version, lessened.c.narrowed).where(known)).first()
        tx.execute(delete(lessened).where(known))
        older, last = row or (0, 0)
        values = {"version": max(version, older), "narrowed": max(version, last) if narrowed else last}
        tx.execute(lessened.insert().values(person_id=person_id, grant_id=grant_id, **values))


def lessened_grants(store: Store) -> dict[tuple[bytes, bytes], tuple[int, int]]:
    """(person_id, grant_id) -> (the newest version in which it was paused or narrowed, the newest in which it was narrowed, or 0)."""
    with store.reading() as tx:
        return {(row.person_id, row.grant_id): (row.version, row.narrowed) for row in tx.execute(select(lessened))}


def note_forgotten(store: Store, person_id: bytes, keys: Sequence[tuple[str, dt.date, bytes]], at: dt.datetime) -> None:
    """Note durably that events (kind, day, tag) were forgotten at that time."""
    rows = [{"person_id": person_id, "event_tag": tag, "kind": kind, "month": f"{day:%Y-%m}", "noted_at": at} for kind, day, tag in keys]
    statement = upsert(forgotten)
    again = statement.on_conflict_do_update(index_elements=list(forgotten.primary_key.columns), set_={"noted_at": at})
    with store.writing() as tx:
        for lot in lots(rows):
            tx.execute(again, list(lot))


def let_go_forgotten(store: Store, person_id: bytes, kind: str, month: str, until: dt.datetime) -> None:
    """What was forgotten of a month by then needs no note any more: no copy of it can be opened."""
    mine = (forgotten.c.person_id == person_id) & (forgotten.c.kind == kind) & (forgotten.c.month == month)
    with store.writing() as tx:
        tx.execute(delete(forgotten).where(mine, forgotten.c.noted_at <= until))


def forgotten_events(store: Store) -> dict[bytes, list[bytes]]:
    """Of each person the tags of events that were forgotten and might come back."""
    found: dict[bytes, list[bytes]] = {}
    with store.reading() as tx:
        for row in tx.execute(select(forgotten.c.person_id, forgotten.c.event_tag)):
            found.setdefault(row.person_id, []).append(row.event_tag)
    return found


def note_removed(store: Store, slot_id: str) -> None:
    """Note durably that a slot was taken away."""
    with store.writing() as tx:
        tx.execute(upsert(removed_slots).values(slot_id=bytes.fromhex(slot_id)).on_conflict_do_nothing())


def removed(store: Store) -> list[str]:
    """The ids of all slots that were taken away."""
    with store.reading() as tx:
        return [slot_id.hex() for slot_id in tx.execute(select(removed_slots.c.slot_id)).scalars()]


def destroyed(store: Store) -> dict[bytes, set[bytes]]:
    """Of each person the keys that are to be gone."""
    found: dict[bytes, set[bytes]] = {}
    with store.reading() as tx:
        for row in tx.execute(select(destroyed_keys.c.person_id, destroyed_keys.c.key_id)):
            found.setdefault(row.person_id, set()).add(row.key_id)
    return found


def count_destroyed(store: Store) -> int:
    """How many keys are to be gone; it only grows."""
    with store.reading() as tx:
        return tx.execute(select(func.count()).select_from(destroyed_keys)).scalar_one()


# The names of marks: whose heads.db this is, that it is from before there were marks, the newest epoch, a restore under way (its id), a shredding
# under way (since when).
BROKER, ADOPTED, EPOCH, RESTORING, SHREDDING = "broker", "adopted", "epoch", "restoring", "shredding"


def mark(store: Store, name: str) -> bytes | None:
    """A mark, if it is set."""
    with store.reading() as tx:
        return tx.execute(select(marks.c.value).where(marks.c.name == name)).scalar()


def set_mark(store: Store, name: str, value: bytes, *, keep: bool = False) -> None:
    """Set a mark durably; `keep` one that is there."""
    with store.writing() as tx:
        if not keep:
            tx.execute(delete(marks).where(marks.c.name == name))
        tx.execute(upsert(marks).values(name=name, value=value).on_conflict_do_nothing())


def clear_mark(store: Store, name: str) -> None:
    """Take a mark away durably."""
    with store.writing() as tx:
        tx.execute(delete(marks).where(marks.c.name == name))


def note_epoch(store: Store, epoch: int) -> None:
    """Note durably that this epoch is in force; an older one is not noted over a newer."""
    if epoch > newest_epoch(store):
        set_mark(store, EPOCH, str(epoch).encode())


def newest_epoch(store: Store) -> int:
    """The newest epoch that is known to have been in force; 0 where none is."""
    return int(mark(store, EPOCH) or b"0")


def settle(store: Store, broker_id: bytes, epoch: int, gone: Sequence[bytes]) -> None:
    """At the end of a restore, in one transaction: what is there now is what counts. The checkpoints of people who are `gone` go.

    What was lessened or forgotten is so again, in grants and events that are older than the notes of it.
    """
    with store.writing() as tx:
        tx.execute(delete(lessened))
        tx.execute(delete(forgotten))
        tx.execute(delete(marks).where(marks.c.name.in_((BROKER, EPOCH, RESTORING))))
        tx.execute(upsert(marks), [{"name": BROKER, "value": broker_id}, {"name": EPOCH, "value": str(epoch).encode()}])
        for person_id in gone:
            tx.execute(delete(checkpoints).where(checkpoints.c.person_id == person_id))


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
    """Put `new` in the place of `old`, durably; False, and nothing done, where another one has come there meanwhile, or the person is erased."""
    mine = (checkpoints.c.person_id == person_id) & (checkpoints.c.log_id == log_id)
    try:
        with store.writing() as tx:
            if tx.execute(select(erased_people.c.person_id).where(erased_people.c.person_id == person_id)).first():
                return False
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
