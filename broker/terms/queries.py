"""Reading a person's terms."""

import datetime as dt
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, ScalarSelect, bindparam, func, select

from broker.errors import NotFound, Unsealable
from broker.people.models import people
from broker.terms.models import versions
from broker.vault.envelope import Place
from broker.vault.keys import Keyring
from policies import documents
from policies.terms import DEFAULT_TERMS, Terms

PAGE: Final = 50


def newest() -> ScalarSelect[int]:
    """The number of the newest version of the parameter `person`, 0 for none, to be selected beside what says which is in force."""
    return select(func.coalesce(func.max(versions.c.version), 0)).where(versions.c.person_id == bindparam("person")).scalar_subquery()


def version(tx: Connection, person_id: bytes) -> int:
    """The number of the terms in force; 0 means the defaults every new person starts with.

    It lies open and is always the newest: `Unsealable` where it is not, since older terms may deny less.
    """
    found = tx.execute(select(people.c.terms_version, newest().label("newest")).where(people.c.person_id == bindparam("person")), {"person": person_id}).one()
    if found.terms_version != found.newest:
        raise Unsealable
    number: int = found.terms_version
    return number


def current(tx: Connection, ring: Keyring) -> Terms:
    """The terms in force."""
    return at(tx, ring, version(tx, ring.person_id))


def at(tx: Connection, ring: Keyring, number: int) -> Terms:
    """The terms as version `number` had them; `NotFound` where there was none."""
    if number == 0:
        return DEFAULT_TERMS

    def opened() -> Terms:
        body = tx.execute(select(versions.c.body).where(versions.c.person_id == ring.person_id, versions.c.version == number)).scalar()
        if body is None:
            raise NotFound
        return Terms.parse(documents.load(ring.unseal(Place(ring.person_id, "terms_versions").at(number), body)))

    # A version never changes.
    return ring.remember(("terms", number), opened)


def last_change(tx: Connection, person_id: bytes, number: int) -> int:
    """The number of the version that an undo would undo; 0 for none. What a version that put another back has undone is not undone again."""
    mine = (versions.c.person_id == person_id) & (versions.c.restored.is_not(None))
    restored = {row.version: row.restored for row in tx.execute(select(versions.c.version, versions.c.restored).where(mine))}
    while number in restored:
        number = restored[number]
    return number


@dataclass(frozen=True, slots=True)
class Version:
    """One version in the list: its number, when it came into force (None: the defaults), and the terms."""

    number: int
    made_at: dt.datetime | None
    terms: Terms


def made_at(tx: Connection, person_id: bytes, number: int) -> dt.datetime | None:
    """When a version came into force; None for the defaults."""
    moment: dt.datetime | None = tx.execute(select(versions.c.made_at).where(versions.c.person_id == person_id, versions.c.version == number)).scalar()
    return moment


def history(tx: Connection, ring: Keyring, below: int | None = None) -> list[Version]:
    """The versions below a number, newest first, 51 at most: one more than a page shows, to tell what the last of it changed."""
    mine = select(versions.c.version, versions.c.made_at).where(versions.c.person_id == ring.person_id)
    if below is not None:
        mine = mine.where(versions.c.version < below)
    rows = tx.execute(mine.order_by(versions.c.version.desc()).limit(PAGE + 1)).all()
    found = [Version(row.version, row.made_at, at(tx, ring, row.version)) for row in rows]
    return found if len(found) > PAGE else [*found, Version(0, None, DEFAULT_TERMS)]


def every(tx: Connection, person_id: bytes) -> list[tuple[int, dt.datetime, int | None]]:
    """All versions, oldest first: number, since when, and which one it put back (None: it is new)."""
    wanted = select(versions.c.version, versions.c.made_at, versions.c.restored).where(versions.c.person_id == person_id)
    return [(row.version, row.made_at, row.restored) for row in tx.execute(wanted.order_by(versions.c.version))]
