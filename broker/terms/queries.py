"""Reading a person's terms."""

from sqlalchemy import Connection, select

from broker.people.models import people
from broker.terms.models import versions
from broker.vault.envelope import Place
from broker.vault.keys import Keyring
from policies import documents
from policies.terms import DEFAULT_TERMS, Terms


def version(tx: Connection, person_id: bytes) -> int:
    """The number of the terms in force; 0 means the defaults every new person starts with."""
    number: int = tx.execute(select(people.c.terms_version).where(people.c.person_id == person_id)).scalar_one()
    return number


def current(tx: Connection, ring: Keyring) -> Terms:
    """The terms in force."""
    return at(tx, ring, version(tx, ring.person_id))


def at(tx: Connection, ring: Keyring, number: int) -> Terms:
    """The terms as version `number` had them."""
    if number == 0:
        return DEFAULT_TERMS

    def opened() -> Terms:
        body = tx.execute(select(versions.c.body).where(versions.c.person_id == ring.person_id, versions.c.version == number)).scalar_one()
        return Terms.parse(documents.load(ring.unseal(Place(ring.person_id, "terms_versions").at(number), body)))

    # A version never changes.
    return ring.remember(("terms", number), opened)
