"""Importing: a file is tried first, taken in when its person says so, and can be undone as one.

States of a batch: mapping → reading → ready → taking → done → undoing → undone; reading and taking may end in failed. Whoever works on a batch
holds it by its state: each chunk is written only while the state is still the worker's, so an undo ends a running import.
"""

import datetime as dt
import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson
from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, update

from broker import errors
from broker.events import actions as event_actions
from broker.events import queries as event_queries
from broker.events.shape import Event
from broker.imports import browsers, files, incoming, purchases, queries, rooms
from broker.imports.files import Progress
from broker.imports.findings import Findings
from broker.imports.models import batches
from broker.imports.queries import HELD, SILENCE, Batch
from broker.imports.reports import Unreadable
from broker.imports.sources import Source
from broker.ledger import actions as ledger
from broker.moves import actions as moves
from broker.opening import Broker
from broker.vault.keys import Keyring

log = logging.getLogger(__name__)
UNDO_CHUNK: Final = 2000
HEARTBEAT: Final = 2.0
TRIES: Final = 20
DAY: Final = dt.timedelta(days=1)
OPERATOR: Final = {"role": "operator"}
UNFORESEEN: Final = "Something went wrong here and was logged. Nothing of this file was kept."


class Stopped(Exception):
    """The batch is no longer the worker's."""


# Batches: their rows, and moving them from state to state


def _mine(ring: Keyring, batch_id: bytes) -> ColumnElement[bool]:
    return and_(batches.c.person_id == ring.person_id, batches.c.batch_id == batch_id)


def _sealed(broker: Broker, ring: Keyring, batch_id: bytes, details: dict[str, Any]) -> bytes:
    key = ring.key_for("imports", f"{broker.now():%Y-%m}")
    return key.seal(queries.place(ring.person_id, batch_id), orjson.dumps(details))


def _begin(broker: Broker, ring: Keyring, state: str, details: dict[str, Any], batch_id: bytes, total: int = 0) -> None:
    now = broker.now()
    row = {
        "person_id": ring.person_id, "batch_id": batch_id, "state": state, "made_at": now, "changed_at": now, "total": total, "done": 0,
        "details": _sealed(broker, ring, batch_id, details),
    }  # fmt: skip
    broker.write(lambda tx: tx.execute(insert(batches).values(row)))


def _moved(broker: Broker, tx: Connection, ring: Keyring, batch_id: bytes, of: tuple[str, ...], **values: Any) -> None:
    """Change a batch that is still in one of these states; else `Stopped`, and the whole job is undone."""
    wanted = update(batches).where(_mine(ring, batch_id), batches.c.state.in_(of))
    if not tx.execute(wanted.values(changed_at=broker.now(), **values)).rowcount:
        raise Stopped


def _move(broker: Broker, ring: Keyring, batch_id: bytes, of: tuple[str, ...], **values: Any) -> None:
    broker.write(lambda tx: _moved(broker, tx, ring, batch_id, of, **values))


def _load(broker: Broker, ring: Keyring, batch_id: bytes) -> Batch:
    with broker.reading() as tx:
        return queries.one(tx, ring, batch_id)


def _patiently(broker: Broker, job: Callable[[Connection], Any], size: int = 0) -> Any:
    """Write a chunk; a full queue is waited for, since this is the work that can wait."""
    for left in reversed(range(TRIES)):
        try:
            return broker.write(job, size=size)
        except errors.Busy:
            if not left:
                raise
            time.sleep(1)
    return None


# Where a file comes from


def upload(broker: Broker, person_id: bytes, stream: BinaryIO, source: Source, name: str) -> Batch:
    """Keep an uploaded and recognised file, sealed; a table that nobody knows waits for its mapping, the rest is to be tried."""
    ring = broker.keyring(person_id)
    details: dict[str, Any] = {"name": name[:200], "kind": source.kind, "from": "upload"}
    if source.kind == "csv" and source.table is not None:
        details["head"] = {"header": list(source.table.header), "rows": files.head_of(source)}
    batch_id = os.urandom(16)
    incoming.keep(broker, ring, batch_id, stream, source.size)
    try:
        _begin(broker, ring, "mapping" if source.kind == "csv" else "reading", details, batch_id)
    except BaseException:
        incoming.drop(broker, batch_id)
        raise
    return _load(broker, ring, batch_id)


def from_browser(broker: Broker, person_id: bytes, chosen: browsers.Found) -> Batch:
    """A batch of an installed browser's history; the file stays where it is and is read from there each time."""
    ring = broker.keyring(person_id)
    source, batch_id = files.recognise(broker, chosen.path), os.urandom(16)
    name = f"{chosen.browser}, profile {chosen.profile}"
    _begin(broker, ring, "reading", {"name": name, "kind": source.kind, "from": "browser", "browser": browsers.digest(chosen)}, batch_id)
    return _load(broker, ring, batch_id)


def set_mapping(broker: Broker, person_id: bytes, batch: Batch, mapping: purchases.Mapping, answers: dict[str, str]) -> None:
    """Say which column is what, and keep the form's answers for a second look; the file is to be tried. `Conflict` once the batch has gone on."""
    ring = broker.keyring(person_id)
    details = _sealed(broker, ring, batch.batch_id, {**batch.details, "mapping": asdict(mapping), "answers": answers})
    try:
        _move(broker, ring, batch.batch_id, ("mapping", "ready"), state="reading", done=0, details=details)
    except Stopped:
        raise errors.Conflict from None


# The runs over a file


def _try(broker: Broker, ring: Keyring, source: Source, mapping: purchases.Mapping | None, progress: Progress) -> Findings:
    """Read a file to its end, compare it with what is here, and write nothing. Raises `Unreadable`."""
    found, (events, report) = Findings(), files.run(broker, ring, source, mapping)
    while chunk := list(islice(events, files.CHUNK)):
        with broker.reading() as tx:
            found.count(chunk, queries.status(tx, ring, [event["id"] for event in chunk]))
        progress(found.total)
    with files.besides(broker, ring, source) as more:
        found.besides = more[1].to_json() if more else {}
    return found.close(report)


def _store(broker: Broker, ring: Keyring, batch_id: bytes, events: Iterator[Event], progress: Progress) -> Findings:
    """Seal and store events in chunks, each in a transaction that also counts it. Raises `Stopped` and `Unreadable`."""
    found, origin, received = Findings(), batch_id.hex(), broker.now()

    def write(chunk: list[Event], ready: list[event_actions.Ready]) -> Any:
        try:
            return put(ready)
        except event_actions.KeyRetired:
            # What was sealed while the chunk before it was written is sealed anew.
            ring.seal_anew()
            return put(event_actions.seal(ring, [event_actions.place_of(event) for event in chunk], origin, received))

    def put(ready: list[event_actions.Ready]) -> Any:
        def job(tx: Connection) -> dict[str, str]:
            _moved(broker, tx, ring, batch_id, ("taking",), done=batches.c.done + len(ready))
            return event_actions.insert_ready(tx, ring, ready)

        return _patiently(broker, job, sum(len(each.row["body"]) for each in ready))

    # While one chunk is being written the next is parsed and sealed; two are never on their way at once.
    with ThreadPoolExecutor(1, "imports-write") as pool:
        waiting: tuple[list[Event], Future[Any]] | None = None
        for chunk in files.in_order(events):
            ready = event_actions.seal(ring, [event_actions.place_of(event) for event in chunk], origin, received)
            if waiting:
                found.count(waiting[0], waiting[1].result())
                progress(found.total)
            waiting = chunk, pool.submit(write, chunk, ready)
        if waiting:
            found.count(waiting[0], waiting[1].result())
            progress(found.total)
    return found


def try_out(broker: Broker, person_id: bytes, batch_id: bytes) -> None:
    """The dry run of a batch in state `reading`: how much of what, and how much of it is new."""
    ring = broker.keyring(person_id)
    batch = _load(broker, ring, batch_id)
    beat = _Heart(broker, ring, batch_id)
    try:
        with files.file_of(broker, ring, batch) as source:
            found = _try(broker, ring, source, batch.mapping, beat)
        details = _sealed(broker, ring, batch_id, {**batch.details, "found": found.to_json()})
        _move(broker, ring, batch_id, ("reading",), state="ready", total=found.total, done=0, details=details)
    except Unreadable as unreadable:
        _fail(broker, ring, batch, "reading", str(unreadable))
    except Stopped:
        return
    except errors.Busy:
        raise
    except Exception:
        _fail(broker, ring, batch, "reading", UNFORESEEN)
        raise


class _Heart:
    """Writes the progress of a dry run, every two seconds at most."""

    def __init__(self, broker: Broker, ring: Keyring, batch_id: bytes) -> None:
        self._broker, self._ring, self._batch_id = broker, ring, batch_id
        self._last = time.monotonic()

    def __call__(self, done: int) -> None:
        if time.monotonic() - self._last > HEARTBEAT:
            self._last = time.monotonic()
            _move(self._broker, self._ring, self._batch_id, ("reading",), done=done)


def claim(broker: Broker, person_id: bytes, batch_id: bytes) -> None:
    """Say that a batch is to be taken in: one that was tried, or whose taking in broke off; `Conflict` for others."""
    ring = broker.keyring(person_id)
    now = broker.now()
    free = or_(batches.c.state == "ready", (batches.c.state == "taking") & (batches.c.changed_at < now - SILENCE))
    wanted = update(batches).where(_mine(ring, batch_id), free).values(state="taking", done=0, changed_at=now)
    if not broker.write(lambda tx: tx.execute(wanted).rowcount):
        raise errors.Conflict


def take(broker: Broker, person_id: bytes, batch_id: bytes) -> None:
    """Take in a claimed batch to its end; what breaks midway leaves nothing of it behind."""
    ring = broker.keyring(person_id)
    batch = _load(broker, ring, batch_id)
    try:
        with files.file_of(broker, ring, batch) as source:
            _take(broker, ring, batch, source, batch.mapping)
    except Unreadable as unreadable:
        _fail(broker, ring, batch, "taking", str(unreadable))
    except Stopped:
        return


def _take(
    broker: Broker, ring: Keyring, batch: Batch, source: Source, mapping: purchases.Mapping | None, read: files.Run | None = None,
    *, progress: Progress = lambda _done: None, by: dict[str, str] = ledger.PERSON,
) -> Findings:
    """Store what a file holds; whatever of it has to be judged as a whole is judged before the first event is stored."""
    with files.besides(broker, ring, source) as more:
        events, report = read or files.run(broker, ring, source, mapping)
        found = _store(broker, ring, batch.batch_id, events, progress).close(report)
        ready = moves.ready(broker, ring, *more, batch.id, by) if more else None
        found.besides = more[1].to_json() if more else {}
    _finish(broker, ring, batch, found, by, ready)
    return found


def _finish(broker: Broker, ring: Keyring, batch: Batch, found: Findings, by: dict[str, str], ready: moves.Ready | None) -> None:
    """The end of taking in: state, counts, what comes besides events and the ledger entry in one transaction, then the file goes."""
    now = broker.now()
    kept = {name: value for name, value in batch.details.items() if name != "head"}
    details = _sealed(broker, ring, batch.batch_id, {**kept, "found": found.to_json()})
    about = {"batch": batch.id, "source": batch.details["kind"], "file": batch.details["name"], "kinds": found.fresh, "count": found.added}
    about |= ready.about if ready else {}
    key = ledger.entry_key(ring, now)

    def job(tx: Connection) -> None:
        _moved(broker, tx, ring, batch.batch_id, ("taking",), state="done", total=found.total, done=found.total, details=details)
        if ready:
            ready.insert(tx)
        ledger.append(tx, ring, key, ledger.Entry("import", now, by=by, about=about))

    _patiently(broker, job)
    incoming.drop(broker, batch.batch_id)


def _fail(broker: Broker, ring: Keyring, batch: Batch, state: str, why: str) -> None:
    """Delete what was stored of a batch, keep why, throw the file away."""
    _delete(broker, ring, batch.batch_id)
    moves.drop_rests(broker, ring.person_id)
    details = {"name": batch.details["name"], "kind": batch.details["kind"], "from": batch.details["from"], "why": why}
    sealed = _sealed(broker, ring, batch.batch_id, details)
    try:
        _move(broker, ring, batch.batch_id, (state,), state="failed", total=0, done=0, details=sealed)
    except Stopped:
        log.info("an import ended while it failed")
    incoming.drop(broker, batch.batch_id)


def take_in_file(
    broker: Broker, person_id: bytes, path: Path, mapping: purchases.Mapping | None = None, progress: Progress = lambda _done: None,
    *, trying: Progress = lambda _done: None, by: dict[str, str] = OPERATOR, name: str = "",
) -> tuple[Findings, str]:
    """Import a file in place: (what was found and added, the batch's id). Read to its end before the first event is stored.

    `trying` and `progress` are told how many events were read, then stored. Raises `ImportRefused`: nothing was stored.
    """  # fmt: skip
    ring = broker.keyring(person_id)
    source, batch_id = files.recognise(broker, path), os.urandom(16)
    with files.refusals(), files.besides(broker, ring, source):
        events, total, report = files.read(broker, ring, source, mapping, trying)
    details = {"name": (name or path.name)[:200], "kind": source.kind, "from": "file"}
    _begin(broker, ring, "taking", details, batch_id, total)
    batch = _load(broker, ring, batch_id)
    try:
        again = iter(events) if events is not None else files.run(broker, ring, source, mapping)[0]
        found = _take(broker, ring, batch, source, mapping, (again, report), progress=progress, by=by)
    except Unreadable as unreadable:
        _fail(broker, ring, batch, "taking", str(unreadable))
        raise errors.ImportRefused(str(unreadable)) from None
    except Stopped:
        raise errors.Conflict("This import was undone while it ran.") from None
    return found, batch.id


def try_file(broker: Broker, person_id: bytes, path: Path, mapping: purchases.Mapping | None = None, trying: Progress = lambda _done: None) -> Findings:
    """The dry run of a file in place; stores nothing. Raises `ImportRefused`."""
    source = files.recognise(broker, path)
    with files.refusals():
        return _try(broker, broker.keyring(person_id), source, mapping, trying)


# Going back


def _delete(broker: Broker, ring: Keyring, batch_id: bytes) -> int:
    """Delete the batch's events in pieces, so that nobody else waits long for the writer; without tombstones, so that they may come again."""
    with broker.reading() as tx:
        keys = event_queries.by_origin(tx, ring, batch_id.hex())
    deleted = 0
    for start in range(0, len(keys), UNDO_CHUNK):
        piece = keys[start : start + UNDO_CHUNK]
        deleted += broker.write(lambda tx, piece=piece: event_actions.delete_keys(tx, ring.person_id, piece, forget=False, at=broker.now()), ending=True)  # type: ignore[misc]
        broker.write(lambda tx: tx.execute(update(batches).where(_mine(ring, batch_id)).values(changed_at=broker.now())))
    return deleted


def begin_undo(broker: Broker, person_id: bytes, batch_id: bytes) -> None:
    """Say that a batch is to be undone, which ends its taking in; `NotFound` for a stranger's, `Conflict` for one that holds nothing."""
    ring = broker.keyring(person_id)
    _load(broker, ring, batch_id)
    try:
        _move(broker, ring, batch_id, tuple(HELD), state="undoing")
    except Stopped:
        raise errors.Conflict("This import holds nothing that could be undone.") from None


def undo(broker: Broker, person_id: bytes, batch_id: bytes, by: dict[str, str] = ledger.PERSON) -> int:
    """Delete all events of a batch that `begin_undo` has marked, with one ledger entry; returns how many. They may be imported again."""
    ring = broker.keyring(person_id)
    number = _delete(broker, ring, batch_id)
    moves.drop_rests(broker, ring.person_id)
    now = broker.now()
    key = ledger.entry_key(ring, now)
    entry = ledger.Entry("forget", now, by=by, about={"undo": batch_id.hex(), "count": number})

    def job(tx: Connection) -> None:
        _moved(broker, tx, ring, batch_id, ("undoing",), state="undone", done=number)
        ledger.append(tx, ring, key, entry)

    try:
        broker.write(job, ending=True)
    except Stopped:
        log.info("an import was undone twice")
    incoming.drop(broker, batch_id)
    return number


def discard(broker: Broker, person_id: bytes, batch_id: bytes) -> None:
    """Throw a file away that was not taken in; `NotFound` for a stranger's, `Conflict` for one that was."""
    ring = broker.keyring(person_id)
    _load(broker, ring, batch_id)
    wanted = delete(batches).where(_mine(ring, batch_id), batches.c.state.in_(("mapping", "reading", "ready", "failed")))
    if not broker.write(lambda tx: tx.execute(wanted).rowcount):
        raise errors.Conflict("This file was taken in already. Undo the import instead.")
    incoming.drop(broker, batch_id)


def sweep(broker: Broker) -> None:
    """Throw away what waited for a day without being taken in, and the rooms of processes that have ended."""
    rooms.sweep()
    incoming.sweep(broker)
    over = (batches.c.made_at < broker.now() - DAY) & batches.c.state.in_(("mapping", "reading", "ready"))
    with broker.reading() as tx:
        old = tx.execute(select(batches.c.batch_id).where(over)).scalars().all()
    if old:
        broker.write(lambda tx: tx.execute(delete(batches).where(over)))
    for batch_id in old:
        incoming.drop(broker, batch_id)
