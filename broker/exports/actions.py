"""Erasing so that no copy of a file can be read again: crypto-shredding (reliability design, section 4.5), retention, and erasing a person.

The rows of what is forgotten go at once, with a note of the months they lay in. Then, in this order: the keys of those months are retired and
the survivors sealed anew; the keys are noted in heads.db and destroyed; the files are written anew without them; a new epoch and a new ROOT
close what old copies of keys.db could open. Each step can be done again, and a start after a kill goes on with it.
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, func, select, update

from broker.db import Prepared, metadata, upsert
from broker.errors import Sealed, Unsealable
from broker.events import actions as event_actions
from broker.events import stored
from broker.events.models import events, retention, retired_keys, shreds
from broker.exports.periods import first_kept, last_day
from broker.grants import actions as grant_actions
from broker.grants import queries as grant_queries
from broker.ledger import actions as ledger
from broker.opening import Broker
from broker.people import queries as people
from broker.vault import heads
from broker.vault.keys import Keyring

log = logging.getLogger(__name__)
RESEALED_AT_ONCE: Final = 200
KEPT_AT_ONCE: Final = 2000
# Retention takes time as it comes up to this much at once; after a longer leap of the clock it follows by so much a sweep, which is a day an hour.
LEAP: Final = dt.timedelta(days=7)
FOLLOWS: Final = dt.timedelta(minutes=12)
# More than this is forgotten only by whoever signed in a moment ago.
FREELY: Final = 1000
BROKER: Final = {"role": "broker"}
# Where an envelope holds the id of its key.
_KEY_ID = func.substr(events.c.body, 3, event_actions.KEY_ID)
_RESEAL: Final = Prepared(
    update(events).where(
        events.c.person_id == bindparam("person"), events.c.kind == bindparam("of_kind"), events.c.day == bindparam("on"),
        events.c.event_tag == bindparam("tag"), events.c.body == bindparam("old"),
    ),
    ("body",),
)  # fmt: skip


def shred(broker: Broker) -> int:
    """Destroy what could still open anything that was erased; returns how many months were finished. Raises `Sealed`.

    One process at a time. What is damaged of one person, or month, keeps nothing of another from its end.
    """
    with broker.vault.turn():
        return _shred(broker)


def _shred(broker: Broker) -> int:
    erased = _erase_people(broker)
    with broker.reading() as tx:
        due = tx.execute(select(shreds).order_by(shreds.c.asked_at)).all()
    done = [row for row in due if row.destroyed_at is not None or _each(_destroy_month, broker, bytes(row.person_id), row.kind, row.month, row.asked_at)]
    for person_id in {bytes(row.person_id) for row in done}:
        if broker.vault.has_keys(person_id):
            _each(broker.vault.renew_person, person_id)
    if not done and not erased:
        return 0
    broker.keys.vacuum()
    broker.data.truncate_log()
    broker.vault.rotate()
    _finish(broker, done)
    return len(done)


def _each(act: Callable[..., Any], *what: Any) -> bool:
    """Do it for one; whether it was done."""
    try:
        act(*what)
    except Unsealable:
        log.exception("something that is to be erased does not open")
        return False
    return True


def _of(person_id: bytes, kind: str, month: str) -> Any:
    first = dt.date.fromisoformat(f"{month}-01")
    return (events.c.person_id == person_id) & (events.c.kind == kind) & events.c.day.between(first, last_day(first))


def _mine(person_id: bytes, kind: str, month: str, asked_at: dt.datetime) -> Any:
    """The month's row, if nothing of it was erased since."""
    return (shreds.c.person_id == person_id) & (shreds.c.kind == kind) & (shreds.c.month == month) & (shreds.c.asked_at == asked_at)


def _destroy_month(broker: Broker, person_id: bytes, kind: str, month: str, asked_at: dt.datetime) -> None:
    try:
        ring = broker.keyring(person_id)
    except Unsealable:
        # The person is gone, and every key with them.
        broker.write(lambda tx: tx.execute(delete(shreds).where(shreds.c.person_id == person_id)))
        return
    key_ids = broker.vault.retire(person_id, kind, month)
    if key_ids:
        # From here on nothing can be stored under them, by whatever process.
        gone = upsert(retired_keys).on_conflict_do_nothing()
        broker.write(lambda tx: tx.execute(gone, [{"person_id": person_id, "key_id": key_id} for key_id in key_ids]))
    damaged: set[bytes] = set()
    while _reseal(broker, ring, kind, month, key_ids, damaged):
        pass
    heads.note_destroyed(broker.heads, person_id, key_ids, broker.now())
    broker.vault.destroy(person_id, key_ids)
    done = update(shreds).where(_mine(person_id, kind, month, asked_at)).values(destroyed_at=broker.now())
    broker.write(lambda tx: tx.execute(done))


def _reseal(broker: Broker, ring: Keyring, kind: str, month: str, key_ids: Sequence[bytes], damaged: set[bytes]) -> int:
    """Seal some survivors of a month under its new key; returns how many there were. What does not open joins the `damaged` and is left as it is."""
    wanted = select(events.c.day, events.c.event_tag, events.c.body).where(
        _of(ring.person_id, kind, month), _KEY_ID.in_(key_ids), events.c.event_tag.not_in(damaged)
    )
    with broker.reading() as tx:
        rows = tx.execute(wanted.limit(RESEALED_AT_ONCE)).all()
    if not rows:
        return 0
    key = ring.key_for(kind, month, len(rows))
    changes = []
    for row in rows:
        place = stored.place(ring.person_id, kind, row.day, row.event_tag)
        try:
            plain = ring.unseal(place, row.body)
        except Unsealable:
            damaged.add(row.event_tag)
            continue
        body = key.seal(place, plain)
        changes.append({"person": ring.person_id, "of_kind": kind, "on": row.day, "tag": row.event_tag, "old": row.body, "body": body})
    # A row that was forgotten meanwhile stays forgotten.
    broker.write(lambda tx: _RESEAL.run_many(tx, changes))
    if damaged:
        log.error("%d events of a month that is shredded do not open", len(damaged))
    return len(rows)


def _finish(broker: Broker, due: Iterable[Any]) -> None:
    """Enter what was destroyed, once for each person, and take the notes away."""
    by_person: dict[bytes, list[Any]] = {}
    for row in due:
        by_person.setdefault(bytes(row.person_id), []).append(row)
    for person_id, rows in by_person.items():
        months = sorted({f"{row.kind} {row.month}" for row in rows})
        entry = ledger.Entry("key_destroyed", broker.now(), by=BROKER, about={"months": months, "epoch": broker.vault.epoch})
        try:
            ring = broker.keyring(person_id)
        except Unsealable:
            continue
        key = ledger.entry_key(ring, entry.at)

        def job(tx: Connection, ring: Keyring = ring, rows: list[Any] = rows, entry: ledger.Entry = entry, key: Any = key) -> None:
            ended = [tx.execute(delete(shreds).where(_mine(ring.person_id, row.kind, row.month, row.asked_at))).rowcount for row in rows]
            if any(ended):
                ledger.append(tx, ring, key, entry)

        broker.write(job)


def erase_person(broker: Broker, person_id: bytes) -> None:
    """Erase everything of a person, for good: their grants end, their rows go, then their keys. What a kill leaves is done at the next sweep."""
    with broker.reading() as tx:
        live = [each.grant_id for each in grant_queries.outlines(tx, person_id) if each.status in grant_queries.LIVE]
    for grant_id in live:
        grant_actions.revoke(broker, person_id, grant_id, reason="erased")
    heads.note_erased(broker.heads, person_id, broker.now())
    _delete_rows(broker, person_id)


def _delete_rows(broker: Broker, person_id: bytes) -> None:
    tables = [table for table in metadata.sorted_tables if next(iter(table.primary_key.columns)).name == "person_id"]

    def job(tx: Connection) -> None:
        for table in reversed(tables):
            tx.execute(delete(table).where(table.c.person_id == person_id))

    broker.write(job, ending=True)


def _erase_people(broker: Broker) -> int:
    """Destroy the keys of whoever erased everything; returns how many still had some."""
    erase_again(broker)
    left = broker.vault.with_keys(heads.erased(broker.heads))
    for person_id in left:
        broker.vault.destroy(person_id)
    return len(left)


def erase_again(broker: Broker) -> None:
    """Whoever erased everything stays erased, should an older data.db have come back; also at start-up, before anything else."""
    with broker.reading() as tx:
        back = people.existing(tx, heads.erased(broker.heads))
    for person_id in back:
        _delete_rows(broker, person_id)


def keep_for(broker: Broker, person_id: bytes, kind: str, days: int | None) -> None:
    """Say how long a kind of event is kept, in days; None is for ever."""
    ring, now = broker.keyring(person_id), broker.now()
    key = ledger.entry_key(ring, now)
    mine = (retention.c.person_id == person_id) & (retention.c.kind == kind)

    def job(tx: Connection) -> None:
        tx.execute(delete(retention).where(mine))
        if days is not None:
            tx.execute(upsert(retention).values(person_id=person_id, kind=kind, days=days))
        ledger.append(tx, ring, key, ledger.Entry("settings", now, about={"kept": kind, "days": days or 0}))

    broker.write(job)


def _today_of_retention(broker: Broker) -> dt.date:
    """The day that retention goes by: a clock that leapt ahead may be wrong, and what is erased by it does not come back when it is set right."""
    now, last = broker.now(), heads.reached(broker.heads, heads.KEPT)
    if last is not None and now - last > LEAP:
        leapt, now = now - last, last + FOLLOWS
        if now.date() != last.date():
            log.warning("the clock is %d days ahead of the last sweeps; what is kept for a time follows by a day an hour", leapt.days)
    return min(now, heads.reach(broker.heads, heads.KEPT, now)).date()


def expire(broker: Broker) -> int:
    """Erase what is older than its person wants to keep; returns how many events."""
    today, erased = _today_of_retention(broker), 0
    with broker.reading() as tx:
        wanted = [(bytes(row.person_id), row.kind, first_kept(today, row.days)) for row in tx.execute(select(retention))]
    for person_id, kind, first in wanted:
        old = (events.c.person_id == person_id) & (events.c.kind == kind) & (events.c.day < first)
        while True:
            with broker.reading() as tx:
                rows = tx.execute(select(events.c.kind, events.c.day, events.c.event_tag).where(old).limit(KEPT_AT_ONCE)).all()
            if not rows:
                break
            keys = [(row.kind, row.day, row.event_tag) for row in rows]
            about = {"kinds": [kind], "to": (first - dt.timedelta(days=1)).isoformat(), "why": "retention"}
            if not _each(_forget, broker, person_id, keys, about):
                break
            erased += len(keys)
    return erased


def _forget(broker: Broker, person_id: bytes, keys: Sequence[tuple[str, dt.date, bytes]], about: dict[str, Any]) -> None:
    event_actions.forget(broker, broker.keyring(person_id), keys, about, by=BROKER)


def sweep(broker: Broker) -> None:
    """What is due: expiry, then shredding. Waits while the broker is sealed."""
    try:
        expire(broker)
        shred(broker)
    except Sealed:
        return
