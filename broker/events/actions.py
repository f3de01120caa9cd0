"""Taking events in, and forgetting them."""

import datetime as dt
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from broker.db import Prepared, upsert
from broker.errors import Busy, StorageFull
from broker.events import queries, stored
from broker.events.models import counts, events, forgotten, retired_keys, shreds, stale, totals
from broker.events.sites import class_of, site_of_host
from broker.grants.actions import drop_answers
from broker.ledger import actions as ledger
from broker.opening import Broker
from broker.people.models import people
from broker.vault import heads
from broker.vault.envelope import OpenKey, key_id_of
from broker.vault.keys import Keyring
from policies.slices import Slice
from policies.vocabulary import FIELDS, FIELDS_WITH_ITEMS_CUT

T = TypeVar("T")
Event = dict[str, Any]
Key = tuple[str, dt.date, bytes]
CHUNK: Final = 500
ROOM_KEPT: Final = 64 * 2**20
KEY_ID: Final = 16
MARK_BYTES: Final = 16
# Kinds that are added up for insights.
TOTALLED: Final = frozenset({"page_visit", "purchase", "return", "subscription"})


@dataclass(frozen=True, slots=True)
class Ready:
    """A checked event, sealed and ready to be inserted."""

    event: Event
    row: dict[str, Any]


def place_of(event: Event) -> Event:
    """The event with its registrable domain and its host's class, by which policies judge it: mail.search.example is mail."""
    site = site_of_host(event["site"])
    domain = site.domain if site else event["site"]
    placed = {**event, "host": event["site"], "domain": domain, "class": class_of(event["site"])}
    if "referrer" in event:
        placed["referrer_class"] = class_of(event["referrer"])
    return placed


def tag_of(ring: Keyring, event_id: str) -> bytes:
    """The blind tag of an event's id, the same whatever its kind."""
    return ring.tag("", "events", "event")(event_id)


def _only_top(event: Event) -> str | None:
    tops = {item.get("category", "").split("/")[0] for item in event.get("items", ())}
    top = tops.pop() if len(tops) == 1 else ""
    return top or None


def seal(ring: Keyring, placed: Sequence[Event], origin: str, received: dt.datetime) -> list[Ready]:
    """Seal events (from `place_of`) under their month's keys, in the order of the table's key."""
    months = Counter((event["kind"], event["time"][:7]) for event in placed)
    keys: dict[tuple[str, str], OpenKey] = {of: ring.key_for(*of, number) for of, number in months.items()}
    origin_tag = ring.tag("", "events", "origin")(origin)
    ready = [_sealed(ring, event, keys[(event["kind"], event["time"][:7])], origin, origin_tag, received) for event in placed]
    # In key order: scattered inserts into a clustered table cost three times as much.
    ready.sort(key=lambda each: (each.row["kind"], each.row["day"], each.row["event_tag"]))
    return ready


def _sealed(ring: Keyring, event: Event, key: OpenKey, origin: str, origin_tag: bytes, received: dt.datetime) -> Ready:
    kind, day = event["kind"], dt.date.fromisoformat(event["time"][:10])
    tag = tag_of(ring, event["id"])
    top = _only_top(event)
    row = {
        "person_id": ring.person_id, "kind": kind, "day": day, "event_tag": tag,
        "domain_tag": ring.tag(kind, "events", "domain")(event["domain"]),
        "host_tag": ring.tag(kind, "events", "host")(event["host"]),
        "class_tag": ring.tag(kind, "events", "class")(event["class"]),
        "category_tag": ring.tag(kind, "events", "category")(top) if top else None,
        "origin_tag": origin_tag,
        "body": key.seal(stored.place(ring.person_id, kind, day, tag), stored.packed(event, origin, received)),
    }  # fmt: skip
    return Ready(event, row)


def keep(event: Event, within: Slice | None) -> Event | None:
    """The placed event as the collection slice lets it in: None if it is not covered, without what the slice does not hold or hides."""
    placed = place_of(event)
    if within is None:
        return placed
    if not within.covers(placed):
        return None
    kept = {name: value for name, value in placed.items() if name not in HIDEABLE or name in within.fields}
    if "items" in kept:
        held = within.items_in(placed)
        if len(held) < len(kept["items"]):
            kept = {name: value for name, value in kept.items() if name not in FIELDS_WITH_ITEMS_CUT}
        kept["items"] = [{name: value for name, value in item.items() if name not in HIDEABLE or name in within.fields} for item in held]
    if "referrer" not in kept or not within.holds_referrer(placed):
        kept.pop("referrer", None)
        kept.pop("referrer_class", None)
    return kept


# Without time, site and category an event could not be judged later, so these are kept of whatever is taken in.
HIDEABLE: Final = frozenset(FIELDS) - {"time", "site", "category"}


_INSERT: Final = Prepared(insert(events))


def insert_ready(tx: Connection, ring: Keyring, ready: Sequence[Ready]) -> dict[str, str]:
    """Insert what is new; the status of each event id: accepted, duplicate, conflict or forgotten. One transaction, idempotent."""
    refuse_retired(tx, ring.person_id, (each.row["body"] for each in ready))
    tags = [each.row["event_tag"] for each in ready]
    mine = events.c.person_id == ring.person_id
    gone = set(tx.execute(select(forgotten.c.event_tag).where(forgotten.c.person_id == ring.person_id, forgotten.c.event_tag.in_(tags))).scalars())
    # Tags alone are answered by the index; asking for whole rows here would walk all the person's events.
    found = tx.execute(select(events.c.event_tag).where(mine, events.c.event_tag.in_(tags))).scalars().all()
    known = {tag: tx.execute(select(*queries.COLUMNS).where(mine, events.c.event_tag == tag)).one() for tag in found}
    status: dict[str, str] = {}
    fresh: dict[bytes, Ready] = {}
    opened = stored.Opener(ring)
    for each in ready:
        tag, event_id = each.row["event_tag"], each.event["id"]
        if tag in gone:
            status[event_id] = "forgotten"
        elif tag in known:
            status[event_id] = "duplicate" if _same(opened(*known[tag]), each.event) else "conflict"
        elif tag in fresh:
            status[event_id] = "duplicate" if _same(fresh[tag].event, each.event) else "conflict"
        else:
            fresh[tag], status[event_id] = each, "accepted"
    if fresh:
        _INSERT.run_many(tx, [each.row for each in fresh.values()])
        _count(tx, ring.person_id, Counter((each.row["day"], each.row["kind"]) for each in fresh.values()))
        outdate(tx, ring.person_id, {(each.row["kind"], f"{each.row['day']:%Y-%m}") for each in fresh.values()})
    return status


class KeyRetired(Busy):
    """What was sealed a moment ago lies under a key that is about to be destroyed; it has to be sealed anew."""


def refuse_retired(tx: Connection, person_id: bytes, bodies: Iterable[bytes]) -> None:
    """`KeyRetired` if any of these sealed values lies under a key that is going, or gone."""
    ids = {key_id_of(body) for body in bodies}
    if ids and tx.execute(select(retired_keys.c.key_id).where(retired_keys.c.person_id == person_id, retired_keys.c.key_id.in_(ids)).limit(1)).first():
        raise KeyRetired(retry_after=1)


def sealed(ring: Keyring, placed: Sequence[Event], origin: str, received: dt.datetime, write: Callable[[list[Ready]], T]) -> T:
    """Seal and write; once more under new keys where those are about to be destroyed."""
    try:
        return write(seal(ring, placed, origin, received))
    except KeyRetired:
        ring.seal_anew()
        return write(seal(ring, placed, origin, received))


_OURS: Final = frozenset({"received", "origin", "host", "domain", "class", "referrer_class"})


def _same(one: Event, other: Event) -> bool:
    return {k: v for k, v in one.items() if k not in _OURS} == {k: v for k, v in other.items() if k not in _OURS}


_COUNT: Final = upsert(counts).on_conflict_do_update(index_elements=list(counts.primary_key.columns), set_={"number": counts.c.number + bindparam("more")})


def _count(tx: Connection, person_id: bytes, more: Mapping[tuple[dt.date, str], int]) -> None:
    rows = [{"person_id": person_id, "day": day, "kind": kind, "number": number, "more": number} for (day, kind), number in sorted(more.items())]
    tx.execute(_COUNT, rows)


_DROP: Final = delete(totals).where(totals.c.person_id == bindparam("person"), totals.c.kind == bindparam("of_kind"), totals.c.month == bindparam("in_month"))
_NOTE: Final = upsert(stale)
_MARK: Final = _NOTE.on_conflict_do_update(index_elements=list(stale.primary_key.columns), set_={"mark": _NOTE.excluded.mark})


def outdate(tx: Connection, person_id: bytes, months: Iterable[tuple[str, str]]) -> None:
    """Take away the totals of months (kind, `2026-11`) whose events change, with the change, and note that they are to be worked out anew."""
    due = sorted((kind, month) for kind, month in months if kind in TOTALLED)
    if due:
        tx.execute(_DROP, [{"person": person_id, "of_kind": kind, "in_month": month} for kind, month in due])
        tx.execute(_MARK, [{"person_id": person_id, "kind": kind, "month": month, "mark": os.urandom(MARK_BYTES)} for kind, month in due])


def outdate_all(tx: Connection, person_id: bytes) -> None:
    """The same for every month of a person, where it cannot be told which have changed."""
    for table in (totals, stale):
        tx.execute(delete(table).where(table.c.person_id == person_id))
    months = select(events.c.kind, func.substr(events.c.day, 1, queries.MONTH).label("month")).where(events.c.person_id == person_id).distinct()
    outdate(tx, person_id, [(row.kind, row.month) for row in tx.execute(months)])


def check_room(broker: Broker) -> None:
    """`StorageFull` while less than 64 MiB are free: endings and entries need the rest."""
    if shutil.disk_usage(broker.settings.data_dir).free < ROOM_KEPT:
        raise StorageFull


def take_in(
    broker: Broker, ring: Keyring, given: Sequence[Event], *, origin: str, within: Slice | None, entry: ledger.Entry, guard: Iterable[Any] = ()
) -> dict[str, str]:
    """Store checked events in one durable transaction with one ledger entry; returns each id's status.

    Beside those of `insert_ready` there is `outside_collection`. `guard` statements must hold in that transaction (`ledger.GuardFailed`).
    """
    check_room(broker)
    kept = [(event, keep(event, within)) for event in given]
    status = {event["id"]: "outside_collection" for event, placed in kept if placed is None}
    key = ledger.entry_key(ring, entry.at)
    statements = list(guard)

    def write(ready: list[Ready]) -> dict[str, str]:
        def job(tx: Connection) -> dict[str, str]:
            found = insert_ready(tx, ring, ready)
            taken = sum(each == "accepted" for each in found.values())
            ledger.append(tx, ring, key, entry.with_about(count=taken), statements)
            return found

        return broker.write(job, size=sum(len(each.row["body"]) for each in ready))

    return status | sealed(ring, [placed for _, placed in kept if placed is not None], origin, entry.at, write)


_DELETE: Final = delete(events).where(
    events.c.person_id == bindparam("person"), events.c.kind == bindparam("of_kind"), events.c.day == bindparam("on"), events.c.event_tag == bindparam("tag")
)


def _to_shred(tx: Connection, person_id: bytes, months: Iterable[tuple[str, str]], at: dt.datetime) -> None:
    """Note, with the rows that go, whose keys have to follow; a month that is being shredded begins anew."""
    rows = [{"person_id": person_id, "kind": kind, "month": month, "asked_at": at, "destroyed_at": None} for kind, month in sorted(months)]
    again = {"asked_at": at, "destroyed_at": None}
    tx.execute(upsert(shreds).on_conflict_do_update(index_elements=list(shreds.primary_key.columns), set_=again), rows)


def delete_keys(tx: Connection, person_id: bytes, keys: Sequence[Key], *, forget: bool, at: dt.datetime) -> int:
    """Delete events by key and take them out of the counters, and with them every kept answer; with `forget` they can never come back.

    The totals of their months go too. Whatever could still open a copy of them is destroyed after that, by the sweep. Returns how many there were.
    """
    deleted = 0
    for start in range(0, len(keys), CHUNK):
        chunk = keys[start : start + CHUNK]
        mine = (events.c.person_id == person_id) & events.c.event_tag.in_([tag for _, _, tag in chunk])
        # The index on tags holds the whole key, so neither statement walks the person's events.
        found = tx.execute(select(events.c.kind, events.c.day, events.c.event_tag).where(mine)).all()
        if not found:
            continue
        tx.execute(_DELETE, [{"person": person_id, "of_kind": row.kind, "on": row.day, "tag": row.event_tag} for row in found])
        if forget:
            rows = [{"person_id": person_id, "event_tag": row.event_tag, "day": row.day} for row in found]
            tx.execute(upsert(forgotten).on_conflict_do_nothing(), rows)
        _count(tx, person_id, {of: -number for of, number in Counter((row.day, row.kind) for row in found).items()})
        outdate(tx, person_id, {(row.kind, f"{row.day:%Y-%m}") for row in found})
        _to_shred(tx, person_id, {(row.kind, f"{row.day:%Y-%m}") for row in found}, at)
        deleted += len(found)
    if deleted:
        drop_answers(tx, person_id)
        tx.execute(update(people).where(people.c.person_id == person_id).values(erasures=people.c.erasures + 1))
    return deleted


def forget(broker: Broker, ring: Keyring, keys: Sequence[Key], about: dict[str, Any], by: dict[str, str] = ledger.PERSON) -> int:
    """Erase events for good, with their tombstones and one ledger entry, in one transaction; returns how many."""
    now = broker.now()
    entry_key = ledger.entry_key(ring, now)

    def job(tx: Connection) -> int:
        number = delete_keys(tx, ring.person_id, keys, forget=True, at=now)
        ledger.append(tx, ring, entry_key, ledger.Entry("forget", now, by=by, about={**about, "count": number}))
        return number

    number = broker.write(job, ending=True)
    if number:
        # Until the keys of their months are destroyed an older data.db could bring them back.
        heads.note_forgotten(broker.heads, ring.person_id, keys, now)
    return number
