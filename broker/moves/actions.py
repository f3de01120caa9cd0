"""Taking in what a package holds besides events: terms where there are none, grants that have ended, old ledgers as they are. Doing it again adds nothing."""

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
import rfc8785
from sqlalchemy import Connection, delete, func, insert, select, update

from broker.db import upsert
from broker.errors import Busy, Conflict
from broker.grants import agreed, queries
from broker.grants.models import agreements, changes, grants
from broker.ledger import actions as ledger
from broker.moves.contents import Moved, OldLedger, Version
from broker.moves.models import old_ledgers
from broker.moves.package import Package
from broker.moves.queries import Coming, next_number, place
from broker.opening import Broker
from broker.people.models import people
from broker.terms.models import versions
from broker.vault.envelope import OpenKey, Place
from broker.vault.keys import Keyring

PIECE: Final = 2**20
TRIES: Final = 20
Job = Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class Ready:
    """What comes besides events, sealed outside the transaction: `insert(tx)` writes it, and `about` is what the ledger says of it."""

    jobs: tuple[Job, ...]
    about: dict[str, Any]

    def insert(self, tx: Connection) -> None:
        """Write all of it."""
        for job in self.jobs:
            job(tx)


def ready(broker: Broker, ring: Keyring, package: Package, coming: Coming, batch: str, by: dict[str, str]) -> Ready:
    """Seal what comes; the old ledgers' files are written now, piece by piece, and count from `insert` on."""
    now = broker.now()
    jobs = [*_ledgers(broker, ring, package, coming.ledgers, batch), _grants(ring, coming.grants, batch, now)]
    if coming.versions:
        jobs.append(_terms(ring, coming.versions, now, by))
    about = {name: number for name, number in (("terms", len(coming.versions)), ("grants", len(coming.grants))) if number}
    return Ready(tuple(jobs), {**about, **({"old_logs": coming.logs} if coming.logs else {})})


# Old ledgers


def _ledgers(broker: Broker, ring: Keyring, package: Package, found: list[OldLedger], batch: str) -> list[Job]:
    if not found:
        return []
    drop_rests(broker, ring.person_id)
    with broker.reading() as tx:
        first = next_number(tx, ring.person_id)
    return [_ledger(broker, ring, package, each, first + at, batch) for at, each in enumerate(found)]


def drop_rests(broker: Broker, person_id: bytes) -> None:
    """Delete the pieces of old ledgers whose import broke off."""
    table = old_ledgers
    mine = table.c.person_id == person_id
    whole = select(table.c.number).where(mine, table.c.piece == 0)
    broker.write(lambda tx: tx.execute(delete(table).where(mine, table.c.number.not_in(whole))))


def _ledger(broker: Broker, ring: Keyring, package: Package, found: OldLedger, number: int, batch: str) -> Job:
    now, pieces = broker.now(), 0
    key = ring.key_for("old_ledgers", f"{now:%Y-%m}", found.size // PIECE + 2)
    for part in package.pieces(found.name, PIECE):
        pieces += 1
        row = {"person_id": ring.person_id, "number": number, "piece": pieces, "body": key.seal(place(ring.person_id, number, pieces), part)}
        _patiently(broker, row)
    told = {"pieces": pieces, "size": found.size, "sha256": found.digest, "batch": batch, "kept_at": now.isoformat(), "logs": found.logs}
    head = {"person_id": ring.person_id, "number": number, "piece": 0, "body": key.seal(place(ring.person_id, number, 0), orjson.dumps(told))}
    mine = (old_ledgers.c.person_id == ring.person_id) & (old_ledgers.c.number == number)

    def insert_head(tx: Connection) -> None:
        if tx.execute(select(func.count()).select_from(old_ledgers).where(mine)).scalar_one() != pieces:
            raise Conflict("Another import of yours ran at the same time. Take this one in again.")
        tx.execute(insert(old_ledgers).values(head))

    return insert_head


def _patiently(broker: Broker, row: dict[str, Any]) -> None:
    for left in reversed(range(TRIES)):
        try:
            broker.write(lambda tx: tx.execute(insert(old_ledgers).values(row)), size=len(row["body"]))
        except Busy:
            if not left:
                raise
            time.sleep(1)
        else:
            return


# Grants


def _grants(ring: Keyring, found: list[Moved], batch: str, now: dt.datetime) -> Job:
    key = ring.key_for("grant", f"{now:%Y-%m}", 5 * len(found) + sum(len(each.changes) for each in found)) if found else None
    rows = [_rows(ring, key, each, batch) for each in found if key is not None]

    def insert_grants(tx: Connection) -> None:
        for grant, agreement, statements in rows:
            # One that is here already stays as it is, with all that belongs to it.
            if not tx.execute(upsert(grants).values(grant).on_conflict_do_nothing()).rowcount:
                continue
            if agreement is not None:
                tx.execute(insert(agreements).values(agreement))
            if statements:
                tx.execute(insert(changes), statements)

    return insert_grants


def _rows(ring: Keyring, key: OpenKey, moved: Moved, batch: str) -> tuple[dict[str, Any], dict[str, Any] | None, list[dict[str, Any]]]:
    it, mine = moved.grant, {"person_id": ring.person_id, "grant_id": moved.grant.grant_id}
    if it.status in queries.LIVE or it.ended_at is None:
        raise ValueError("A grant that was brought along never lives.")
    clauses = orjson.dumps([clause.to_json() for clause in it.clauses])
    details = orjson.dumps({**it.details, "moved": batch})
    grant = {
        **mine, "client_id": it.client_id, "status": it.status, "version": it.version, "given_at": it.given_at, "expires_at": it.expires_at,
        "countersigned_at": it.countersigned_at, "ended_at": it.ended_at, "agreement": it.agreement, "reason": it.reason,
        "clauses": key.seal(queries.place(ring.person_id, "clauses", it.grant_id), clauses),
        "details": key.seal(queries.place(ring.person_id, "details", it.grant_id), details),
    }  # fmt: skip
    if it.agreement is None:
        return grant, None, []

    def sealed(column: str, plain: bytes) -> bytes:
        return key.seal(agreed.agreement_place(ring.person_id, column, it.grant_id), plain)

    added = sealed("countersignature", orjson.dumps(moved.countersignature)) if moved.countersignature else None
    agreement = {**mine, "document": sealed("document", moved.document), "countersignature": added, "opening": sealed("opening", moved.opening)}
    statements = [
        {**mine, "n": number, "statement": key.seal(agreed.change_place(ring.person_id, it.grant_id, number), each.encode())}
        for number, each in enumerate(moved.changes, 1)
    ]
    return grant, agreement, statements


# Terms


def _terms(ring: Keyring, found: list[Version], now: dt.datetime, by: dict[str, str]) -> Job:
    key, last = ring.key_for("terms", f"{now:%Y-%m}", len(found)), found[-1].number
    entry, entry_key = ledger.Entry("terms", now, by=by, about={"version": last, "change": "moved"}), ledger.entry_key(ring, now)
    rows = [
        {
            "person_id": ring.person_id, "version": each.number, "made_at": each.made_at, "restored": each.restored,
            "body": key.seal(Place(ring.person_id, "terms_versions").at(each.number), rfc8785.dumps(each.terms.to_json())),
        }
        for each in found
    ]  # fmt: skip
    first = update(people).where(people.c.person_id == ring.person_id, people.c.terms_version == 0).values(terms_version=last)

    def insert_terms(tx: Connection) -> None:
        # Terms that their person made meanwhile are theirs, and stay.
        if tx.execute(first).rowcount:
            tx.execute(insert(versions), rows)
            ledger.append(tx, ring, entry_key, entry)

    return insert_terms
