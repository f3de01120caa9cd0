"""Changing a person's terms: a new version, never an overwritten one."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import rfc8785
from sqlalchemy import Connection, insert, update

from broker.errors import Conflict, Unprocessable
from broker.ledger import actions as ledger
from broker.opening import Broker
from broker.people.models import people
from broker.terms import queries
from broker.terms.models import versions
from broker.vault.envelope import OpenKey, Place
from broker.vault.keys import Keyring
from policies.documents import MOST_ENTRIES, Malformed
from policies.terms import Deny, Terms

LONGEST_NAME: Final = 50
JOINABLE: Final = ("vendors", "sites", "categories", "classes", "kinds", "fields", "actions")
"""The lists of a deny of which each entry forbids by itself. Purposes are none: whether all of a clause's are hit decides what is cut."""

Written: TypeAlias = dict[str, Any]
"""A deny as it stands in the document."""


@dataclass(frozen=True, slots=True)
class NewTerms:
    """A version about to come into force, sealed outside the transaction: `insert(tx)` writes it and its ledger entry."""

    ring: Keyring
    number: int
    made_at: dt.datetime
    restored: int | None
    body: bytes
    entry: ledger.Entry
    entry_key: OpenKey

    def insert(self, tx: Connection) -> int:
        """Put the version in force and return its number; `Conflict` where another one came first."""
        next_one = update(people).where(people.c.person_id == self.ring.person_id, people.c.terms_version == self.number - 1).values(terms_version=self.number)
        if not tx.execute(next_one).rowcount:
            raise Conflict("Your terms were changed meanwhile, in another window or from a file. Nothing was saved; look at it again.")
        tx.execute(insert(versions).values(person_id=self.ring.person_id, version=self.number, made_at=self.made_at, restored=self.restored, body=self.body))
        ledger.append(tx, self.ring, self.entry_key, self.entry)
        return self.number


def prepare(
    broker: Broker, person_id: bytes, document: Any, *, by: dict[str, str] = ledger.PERSON, based_on: int | None = None, about: dict[str, Any] | None = None
) -> NewTerms:
    """Make the version that follows `based_on`, or the one in force; `Unprocessable` with pointers if the document is not well formed.

    The document's own `version` is replaced by the number. `about` is what the ledger says besides.
    """
    ring, now = broker.keyring(person_id), broker.now()
    if based_on is None:
        with broker.reading() as tx:
            based_on = queries.version(tx, person_id)
    number = based_on + 1
    try:
        terms = Terms.parse({**document, "version": number} if isinstance(document, dict) else document)
    except Malformed as malformed:
        raise Unprocessable("These terms cannot be used; see errors.", errors=malformed.errors) from None
    key = ring.key_for("terms", f"{now:%Y-%m}")
    sealed = key.seal(Place(person_id, "terms_versions").at(number), rfc8785.dumps(terms.to_json()))
    entry = ledger.Entry("terms", now, by=by, about={"version": number, **(about or {})})
    return NewTerms(ring, number, now, (about or {}).get("restored"), sealed, entry, ledger.entry_key(ring, now))


def set_terms(
    broker: Broker, person_id: bytes, document: Any, by: dict[str, str] = ledger.PERSON, *, based_on: int | None = None, about: dict[str, Any] | None = None
) -> int:
    """Put new terms in force and return their version number; raises like `prepare`. Running grants can only shrink by this, at once."""
    return broker.write(prepare(broker, person_id, document, by=by, based_on=based_on, about=about).insert)


def block(broker: Broker, person_id: bytes, vendor_id: str) -> NewTerms | None:
    """Prepare terms that deny this vendor everything; None where they do so already."""
    with broker.reading() as tx:
        number = queries.version(tx, person_id)
        terms = queries.at(tx, broker.keyring(person_id), number)
    if vendor_id in terms.blocked:
        return None
    document = terms.to_json()
    document["deny"] = _with_block(document["deny"], terms, vendor_id)
    return prepare(broker, person_id, document, based_on=number, about={"change": "block", "vendor": vendor_id})


def _with_block(written: list[Written], terms: Terms, vendor_id: str) -> list[Written]:
    """The denies and one that blocks a vendor, by itself where there is room for another rule: nobody is kept from blocking."""
    if len(written) >= MOST_ENTRIES:
        blocks = {deny.id: deny.vendors for deny in terms.deny if deny.is_whole and deny.vendors is not None and len(deny.vendors) < MOST_ENTRIES}
        # One that names vendors alone is best, since it is shown as a block.
        of_names = (each for each, vendors in blocks.items() if vendors <= set(terms.blocked))
        if joined := next(of_names, next(iter(blocks), None)):
            return [{**each, "vendors": sorted([*each["vendors"], vendor_id])} if each["id"] == joined else each for each in written]
        written = _with_room(written, terms.deny)
    return [*written, {"id": free_id(terms, f"block-{vendor_id.partition('://')[2]}"), "vendors": [vendor_id]}]


def _with_room(written: list[Written], denies: Sequence[Deny]) -> list[Written]:
    """The denies with two of them put together: if they differ in one list alone, one rule with both lists forbids the same."""
    for member in JOINABLE:
        alike: dict[Deny, Written] = {}
        for each, deny in zip(written, denies, strict=True):
            if member not in each:
                continue
            rest = replace(deny, id="", **{member: None})
            other = alike.get(rest)
            both = sorted({*each[member], *other[member]}) if other else []
            if other and len(both) <= MOST_ENTRIES:
                return [{**other, member: both} if kept is other else kept for kept in written if kept is not each]
            alike[rest] = each
    raise Unprocessable(f"Your terms hold {MOST_ENTRIES:,} rules about what is never given, which is as many as they can. Remove one of them, then block.")


def free_id(terms: Terms, wanted: str) -> str:
    """Make a rule's id from words, different from all others of these terms."""
    taken = terms.rules
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", wanted).strip("-.")[:LONGEST_NAME].strip("-.") or "rule"
    numbered = (f"{plain}-{number}" for number in range(2, len(taken) + 3))
    return plain if plain not in taken else next(each for each in numbered if each not in taken)
