"""Appending to the ledger: every act on a person's data passes through here, in the act's own transaction."""

import datetime as dt
import hashlib
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import rfc8785
from sqlalchemy import Connection, Executable, bindparam, insert, select, update

from broker.ledger import models, proofs
from broker.ledger.proofs import b64, place
from broker.opening import Broker
from broker.vault.envelope import OpenKey
from broker.vault.keys import Keyring

ACTS: Final = frozenset(
    {
        *("give", "narrow", "pause", "resume", "revoke", "expire", "read", "upload", "forget", "export", "import", "terms", "sign_in", "factor"),
        *("device", "recovery", "settings", "key", "key_destroyed", "restored", "operator", "refuse"),
    }
)
REPEATS_SECONDS: Final = 60.0
PERSON: Final[dict[str, str]] = {"role": "person"}
_HEAD: Final = select(models.heads.c.log_id, models.heads.c.size, models.heads.c.root, models.heads.c.frontier).where(
    models.heads.c.person_id == bindparam("person")
)
_GROW: Final = update(models.heads).where(models.heads.c.person_id == bindparam("person"), models.heads.c.log_id == bindparam("log"))
_INSERT: Final = insert(models.entries)
_INSERT_ROWS: Final = insert(models.rows)


# A statement with its parameters that must find or touch a row, run in the transaction that appends an entry.
Check = tuple[Executable, dict[str, Any]]


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
    # Event ids whose rows were sent; kept sealed beside the entry, hashed into it.
    sent: tuple[str, ...] = ()

    def with_about(self, **more: Any) -> "Entry":
        """The same entry with more members."""
        return replace(self, about={**self.about, **more})


def entry_key(ring: Keyring, at: dt.datetime) -> OpenKey:
    """The month's ledger key; to be fetched before a job is queued, since it may have to be made durable in keys.db first."""
    return ring.key_for("ledger", f"{at:%Y-%m}")


def open_log(tx: Connection, person_id: bytes) -> None:
    """Start a new person's log."""
    tx.execute(insert(models.heads).values(person_id=person_id, log_id=os.urandom(16), size=0, root=proofs.EMPTY_ROOT, frontier=b""))


def append(tx: Connection, ring: Keyring, key: OpenKey, entry: Entry, guard: Iterable[Check] = ()) -> int:
    """Append `entry` to the person's log inside the caller's transaction and return its seq.

    The head is read first, so that acts on one log stand in line. Each statement of `guard` must then touch or find a row, else
    `GuardFailed`: this is where a grant is checked again, and its rate counted, in the transaction that records the read.
    """
    if entry.act not in ACTS:
        raise ValueError(f"No such act: {entry.act}")
    head = tx.execute(_HEAD, {"person": ring.person_id}).one()
    for statement, parameters in guard:
        found = tx.execute(statement, parameters)
        if not (found.first() is not None if found.returns_rows else found.rowcount):
            raise GuardFailed
    salt = os.urandom(32)
    plain = _body(entry, head.log_id, head.size, head.root, salt)
    leaf = proofs.leaf_hash(plain)
    frontier = proofs.grow(head.frontier, head.size, leaf)
    where = {"person_id": ring.person_id, "log_id": head.log_id, "seq": head.size}
    sealed = key.seal(place(ring.person_id, "ledger_entries", head.log_id, head.size), plain)
    tag = ring.tag("", "ledger_entries", "grant")(entry.grant) if entry.grant else None
    tx.execute(_INSERT, {**where, "day": entry.at.date(), "leaf_hash": leaf, "grant_tag": tag, "body": sealed})
    if entry.sent:
        tx.execute(_INSERT_ROWS, {**where, "body": key.seal(place(ring.person_id, "ledger_rows", head.log_id, head.size), "\n".join(entry.sent).encode())})
    grown = {"size": head.size + 1, "root": proofs.root(frontier), "frontier": frontier}
    tx.execute(_GROW, {"person": ring.person_id, "log": head.log_id, **grown})
    return int(head.size)


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
    return rfc8785.dumps(body)


def record(broker: Broker, person_id: bytes, entry: Entry) -> None:
    """Append `entry` in a transaction of its own, for acts that change nothing else."""
    ring = broker.keyring(person_id)
    key = entry_key(ring, entry.at)
    broker.write(lambda tx: append(tx, ring, key, entry))


class Denials:
    """Denied reads: the first of equal ones is entered at once, its repeats within a minute as one more entry (`times`)."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._lock = threading.Lock()
        self._pending: dict[tuple[object, ...], tuple[bytes, Entry, int, threading.Timer]] = {}

    def record(self, person_id: bytes, entry: Entry) -> None:
        """Enter a denial, or count it as a repeat of one that is less than a minute old."""
        same = (person_id, entry.grant, entry.reasons, entry.by.get("id"), rfc8785.dumps(entry.about))
        with self._lock:
            if same in self._pending:
                owner, first, repeats, timer = self._pending[same]
                self._pending[same] = (owner, replace(first, at=entry.at, request=entry.request), repeats + 1, timer)
                return
            timer = threading.Timer(REPEATS_SECONDS, self._flush, (same,))
            timer.daemon = True
            self._pending[same] = (person_id, entry, 0, timer)
        try:
            record(self._broker, person_id, entry)
        except BaseException:
            with self._lock:
                self._pending.pop(same, None)
            raise
        timer.start()

    def _flush(self, same: tuple[object, ...]) -> None:
        with self._lock:
            person_id, entry, repeats, timer = self._pending.pop(same)
        timer.cancel()
        if repeats:
            record(self._broker, person_id, replace(entry, times=repeats))

    def close(self) -> None:
        """Enter what was counted and not yet entered."""
        for same in list(self._pending):
            self._flush(same)
