"""Reading the ledger: entries newest first, and the whole log verified from its sealed bodies."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Connection, select

from broker.db import AnyRow
from broker.errors import NotFound, Unsealable
from broker.ledger import models, proofs
from broker.ledger.proofs import b64, place
from broker.vault.keys import Keyring

PAGE: Final = 50
SCAN: Final = 2000


@dataclass(frozen=True, slots=True)
class Page:
    """A list page of entries, newest first; `older` is the seq to continue below, None at the end."""

    entries: list[dict[str, Any]]
    older: int | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list of entries is filtered by; empty means any. `vendor` is a vendor's id, `grant` a grant's id as text."""

    act: str = ""
    vendor: str = ""
    outcome: str = ""
    grant: str = ""

    def holds(self, entry: dict[str, Any]) -> bool:
        """Judge the members that lie sealed."""
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
    found: list[dict[str, Any]] = []
    for count, row in enumerate(tx.execute(mine.order_by(table.c.log_id, table.c.seq.desc()).limit(SCAN)), 1):
        entry = _opened(ring, row)
        if wanted.holds(entry):
            found.append(entry)
        if len(found) == limit or count == SCAN:
            return Page(found, row.seq or None)
    return Page(found, None)


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
    """What a verification found: `problem` is empty, or a sentence; `code` as in `broker verify` (0, 11, 13, 15)."""

    size: int
    root: str
    problem: str = ""
    code: int = 0


def verify(tx: Connection, ring: Keyring) -> list[Verdict]:
    """Each log of the person recomputed from its sealed bodies: order, leaf hashes, `prev` links, and the root against the head (RFC 6962)."""
    heads = tx.execute(select(models.heads).where(models.heads.c.person_id == ring.person_id)).all()
    return [_verify_log(tx, ring, head.log_id, head.size, head.root) for head in heads]


def _verify_log(tx: Connection, ring: Keyring, log_id: bytes, size: int, root: bytes) -> Verdict:
    frontier, seq = b"", 0
    for row_seq, leaf, body in _bodies(tx, ring.person_id, log_id):
        if row_seq != seq:
            return Verdict(seq, "", f"Entry {seq} is missing: the next one found is {row_seq}.", 13)
        try:
            plain = ring.unseal(place(ring.person_id, "ledger_entries", log_id, row_seq), body)
        except Unsealable:
            return Verdict(seq, "", f"Entry {seq} cannot be opened: it was altered or moved.", 15)
        entry = orjson.loads(plain)
        if proofs.leaf_hash(plain) != leaf:
            return Verdict(seq, "", f"Entry {seq} does not match its hash.", 11)
        if entry["seq"] != seq or entry["log"] != b64(log_id) or entry["prev"] != b64(proofs.root(frontier)):
            return Verdict(seq, "", f"Entry {seq} does not follow from the entries before it.", 13)
        frontier = proofs.grow(frontier, seq, leaf)
        seq += 1
    if seq != size:
        return Verdict(seq, "", f"The log should hold {size} entries and holds {seq}.", 13)
    if proofs.root(frontier) != root:
        return Verdict(seq, "", "The entries do not give the recorded root.", 11)
    return Verdict(seq, b64(root))


def _bodies(tx: Connection, person_id: bytes, log_id: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    table = models.entries
    wanted = select(table.c.seq, table.c.leaf_hash, table.c.body).where(table.c.person_id == person_id, table.c.log_id == log_id).order_by(table.c.seq)
    for row in tx.execute(wanted):
        yield row.seq, row.leaf_hash, row.body


def sent(tx: Connection, ring: Keyring, seq: int) -> list[str]:
    """The event ids whose rows this entry's read sent, while they are kept."""
    table = models.rows
    row = tx.execute(select(table.c.log_id, table.c.body).where(table.c.person_id == ring.person_id, table.c.seq == seq)).first()
    return ring.unseal(place(ring.person_id, "ledger_rows", row.log_id, seq), row.body).decode().split("\n") if row else []
