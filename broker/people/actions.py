"""Everything that changes people: sign-up links, signing up, in and out, and their sessions."""

import base64
import binascii
import contextlib
import datetime as dt
import hashlib
import os
from collections.abc import Callable
from typing import Any, Final

import orjson
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from broker.errors import Conflict, LedgerUnavailable, NotFound, Unprocessable, Unsealable
from broker.ledger import actions as ledger
from broker.notices import actions as notices
from broker.notices.actions import Notice
from broker.opening import Broker
from broker.people import queries
from broker.people.models import people, sessions, sign_up_links
from broker.vault import credentials, passwords
from broker.vault.credentials import Credential
from broker.vault.envelope import Place

LINK_LIVES: Final = dt.timedelta(minutes=15)
TICKET_LIVES: Final = dt.timedelta(minutes=5)
SESSIONS_PER_PERSON: Final = 20
LONGEST_NAME: Final = 80
WRONG: Final = "Name or password is wrong. Type both again, as you chose them."
_TICKET: Final = Place(b"", "tickets").at()


def refused(pointer: str, sentence: str) -> Unprocessable:
    """A refusal with its sentence at one field."""
    return Unprocessable(sentence, errors=[{"pointer": f"/{pointer}", "detail": sentence}])


def make_link(broker: Broker, person_id: bytes | None = None) -> Credential:
    """A one-use link, valid for 15 minutes, that makes a person; or with which `person_id` chooses a new password."""
    credential = credentials.mint(broker.vault.route_key, "su")
    row = {"hash": credential.hash, "person_id": person_id, "expires_at": broker.now() + LINK_LIVES}
    broker.write(lambda tx: tx.execute(insert(sign_up_links).values(row)))
    return credential


def sweep(broker: Broker) -> None:
    """Forget the links that nobody can use any more."""
    now = broker.now()
    broker.write(lambda tx: tx.execute(delete(sign_up_links).where(sign_up_links.c.expires_at < now)))


def _use_link(tx: Connection, link: Credential, now: dt.datetime) -> None:
    used = update(sign_up_links).where(sign_up_links.c.hash == link.hash, sign_up_links.c.used_at.is_(None), sign_up_links.c.expires_at > now)
    if not tx.execute(used.values(used_at=now)).rowcount:
        raise NotFound


def password_mistakes(password: str, again: str) -> list[dict[str, str]]:
    """Everything that is wrong with a new password, at once."""
    wrong = []
    try:
        passwords.check(password)
    except Unprocessable as weak:
        wrong += weak.errors
    if password != again:
        wrong.append({"pointer": "/again", "detail": "The two passwords differ. Type the same one twice."})
    return wrong


def sealed_password(broker: Broker, person_id: bytes, password: str) -> bytes:
    """A new password as its row keeps it: the Argon2id hash, sealed under the host's key."""
    return broker.vault.host_seal(queries.place(person_id, "password"), passwords.digest(password).encode())


def sign_up(broker: Broker, link: str, name: str, password: str, again: str, device: str = "") -> Credential:
    """Make a person by a one-use link and sign them in; by a link of `broker person reset`, give them a new password.

    Raises `NotFound` for a link that is used, old or wrong, `Unprocessable` with pointers `/name`, `/password`, `/again`; the link then still works.
    """
    credential = credentials.parse(broker.vault.route_key, "su", link)
    with broker.reading() as tx:
        row = queries.open_link(broker, tx, credential) if credential else None
    if credential is None or row is None:
        raise NotFound
    wrong = password_mistakes(password, again)
    if row.person_id is not None:
        if wrong:
            raise Unprocessable(errors=wrong)
        _reset(broker, bytes(row.person_id), password, credential)
        return sign_in_as(broker, bytes(row.person_id), device=device)
    name = name.strip()
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        wrong = [{"pointer": "/name", "detail": f"Choose a name of 1 to {LONGEST_NAME} characters."}, *wrong]
    if wrong:
        raise Unprocessable(errors=wrong)
    return sign_in_as(broker, add(broker, name, password, by_link=credential), device=device)


def _reset(broker: Broker, person_id: bytes, password: str, link: Credential) -> None:
    """A new password by the operator's link: every session ends, and the authenticator app, which may be what was lost, goes."""
    sealed, now = sealed_password(broker, person_id, password), broker.now()

    def job(tx: Connection) -> None:
        _use_link(tx, link, now)
        tx.execute(update(people).where(people.c.person_id == person_id).values(password=sealed, totp=None))
        tx.execute(delete(sessions).where(sessions.c.person_id == person_id))

    change(broker, person_id, job, {"factor": "password", "change": "reset"}, by={"role": "operator"})


def add(broker: Broker, name: str, password: str, *, by_link: Credential | None = None) -> bytes:
    """Make a person, and use up the link they came by; returns their person_id."""
    person_id = os.urandom(16)
    # Keys are durable before the first row is sealed under them.
    broker.vault.add_person(person_id)
    ring = broker.keyring(person_id)
    now = broker.now()
    key = ledger.entry_key(ring, now)
    row = {
        "person_id": person_id,
        "name_tag": queries.name_tag(broker, name),
        "name": broker.vault.host_seal(queries.place(person_id, "name"), name.encode()),
        "password": sealed_password(broker, person_id, password),
        "custody": "standing",
        "terms_version": 0,
        "made_at": now,
    }

    def job(tx: Connection) -> None:
        if by_link is not None:
            _use_link(tx, by_link, now)
        try:
            tx.execute(insert(people).values(row))
        except IntegrityError:
            raise Unprocessable(errors=[{"pointer": "/name", "detail": "Somebody in this household has this name already. Choose another."}]) from None
        ledger.open_log(tx, person_id)
        ledger.append(tx, ring, key, ledger.Entry("factor", now, about={"factor": "password"}))

    broker.write(job)
    return person_id


def sign_in(broker: Broker, name: str, password: str, device: str = "") -> Credential | str:
    """A new session for the right name and password, or the ticket with which the code of an authenticator app is asked for.

    Else `Unprocessable`, with the same words and time whether or not the name exists.
    """
    with broker.reading() as tx:
        row = queries.by_name(broker, tx, name)
    phc = queries.secret_of(broker, row.person_id, "password", row.password) if row and row.password else passwords.NOBODY
    if not passwords.matches(password, phc) or row is None or row.password is None:
        raise refused("password", WRONG)
    if row.totp is not None:
        ticket = orjson.dumps([row.person_id.hex(), int(broker.now().timestamp()), _short(row.password)])
        return base64.urlsafe_b64encode(broker.vault.host_seal(_TICKET, ticket)).decode()
    return sign_in_as(broker, row.person_id, device=device)


def ticket_holder(broker: Broker, ticket: str) -> bytes | None:
    """Whose sign-in is half done, for at most five minutes and as long as their password stays."""
    try:
        person, made_at, password = orjson.loads(broker.vault.host_unseal(_TICKET, base64.urlsafe_b64decode(ticket)))
    except (Unsealable, binascii.Error, ValueError):
        return None
    person_id = bytes.fromhex(person)
    with broker.reading() as tx:
        row = queries.by_id(tx, person_id)
    same = row is not None and row.password is not None and _short(row.password) == password
    return person_id if same and broker.now().timestamp() - made_at <= TICKET_LIVES.total_seconds() else None


def _short(sealed: bytes) -> str:
    """What tells one sealed password from the next."""
    return hashlib.sha256(sealed).hexdigest()


def sign_in_as(broker: Broker, person_id: bytes, factor: str = "password", device: str = "") -> Credential:
    """A new session; the oldest gives way where there are twenty."""
    return begin(broker, person_id, factor, device, lambda _tx: None)


def begin(broker: Broker, person_id: bytes, factor: str, device: str, use: Callable[[Connection], None]) -> Credential:
    """A new session, in one transaction with what `use` uses up for it, its entry, and a notice where no other session is of such a device."""
    credential = credentials.mint(broker.vault.route_key, "ss", person_id)
    now, ring = broker.now(), broker.appender(person_id)
    key = ledger.entry_key(ring, now)
    mine = sessions.c.person_id == person_id
    row = {
        "person_id": person_id, "hash": credential.hash, "made_at": now, "seen_at": now, "fresh_at": now,
        "expires_at": now + dt.timedelta(days=broker.settings.session_days), "factor": factor,
        "device": broker.vault.host_seal(queries.device_place(person_id, credential.hash), device.encode()),
    }  # fmt: skip

    def job(tx: Connection) -> None:
        use(tx)
        others = {each.device for each in queries.live_sessions(broker, tx, person_id)}
        kept = select(sessions.c.hash).where(mine).order_by(sessions.c.seen_at.desc()).limit(SESSIONS_PER_PERSON - 1)
        tx.execute(delete(sessions).where(mine, sessions.c.hash.not_in(kept)))
        tx.execute(insert(sessions).values(row))
        act = "recovery" if factor == "recovery" else "sign_in"
        ledger.append(tx, ring, key, ledger.Entry(act, now, about={"factor": factor}))
        if others and device not in others:
            notices.add(tx, ring, key, Notice("new-session", {"device": device, "factor": factor}), now)

    broker.write(job)
    return credential


def renew(broker: Broker, session: queries.Session, factor: str, use: Callable[[Connection], None]) -> Credential:
    """The same session, fresh again and under a new credential; `Conflict` where it has ended meanwhile."""
    credential = credentials.mint(broker.vault.route_key, "ss", session.person_id)
    now, ring = broker.now(), broker.appender(session.person_id)
    key = ledger.entry_key(ring, now)
    mine = (sessions.c.person_id == session.person_id) & (sessions.c.hash == session.hash)

    def job(tx: Connection) -> None:
        use(tx)
        row = tx.execute(select(sessions.c.device).where(mine)).first()
        if row is None:
            raise Conflict("This session has ended meanwhile. Sign in again.")
        device = broker.vault.host_unseal(queries.device_place(session.person_id, session.hash), row.device)
        sealed = broker.vault.host_seal(queries.device_place(session.person_id, credential.hash), device)
        tx.execute(update(sessions).where(mine).values(hash=credential.hash, fresh_at=now, seen_at=now, device=sealed))
        ledger.append(tx, ring, key, ledger.Entry("sign_in", now, about={"factor": factor, "again": True}))

    broker.write(job)
    return credential


def change(broker: Broker, person_id: bytes, job: Callable[[Connection], None], about: dict[str, Any], by: dict[str, str] = ledger.PERSON) -> None:
    """One change of the ways to sign in, with its entry and the notice that cannot be turned off."""
    now, ring = broker.now(), broker.appender(person_id)
    key = ledger.entry_key(ring, now)

    def whole(tx: Connection) -> None:
        job(tx)
        ledger.append(tx, ring, key, ledger.Entry("factor", now, by=by, about=about))
        notices.add(tx, ring, key, Notice("factor", about), now)

    broker.write(whole)


def seen(broker: Broker, session: queries.Session) -> None:
    """Write down a session's last use; called at most once an hour."""
    now = broker.now()
    mine = (sessions.c.person_id == session.person_id) & (sessions.c.hash == session.hash)
    broker.write(lambda tx: tx.execute(update(sessions).where(mine).values(seen_at=now)))


def sign_out(broker: Broker, session: queries.Session) -> None:
    """End one session."""
    mine = (sessions.c.person_id == session.person_id) & (sessions.c.hash == session.hash)
    broker.write(lambda tx: tx.execute(delete(sessions).where(mine)), ending=True)


def end_sessions(broker: Broker, session: queries.Session, hash_: bytes | None = None) -> int:
    """End another session of the same person, or all others; returns how many. Nothing is asked first: endings never are."""
    mine = sessions.c.person_id == session.person_id
    wanted = mine & (sessions.c.hash == hash_) if hash_ is not None else mine & (sessions.c.hash != session.hash)
    now, ring = broker.now(), broker.appender(session.person_id)
    key = ledger.entry_key(ring, now)

    def job(tx: Connection) -> int:
        ended = tx.execute(delete(sessions).where(wanted)).rowcount
        if ended:
            ledger.append(tx, ring, key, ledger.Entry("device", now, about={"ended": ended}))
        return ended

    return broker.write(job, ending=True)




def void(broker: Broker) -> None:
    """Before time goes back, by the operator: end every session, and void every link that was not used. Everybody finds that in their ledger."""
    now = broker.now()
    with broker.reading() as tx:
        rings = [broker.appender(person_id) for person_id in queries.everyone(tx)]
    keys = [(ring, ledger.entry_key(ring, now)) for ring in rings]
    entry = ledger.Entry("operator", now, by={"role": "operator"}, about={"did": "time_set_back"})

    def job(tx: Connection) -> None:
        tx.execute(delete(sessions))
        tx.execute(delete(sign_up_links).where(sign_up_links.c.used_at.is_(None)))
        for ring, key in keys:
            # A log that takes nothing now must not keep the others from their right time.
            with contextlib.suppress(LedgerUnavailable):
                ledger.append(tx, ring, key, entry)

    broker.write(job)
