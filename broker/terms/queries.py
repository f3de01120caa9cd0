"""Reading a person's terms."""

from functools import lru_cache

from sqlalchemy import Connection, select

from broker.people.models import people
from broker.terms.models import versions
from broker.vault.envelope import Place
from broker.vault.keys import Keyring
from policies import documents
from policies.terms import DEFAULT_TERMS, Terms

PARSED = 1000


def version(tx: Connection, person_id: bytes) -> int:
    """The number of the terms in force; 0 means the defaults every new person starts with."""
    return tx.execute(select(people.c.terms_version).where(people.c.person_id == person_id)).scalar_one()


def current(tx: Connection, ring: Keyring) -> Terms:
    """The terms in force."""
    return at(tx, ring, version(tx, ring.person_id))


def at(tx: Connection, ring: Keyring, number: int) -> Terms:
    """The terms as version `number` had them."""
    if number == 0:
        return DEFAULT_TERMS
    body = tx.execute(select(versions.c.body).where(versions.c.person_id == ring.person_id, versions.c.version == number)).scalar_one()
    return _parsed(ring.unseal(Place(ring.person_id, "terms_versions").at(number), body))


@lru_cache(maxsize=PARSED)
def _parsed(body: bytes) -> Terms:
    return Terms.parse(documents.load(body))
