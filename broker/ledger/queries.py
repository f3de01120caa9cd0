"""Reading the ledger: entries newest first, and the whole log verified from its sealed bodies."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Connection, bindparam, false, func, or_, select

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
    """Up to `limit` entries that match; sealed members are matched by opening at most the next 2,000 entries."""
    table = models.entries
    mine = select(table.c.log_id, table.c.seq, table.c.body).where(table.c.person_id == ring.person_id)
    if below is not None:
        mine = mine.where(table.c.seq < below)
    if wanted.grant:
        mine = mine.where(table.c.grant_tag == ring.log_tag(f"grant {wanted.grant}"))
    if wanted.since or wanted.until:
        mine = mine.where(_where_days_lie(tx, ring.person_id, wanted))
    found: list[dict[str, Any]] = []
    for count, row in enumerate(tx.execute(mine.order_by(table.c.log_id.desc(), table.c.seq.desc()).limit(SCAN)), 1):
        entry = _opened(ring, row)
        if wanted.holds(entry):
            found.append(entry)
        if len(found) == limit or count == SCAN:
            return Page(found, row.seq or None)
    return Page(found, None)


def _where_days_lie(tx: Connection, person_id: bytes, wanted: Wanted) -> ColumnElement[bool]:
    """From which seq to which the wanted days lie in each log, by the index alone; in between hardly anything else does."""
    table = models.entries.c
    days = table.day.between((wanted.since or FIRST).date(), (wanted.until or LAST).date())
    found = tx.execute(select(table.log_id, func.min(table.seq), func.max(table.seq)).where(table.person_id == person_id, days).group_by(table.log_id))
    return or_(false(), *((table.log_id == log_id) & table.seq.between(lowest, highest) for log_id, lowest, highest in found))


def _opened(ring: Keyring, row: AnyRow) -> dict[str, Any]:
    entry: dict[str, Any] = orjson.loads(ring.unseal(place(ring.person_id, "ledger_entries", row.log_id, row.seq), row.body))
    return entry


def one(tx: Connection, ring: Keyring, seq: int) -> dict[str, Any]:
    """One entry of this person's log, whole; `NotFound` where there is none."""
    table = models.entries
    row = tx.execute(select(table.c.log_id, table.c.seq, table.c.body).where(table.c.person_id == ring.person_id, table.c.seq == seq)).first()
    if row is None:
        raise NotFound
    return _opened(ring, row)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found: `problem` is empty, or a sentence; `code` as in `broker verify` (0, or 10 to 15)."""

    size: int
    root: str
    problem: str = ""
    code: int = 0


def verify(tx: Connection, ring: Keyring, signed: Mapping[bytes, Signed] = NEVER) -> list[Verdict]:
    """Each log of the person recomputed from its sealed bodies: order, leaf hashes, `prev` links, the root against the head (RFC 6962).

    `signed` are the last checkpoints of the logs: each must have been signed by its log's key, and the log must continue it.
    """
    heads = tx.execute(select(models.heads).where(models.heads.c.person_id == ring.person_id)).all()
    found = [_verdict(tx, ring, head, signed.get(head.log_id)) for head in heads]
    return found + [Verdict(0, "", "A log that was signed is gone.", FORK) for log_id in signed if log_id not in {head.log_id for head in heads}]


def _verdict(tx: Connection, ring: Keyring, head: AnyRow, signed: Signed | None) -> Verdict:
    tree = Tree()
    try:
        if signed:
            _check_note(ring, head.log_id, signed, head.size)
        restored = _grow(tx, ring, head.log_id, tree, signed)
        _compare(tree, head)
    except Wrong as wrong:
        return Verdict(tree.size, "", wrong.sentence, wrong.code)
    gap = f"A backup was put back on {restored[:10]}: what happened between the backup and that day is not here." if restored else ""
    return Verdict(tree.size, b64(head.root), gap, RESTORED if restored else OK)


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


def _grow(tx: Connection, ring: Keyring, log_id: bytes, tree: Tree, signed: Signed | None) -> str:
    """Grow the tree over all entries, each judged by itself and by those before; when the log began with a restored backup, that time."""
    name, restored = b64(log_id), ""
    opened = Opener(ring, log_id)
    for seq, leaf, body in bodies(tx, ring, log_id, 0):
        if seq != tree.size:
            raise Wrong(ORDER, f"Entry {tree.size} is missing: the next one found is {seq}.")
        try:
            plain = opened(seq, body)
        except Unsealable:
            raise Wrong(UNREADABLE, f"Entry {seq} cannot be opened: it was altered or moved.") from None
        if leaf_hash(plain) != leaf:
            raise Wrong(INCLUSION, f"Entry {seq} does not match its hash.")
        entry = orjson.loads(plain)
        if entry["seq"] != seq or entry["log"] != name or entry["prev"] != b64(tree.root):
            raise Wrong(ORDER, f"Entry {seq} does not follow from the entries before it.")
        if seq == 0 and entry["act"] == "restored":
            restored = entry["at"]
        tree.grow(leaf)
        if signed and tree.size == signed.size and tree.root != signed.root:
            raise Wrong(FORK, f"The first {tree.size} entries are others than were signed.")
    return restored


@dataclass(frozen=True, slots=True)
class Served:
    """What a read sent beside its entry: the events' own ids in the order of the rows, the slice (canonical form) they were trimmed by, the cursor."""

    ids: tuple[str, ...]
    within: dict[str, Any] | None
    cursor: str


def served(tx: Connection, ring: Keyring, seq: int) -> Served | None:
    """What the read of this entry sent; None where it sent no row."""
    table = models.rows
    row = tx.execute(select(table.c.log_id, table.c.body).where(table.c.person_id == ring.person_id, table.c.seq == seq)).first()
    if row is None:
        return None
    found = orjson.loads(ring.unseal(place(ring.person_id, "ledger_rows", row.log_id, seq), row.body))
    return Served(tuple(found["ids"]), found["slice"], found["next"])
