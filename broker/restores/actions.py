"""What must be true before anybody is served: nothing that ended lives, and a broker that came back from a backup says so and starts with nothing open.

Which it is, is told by heads.db, which no backup holds. Every step can be done again; what a kill leaves is done at the next start, before the first call.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Column, Connection, LargeBinary, Table, delete, func, insert, select, true, update

from broker.db import metadata
from broker.events import actions as event_actions
from broker.events import queries as event_queries
from broker.events.models import counts, events, retired_keys, shreds
from broker.exports import actions as exports
from broker.factors.models import recovery_codes
from broker.grants import actions as grant_actions
from broker.grants import queries as grants
from broker.ledger import actions as ledger
from broker.ledger import checkpoints
from broker.ledger import models as ledger_models
from broker.oauth.models import codes, pushed_requests, requests, tokens
from broker.opening import Broker
from broker.people import queries as people
from broker.people.models import people as people_rows
from broker.people.models import sessions, sign_up_links
from broker.terms.models import versions
from broker.vault import heads
from broker.vault.envelope import FORMAT, ROWS
from broker.vault.slots import NoKey
from broker.vendors.models import invites

log = logging.getLogger(__name__)
# What lets somebody in, or on: all of it may have been used, ended or passed on since. Refresh tokens end with their grants alone, and open nothing
# while these are paused: they go only where nobody can tell which grants have ended.
VOID: Final = (codes, sessions, requests, recovery_codes)
NOBODYS_VOID: Final = (sign_up_links, invites, pushed_requests)
# Bytes of any length that are no envelope.
NOT_SEALED: Final = frozenset({"ledger_heads.frontier", "passkeys.credential_id", "passkeys.public_key"})
_SEALED: Final = bytes((FORMAT, ROWS))
_HOSTS: Final = bytes(16)
OLDER: Final = (
    "keys.db is older than data.db: it lacks keys that what was kept since needs. Put the keys.db back that belongs to it, or both files of one backup; "
    "nothing was changed."
)
STRANGE: Final = "keys.db opens nothing of what data.db keeps. Put the two files back that belong together, best both of one backup; nothing was changed."


def settle(broker: Broker) -> bool:
    """Before anybody is served: finish erasures, see whether this is older than heads.db says, and end again what has ended; whether it was restored.

    One process at a time. Works while the broker is sealed. Raises `NoKey` where keys.db is not this data's.
    """
    with broker.vault.turn():
        return _settle(broker)


def _settle(broker: Broker) -> bool:
    exports.erase_again(broker)
    restored = _restored(broker)
    if restored:
        _restore(broker, restored)
    elif heads.mark(broker.heads, heads.BROKER) is None:
        heads.set_mark(broker.heads, heads.BROKER, broker.vault.broker_id)
    heads.note_epoch(broker.heads, broker.vault.epoch)
    checkpoints.compare(broker)
    grant_actions.end_again(broker)
    return bool(restored)


def _restored(broker: Broker) -> bytes:
    """The id of the restore that is under way, begun here where one has to be; empty where nothing came back."""
    known = heads.mark(broker.heads, heads.RESTORING)
    if known:
        return known
    why = _why(broker)
    if not why:
        return b""
    with broker.reading() as tx:
        everyone = people.everyone(tx)
    if everyone and not any(broker.vault.has_keys(person_id) for person_id in everyone):
        raise NoKey(STRANGE)
    if any(_lacks(broker, person_id) for person_id in everyone):
        raise NoKey(OLDER)
    log.warning("an older copy of the stores has come back: %s", why)
    heads.set_mark(broker.heads, heads.RESTORING, os.urandom(16), keep=True)
    return heads.mark(broker.heads, heads.RESTORING) or b""


def _why(broker: Broker) -> str:
    """How it shows that older stores have come back; empty where it does not.

    Others may be writing: what heads.db says is read first each time, since it is written last.
    """
    with broker.reading() as tx:
        entered = tx.execute(select(ledger_models.heads.c.size).where(ledger_models.heads.c.size > 0).limit(1)).first()
    if heads.mark(broker.heads, heads.BROKER) is None and entered:
        return "heads.db is not the one of these logs"
    newest = heads.newest_epoch(broker.heads)
    if broker.vault.epoch < newest:
        return "keys.db is of an older epoch"
    if any(_revived(broker)):
        return "keys.db holds keys that were destroyed"
    if checkpoints.behind(broker):
        return "data.db holds fewer entries than were signed"
    if any(_wider(broker)):
        return "data.db holds a grant as it was before it was narrowed or paused"
    return "data.db holds events that were forgotten" if any(_back(broker)) else ""


def _wider(broker: Broker) -> Iterator[tuple[bytes, bytes, bool]]:
    """(person_id, grant_id) of grants that are older than when they were last paused or narrowed, and whether it is the narrowing that is lost."""
    known = heads.lessened_grants(broker.heads)
    with broker.reading() as tx:
        versions_of = grants.versions(tx, list(known))
    for (person_id, grant_id), version in versions_of.items():
        least, narrowed = known[person_id, grant_id]
        if version < least:
            yield person_id, grant_id, version < narrowed


def _back(broker: Broker) -> Iterator[tuple[bytes, list[bytes]]]:
    """Of each person the tags of events that are here although they were forgotten."""
    for person_id, tags in heads.forgotten_events(broker.heads).items():
        with broker.reading() as tx:
            found = event_queries.tags_kept(tx, person_id, tags)
        if found:
            yield person_id, found


def _lacks(broker: Broker, person_id: bytes) -> bool:
    """Whether anything of a person lies under a key that is not here, and was not destroyed either."""
    if not broker.vault.has_keys(person_id):
        return True
    known = broker.vault.keys_of(person_id) | heads.destroyed_of(broker.heads, person_id) | {_HOSTS}
    with broker.reading() as tx:
        # Where heads.db is lost, data.db itself tells which keys were to go.
        known |= set(tx.execute(select(retired_keys.c.key_id).where(retired_keys.c.person_id == person_id)).scalars())
        return any(_key_ids(tx, table, column, person_id) - known for table, column in sealed_columns())


def _key_ids(tx: Connection, table: Table, column: Column[Any], person_id: bytes) -> set[bytes]:
    """Under which keys a column of a person is sealed."""
    mine = (table.c.person_id == person_id) & (func.substr(column, 1, 2) == _SEALED)
    return set(tx.execute(select(func.substr(column, 3, 16)).where(mine).distinct()).scalars())


def _revived(broker: Broker) -> Iterator[tuple[bytes, list[bytes]]]:
    """Of each person the keys that were destroyed and are here, but for those that a shredding under way is about to destroy."""
    here = {person_id: gone & broker.vault.keys_of(person_id) for person_id, gone in heads.destroyed(broker.heads).items()}
    with broker.reading() as tx:
        months = tx.execute(select(shreds.c.person_id, shreds.c.kind, shreds.c.month).where(shreds.c.destroyed_at.is_(None))).all()
    under_way = {key_id for row in months for key_id in broker.vault.keys_of_month(bytes(row.person_id), row.kind, row.month)}
    for person_id, found in here.items():
        # Once more, since one that was under way may have ended meanwhile.
        left = (found - under_way) and found & broker.vault.keys_of(person_id) - under_way
        if left:
            yield person_id, sorted(left)


def _restore(broker: Broker, restore: bytes) -> None:
    """Close every log and begin new ones, void what lets anybody in, pause what is live, end and forget again what was, drop what has no key."""
    if not broker.vault.drop_slots(heads.removed(broker.heads)):
        log.warning("the only keys that open this broker had been removed; they were left, so that it can be opened. Add others and remove them again.")
    for person_id, key_ids in list(_revived(broker)):
        broker.vault.destroy(person_id, key_ids)
    broker.keys.vacuum()
    broker.write(lambda tx: [tx.execute(delete(table)) for table in NOBODYS_VOID], ending=True)
    with broker.reading() as tx:
        everyone = people.everyone(tx)
    forgotten = heads.forgotten_events(broker.heads)
    wider = [(person_id, grant_id) for person_id, grant_id, narrowed in _wider(broker) if narrowed]
    for person_id in everyone:
        _begin_again(broker, person_id, restore, forgotten.get(person_id, []))
    for person_id, grant_id in wider:
        # What it was narrowed to is lost, and as it was before it must not be again.
        grant_actions.revoke(broker, person_id, grant_id, by={"role": "broker"}, reason=grants.RESTORED)
    for person_id in everyone:
        with broker.reading() as tx:
            live = grants.active(tx, person_id, broker.now())
        for grant_id in live:
            grant_actions.pause_restored(broker, person_id, grant_id)
    broker.data.truncate_log()
    here = set(everyone)
    gone = {person_id for person_id, _ in heads.signed_heads(broker.heads)} - here
    heads.settle(broker.heads, broker.vault.broker_id, broker.vault.epoch, sorted(gone))


def _begin_again(broker: Broker, person_id: bytes, restore: bytes, tags: Sequence[bytes]) -> None:
    """Begin a person's log anew, void what lets them or others in, and forget again the events of these tags."""
    now, ring, unknown = broker.now(), broker.appender(person_id), heads.mark(broker.heads, heads.BROKER) is None
    key = ledger.entry_key(ring, now)
    signed = heads.checkpoints_of(broker.heads, person_id)
    kept = broker.vault.keys_of(person_id)
    forgotten = [("", now.date(), tag) for tag in tags]

    def job(tx: Connection) -> None:
        for table in VOID:
            tx.execute(delete(table).where(table.c.person_id == person_id))
        tx.execute(delete(tokens).where(tokens.c.person_id == person_id, true() if unknown else tokens.c.kind == "at"))
        event_actions.delete_keys(tx, person_id, forgotten, forget=True, at=now)
        if ledger.begin_again(tx, ring, key, restore, signed, now):
            _drop_keyless(tx, person_id, kept | {key.key_id})

    broker.write(job, ending=True)


def sealed_columns() -> list[tuple[Table, Column[Any]]]:
    """Every column of a person's that holds an envelope."""
    found = []
    for table in metadata.sorted_tables:
        if next(iter(table.primary_key.columns)).name == "person_id":
            for column in table.columns:
                of_any_length = isinstance(column.type, LargeBinary) and column.type.length is None
                if of_any_length and f"{table.name}.{column.name}" not in NOT_SEALED:
                    found.append((table, column))
    return found


def _drop_keyless(tx: Connection, person_id: bytes, kept: set[bytes]) -> None:
    """Take away every row that no key is left for. Of an entry of the ledger its hash stays, so that the tree does."""
    for table, column in sealed_columns():
        for each in _key_ids(tx, table, column, person_id) - kept - {_HOSTS}:
            keyless = (table.c.person_id == person_id) & (func.substr(column, 1, 2) == _SEALED) & (func.substr(column, 3, 16) == each)
            tx.execute(update(table).where(keyless).values(body=b"") if table is ledger_models.entries else delete(table).where(keyless))
    _count_again(tx, person_id)
    there = tx.execute(select(func.max(versions.c.version)).where(versions.c.person_id == person_id)).scalar()
    mine = (people_rows.c.person_id == person_id) & (people_rows.c.terms_version > (there or 0))
    tx.execute(update(people_rows).where(mine).values(terms_version=there or 0))


def _count_again(tx: Connection, person_id: bytes) -> None:
    tx.execute(delete(counts).where(counts.c.person_id == person_id))
    mine = select(events.c.person_id, events.c.day, events.c.kind, func.count()).where(events.c.person_id == person_id)
    columns: Sequence[str] = ("person_id", "day", "kind", "number")
    tx.execute(insert(counts).from_select(columns, mine.group_by(events.c.person_id, events.c.day, events.c.kind)))
    event_actions.outdate_all(tx, person_id)
