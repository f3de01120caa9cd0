"""Erasing so that no copy of a file can be read again: crypto-shredding (reliability design, section 4.5), retention, and erasing a person.

The rows of what is forgotten go at once, with a note of the months they lay in. Then, in this order: the keys of those months are retired and
the survivors sealed anew; the keys are noted in heads.db and destroyed; the files are written anew without them; a new epoch and a new ROOT
close what old copies of keys.db could open, after a backup where one is wanted. Each step can be done again, and a start after a kill goes on with it.
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, func, select, update

from broker.backups import copies
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
from broker.vault.backups import BackupRefused
from broker.vault.keys import Keyring

log = logging.getLogger(__name__)
RESEALED_AT_ONCE: Final = 200
KEPT_AT_ONCE: Final = 2000
# So long what was erased waits for a backup of what is left; then it goes without one.
BACKUP_WITHIN: Final = dt.timedelta(hours=24)
# Retention takes time as it comes up to this much at once; after a longer leap of the clock it follows by so much a sweep, which is a day an hour.
LEAP: Final = dt.timedelta(days=7)
FOLLOWS: Final = dt.timedelta(minutes=12)
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

    One process at a time. What is damaged of one person, or month, keeps nothing of another from its end. With `BROKER_BACKUP_DIR` the last step,
    the end of the old epoch, follows a backup of what is left; it waits for one a day at most.
    """
    with broker.vault.turn():
        return _shred(broker)


def _shred(broker: Broker) -> int:
    with broker.reading() as tx:
        due = tx.execute(select(shreds).order_by(shreds.c.asked_at)).all()
    if due:
        heads.set_mark(broker.heads, heads.SHREDDING, broker.now().isoformat().encode(), keep=True)
    gone = erase_again(broker)
    since = heads.mark(broker.heads, heads.SHREDDING)
    if since is None:
        return 0
    if broker.vault.sealed:
        raise Sealed
    fresh = [row for row in due if row.destroyed_at is None]
    ended = [row for row in fresh if _each(_destroy_month, broker, bytes(row.person_id), row.kind, row.month, row.asked_at)]
    done = [row for row in due if row.destroyed_at is not None or row in ended]
    may_end = _may_end(broker, dt.datetime.fromisoformat(since.decode()))
    if not (may_end and (done or not due)) and not ended and not gone:
        return 0
    for person_id in {bytes(row.person_id) for row in done}:
        if broker.vault.has_keys(person_id):
            _each(broker.vault.renew_person, person_id)
    broker.keys.vacuum()
    emptied = broker.data.truncate_log()
    epoch = _next_epoch(broker, dt.datetime.fromisoformat(since.decode())) if may_end else None
    if epoch is None or not emptied:
        # It waits for a backup; or somebody reads, and the rows stay in the log beside the file until the next sweep. So do the notes.
        return 0
    _finish(broker, done, epoch)
    heads.clear_mark(broker.heads, heads.SHREDDING)
    return len(done)


def _each(act: Callable[..., Any], *what: Any) -> bool:
    """Do it for one; whether it was done."""
    try:
        act(*what)
    except Unsealable:
        log.exception("something that is to be erased does not open")
        return False
    return True


def _may_end(broker: Broker, since: dt.datetime) -> bool:
    """Whether the old epoch can be ended now: no backup is wanted, or one can be made, or none could for a day."""
    if not broker.settings.backup_dir or broker.now() - since >= BACKUP_WITHIN:
        return True
    return copies.possible(broker, Path(broker.settings.backup_dir))


def _next_epoch(broker: Broker, since: dt.datetime) -> int | None:
    """Begin a new epoch, back up what is left and open it once, and only then destroy the old epoch; None where that has to wait for a backup."""
    made: list[copies.Pair] = []

    def back_up() -> None:
        try:
            # Survivors that were sealed anew exist nowhere else.
            made.append(copies.make(broker, Path(broker.settings.backup_dir), None))
        except BackupRefused as why:
            if broker.now() - since < BACKUP_WITHIN:
                raise
            log.critical("no backup could be made for a day, and what was erased is destroyed without one: %s", why)

    try:
        epoch = broker.vault.rotate(before_end=back_up if broker.settings.backup_dir else _nothing)
        for pair in made:
            # The keys as they were a moment before still open the old epoch.
            copies.renew_keys(broker, pair)
    except BackupRefused:
        log.exception("erasing waits for a backup")
        return None
    heads.note_epoch(broker.heads, epoch)
    return epoch


def _nothing() -> None:
    """There is no backup to be made."""


def _of(person_id: bytes, kind: str, month: str) -> Any:
    first = dt.date.fromisoformat(f"{month}-01")
    return (events.c.person_id == person_id) & (events.c.kind == kind) & events.c.day.between(first, last_day(first))


def _mine(person_id: bytes, kind: str, month: str, asked_at: dt.datetime) -> Any:
    """The month's row, if nothing of it was erased since."""
    return (shreds.c.person_id == person_id) & (shreds.c.kind == kind) & (shreds.c.month == month) & (shreds.c.asked_at == asked_at)


def _destroy_month(broker: Broker, person_id: bytes, kind: str, month: str, asked_at: dt.datetime) -> None:
    if not broker.vault.has_keys(person_id):
        # The person is gone, and every key with them.
        broker.write(lambda tx: tx.execute(delete(shreds).where(shreds.c.person_id == person_id)))
        return
    ring = broker.keyring(person_id)
    key_ids = broker.vault.retire(person_id, kind, month)
    ring.seal_anew()
    if key_ids:
        # From here on nothing can be stored under them, by whatever process.
        broker.write(lambda tx: _note_retired(tx, person_id, kind, month, key_ids))
    damaged: set[bytes] = set()
    while _reseal(broker, ring, kind, month, key_ids, damaged):
        pass
    heads.note_destroyed(broker.heads, person_id, key_ids, broker.now())
    broker.vault.destroy(person_id, key_ids)
    broker.write(lambda tx: _note_destroyed(tx, person_id, kind, month, asked_at, broker.now()))


def _note_retired(tx: Connection, person_id: bytes, kind: str, month: str, key_ids: Iterable[bytes]) -> None:
    """Let nothing be stored under these keys any more; totals that were since the rows went are worked out anew under the next."""
    gone = upsert(retired_keys).on_conflict_do_nothing()
    tx.execute(gone, [{"person_id": person_id, "key_id": key_id} for key_id in key_ids])
    event_actions.outdate(tx, person_id, [(kind, month)])


def _note_destroyed(tx: Connection, person_id: bytes, kind: str, month: str, asked_at: dt.datetime, now: dt.datetime) -> None:
    """The end of a month's keys; whoever still adds up what they had read under them has to begin again."""
    tx.execute(update(shreds).where(_mine(person_id, kind, month, asked_at)).values(destroyed_at=now))
    event_actions.outdate(tx, person_id, [(kind, month)])


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


def _finish(broker: Broker, due: Iterable[Any], epoch: int) -> None:
    """Enter what was destroyed, once for each person, and take the notes away."""
    by_person: dict[bytes, list[Any]] = {}
    for row in due:
        by_person.setdefault(bytes(row.person_id), []).append(row)
    for person_id, rows in by_person.items():
        months = sorted({f"{row.kind} {row.month}" for row in rows})
        entry = ledger.Entry("key_destroyed", broker.now(), by=BROKER, about={"months": months, "epoch": epoch})
        ring, key = None, None
        try:
            ring = broker.keyring(person_id)
            key = ledger.entry_key(ring, entry.at)
        except Unsealable:
            # The months are destroyed all the same; a note that stayed would have the epoch change at every sweep.
            log.exception("what was destroyed goes without its entry")

        def job(tx: Connection, ring: Keyring | None = ring, rows: list[Any] = rows, entry: ledger.Entry = entry, key: Any = key) -> None:
            ended = [tx.execute(delete(shreds).where(_mine(row.person_id, row.kind, row.month, row.asked_at))).rowcount for row in rows]
            if ring is not None and key is not None and any(ended):
                ledger.append(tx, ring, key, entry)

        broker.write(job)
        for row in rows:
            heads.let_go_forgotten(broker.heads, person_id, row.kind, row.month, row.asked_at)


def erase_person(broker: Broker, person_id: bytes) -> None:
    """Erase everything of a person, for good: their grants end, their rows go, then their keys. What a kill leaves is done at the next sweep."""
    with broker.reading() as tx:
        live = [each.grant_id for each in grant_queries.outlines(tx, person_id) if each.status in grant_queries.LIVE]
    for grant_id in live:
        grant_actions.revoke(broker, person_id, grant_id, reason="erased")
    heads.note_erased(broker.heads, person_id, broker.now())
    delete_rows(broker, person_id)


def delete_rows(broker: Broker, person_id: bytes) -> None:
    """Delete every row of a person."""
    tables = [table for table in metadata.sorted_tables if "person_id" in table.c]

    def job(tx: Connection) -> None:
        for table in reversed(tables):
            tx.execute(delete(table).where(table.c.person_id == person_id))

    broker.write(job, ending=True)


def erase_again(broker: Broker) -> int:
    """Of whoever erased everything, delete rows that are here (a kill may have left them, or a backup brought them), and destroy keys; returns how many."""
    erased = heads.erased(broker.heads)
    with broker.reading() as tx:
        found = {*people.existing(tx, erased), *broker.vault.with_keys(erased)}
    for person_id in found:
        # The epoch they lay under is to go too, whatever comes between.
        heads.set_mark(broker.heads, heads.SHREDDING, broker.now().isoformat().encode(), keep=True)
        delete_rows(broker, person_id)
        broker.vault.destroy(person_id)
    return len(found)


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
