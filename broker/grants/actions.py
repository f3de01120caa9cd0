"""Everything that changes a grant: give, pause, resume, revoke, expire. Each writes the row and its ledger entry in one transaction."""

import datetime as dt
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Connection, bindparam, func, insert, select, update

from broker.db import Prepared, upsert
from broker.errors import Conflict
from broker.grants import queries
from broker.grants.models import answers, grants, use
from broker.ledger import actions as ledger
from broker.opening import Broker
from broker.vault import heads
from broker.vault.keys import Keyring
from policies.clauses import Clause

GRANTS_PER_PERSON: Final = 1000
NEVER: Final = dt.date(1970, 1, 1)
NO_ANSWERS: Final = 16


@dataclass(frozen=True, slots=True)
class Given:
    """A grant about to be given, sealed outside the transaction: `insert(tx)` writes it and its ledger entry."""

    ring: Keyring
    grant_id: bytes
    row: dict[str, Any]
    entry: ledger.Entry
    entry_key: Any

    def insert(self, tx: Connection) -> None:
        """Write the grant; `Conflict` where the person has a thousand already."""
        mine = select(func.count()).select_from(grants).where(grants.c.person_id == self.ring.person_id)
        if tx.execute(mine).scalar_one() >= GRANTS_PER_PERSON:
            raise Conflict("You have a thousand grants. Nothing more can be given from this account.")
        ledger.append(tx, self.ring, self.entry_key, self.entry)
        tx.execute(insert(grants).values(self.row))


def give(
    ring: Keyring, *, client_id: str, vendor_id: str, clauses: Sequence[Clause], expires_at: dt.datetime, details: dict[str, Any], now: dt.datetime
) -> Given:
    """Prepare the person's yes to one client. `clauses` are what the person chose, with ids and absolute validity."""
    grant_id = os.urandom(16)
    key = ring.key_for("grant", f"{now:%Y-%m}", 2)
    documents = [clause.to_json() for clause in clauses]
    row = {
        "person_id": ring.person_id, "grant_id": grant_id, "client_id": client_id, "status": "active", "version": 1, "given_at": now,
        "expires_at": expires_at, "reason": "",
        "clauses": key.seal(queries.place(ring.person_id, "clauses", grant_id), orjson.dumps(documents)),
        "details": key.seal(queries.place(ring.person_id, "details", grant_id), orjson.dumps(details)),
    }  # fmt: skip
    about = {"vendor": vendor_id, "client": client_id, "version": 1, "clauses": documents, "until": f"{expires_at:%Y-%m-%dT%H:%M:%SZ}"}
    entry = ledger.Entry("give", now, grant=queries.to_text(grant_id), about=about)
    return Given(ring, grant_id, row, entry, ledger.entry_key(ring, now))


_COUNT: Final = Prepared(
    upsert(use).on_conflict_do_update(
        index_elements=list(use.primary_key.columns),
        set_={"reads": use.c.reads + 1, "rows": use.c.rows + bindparam("more")},
        where=(use.c.reads + 1 <= bindparam("most_reads")) & (use.c.rows + bindparam("more") <= bindparam("most_rows")),
    )
)


def count_use(person_id: bytes, grant_id: bytes, clause: str, day: dt.date, *, rows: int, most_reads: int, most_rows: int) -> ledger.Check:
    """Counts one read of `rows` rows; touches no row where that would pass the clause's rate."""
    first = {"person_id": person_id, "grant_id": grant_id, "clause": clause, "day": day, "reads": 1, "rows": rows}
    return _COUNT, {**first, "more": rows, "most_reads": most_reads, "most_rows": most_rows}


def start_answers(broker: Broker, person_id: bytes, grant_id: bytes, clause: str) -> None:
    """Make the row in which a clause's answers are kept, with none in it."""
    row = {"person_id": person_id, "grant_id": grant_id, "clause": clause, "day": NEVER, "body": os.urandom(NO_ANSWERS)}
    broker.write(lambda tx: tx.execute(upsert(answers).values(row).on_conflict_do_nothing()))


def keep_answers(ring: Keyring, grant_id: bytes, clause: str, day: dt.date, kept: queries.Kept, by_slice: dict[str, dict[str, Any]]) -> ledger.Check:
    """Keeps a clause's answers of a day, unless somebody changed the row since `kept` was read."""
    body = kept.body
    if by_slice != kept.by_slice:
        body = ring.key_for("grant", f"{day:%Y-%m}").seal(queries.answers_place(ring.person_id, grant_id, clause), orjson.dumps(by_slice))
    mine = (answers.c.person_id == ring.person_id) & (answers.c.grant_id == grant_id) & (answers.c.clause == clause) & (answers.c.body == kept.body)
    return update(answers).where(mine).values(day=day, body=body), {}


def drop_answers(tx: Connection, person_id: bytes) -> None:
    """Take back every kept answer of a person, because events it was worked out from are going."""
    tx.execute(update(answers).where(answers.c.person_id == person_id).values(day=NEVER, body=os.urandom(NO_ANSWERS)))


def _changing(person_id: bytes, grant_id: bytes, from_status: tuple[str, ...], **values: Any) -> ledger.Check:
    """The statement that changes a grant's row and raises its version, if it is still in one of `from_status`."""
    wanted = (grants.c.person_id == person_id) & (grants.c.grant_id == grant_id) & grants.c.status.in_(from_status)
    return update(grants).where(wanted).values(version=grants.c.version + 1, **values), {}


def _change(
    broker: Broker, person_id: bytes, grant_id: bytes, act: str, *, status: str, start: tuple[str, ...], by: dict[str, str] | None = None, reason: str = ""
) -> bool:
    """One status change with its entry; False where the grant is in none of `start` (a repeat does nothing). Raises `NotFound`."""
    now = broker.now()
    ring = broker.keyring(person_id)
    key = ledger.entry_key(ring, now)
    ending = status in {"revoked", "expired"}
    values: dict[str, Any] = {"status": status, "reason": reason, **({"ended_at": now} if ending else {})}
    with broker.reading() as tx:
        grant = queries.one(tx, ring, grant_id)
    about = {"client": grant.client_id, **({"vendor": grant.vendor_id} if grant.vendor_id else {})}
    entry = ledger.Entry(act, now, by=by or ledger.PERSON, grant=grant.id, reasons=(reason,) if reason else (), about=about)

    def job(tx: Connection) -> bool:
        try:
            ledger.append(tx, ring, key, entry, [_changing(person_id, grant_id, start, **values)])
        except ledger.GuardFailed:
            return False
        return True

    changed = broker.write(job, ending=True)
    if ending:
        # Also on a repeat: the process may have died between the two stores the first time.
        heads.note_ended(broker.heads, person_id, grant_id, now)
    return changed


def revoke(broker: Broker, person_id: bytes, grant_id: bytes, *, by: dict[str, str] | None = None, reason: str = "") -> bool:
    """End a grant for good. When this returns, no read, redemption or refresh that starts later succeeds, on any process."""
    return _change(broker, person_id, grant_id, "revoke", status="revoked", start=queries.LIVE, by=by, reason=reason)


def pause(broker: Broker, person_id: bytes, grant_id: bytes) -> bool:
    """Stop all reads until the person resumes."""
    return _change(broker, person_id, grant_id, "pause", status="paused", start=("active",))


def resume(broker: Broker, person_id: bytes, grant_id: bytes) -> bool:
    """Let a paused grant be used again; a grant whose time is over cannot be."""
    with broker.reading() as tx:
        if queries.one(tx, broker.keyring(person_id), grant_id).state(broker.now()) == "expired":
            raise Conflict("This grant has reached its end date. The vendor has to ask again.")
    return _change(broker, person_id, grant_id, "resume", status="active", start=("paused",))


def pause_all(broker: Broker, person_id: bytes) -> int:
    """Pause every active grant of the person in one go; returns how many."""
    with broker.reading() as tx:
        active = [grant.grant_id for grant in queries.every(tx, broker.keyring(person_id)) if grant.state(broker.now()) == "active"]
    return sum(pause(broker, person_id, grant_id) for grant_id in active)


def expire(broker: Broker, person_id: bytes, grant_id: bytes, reason: str) -> bool:
    """End a grant whose time is over, or that nothing can use any more."""
    return _change(broker, person_id, grant_id, "expire", status="expired", start=queries.LIVE, by={"role": "broker"}, reason=reason)


def end_again(broker: Broker) -> int:
    """At start-up: end what heads.db knows to have ended, should an older data.db have come back; returns how many were alive."""
    revived = 0
    for person_id, grant_id in heads.ended(broker.heads):
        with broker.reading() as tx:
            live = queries.is_live(tx, person_id, grant_id)
        if live:
            revived += revoke(broker, person_id, grant_id, by={"role": "broker"}, reason="restored")
    return revived
