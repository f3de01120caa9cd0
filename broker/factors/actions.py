"""Everything that changes the ways to sign in: passwords, passkeys, authenticator apps and recovery codes, and proving by one who one is."""

import datetime as dt
import hashlib
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from broker.db import upsert
from broker.errors import Conflict, NotFound, Unprocessable
from broker.factors import codes, passkeys, queries
from broker.factors.models import passkeys as passkey_rows
from broker.factors.models import recovery_codes, used_challenges
from broker.ledger.actions import entry_key
from broker.notices import actions as notices
from broker.notices.actions import Notice
from broker.opening import Broker
from broker.people import actions as people_actions
from broker.people import queries as people_queries
from broker.people.actions import LONGEST_NAME, refused
from broker.people.models import people, sessions
from broker.people.queries import Session
from broker.vault import passwords
from broker.vault.credentials import Credential

PASSKEYS_PER_PERSON: Final = 20
WRONG_PASSWORD: Final = "This is not your password. Type it again."  # noqa: S105 - a sentence
WRONG_CODE: Final = "This code is wrong, or was used already. Type the newest one that your app shows."
WRONG_RECOVERY: Final = "Name or recovery code is wrong, or the code was used already. Each works once."
WRONG_PASSKEY: Final = "This passkey was not taken: it is not known here, or the page was open too long. Try again, or use another way."
LAST_WAY: Final = "This is your last way to sign in. Add another one first, then take this one away."


def sign_in_with_code(broker: Broker, ticket: str, code: str, device: str = "") -> Credential:
    """The second half of a sign-in; `NotFound` for a ticket that is old or none of ours, `Unprocessable` for a wrong or used code."""
    person_id = people_actions.ticket_holder(broker, ticket)
    if person_id is None:
        raise NotFound
    step = _step(broker, person_id, code)
    return people_actions.begin(broker, person_id, "totp", device, lambda tx: _use_step(tx, person_id, step))


def _step(broker: Broker, person_id: bytes, code: str) -> int:
    with broker.reading() as tx:
        row = people_queries.by_id(tx, person_id)
    secret = people_queries.secret_of(broker, person_id, "totp", row.totp) if row and row.totp else ""
    step = codes.step(secret, code, broker.now().timestamp()) if secret else None
    if step is None:
        raise refused("code", WRONG_CODE)
    return step


def _use_step(tx: Connection, person_id: bytes, step: int) -> None:
    """A step counts once, and none before it counts after it: one conditional statement decides."""
    if not tx.execute(update(people).where(people.c.person_id == person_id, people.c.totp_step < step).values(totp_step=step)).rowcount:
        raise refused("code", WRONG_CODE)


def party(broker: Broker) -> passkeys.Party:
    """The broker as passkeys know it."""
    return passkeys.Party.of(broker.settings.origin, broker.vault.challenge_tag)


def sign_in_with_passkey(broker: Broker, answer: str, device: str = "") -> Credential:
    """A new session for the answer of a known passkey to a challenge of ours; else `Unprocessable`."""
    person_id, use = _passkey(broker, answer, "sign-in", b"")
    return people_actions.begin(broker, person_id, "passkey", device, use)


def _passkey(broker: Broker, answer: str, purpose: str, holder: bytes) -> tuple[bytes, Callable[[Connection], None]]:
    """(whose passkey proved itself, what uses the proof up in the transaction it is for)."""
    now = broker.now()
    try:
        shown = passkeys.shown(answer)
        with broker.reading() as tx:
            row = queries.passkey(tx, shown.person_id, shown.hash)
        proven = passkeys.proven(party(broker), shown, row, purpose, holder, now.timestamp())
    except passkeys.Refused:
        raise refused("passkey", WRONG_PASSKEY) from None
    mine = (passkey_rows.c.person_id == shown.person_id) & (passkey_rows.c.hash == shown.hash) & (passkey_rows.c.sign_count == proven.before)

    def use(tx: Connection) -> None:
        _use_challenge(tx, proven.challenge, now)
        if not tx.execute(update(passkey_rows).where(mine).values(sign_count=proven.sign_count, used_at=now)).rowcount:
            raise refused("passkey", WRONG_PASSKEY)

    return shown.person_id, use


def _use_challenge(tx: Connection, challenge: bytes, now: dt.datetime) -> None:
    until = now + dt.timedelta(seconds=2 * passkeys.CHALLENGE_SECONDS)
    once = upsert(used_challenges).values(hash=hashlib.sha256(challenge).digest(), until=until).on_conflict_do_nothing()
    if not tx.execute(once).rowcount:
        raise refused("passkey", WRONG_PASSKEY)


def sign_in_with_recovery(broker: Broker, name: str, code: str, device: str = "") -> Credential:
    """A new session for a name and one of its recovery codes, which is used up; every other session ends. Else `Unprocessable`."""
    with broker.reading() as tx:
        row = people_queries.by_name(broker, tx, name)
        person_id, now = bytes(row.person_id) if row else bytes(16), broker.now()
        mine = (recovery_codes.c.person_id == person_id) & (recovery_codes.c.hash == codes.recovery_hash(code)) & recovery_codes.c.used_at.is_(None)
        # Looked for whether or not there is such a name, and nothing else done before it is found: how long it takes tells nothing.
        if tx.execute(select(recovery_codes.c.hash).where(mine)).first() is None:
            raise refused("code", WRONG_RECOVERY)
    ring = broker.appender(person_id)
    key = entry_key(ring, now)

    def use(tx: Connection) -> None:
        if not tx.execute(update(recovery_codes).where(mine).values(used_at=now)).rowcount:
            raise refused("code", WRONG_RECOVERY)
        tx.execute(delete(sessions).where(sessions.c.person_id == person_id))
        notices.add(tx, ring, key, Notice("recovery", {"device": device, "left": queries.codes_left(tx, person_id)}), now)

    return people_actions.begin(broker, person_id, "recovery", device, use)


def confirm(broker: Broker, session: Session, *, password: str = "", code: str = "", passkey: str = "") -> Credential:
    """Step-up: the person of a session proves once more who they are, and the session goes on under a new credential; else `Unprocessable`."""
    if passkey:
        person_id, use = _passkey(broker, passkey, "confirm", session.anchor)
        if person_id != session.person_id:
            raise refused("passkey", WRONG_PASSKEY)
        return people_actions.renew(broker, session, "passkey", use)
    with broker.reading() as tx:
        row = people_queries.by_id(tx, session.person_id)
    phc = people_queries.secret_of(broker, session.person_id, "password", row.password) if row and row.password else passwords.NOBODY
    if not passwords.matches(password, phc) or row is None or row.password is None:
        raise refused("password", WRONG_PASSWORD)
    if row.totp is None:
        return people_actions.renew(broker, session, "password", lambda _tx: None)
    step = _step(broker, session.person_id, code)
    return people_actions.renew(broker, session, "totp", lambda tx: _use_step(tx, session.person_id, step))


def set_password(broker: Broker, session: Session, password: str, again: str) -> None:
    """Choose a new password; every other session ends. `Unprocessable` with pointers `/password`, `/again`."""
    wrong = people_actions.password_mistakes(password, again)
    if wrong:
        raise Unprocessable(errors=wrong)
    sealed = people_actions.sealed_password(broker, session.person_id, password)

    def job(tx: Connection) -> None:
        tx.execute(update(people).where(people.c.person_id == session.person_id).values(password=sealed))
        tx.execute(delete(sessions).where(sessions.c.person_id == session.person_id, sessions.c.hash != session.hash))

    people_actions.change(broker, session.person_id, job, {"factor": "password", "change": "changed"})


def _keep_a_way(tx: Connection, person_id: bytes) -> None:
    """Refuse a change after which nobody could sign in as this person."""
    row = people_queries.by_id(tx, person_id)
    if row is None or (row.password is None and tx.execute(select(passkey_rows.c.hash).where(passkey_rows.c.person_id == person_id)).first() is None):
        raise Conflict(LAST_WAY)


def remove_password(broker: Broker, person_id: bytes) -> None:
    """Sign in by passkeys alone from now on; the authenticator app, which only goes with a password, goes too. `Conflict` without a passkey."""

    def job(tx: Connection) -> None:
        tx.execute(update(people).where(people.c.person_id == person_id).values(password=None, totp=None))
        _keep_a_way(tx, person_id)

    people_actions.change(broker, person_id, job, {"factor": "password", "change": "removed"})


def add_passkey(broker: Broker, session: Session, answer: str, name: str) -> None:
    """Keep a passkey that was just made for this session's challenge; else `Unprocessable`."""
    now, person_id = broker.now(), session.person_id
    name = name.strip()
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise refused("passkey_name", f"Give it a name of 1 to {LONGEST_NAME} characters, to know it by.")
    try:
        made = passkeys.made(party(broker), answer, session.anchor, now.timestamp())
    except passkeys.Refused:
        raise refused("passkey", "No passkey was made: the page was open too long, or the device did not take part. Try again.") from None
    hash_ = passkeys.key_hash(made.credential_id)
    row = {
        "person_id": person_id, "hash": hash_, "credential_id": made.credential_id, "public_key": made.public_key, "sign_count": made.sign_count,
        "backed_up": made.backed_up, "name": broker.vault.host_seal(queries.passkey_place(person_id, hash_), name.encode()), "made_at": now,
    }  # fmt: skip

    def job(tx: Connection) -> None:
        _use_challenge(tx, made.challenge, now)
        if len(queries.passkeys_of(broker, tx, person_id)) >= PASSKEYS_PER_PERSON:
            raise Conflict(f"You have {PASSKEYS_PER_PERSON} passkeys. Take one away first.")
        try:
            tx.execute(insert(passkey_rows).values(row))
        except IntegrityError:
            raise refused("passkey", "This passkey is here already.") from None

    people_actions.change(broker, person_id, job, {"factor": "passkey", "change": "added", "name": name})


def remove_passkey(broker: Broker, person_id: bytes, hash_: bytes) -> None:
    """Take a passkey away; `NotFound` where there is none, `Conflict` for the last way to sign in."""
    with broker.reading() as tx:
        name = next((each.name for each in queries.passkeys_of(broker, tx, person_id) if each.hash == hash_), "")

    def job(tx: Connection) -> None:
        if not tx.execute(delete(passkey_rows).where(passkey_rows.c.person_id == person_id, passkey_rows.c.hash == hash_)).rowcount:
            raise NotFound
        _keep_a_way(tx, person_id)

    people_actions.change(broker, person_id, job, {"factor": "passkey", "change": "removed", "name": name})


def set_totp(broker: Broker, person_id: bytes, secret: str, code: str) -> None:
    """Ask for a code of this authenticator app after the password from now on; `Unprocessable` where `code` does not come from it."""
    step = codes.step(secret, code, broker.now().timestamp())
    if step is None:
        raise refused("code", WRONG_CODE)
    sealed = broker.vault.host_seal(people_queries.place(person_id, "totp"), secret.encode())
    with_password = (people.c.person_id == person_id) & people.c.password.is_not(None)

    def job(tx: Connection) -> None:
        if not tx.execute(update(people).where(with_password).values(totp=sealed, totp_step=step)).rowcount:
            raise Conflict("An app's codes go with a password, and you have none. Choose a password first.")

    people_actions.change(broker, person_id, job, {"factor": "totp", "change": "added"})


def remove_totp(broker: Broker, person_id: bytes) -> None:
    """Ask for no code any more."""

    def job(tx: Connection) -> None:
        tx.execute(update(people).where(people.c.person_id == person_id).values(totp=None))

    people_actions.change(broker, person_id, job, {"factor": "totp", "change": "removed"})


def new_recovery_codes(broker: Broker, person_id: bytes) -> list[str]:
    """Ten new recovery codes in place of those there were; shown once, kept only as hashes."""
    made, now = codes.new_recovery_codes(), broker.now()
    rows = [{"person_id": person_id, "hash": codes.recovery_hash(each), "made_at": now} for each in made]

    def job(tx: Connection) -> None:
        tx.execute(delete(recovery_codes).where(recovery_codes.c.person_id == person_id))
        tx.execute(insert(recovery_codes), rows)

    people_actions.change(broker, person_id, job, {"factor": "recovery", "change": "made"})
    return made


def sweep(broker: Broker) -> None:
    """Forget the challenges that could no longer be answered anyway."""
    now = broker.now()
    broker.write(lambda tx: tx.execute(delete(used_challenges).where(used_challenges.c.until < now)))
