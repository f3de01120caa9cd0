"""Everything that changes people: sign-up links, signing up, in and out."""

import datetime as dt
import os
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from broker.errors import NotFound, Unprocessable
from broker.ledger import actions as ledger
from broker.opening import Broker
from broker.people import queries
from broker.people.models import people, sessions, sign_up_links
from broker.vault import credentials, passwords
from broker.vault.credentials import Credential
from broker.vault.envelope import Place

LINK_LIVES: Final = dt.timedelta(minutes=15)
SESSIONS_PER_PERSON: Final = 20
LONGEST_NAME: Final = 80
WRONG: Final = "Name or password is wrong. Type both again, as you chose them."


def make_link(broker: Broker) -> Credential:
    """A one-use link, valid for 15 minutes, that makes a person."""
    credential = credentials.mint(broker.vault.route_key, "su")
    expires_at = broker.now() + LINK_LIVES
    broker.write(lambda tx: tx.execute(insert(sign_up_links).values(hash=credential.hash, expires_at=expires_at)))
    return credential


def _checked(name: str, password: str, again: str) -> str:
    """The name as it is kept; everything that is wrong is said at once."""
    name = name.strip()
    wrong = []
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        wrong.append({"pointer": "/name", "detail": f"Choose a name of 1 to {LONGEST_NAME} characters."})
    try:
        passwords.check(password)
    except Unprocessable as refused:
        wrong += refused.errors
    if password != again:
        wrong.append({"pointer": "/again", "detail": "The two passwords differ. Type the same one twice."})
    if wrong:
        raise Unprocessable(errors=wrong)
    return name


def sign_up(broker: Broker, link: str, name: str, password: str, again: str) -> Credential:
    """Make a person by a one-use link and sign them in.

    Raises `NotFound` for a link that is used, old or wrong, `Unprocessable` with pointers `/name`, `/password`, `/again`; the link then still works.
    """
    credential = credentials.parse(broker.vault.route_key, "su", link)
    if credential is None:
        raise NotFound
    with broker.reading() as tx:
        if not queries.link_is_open(broker, tx, credential):
            raise NotFound
    person_id = add(broker, _checked(name, password, again), password, by_link=credential)
    return sign_in_as(broker, person_id)


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
        "name": broker.vault.host_seal(Place(person_id, "people", "name").at(), name.encode()),
        "password": broker.vault.host_seal(Place(person_id, "people", "password").at(), passwords.digest(password).encode()),
        "custody": "standing",
        "terms_version": 0,
        "made_at": now,
    }

    def job(tx: Connection) -> None:
        if by_link is not None:
            used = update(sign_up_links).where(sign_up_links.c.hash == by_link.hash, sign_up_links.c.used_at.is_(None), sign_up_links.c.expires_at > now)
            if not tx.execute(used.values(used_at=now)).rowcount:
                raise NotFound
        try:
            tx.execute(insert(people).values(row))
        except IntegrityError:
            raise Unprocessable(errors=[{"pointer": "/name", "detail": "Somebody in this household has this name already. Choose another."}]) from None
        ledger.open_log(tx, person_id)
        ledger.append(tx, ring, key, ledger.Entry("factor", now, about={"factor": "password"}))

    broker.write(job)
    return person_id


def sign_in(broker: Broker, name: str, password: str) -> Credential:
    """A new session for the right name and password; else `Unprocessable`, with the same words and time whether or not the name exists."""
    with broker.reading() as tx:
        row = queries.by_name(broker, tx, name)
    phc = queries.password_of(broker, row.person_id, row.password) if row else passwords.NOBODY
    if not passwords.matches(password, phc) or row is None:
        raise Unprocessable(WRONG, errors=[{"pointer": "/password", "detail": WRONG}])
    return sign_in_as(broker, row.person_id)


def sign_in_as(broker: Broker, person_id: bytes) -> Credential:
    """A new session; the oldest gives way where there are twenty."""
    credential = credentials.mint(broker.vault.route_key, "ss", person_id)
    now = broker.now()
    ring = broker.keyring(person_id)
    key = ledger.entry_key(ring, now)
    mine = sessions.c.person_id == person_id

    def job(tx: Connection) -> None:
        kept = select(sessions.c.hash).where(mine).order_by(sessions.c.seen_at.desc()).limit(SESSIONS_PER_PERSON - 1)
        tx.execute(delete(sessions).where(mine, sessions.c.hash.not_in(kept)))
        expires_at = now + dt.timedelta(days=broker.settings.session_days)
        tx.execute(insert(sessions).values(person_id=person_id, hash=credential.hash, made_at=now, seen_at=now, expires_at=expires_at))
        ledger.append(tx, ring, key, ledger.Entry("sign_in", now, about={"factor": "password"}))

    broker.write(job)
    return credential


def seen(broker: Broker, session: queries.Session) -> None:
    """Write down a session's last use; called at most once an hour."""
    now = broker.now()
    mine = (sessions.c.person_id == session.person_id) & (sessions.c.hash == session.hash)
    broker.write(lambda tx: tx.execute(update(sessions).where(mine).values(seen_at=now)))


def sign_out(broker: Broker, session: queries.Session) -> None:
    """End one session."""
    mine = (sessions.c.person_id == session.person_id) & (sessions.c.hash == session.hash)
    broker.write(lambda tx: tx.execute(delete(sessions).where(mine)), ending=True)
