"""Changing a person's terms: a new version, never an overwritten one."""

from typing import Any

import rfc8785
from sqlalchemy import Connection, insert, update

from broker.errors import Unprocessable
from broker.ledger import actions as ledger
from broker.opening import Broker
from broker.people.models import people
from broker.terms import queries
from broker.terms.models import versions
from broker.vault.envelope import Place
from policies.documents import Malformed
from policies.terms import Terms


def set_terms(broker: Broker, person_id: bytes, document: Any, by: dict[str, str] = ledger.PERSON) -> int:
    """Put new terms in force and return their version number; `Unprocessable` with pointers if they are not well formed.

    The document's own `version` is replaced by the next number. Running grants can only shrink by this, at once.
    """
    ring = broker.keyring(person_id)
    now = broker.now()
    with broker.reading() as tx:
        number = queries.version(tx, person_id) + 1
    try:
        terms = Terms.parse({**document, "version": number} if isinstance(document, dict) else document)
    except Malformed as malformed:
        raise Unprocessable("These terms cannot be used; see errors.", errors=malformed.errors) from None
    key = ring.key_for("terms", f"{now:%Y-%m}")
    entry_key = ledger.entry_key(ring, now)
    sealed = key.seal(Place(person_id, "terms_versions").at(number), rfc8785.dumps(terms.to_json()))

    def job(tx: Connection) -> None:
        tx.execute(insert(versions).values(person_id=person_id, version=number, made_at=now, body=sealed))
        tx.execute(update(people).where(people.c.person_id == person_id, people.c.terms_version == number - 1).values(terms_version=number))
        ledger.append(tx, ring, entry_key, ledger.Entry("terms", now, by=by, about={"version": number}))

    broker.write(job)
    return number
