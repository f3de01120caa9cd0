"""Reading the ledger: entries newest first, and the whole log verified from its sealed bodies."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Connection, Select, bindparam, false, func, or_, select, tuple_

from broker.db import AnyRow, Prepared
from broker.errors import NotFound, Unsealable
from broker.ledger import models
from broker.ledger.merkle import Tree, leaf_hash
from broker.ledger.notes import FORK, INCLUSION, OK, ORDER, RESTORED, SIGNATURE, UNREADABLE, Key, Wrong, open_checkpoint
from broker.ledger.proofs import b64, place
from broker.vault.envelope import HEADER_BYTES, Place, parts
from broker.vault.heads import Signed
from broker.vault.keys import Keyring

NEVER: Final[Mapping[bytes, Signed]] = {}
PAGE: Final = 50
FIRST: Final = dt.datetime(1995, 1, 1, tzinfo=dt.UTC)
LAST: Final = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)
SCAN: Final = 2000
# More entries than anybody has.
LAST_NUMBER: Final = 2**62


@dataclass(frozen=True, slots=True)
class Page:
    """A list page of entries, newest first; `older` is the seq to continue below, None at the end."""

    entries: list[dict[str, Any]]
    older: int | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list of entries is filtered by; empty means any.

    `vendor` is a vendor's id, `grant` a grant's id as text; entries are not before `since`, and before `until`.
    """

    act: str = ""
    vendor: str = ""
    outcome: str = ""
    grant: str = ""
    since: dt.datetime | None = None
    until: dt.datetime | None = None

    def holds(self, entry: dict[str, Any]) -> bool:
        """Judge the members that lie sealed."""
        if (self.since or self.until) and not (self.since or FIRST) <= dt.datetime.fromisoformat(entry["at"]) < (self.until or LAST):
            return False
        vendor = entry["by"].get("vendor", entry.get("vendor"))
        return self.act in {"", entry["act"]} and self.vendor in {"", vendor} and self.outcome in {"", entry["outcome"]}


EVERYTHING: Final = Wanted()


def page(tx: Connection, ring: Keyring, wanted: Wanted = EVERYTHING, *, below: int | None = None, limit: int = PAGE) -> Page:
    """Up to `limit` entries that match; sealed members are matched by opening at most the next 2,000 entries.

    Entries are numbered through all of a person's logs: `below` and `older` are such numbers.
    """
    found: list[dict[str, Any]] = []
    count = 0
    for log_id, first in _logs(tx, ring.person_id, LAST_NUMBER if below is None else below):
        rows = _rows(tx, ring, wanted, log_id, None if below is None else below - first)
        for row in tx.execute(rows.limit(SCAN - count)):
            count += 1
            # What a restored backup has no key for is only a hash.
            entry = _opened(ring, log_id, row) if row.body else None
            if entry is not None and wanted.holds(entry):
                found.append(entry)
            if len(found) == limit or count == SCAN:
                return Page(found, first + row.seq or None)
    return Page(found, None)


def _logs(tx: Connection, person_id: bytes, below: int) -> list[tuple[bytes, int]]:
    """The logs with an entry of a number below this one, newest first, each with the number of its first."""
    table = models.heads.c
    wanted = select(table.log_id, table.first).where(table.person_id == person_id, table.first < below, table.size > 0)
    return [(row.log_id, row.first) for row in tx.execute(wanted.order_by(table.first.desc()))]


def logs(tx: Connection, person_id: bytes) -> list[bytes]:
    """The ids of the person's logs that hold something, the oldest first."""
    return [log_id for log_id, _ in reversed(_logs(tx, person_id, LAST_NUMBER))]


def _rows(tx: Connection, ring: Keyring, wanted: Wanted, log_id: bytes, below: int | None) -> Select[Any]:
    """The entries of one log that may be meant, newest first."""
    table = models.entries
    mine = select(table.c.seq, table.c.body).where(table.c.person_id == ring.person_id, table.c.log_id == log_id)
    if below is not None:
        mine = mine.where(table.c.seq < below)
    if wanted.grant:
        mine = mine.where(table.c.grant_tag == ring.log_tag(f"grant {wanted.grant}"))
    if wanted.since or wanted.until:
        mine = mine.where(_where_days_lie(tx, ring.person_id, wanted))
    return mine.order_by(table.c.seq.desc())


def _where_days_lie(tx: Connection, person_id: bytes, wanted: Wanted) -> ColumnElement[bool]:
    """From which seq to which the wanted days lie in each log, by the index alone; in between hardly anything else does."""
    table = models.entries.c
    days = table.day.between((wanted.since or FIRST).date(), (wanted.until or LAST).date())
    found = tx.execute(select(table.log_id, func.min(table.seq), func.max(table.seq)).where(table.person_id == person_id, days).group_by(table.log_id))
    return or_(false(), *((table.log_id == log_id) & table.seq.between(lowest, highest) for log_id, lowest, highest in found))


def _opened(ring: Keyring, log_id: bytes, row: AnyRow) -> dict[str, Any]:
    entry: dict[str, Any] = orjson.loads(ring.unseal(place(ring.person_id, "ledger_entries", log_id, row.seq), row.body))
    return entry


def one(tx: Connection, ring: Keyring, number: int) -> dict[str, Any]:
    """One entry of this person's logs by its number, whole; `NotFound` where there is none, or nothing of it but its hash."""
    table = models.entries
    for log_id, first in _logs(tx, ring.person_id, number + 1)[:1]:
        mine = (table.c.person_id == ring.person_id) & (table.c.log_id == log_id) & (table.c.seq == number - first)
        row = tx.execute(select(table.c.seq, table.c.body).where(mine)).first()
        if row is not None and row.body:
            return _opened(ring, log_id, row)
    raise NotFound


def firsts(tx: Connection, person_id: bytes) -> dict[str, int]:
    """The number of the first entry of each log, by the log's id as its entries write it."""
    return {b64(log_id): first for log_id, first in _logs(tx, person_id, LAST_NUMBER)}


@dataclass(frozen=True, slots=True)
class Gap:
    """What a restore left out: until when entries are here, how many there had been at least (0: unknown), and when it was."""

    kept: int
    signed: int
    at: dt.datetime


def gaps(tx: Connection, ring: Keyring) -> list[Gap]:
    """Every restore of a backup, newest first, as the entry says that the next log begins with."""
    logs = _logs(tx, ring.person_id, LAST_NUMBER)
    if len(logs) == 1 and not logs[0][1]:
        return []
    found = []
    for _, first in logs:
        # Of some the key is destroyed; the newest log names all that were closed.
        with suppress(NotFound):
            found.append(one(tx, ring, first))
    found = [entry for entry in found if entry["act"] == "restored"]
    return [Gap(_total(each, "size"), _total(each, "signed"), dt.datetime.fromisoformat(each["at"])) for each in found]


def _total(entry: dict[str, Any], name: str) -> int:
    return sum(each.get(name, 0) for each in entry["before"])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found: `problem` is empty, or a sentence; `code` as in `broker verify` (0, or 10 to 15)."""

    size: int
    root: str
    problem: str = ""
    code: int = 0


def verify(tx: Connection, ring: Keyring, signed: Mapping[bytes, Signed] = NEVER) -> list[Verdict]:
    """Each log of the person recomputed from its sealed bodies: order, leaf hashes, `prev` links, the root against the head (RFC 6962).

    `signed` are the last checkpoints of the logs: each must have been signed by its log's key, and the log must continue it. One that was closed by a
    restore must be as the first entry of a later one says.
    """
    heads = tx.execute(select(models.heads).where(models.heads.c.person_id == ring.person_id).order_by(models.heads.c.first.desc())).all()
    declared: dict[str, dict[str, Any]] = {}
    found: list[Verdict] = []
    for head in sorted(heads, key=lambda head: head.closed is not None):
        if head.closed is None:
            verdict, begun = _verdict(tx, ring, head, signed.get(head.log_id))
        else:
            verdict, begun = _closed(tx, ring, head, signed.get(head.log_id), declared.get(b64(head.log_id)))
        declared |= {each["log"]: each for each in begun.get("before", ())}
        found.insert(0, verdict)
    return found + [Verdict(0, "", "A log that was signed is gone.", FORK) for log_id in signed if log_id not in {head.log_id for head in heads}]


def _verdict(tx: Connection, ring: Keyring, head: AnyRow, signed: Signed | None) -> tuple[Verdict, dict[str, Any]]:
    """What is found of the log that goes on, and its first entry where it began with a restored backup."""
    tree = Tree()
    try:
        if signed:
            _check_note(ring, head.log_id, signed, head.size)
        begun = _grow(tx, ring, head.log_id, tree, signed)
        _compare(tree, head)
    except Wrong as wrong:
        return Verdict(tree.size, "", wrong.sentence, wrong.code), {}
    gap = f"A backup was put back on {begun['at'][:10]}: what happened between the backup and that day is not here." if begun else ""
    return Verdict(tree.size, b64(head.root), gap, RESTORED if begun else OK), begun


def _closed(tx: Connection, ring: Keyring, head: AnyRow, signed: Signed | None, said: dict[str, Any] | None) -> tuple[Verdict, dict[str, Any]]:
    """What is found of a closed log: it holds what it held when it was closed, and what had been signed before of as much of it."""
    tree = Tree()
    if said is None:
        return Verdict(0, "", "A log was closed, and no later one says so.", FORK), {}
    if (said["size"], said["root"]) != (head.size, b64(head.root)):
        return Verdict(0, "", "A log is not as it was when it was closed.", FORK), {}
    try:
        begun = _grow(tx, ring, head.log_id, tree, signed, closed=True)
        _compare(tree, head)
    except Wrong as wrong:
        return Verdict(tree.size, "", wrong.sentence, wrong.code), {}
    return Verdict(tree.size, b64(head.root)), begun


_BODIES: Final = Prepared(
    select(models.entries.c.seq, models.entries.c.leaf_hash, models.entries.c.body)
    .where(models.entries.c.person_id == bindparam("person"), models.entries.c.log_id == bindparam("log"), models.entries.c.seq >= bindparam("first"))
    .order_by(models.entries.c.seq)
)


def bodies(tx: Connection, ring: Keyring, log_id: bytes, first: int) -> Iterator[tuple[int, bytes, bytes]]:
    """The entries of a log from `first` on, as they lie: seq, leaf hash, sealed body. One at a time is in memory."""
    return _BODIES.run(tx, {"person": ring.person_id, "log": log_id, "first": first})


class Opener:
    """Opens many entries of one log: what their places have in common is put together once for each key and number of digits."""

    def __init__(self, ring: Keyring, log_id: bytes) -> None:
        self._ring, self._log_id, self._place = ring, log_id, Place(ring.person_id, "ledger_entries")
        self._known: dict[tuple[bytes, int], Callable[[bytes, bytes], bytes]] = {}

    def __call__(self, seq: int, body: bytes) -> bytes:
        """The body of one entry; `Unsealable`."""
        part = parts((seq,))
        known = (body[:HEADER_BYTES], len(part))
        unseal = self._known.get(known)
        if unseal is None:
            unseal = self._known[known] = self._ring.key_of(body).between(*self._place.around(self._log_id, rest=len(part)))
        return unseal(part, body)


def _compare(tree: Tree, head: AnyRow) -> None:
    if tree.size != head.size:
        raise Wrong(ORDER, f"The log should hold {head.size} entries and holds {tree.size}.")
    # From a wrong frontier the log would go on to a root that no entries give.
    if tree.root != head.root or tree.frontier != head.frontier:
        raise Wrong(INCLUSION, "The entries do not give the recorded root.")


def _check_note(ring: Keyring, log_id: bytes, signed: Signed, size: int) -> None:
    found = open_checkpoint(signed.note, Key(signed.origin, ring.log_signer(log_id).public))
    if (found.size, found.root) != (signed.size, signed.root):
        raise Wrong(SIGNATURE, "The last checkpoint says something else than was signed.")
    if size < signed.size:
        raise Wrong(FORK, f"{signed.size} entries were signed, and {size} are here: some were taken back.")


def _grow(tx: Connection, ring: Keyring, log_id: bytes, tree: Tree, signed: Signed | None, *, closed: bool = False) -> dict[str, Any]:
    """Grow the tree over all entries, each judged by itself and by those before; where the log began with a restored backup, that entry.

    In a `closed` log some may be left as hashes alone.
    """
    name = b64(log_id)
    begun: dict[str, Any] = {}
    opened = Opener(ring, log_id)
    for seq, leaf, body in bodies(tx, ring, log_id, 0):
        if seq != tree.size:
            raise Wrong(ORDER, f"Entry {tree.size} is missing: the next one found is {seq}.")
        if body or not closed:
            entry = _judged(opened, seq, leaf, body)
            if entry["seq"] != seq or entry["log"] != name or entry["prev"] != b64(tree.root):
                raise Wrong(ORDER, f"Entry {seq} does not follow from the entries before it.")
            if seq == 0 and entry["act"] == "restored":
                begun = entry
        tree.grow(leaf)
        if signed and tree.size == signed.size and tree.root != signed.root:
            raise Wrong(FORK, f"The first {tree.size} entries are others than were signed.")
    return begun


def _judged(opened: Opener, seq: int, leaf: bytes, body: bytes) -> dict[str, Any]:
    """An entry that has the hash it should have."""
    try:
        plain = opened(seq, body)
    except Unsealable:
        raise Wrong(UNREADABLE, f"Entry {seq} cannot be opened: it was altered or moved.") from None
    if leaf_hash(plain) != leaf:
        raise Wrong(INCLUSION, f"Entry {seq} does not match its hash.")
    entry: dict[str, Any] = orjson.loads(plain)
    return entry


@dataclass(frozen=True, slots=True)
class Served:
    """What a read sent beside its entry: the events' own ids in the order of the rows, the slice (canonical form) they were trimmed by, the cursor."""

    ids: tuple[str, ...]
    within: dict[str, Any] | None
    cursor: str


def served(tx: Connection, ring: Keyring, log_id: bytes, seq: int) -> Served | None:
    """What the read of this entry sent; None where it sent no row."""
    table = models.rows
    row = tx.execute(select(table.c.body).where(table.c.person_id == ring.person_id, table.c.log_id == log_id, table.c.seq == seq)).first()
    if row is None:
        return None
    found = orjson.loads(ring.unseal(place(ring.person_id, "ledger_rows", log_id, seq), row.body))
    return Served(tuple(found["ids"]), found["slice"], found["next"])


def with_rows(tx: Connection, person_id: bytes, after: tuple[bytes, int], limit: int) -> list[tuple[bytes, int]]:
    """Log and seq of the next entries whose read sent rows."""
    table = models.rows
    wanted = select(table.c.log_id, table.c.seq).where(table.c.person_id == person_id, tuple_(table.c.log_id, table.c.seq) > after)
    return [(row.log_id, row.seq) for row in tx.execute(wanted.order_by(table.c.log_id, table.c.seq).limit(limit))]
