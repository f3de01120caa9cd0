"""Agreements and statements of change as they are kept: what both sides sign, where it is sealed, and reading it."""

import datetime as dt
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson
import rfc8785
from sqlalchemy import Connection, bindparam, select

from broker.db import Prepared
from broker.errors import Conflict, NotFound, Unprocessable
from broker.grants import agreements, queries
from broker.grants.agreements import Background
from broker.grants.models import agreements as agreement_rows
from broker.grants.models import changes, grants
from broker.opening import Broker
from broker.vault.envelope import OpenKey, Place
from broker.vault.keys import Keyring
from broker.vendors.queries import Client
from policies.clauses import Clause
from policies.documents import Malformed

PLACES: Final = 4096
JOINED: Final = 512


@lru_cache(maxsize=PLACES)
def agreement_place(person_id: bytes, column: str, grant_id: bytes) -> bytes:
    """Where an agreement's sealed columns live."""
    return Place(person_id, "agreements", column).at(grant_id)


def change_place(person_id: bytes, grant_id: bytes, number: int) -> bytes:
    """Where a statement of change is sealed."""
    return Place(person_id, "consent_changes", "statement").at(grant_id, number)


@dataclass(frozen=True, slots=True)
class Payload:
    """The bytes to sign, and what opens their commitments."""

    raw: bytes
    opening: dict[str, Any]

    def row(self, ring: Keyring, key: OpenKey, vendor_id: str, grant_id: bytes) -> dict[str, Any]:
        """The row of the agreement, signed by the person's key for this vendor."""
        protected, signature = ring.signer(vendor_id).sign(agreements.TYP, self.raw)
        document = agreements.joined(self.raw, [{"protected": protected, "signature": signature}])
        return {
            "person_id": ring.person_id, "grant_id": grant_id,
            "document": key.seal(agreement_place(ring.person_id, "document", grant_id), document),
            "opening": key.seal(agreement_place(ring.person_id, "opening", grant_id), orjson.dumps(self.opening)),
        }  # fmt: skip


def payload(
    broker: Broker, ring: Keyring, client: Client, clauses: Sequence[Clause], background: Background, grant_id: bytes, now: dt.datetime
) -> Payload:
    """What both sides are to sign of a grant that is being given. `Conflict` where the vendor has no key, `Unprocessable` where it is more than one holds."""
    jwk = client.signing_key
    if jwk is None:
        raise Conflict("This vendor has no key that it could sign the agreement with, so nothing can be given to it.")
    said = {name: value for name, value in (("address", client.address), ("contact", client.contact)) if value}
    salt = os.urandom(agreements.SALT_BYTES)
    content = agreements.content(
        number=agreements.new_id(now), first={"id": queries.pairwise(ring, client.vendor_id), "jwk": ring.signer(client.vendor_id).jwk},
        second={"id": client.vendor_id, "name": client.vendor_name, **said, "jwk": jwk}, clauses=clauses, background=background, salt=salt,
        jurisdiction=broker.settings.jurisdiction, page=f"{broker.settings.origin}/grants/{queries.to_text(grant_id)}", at=now,
    )  # fmt: skip
    opening = {"salt": agreements.b64(salt), "terms": background.terms, "shown": background.shown}
    raw = rfc8785.dumps(content)
    try:
        agreements.read_payload(raw)
    except Malformed:
        raise Unprocessable(errors=[{"pointer": "", "detail": "That is more than one agreement can hold. Leave some parts out."}]) from None
    return Payload(raw, opening)


@dataclass(frozen=True, slots=True)
class Signed:
    """An agreement as it is kept: the JWS with the person's signature, and the vendor's, once it is there."""

    by_person: dict[str, Any]
    countersignature: dict[str, str] | None
    opening: dict[str, Any]

    @property
    def payload(self) -> bytes:
        """The canonical bytes that both sides sign."""
        return agreements.unb64(self.by_person["payload"], "/payload")

    @property
    def content(self) -> dict[str, Any]:
        """What was agreed."""
        found: dict[str, Any] = orjson.loads(self.payload)
        return found

    @property
    def document(self) -> bytes:
        """The file both sides keep, with the signatures so far: the same bytes on both sides."""
        return self.with_signature(self.countersignature) if self.countersignature else agreements.joined(self.payload, self.by_person["signatures"])

    def with_signature(self, signature: dict[str, str]) -> bytes:
        """The file with this as the vendor's signature."""
        return agreements.joined(self.payload, [*self.by_person["signatures"], signature])


_AGREEMENT: Final = Prepared(
    select(agreement_rows).where(agreement_rows.c.person_id == bindparam("person"), agreement_rows.c.grant_id == bindparam("grant"))
)


def _opened(ring: Keyring, row: Any, column: str) -> bytes:
    return ring.unseal(agreement_place(ring.person_id, column, row.grant_id), getattr(row, column)) if getattr(row, column) else b""


def agreement(tx: Connection, ring: Keyring, grant_id: bytes) -> Signed | None:
    """The agreement of one of the person's grants; none for their own extension."""
    row = _AGREEMENT.first(tx, {"person": ring.person_id, "grant": grant_id})
    if row is None:
        return None
    added = _opened(ring, row, "countersignature")
    return Signed(orjson.loads(_opened(ring, row, "document")), orjson.loads(added) if added else None, orjson.loads(_opened(ring, row, "opening")))


@dataclass(frozen=True, slots=True)
class Told:
    """What its vendor may know of a grant; `asked` is its own request as JSON, `document` the file both sides keep."""

    status: str
    given_at: dt.datetime
    expires_at: dt.datetime
    clauses: tuple[Clause, ...]
    asked: bytes
    ticked: tuple[str, ...]
    document: bytes | None


_TOLD: Final = Prepared(
    select(
        grants.c.grant_id, grants.c.status, grants.c.version, grants.c.given_at, grants.c.expires_at, grants.c.clauses, grants.c.details,
        agreement_rows.c.document, agreement_rows.c.countersignature,
    )
    .select_from(grants.outerjoin(agreement_rows, (agreement_rows.c.person_id == grants.c.person_id) & (agreement_rows.c.grant_id == grants.c.grant_id)))
    .where(grants.c.person_id == bindparam("person"), grants.c.grant_id == bindparam("grant"))
)  # fmt: skip


def told(tx: Connection, ring: Keyring, grant_id: bytes) -> Told:
    """A grant as its vendor is told of it, in one statement, and nothing that stays with the person; `NotFound` as in `one`."""
    row = _TOLD.first(tx, {"person": ring.person_id, "grant": grant_id})
    if row is None:
        raise NotFound
    asked, ticked = _asked(ring.unseal(queries.place(ring.person_id, "details", grant_id), row.details))
    document = _joined(_opened(ring, row, "document"), _opened(ring, row, "countersignature")) if row.document else None
    return Told(row.status, row.given_at, row.expires_at, queries.opened_clauses(ring, grant_id, row.version, row.clauses), asked, ticked, document)


@lru_cache(maxsize=JOINED)
def _asked(details: bytes) -> tuple[bytes, tuple[str, ...]]:
    found = orjson.loads(details)
    return orjson.dumps(found["request"]), tuple(found["shown"]["ticked"])


@lru_cache(maxsize=JOINED)
def _joined(by_person: bytes, countersignature: bytes) -> bytes:
    return Signed(orjson.loads(by_person), orjson.loads(countersignature) if countersignature else None, {}).document


_CHANGES: Final = Prepared(
    select(changes.c.n, changes.c.statement).where(changes.c.person_id == bindparam("person"), changes.c.grant_id == bindparam("grant")).order_by(changes.c.n)
)


def changes_of(tx: Connection, ring: Keyring, grant_id: bytes) -> list[str]:
    """The signed statements of what changed under an agreement, in order."""
    rows = _CHANGES.run(tx, {"person": ring.person_id, "grant": grant_id})
    return [ring.unseal(change_place(ring.person_id, grant_id, n), statement).decode() for n, statement in rows]
