"""Appending to the ledger: every act on a person's data passes through here, in the act's own transaction."""

import contextlib
import datetime as dt
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson
import rfc8785
from sqlalchemy import Connection, Executable, bindparam, insert, select, update

from broker.db import Prepared
from broker.errors import BrokerError, LedgerUnavailable, Unsealable
from broker.ledger import models, proofs
from broker.ledger.proofs import b64, place
from broker.opening import Broker
from broker.vault.envelope import OpenKey
from broker.vault.heads import Signed
from broker.vault.keys import Appending

log = logging.getLogger(__name__)
ACTS: Final = frozenset(
    {
        *("give", "narrow", "pause", "resume", "revoke", "expire", "read", "upload", "forget", "export", "import", "terms", "sign_in", "factor"),
        *("device", "recovery", "settings", "key", "key_destroyed", "restored", "operator", "refuse"),
    }
)
# What is entered even into a log that is not whole any more: nothing leaves by it, and nobody may be kept from it.
ENTERED_ALWAYS: Final = frozenset(
    {"pause", "narrow", "revoke", "expire", "forget", "sign_in", "recovery", "device", "factor", "terms", "settings", "key", "key_destroyed", "restored"}
)
REPEATS_SECONDS: Final = 60.0
# Beyond this many different ones each denial is an entry of its own, so that memory has a bound.
MOST_PENDING: Final = 10_000
PERSON: Final[dict[str, str]] = {"role": "person"}
_HEAD: Final = Prepared(
    select(models.heads.c.log_id, models.heads.c.size, models.heads.c.root, models.heads.c.frontier, models.heads.c.alarm).where(
        models.heads.c.person_id == bindparam("person"), models.heads.c.closed.is_(None)
    )
)
_GROW: Final = Prepared(
    update(models.heads).where(models.heads.c.person_id == bindparam("person"), models.heads.c.log_id == bindparam("log")), ("size", "root", "frontier")
)
_INSERT: Final = Prepared(insert(models.entries))
_INSERT_ROWS: Final = Prepared(insert(models.rows))


# A statement with its parameters that must find or touch a row, run in the transaction that appends an entry.
Check = tuple[Executable | Prepared, dict[str, Any]]


class GuardFailed(Exception):
    """The caller's guard found no row: the grant changed since the decision. Nothing was appended."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What happened: the act, its outcome, who did it, and `about`, the act's own members (JSON without floats)."""

    act: str
    at: dt.datetime
    by: dict[str, str] = field(default_factory=lambda: PERSON)
    outcome: str = "permitted"
    reasons: tuple[str, ...] = ()
    grant: str | None = None
    request: str | None = None
    about: dict[str, Any] = field(default_factory=dict)
    times: int = 1
    # Event ids whose rows were sent, hashed into the entry; with the slice (as JSON) and the cursor that went with them they are kept sealed beside it.
    sent: tuple[str, ...] = ()
    within: bytes = b"null"
    cursor: str = ""

    def with_about(self, **more: Any) -> "Entry":
        """The same entry with more members."""
        return replace(self, about={**self.about, **more})


def entry_key(ring: Appending, at: dt.datetime) -> OpenKey:
    """The month's ledger key; to be fetched before a job is queued, since it may have to be made durable in keys.db first."""
    return ring.key_for("ledger", f"{at:%Y-%m}")


def open_log(tx: Connection, person_id: bytes) -> None:
    """Start a new person's log."""
    tx.execute(insert(models.heads).values(person_id=person_id, log_id=os.urandom(16), size=0, root=proofs.EMPTY_ROOT, frontier=b""))


def begin_again(tx: Connection, ring: Appending, key: OpenKey, restore: bytes, signed: Mapping[bytes, Signed], now: dt.datetime) -> bool:
    """Close every log of a person for ever and start a new one, whose first entry names all that are closed, what was signed of them, and what came back.

    False, and nothing done, where it was done for this restore already.
    """
    mine = models.heads.c.person_id == ring.person_id
    known = {row.log_id: row for row in tx.execute(select(models.heads).where(mine))}
    if any(row.closed == restore for row in known.values()):
        return False
    lost = [log_id for log_id in signed if log_id not in known]
    before = [_closing(row.log_id, row.size, row.root, signed.get(row.log_id)) for row in known.values()]
    before += [_closing(log_id, 0, proofs.EMPTY_ROOT, signed[log_id]) for log_id in lost]
    tx.execute(update(models.heads).where(mine, models.heads.c.closed.is_(None)).values(closed=restore, alarm=None))
    first = max((row.first + row.size for row in known.values()), default=0)
    nothing = {"person_id": ring.person_id, "size": 0, "root": proofs.EMPTY_ROOT, "frontier": b"", "first": first}
    for log_id in lost:
        # Of a log that did not come back at all its end is known, too.
        tx.execute(insert(models.heads).values(**nothing, log_id=log_id, closed=restore))
    tx.execute(insert(models.heads).values(**nothing, log_id=os.urandom(16)))
    append(tx, ring, key, Entry("restored", now, by={"role": "broker"}, about={"before": before}))
    return True


def _closing(log_id: bytes, size: int, root: bytes, signed: Signed | None) -> dict[str, Any]:
    """A log at its end, as the first entry of the next one keeps it."""
    said = {"signed": signed.size, "note": signed.note.decode()} if signed else {}
    return {"log": b64(log_id), "size": size, "root": b64(root), **said}


def append(tx: Connection, ring: Appending, key: OpenKey, entry: Entry, guard: Iterable[Check] = ()) -> int:
    """Append `entry` to the person's log inside the caller's transaction and return its seq.

    The head is read first, so that acts on one log stand in line. Each statement of `guard` must then touch or find a row, else
    `GuardFailed`: this is where a grant is checked again, and its rate counted, in the transaction that records the read. `LedgerUnavailable` where
    the log does not continue its last checkpoint, for everything but `ENTERED_ALWAYS`.
    """
    if entry.act not in ACTS:
        raise ValueError(f"No such act: {entry.act}")
    log_id, size, root, frontier, alarm = _HEAD.run(tx, {"person": ring.person_id}).fetchone() or (b"", 0, b"", b"", "Your log is gone.")
    if alarm and (entry.act not in ENTERED_ALWAYS or not log_id):
        raise LedgerUnavailable
    if not all(_holds(tx, *check) for check in guard):
        raise GuardFailed
    salt = os.urandom(32)
    plain = _body(entry, log_id, size, root, salt)
    leaf = proofs.leaf_hash(plain)
    frontier = proofs.grow(frontier, size, leaf)
    where = {"person_id": ring.person_id, "log_id": log_id, "seq": size}
    sealed = key.seal(place(ring.person_id, "ledger_entries", log_id, size), plain)
    tag = ring.log_tag(f"grant {entry.grant}") if entry.grant else None
    _INSERT.run(tx, {**where, "day": entry.at.date(), "leaf_hash": leaf, "grant_tag": tag, "body": sealed})
    if entry.sent:
        _INSERT_ROWS.run(tx, {**where, "body": key.seal(place(ring.person_id, "ledger_rows", log_id, size), _served(entry))})
    grown = {"size": size + 1, "root": proofs.root(frontier), "frontier": frontier}
    _GROW.run(tx, {"person": ring.person_id, "log": log_id, **grown})
    return int(size)


def _holds(tx: Connection, statement: Executable | Prepared, parameters: dict[str, Any]) -> bool:
    if isinstance(statement, Prepared):
        found = statement.run(tx, parameters)
        return found.fetchone() is not None if found.description else found.rowcount > 0
    result = tx.execute(statement, parameters)
    return result.first() is not None if result.returns_rows else result.rowcount > 0


def _served(entry: Entry) -> bytes:
    return orjson.dumps({"ids": entry.sent, "slice": orjson.Fragment(entry.within), "next": entry.cursor})


def _body(entry: Entry, log_id: bytes, seq: int, previous: bytes, salt: bytes) -> bytes:
    body: dict[str, Any] = {
        "v": 1,
        "log": b64(log_id),
        "seq": seq,
        "prev": b64(previous),
        "salt": b64(salt),
        "at": f"{entry.at.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}",
        "act": entry.act,
        "outcome": entry.outcome,
        "reasons": list(entry.reasons),
        "by": entry.by,
        "times": entry.times,
        **entry.about,
    }
    if entry.grant:
        body["grant"] = entry.grant
    if entry.request:
        body["request"] = entry.request
    if entry.sent:
        body["rows"] = "sha-256:" + b64(hashlib.sha256(salt + "".join(sorted(entry.sent)).encode()).digest())
    # RFC 8785, since every name here is ASCII and there are no floats; a test holds both ways of writing it side by side.
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def sound_alarm(broker: Broker, person_id: bytes, log_id: bytes, alarm: str | None) -> None:
    """Say durably that a log does not continue its last checkpoint, and why; or, with None, that it does again."""
    heads = models.heads.c
    wanted = update(models.heads).where(heads.person_id == person_id, heads.log_id == log_id, heads.alarm.is_distinct_from(alarm))
    broker.write(lambda tx: tx.execute(wanted.values(alarm=alarm)), ending=True)


def record(broker: Broker, person_id: bytes, entry: Entry) -> None:
    """Append `entry` in a transaction of its own, for acts that change nothing else."""
    ring = broker.appender(person_id)
    key = entry_key(ring, entry.at)
    broker.write(lambda tx: append(tx, ring, key, entry))


@dataclass(slots=True)
class _Repeated:
    """A denial that was entered, and how often it has come again since."""

    person_id: bytes
    newest: Entry
    until: float
    repeats: int = 0


class Denials:
    """Denied calls: the first of equal ones is entered at once, its repeats within a minute as one more entry (`times`)."""

    def __init__(self, broker: Broker, clock: Callable[[], float] = time.monotonic) -> None:
        self._broker = broker
        self._clock = clock
        self._lock = threading.Lock()
        self._pending: dict[tuple[object, ...], _Repeated] = {}

    def record(self, person_id: bytes, entry: Entry) -> None:
        """Enter a denial, or count it as a repeat of one that is less than a minute old."""
        # What cannot be entered now stays counted; the sweep tries it again.
        with contextlib.suppress(BrokerError):
            self.flush()
        same = (person_id, entry.grant, entry.reasons, entry.by.get("id"), rfc8785.dumps(entry.about))
        with self._lock:
            known = self._pending.get(same)
            if known is not None:
                known.newest, known.repeats = entry, known.repeats + 1
                return
            if len(self._pending) < MOST_PENDING:
                self._pending[same] = _Repeated(person_id, entry, self._clock() + REPEATS_SECONDS)
        try:
            record(self._broker, person_id, entry)
        except BaseException:
            with self._lock:
                self._pending.pop(same, None)
            raise

    def flush(self, *, everything: bool = False) -> None:
        """Enter the repeats whose minute is over (or all); called by the next denial, by the sweep and at the end."""
        now = self._clock()
        with self._lock:
            ended = {same: self._pending.pop(same) for same, each in list(self._pending.items()) if everything or now >= each.until}
        refused: BrokerError | None = None
        while ended:
            same, each = ended.popitem()
            try:
                if each.repeats:
                    record(self._broker, each.person_id, replace(each.newest, times=each.repeats))
            except Unsealable:
                # Whoever erased everything has no ledger any more.
                log.warning("%d denials of somebody without keys are not entered", each.repeats)
            except BrokerError as why:
                refused = why
                self._put_back({same: each})
            except BaseException:
                self._put_back({**ended, same: each})
                raise
        if refused is not None:
            raise refused

    def _put_back(self, kept: dict[tuple[object, ...], _Repeated]) -> None:
        with self._lock:
            self._pending = {**kept, **self._pending}

    def close(self) -> None:
        """Enter what was counted and not yet entered."""
        self.flush(everything=True)
