"""Reading people: by name, by session, by id."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from broker.db import AnyRow, lots
from broker.opening import Broker
from broker.people.models import people, sessions, sign_up_links
from broker.vault.credentials import Credential
from broker.vault.envelope import Place

IDLE_HOUR: Final = dt.timedelta(hours=1)
FRESH: Final = dt.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Session:
    """A live session and whose it is; `due` says that its last use should be written down (once an hour)."""

    person_id: bytes
    hash: bytes
    made_at: dt.datetime
    fresh_at: dt.datetime
    expires_at: dt.datetime
    due: bool

    @property
    def anchor(self) -> bytes:
        """What a session is bound to by: the same before and after its person proves once more who they are."""
        return self.person_id + self.made_at.isoformat().encode()

    def is_fresh(self, now: dt.datetime) -> bool:
        """Whether the person proved who they are within the last five minutes. That moment lies open: one still to come is none."""
        return abs(now - self.fresh_at) <= FRESH


def name_tag(broker: Broker, name: str) -> bytes:
    """The blind tag of a sign-in name; case and outer spaces do not count."""
    return broker.vault.name_tag(name.strip().casefold())


def session(broker: Broker, tx: Connection, credential: Credential) -> Session | None:
    """The live session behind a credential, or None."""
    row = tx.execute(select(sessions).where(sessions.c.person_id == credential.person_id, sessions.c.hash == credential.hash)).first()
    now = broker.now()
    if row is None or now >= row.expires_at or now - row.seen_at > dt.timedelta(days=broker.settings.session_idle_days):
        return None
    return Session(row.person_id, row.hash, row.made_at, row.fresh_at, row.expires_at, now - row.seen_at >= IDLE_HOUR)


def by_name(broker: Broker, tx: Connection, name: str) -> AnyRow | None:
    """(person_id, password, totp) of the person with this sign-in name, the latter two sealed."""
    return tx.execute(select(people.c.person_id, people.c.password, people.c.totp).where(people.c.name_tag == name_tag(broker, name))).first()


def by_id(tx: Connection, person_id: bytes) -> AnyRow | None:
    """(person_id, password, totp) of a person, the latter two sealed."""
    return tx.execute(select(people.c.person_id, people.c.password, people.c.totp).where(people.c.person_id == person_id)).first()


def name_of(broker: Broker, tx: Connection, person_id: bytes) -> str:
    """The person's sign-in name as they wrote it."""
    sealed = tx.execute(select(people.c.name).where(people.c.person_id == person_id)).scalar_one()
    return broker.vault.host_unseal(Place(person_id, "people", "name").at(), sealed).decode()


def place(person_id: bytes, column: str) -> bytes:
    """Where a sign-in secret of a person is sealed."""
    return Place(person_id, "people", column).at()


def secret_of(broker: Broker, person_id: bytes, column: str, sealed: bytes) -> str:
    """The person's Argon2id PHC string (`password`), or the secret of their authenticator app (`totp`)."""
    return broker.vault.host_unseal(place(person_id, column), sealed).decode()


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session as the list of them shows it."""

    hash: bytes
    device: str
    factor: str
    made_at: dt.datetime
    seen_at: dt.datetime


def device_place(person_id: bytes, hash_: bytes) -> bytes:
    """Where the name of a session's device is sealed."""
    return Place(person_id, "sessions", "device").at(hash_)


def live_sessions(broker: Broker, tx: Connection, person_id: bytes) -> list[SignedIn]:
    """The person's live sessions, the last used first."""
    now = broker.now()
    idle = now - dt.timedelta(days=broker.settings.session_idle_days)
    mine = select(sessions).where(sessions.c.person_id == person_id, sessions.c.expires_at > now, sessions.c.seen_at >= idle)
    return [
        SignedIn(row.hash, broker.vault.host_unseal(device_place(person_id, row.hash), row.device).decode(), row.factor, row.made_at, row.seen_at)
        for row in tx.execute(mine.order_by(sessions.c.seen_at.desc(), sessions.c.made_at.desc()))
    ]


def count(tx: Connection) -> int:
    """How many people live in this broker."""
    return tx.execute(select(func.count()).select_from(people)).scalar_one()


def everyone(tx: Connection) -> list[bytes]:
    """The ids of all people, for the operator's commands."""
    return list(tx.execute(select(people.c.person_id).order_by(people.c.made_at)).scalars())


def existing(tx: Connection, person_ids: Sequence[bytes]) -> list[bytes]:
    """Those of these ids that are somebody's here."""
    return [found for lot in lots(person_ids) for found in tx.execute(select(people.c.person_id).where(people.c.person_id.in_(lot))).scalars()]


def is_first(tx: Connection, person_id: bytes) -> bool:
    """Whether this is the broker's first person, who set it up."""
    return tx.execute(select(people.c.person_id).order_by(people.c.made_at, people.c.person_id).limit(1)).scalar() == person_id


def open_link(broker: Broker, tx: Connection, credential: Credential) -> AnyRow | None:
    """The one-use link that can still be used; its `person_id` is whom it lets in again, None for somebody new."""
    row = tx.execute(select(sign_up_links).where(sign_up_links.c.hash == credential.hash)).first()
    return row if row is not None and row.used_at is None and broker.now() < row.expires_at else None
