"""Everything that changes a grant: give, countersign, narrow, pause, resume, revoke, expire. Row, ledger entry and what is signed: one transaction."""

import contextlib
import datetime as dt
import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Update, bindparam, func, insert, select, update

from broker.db import Prepared, upsert
from broker.errors import BadRequest, Busy, Conflict, InvalidToken, LedgerUnavailable, Sealed, Unprocessable, Unsealable
from broker.grants import agreed, agreements, queries, statements
from broker.grants.agreements import Background
from broker.grants.models import agreements as agreement_rows
from broker.grants.models import answers, changes, grants, use
from broker.ledger import actions as ledger
from broker.ledger import checkpoints
from broker.notices import actions as notices
from broker.notices.actions import Notice
from broker.opening import Broker
from broker.vault import heads
from broker.vault.envelope import OpenKey
from broker.vault.keys import Appending, Keyring
from broker.vendors import queries as vendors
from broker.vendors.actions import disable_client
from broker.vendors.queries import Client
from policies.clauses import Clause
from policies.documents import Malformed

log = logging.getLogger(__name__)
GRANTS_PER_PERSON: Final = 1000
# What works on a grant whose sealed parts are damaged: nothing may keep a person from stopping it.
STOPS: Final = frozenset({"pause", "revoke", "expire"})
NEVER: Final = dt.date(1970, 1, 1)
NO_ANSWERS: Final = 16
SIGN_WITHIN: Final = dt.timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Given:
    """A grant about to be given, sealed and signed outside the transaction: `insert(tx)` writes it, its ledger entry and its agreement."""

    ring: Keyring
    grant_id: bytes
    row: dict[str, Any]
    entry: ledger.Entry
    entry_key: OpenKey
    # None for the person's own extension: to it nothing leaves.
    agreement: dict[str, Any] | None = field(repr=False)

    def insert(self, tx: Connection) -> None:
        """Write the grant; `Conflict` where the person has a thousand already."""
        mine = select(func.count()).select_from(grants).where(grants.c.person_id == self.ring.person_id)
        if tx.execute(mine).scalar_one() >= GRANTS_PER_PERSON:
            raise Conflict("You have a thousand grants. Nothing more can be given from this account.")
        ledger.append(tx, self.ring, self.entry_key, self.entry)
        tx.execute(insert(grants).values(self.row))
        if self.agreement is not None:
            tx.execute(insert(agreement_rows).values(self.agreement))


def give(
    broker: Broker, ring: Keyring, client: Client, clauses: Sequence[Clause], *, background: Background, details: dict[str, Any], now: dt.datetime
) -> Given:
    """Prepare the person's yes to one client: the grant, and to a vendor the agreement with the person's signature (rule S1).

    `clauses` are what the person chose, with ids and absolute validity. `Conflict` where the vendor has no key to sign with,
    `Unprocessable` where an agreement cannot hold so much: nobody is asked to sign what `agreements.verify` would refuse.
    """
    grant_id = os.urandom(16)
    key = ring.key_for("grant", f"{now:%Y-%m}", 4)
    documents = [clause.to_json() for clause in clauses]
    expires_at = max(clause.validity.until for clause in clauses if clause.validity.until is not None)
    payload = None if client.public else agreed.payload(broker, ring, client, clauses, background, grant_id, now)
    row = {
        "person_id": ring.person_id, "grant_id": grant_id, "client_id": client.client_id, "status": "active", "version": 1, "given_at": now,
        "expires_at": expires_at, "reason": "", "countersigned_at": now if payload is None else None,
        "agreement": None if payload is None else hashlib.sha256(payload.raw).digest(),
        "clauses": key.seal(queries.place(ring.person_id, "clauses", grant_id), orjson.dumps(documents)),
        "details": key.seal(queries.place(ring.person_id, "details", grant_id), orjson.dumps(details)),
    }  # fmt: skip
    about = {"vendor": client.vendor_id, "client": client.client_id, "version": 1, "clauses": documents, "until": f"{expires_at:%Y-%m-%dT%H:%M:%SZ}"}
    if payload is not None:
        about["agreement"] = agreements.digest(payload.raw)
    entry = ledger.Entry("give", now, grant=queries.to_text(grant_id), about=about)
    kept = None if payload is None else payload.row(ring, key, client.vendor_id, grant_id)
    return Given(ring, grant_id, row, entry, ledger.entry_key(ring, now), kept)


def countersign(broker: Broker, person_id: bytes, grant_id: bytes, signature: dict[str, str]) -> None:
    """Add the vendor's signature, if the agreement holds with it; from then on it may read. Repeating it does nothing.

    The grant's version rises: whatever a process remembers of a grant, it remembers for one version. `Unprocessable` with the place where the
    signature does not hold, `Conflict` where another one is there already, `InvalidToken` where the grant is over. Then nothing has changed.
    """
    now = broker.now()
    ring = broker.keyring(person_id)
    with broker.reading() as tx:
        grant = queries.one(tx, ring, grant_id)
        kept = agreed.agreement(tx, ring, grant_id)
    if kept is None:
        raise BadRequest("This grant has no agreement to sign.")
    if kept.countersignature is not None:
        if kept.countersignature != signature:
            raise Conflict("This agreement carries another signature of yours already. Read it with GET; it needs no second one.")
        return
    try:
        agreements.verify(kept.with_signature(signature))
    except Malformed as malformed:
        raise Unprocessable("This is not your signature over this agreement; see errors. Nothing was changed.", errors=_pointed(malformed)) from None
    if now >= grant.given_at + SIGN_WITHIN:
        expire(broker, person_id, grant_id, "unsigned")
        raise InvalidToken
    key = ring.key_for("grant", f"{now:%Y-%m}")
    sealed = key.seal(agreed.agreement_place(person_id, "countersignature", grant_id), orjson.dumps(signature))
    live = _updating(person_id, grant_id, queries.LIVE, countersigned_at=now)
    mine = (agreement_rows.c.person_id == person_id) & (agreement_rows.c.grant_id == grant_id) & agreement_rows.c.countersignature.is_(None)

    def job(tx: Connection) -> None:
        # Whoever came between, with the same signature or with an end, has the last word.
        if not tx.execute(update(agreement_rows).where(mine).values(countersignature=sealed)).rowcount or not tx.execute(live).rowcount:
            raise Conflict

    try:
        broker.write(job)
    except Conflict:
        with broker.reading() as tx:
            kept = agreed.agreement(tx, ring, grant_id)
            if kept is None or kept.countersignature != signature or not queries.is_live(tx, person_id, grant_id):
                raise


def _pointed(malformed: Malformed) -> list[dict[str, str]]:
    """Pointers into what the vendor sent rather than into the whole agreement."""
    return [{**error, "pointer": error["pointer"].removeprefix("/signatures/1")} for error in malformed.errors]


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


def _updating(person_id: bytes, grant_id: bytes, from_status: tuple[str, ...], *, version: int | None = None, **values: Any) -> Update:
    """The statement that changes a grant's row and raises its version, if it is still in one of `from_status` (and of that version)."""
    wanted = (grants.c.person_id == person_id) & (grants.c.grant_id == grant_id) & grants.c.status.in_(from_status)
    if version is not None:
        wanted &= grants.c.version == version
    return update(grants).where(wanted).values(version=grants.c.version + 1, **values)


@dataclass(frozen=True, slots=True)
class _Change:
    """What a change of a grant does: its act, the state it leads to and from which, and what is said of it."""

    act: str
    status: str
    start: tuple[str, ...]
    by: dict[str, str]
    reason: str = ""
    # The clauses that are left, and their new columns, where it was narrowed.
    clauses: tuple[Clause, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)
    # What the person should hear of besides.
    notice: Notice | None = None

    @property
    def statement(self) -> str:
        """The state that the signed statement names; empty where the agreement said it already: that its time is over."""
        words = {"pause": "paused", "resume": "resumed", "narrow": "narrowed"}
        if self.act in words or self.reason == "over":
            return words.get(self.act, "")
        return statements.WITHDRAWN if self.by == ledger.PERSON else statements.REVOKED


def _change(broker: Broker, person_id: bytes, grant_id: bytes, change: _Change, *, version: int | None = None) -> bool:
    """One change with its entry and its signed statement; False where the grant is in none of the states it starts from. Raises `NotFound`."""
    now = broker.now()
    ring = broker.appender(person_id)
    key = ledger.entry_key(ring, now)
    ending = change.status in {"revoked", "expired"}
    values: dict[str, Any] = {"reason": change.reason, **({"status": change.status} if change.status else {}), **({"ended_at": now} if ending else {})}
    with broker.reading() as tx:
        client_id = queries.client_of(tx, person_id, grant_id)
        grant = _if_it_opens(tx, ring, grant_id, change)
    about: dict[str, Any] = {"client": client_id, **({"vendor": grant.vendor_id} if grant and grant.vendor_id else {})}
    if change.clauses and grant:
        about |= {"was": [clause.to_json() for clause in grant.clauses], "clauses": [clause.to_json() for clause in change.clauses]}
    entry = ledger.Entry(change.act, now, by=change.by, grant=queries.to_text(grant_id), reasons=(change.reason,) if change.reason else (), about=about)
    guard = _updating(person_id, grant_id, change.start, version=version, **values, **change.values)
    try:
        say = _stating(ring, grant, change, now) if grant and isinstance(ring, Keyring) else None
    except (Unsealable, Busy):
        if change.act not in STOPS:
            raise
        log.exception("a grant is stopped without its statement")
        say = None

    def job(tx: Connection) -> bool:
        try:
            ledger.append(tx, ring, key, entry, [(guard, {})])
        except ledger.GuardFailed:
            return False
        if say:
            say(tx)
        if change.notice is not None:
            notices.add(tx, ring, key, change.notice, now)
        return True

    changed = broker.write(job, ending=True)
    if change.act != "resume":
        checkpoints.wanted(broker, person_id)
    _note(broker, person_id, grant_id, change, ending=ending)
    return changed


def _note(broker: Broker, person_id: bytes, grant_id: bytes, change: _Change, *, ending: bool) -> None:
    """Note what was taken away where no older copy of the stores can undo it. Also on a repeat: the process may have died between the two the first time."""
    if ending:
        heads.note_ended(broker.heads, person_id, grant_id, broker.now())
    elif change.act in {"pause", "narrow"} and change.reason != queries.RESTORED:
        with broker.reading() as tx:
            version = tx.execute(select(grants.c.version).where(grants.c.person_id == person_id, grants.c.grant_id == grant_id)).scalar_one()
        heads.note_lessened(broker.heads, person_id, grant_id, version, narrowed=change.act == "narrow")


def _if_it_opens(tx: Connection, ring: Appending, grant_id: bytes, change: _Change) -> queries.Grant | None:
    """The grant; None where its sealed parts do not open and nothing of them is needed: what is damaged or sealed can still be stopped."""
    if not isinstance(ring, Keyring):
        if change.act in STOPS:
            return None
        raise Sealed
    try:
        return queries.one(tx, ring, grant_id)
    except Unsealable:
        if change.act not in STOPS:
            raise
        log.exception("a grant does not open; it is stopped without its statement")
        return None


def _stating(ring: Keyring, grant: queries.Grant, change: _Change, now: dt.datetime) -> Callable[[Connection], None]:
    """What adds the signed statement of a change to the agreement's chain, in the change's own transaction. The keys it needs are fetched here."""
    if grant.agreement is None or not change.statement:
        return lambda _tx: None
    about, signer, key = agreements.named(grant.agreement), ring.signer(grant.vendor_id), ring.key_for("grant", f"{now:%Y-%m}")

    def say(tx: Connection) -> None:
        try:
            before = agreed.changes_of(tx, ring, grant.grant_id)
        except Unsealable:
            if change.act not in STOPS:
                raise
            log.exception("a chain of statements does not open; the grant is stopped without one")
            return
        content = statements.change(about, before, change.statement, now, change.clauses)
        number = len(before) + 1
        place = agreed.change_place(ring.person_id, grant.grant_id, number)
        sealed = key.seal(place, statements.sign(signer, statements.CHANGE, content).encode())
        tx.execute(insert(changes).values(person_id=ring.person_id, grant_id=grant.grant_id, n=number, statement=sealed))

    return say


def revoke(
    broker: Broker, person_id: bytes, grant_id: bytes, *, by: dict[str, str] | None = None, reason: str = "", notice: Notice | None = None
) -> bool:  # fmt: skip
    """End a grant for good. When this returns, no read, redemption or refresh that starts later succeeds, on any process."""
    return _change(broker, person_id, grant_id, _Change("revoke", "revoked", queries.LIVE, by or ledger.PERSON, reason, notice=notice))


def pause(broker: Broker, person_id: bytes, grant_id: bytes) -> bool:
    """Stop all reads until the person resumes."""
    return _change(broker, person_id, grant_id, _Change("pause", "paused", ("active",), ledger.PERSON))


def pause_restored(broker: Broker, person_id: bytes, grant_id: bytes) -> bool:
    """Stop all reads by a grant that came back with a backup, until the person resumes it: it may have been changed since."""
    return _change(broker, person_id, grant_id, _Change("pause", "paused", ("active",), {"role": "broker"}, queries.RESTORED))


def resume(broker: Broker, person_id: bytes, grant_id: bytes) -> bool:
    """Let a paused grant be used again; a grant whose time is over cannot be."""
    with broker.reading() as tx:
        if queries.one(tx, broker.keyring(person_id), grant_id).state(broker.now()) == "expired":
            raise Conflict("This grant has reached its end date. The vendor has to ask again.")
    return _change(broker, person_id, grant_id, _Change("resume", "active", ("paused",), ledger.PERSON))


def narrow(broker: Broker, person_id: bytes, grant_id: bytes, clauses: Sequence[Clause], *, version: int) -> None:
    """Leave only `clauses` of a grant, each no wider than it was in the grant's `version`; in force for every read that starts later.

    `Unprocessable` where one is wider, strange or empty, or nothing would be left or change; `Conflict` where the grant changed meanwhile or is over.
    """
    now = broker.now()
    ring = broker.keyring(person_id)
    with broker.reading() as tx:
        grant = queries.one(tx, ring, grant_id)
    current = {clause.id: clause for clause in grant.clauses}
    ids = [clause.id for clause in clauses]
    narrower = all(clause.id in current and not clause.is_empty() and clause <= current[clause.id] for clause in clauses)
    if tuple(clauses) == grant.clauses:
        raise Unprocessable("Nothing is less than before, so nothing was changed. Take something away, or name an earlier end.")
    if not clauses or len(set(ids)) != len(ids) or not narrower:
        raise Unprocessable("A grant can only be made smaller, and something of it must be left. To stop it altogether, revoke it.")
    ends = [clause.validity.until for clause in clauses if clause.validity.until is not None]
    key = ring.key_for("grant", f"{now:%Y-%m}")
    sealed = key.seal(queries.place(person_id, "clauses", grant_id), orjson.dumps([clause.to_json() for clause in clauses]))
    values = {"clauses": sealed, "expires_at": min(max(ends), grant.expires_at)}
    change = _Change("narrow", "", queries.LIVE, ledger.PERSON, clauses=tuple(clauses), values=values)
    if not _change(broker, person_id, grant_id, change, version=version):
        raise Conflict("This grant has changed or ended meanwhile. Look at it again; nothing was narrowed.")


def pause_all(broker: Broker, person_id: bytes) -> int:
    """Pause every active grant of the person in one go; returns how many."""
    with broker.reading() as tx:
        active = queries.active(tx, person_id, broker.now())
    return sum(pause(broker, person_id, grant_id) for grant_id in active)


def expire(broker: Broker, person_id: bytes, grant_id: bytes, reason: str) -> bool:
    """End a grant whose time is over, or that nothing can use any more."""
    return _change(broker, person_id, grant_id, _Change("expire", "expired", queries.LIVE, {"role": "broker"}, reason))


def remove_client(broker: Broker, client_id: str) -> bool:
    """Take a client out of service, by the operator; everybody with a live grant to it finds that in their ledger. False if there is none."""
    now = broker.now()
    with broker.reading() as tx:
        client, whose = vendors.client(tx, client_id), queries.people_with(tx, client_id)
    about = {"did": "client_removed", "client": client_id, **({"vendor": client.vendor_id} if client and client.vendor_id else {})}
    entry = ledger.Entry("operator", now, by={"role": "operator"}, about=about)
    keys: list[tuple[Appending, OpenKey]] = []
    for person_id in whose:
        # Neither damaged keys nor a log that takes nothing now must keep the client in service.
        try:
            ring = broker.appender(person_id)
            keys.append((ring, ledger.entry_key(ring, now)))
        except Unsealable:
            log.exception("a client goes without its entry for one person")

    def enter(tx: Connection) -> None:
        for ring, key in keys:
            with contextlib.suppress(LedgerUnavailable):
                ledger.append(tx, ring, key, entry)

    return disable_client(broker, client_id, enter)


def end_again(broker: Broker) -> int:
    """At start-up: end what heads.db knows to have ended, should an older data.db have come back; returns how many were alive."""
    revived = 0
    with broker.reading() as tx:
        alive = queries.live_of(tx, heads.ended(broker.heads))
    for person_id, grant_id in alive:
        try:
            revived += revoke(broker, person_id, grant_id, by={"role": "broker"}, reason=queries.RESTORED)
        except Unsealable:
            # An ended grant must not be alive, and one person's damaged keys keep nobody else's broker from starting.
            log.exception("a grant is ended without its entry")
            over = _updating(person_id, grant_id, queries.LIVE, status="revoked", reason=queries.RESTORED, ended_at=broker.now())
            revived += broker.write(lambda tx, over=over: tx.execute(over).rowcount, ending=True)  # type: ignore[misc]
    return revived
