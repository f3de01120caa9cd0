"""Reading people: by name, by session, by id."""

import datetime as dt
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from broker.db import AnyRow
from broker.opening import Broker
from broker.people.models import people, sessions, sign_up_links
from broker.vault.credentials import Credential
from broker.vault.envelope import Place

IDLE_HOUR: Final = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Session:
    """A live session and whose it is; `due` says that its last use should be written down (once an hour)."""

    person_id: bytes
    hash: bytes
    made_at: dt.datetime
    expires_at: dt.datetime
    due: bool


def name_tag(broker: Broker, name: str) -> bytes:
    """The blind tag of a sign-in name; case and outer spaces do not count."""
    return broker.vault.name_tag(name.strip().casefold())


def session(broker: Broker, tx: Connection, credential: Credential) -> Session | None:
    """The live session behind a credential, or None."""
    row = tx.execute(select(sessions).where(sessions.c.person_id == credential.person_id, sessions.c.hash == credential.hash)).first()
    now = broker.now()
    if row is None or now >= row.expires_at or now - row.seen_at > dt.timedelta(days=broker.settings.session_idle_days):
        return None
    return Session(row.person_id, row.hash, row.made_at, row.expires_at, now - row.seen_at >= IDLE_HOUR)


def by_name(broker: Broker, tx: Connection, name: str) -> AnyRow | None:
    """(person_id, sealed password hash) of the person with this sign-in name."""
    return tx.execute(select(people.c.person_id, people.c.password).where(people.c.name_tag == name_tag(broker, name))).first()


def name_of(broker: Broker, tx: Connection, person_id: bytes) -> str:
    """The person's sign-in name as they wrote it."""
    sealed = tx.execute(select(people.c.name).where(people.c.person_id == person_id)).scalar_one()
    return broker.vault.host_unseal(Place(person_id, "people", "name").at(), sealed).decode()


def password_of(broker: Broker, person_id: bytes, sealed: bytes) -> str:
    """The person's Argon2id PHC string."""
    return broker.vault.host_unseal(Place(person_id, "people", "password").at(), sealed).decode()


def count(tx: Connection) -> int:
    """How many people live in this broker."""
    return tx.execute(select(func.count()).select_from(people)).scalar_one()


def everyone(tx: Connection) -> list[bytes]:
    """The ids of all people, for the operator's commands."""
    return list(tx.execute(select(people.c.person_id).order_by(people.c.made_at)).scalars())


def link_is_open(broker: Broker, tx: Connection, credential: Credential) -> bool:
    """Whether a sign-up link can still be used."""
    row = tx.execute(select(sign_up_links).where(sign_up_links.c.hash == credential.hash)).first()
    return row is not None and row.used_at is None and broker.now() < row.expires_at
