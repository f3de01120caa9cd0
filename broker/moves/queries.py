"""Reading old ledgers, and what of a package would come in for a person here."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from sqlalchemy import Connection, func, select

from broker.errors import NotFound, Unsealable
from broker.grants import queries as grants
from broker.grants.actions import GRANTS_PER_PERSON
from broker.ledger.proofs import b64
from broker.moves import contents
from broker.moves.contents import Moved, OldLedger, Version
from broker.moves.models import old_ledgers
from broker.moves.package import Package, Refused
from broker.opening import Broker
from broker.terms import queries as terms
from broker.vault import heads
from broker.vault.envelope import Place
from broker.vault.keys import Keyring

SOMEBODY_ELSES: Final = "This export is of somebody else who has an account in this broker. They can import it when they are signed in. Nothing was kept."
OWN_TERMS: Final = "You have terms of your own here, so those in the export are left alone."
GOES_ON: Final = "The ledger in the export is the one that goes on here, so it is not kept a second time."
KEPT_ALREADY: Final = "A ledger in the export is kept here already."
FULL: Final = f"You have {GRANTS_PER_PERSON:,} grants here, which is as many as there can be, so {{number:,}} of the export are left out."


@dataclass(frozen=True, slots=True)
class Kept:
    """An old ledger as it is kept: its number, how it is divided, which batch it came with and when, and what it says of itself."""

    number: int
    pieces: int
    size: int
    digest: str
    batch: str
    kept_at: dt.datetime
    logs: list[dict[str, Any]]

    @property
    def entries(self) -> int:
        """How many entries its logs have."""
        return sum(log["size"] for log in self.logs)

    @property
    def origin(self) -> str:
        """The broker it is from."""
        return str(self.logs[0]["origin"]).partition("/")[0] if self.logs else ""


def place(person_id: bytes, number: int, piece: int) -> bytes:
    """Where a piece of an old ledger is sealed."""
    return Place(person_id, "old_ledgers").at(number, piece)


def every(tx: Connection, ring: Keyring) -> list[Kept]:
    """The person's old ledgers, the first to come first."""
    return [one(tx, ring, number) for number in numbers(tx, ring.person_id)]


def numbers(tx: Connection, person_id: bytes) -> list[int]:
    """The numbers of the person's old ledgers, without opening any."""
    table = old_ledgers.c
    return list(tx.execute(select(table.number).where(table.person_id == person_id, table.piece == 0).order_by(table.number)).scalars())


def _kept(ring: Keyring, number: int, body: bytes) -> Kept:
    told = orjson.loads(ring.unseal(place(ring.person_id, number, 0), body))
    return Kept(number, told["pieces"], told["size"], told["sha256"], told["batch"], dt.datetime.fromisoformat(told["kept_at"]), told["logs"])


def one(tx: Connection, ring: Keyring, number: int) -> Kept:
    """One of the person's old ledgers; `NotFound`."""
    table = old_ledgers.c
    mine = (table.person_id == ring.person_id) & (table.number == number) & (table.piece == 0)
    body = tx.execute(select(table.body).where(mine)).scalar()
    if body is None:
        raise NotFound
    return _kept(ring, number, body)


def written(broker: Broker, ring: Keyring, kept: Kept) -> Iterator[bytes]:
    """The file of an old ledger, byte for byte as it came, piece by piece. Raises `Unsealable`, also midway."""
    table = old_ledgers.c
    for piece in range(1, kept.pieces + 1):
        mine = (table.person_id == ring.person_id) & (table.number == kept.number) & (table.piece == piece)
        with broker.reading() as tx:
            body = tx.execute(select(table.body).where(mine)).scalar()
        if body is None:
            # A restored backup had no key for it.
            raise Unsealable
        yield ring.unseal(place(ring.person_id, kept.number, piece), body)


def next_number(tx: Connection, person_id: bytes) -> int:
    """The number of the next old ledger."""
    wanted = select(func.coalesce(func.max(old_ledgers.c.number), 0)).where(old_ledgers.c.person_id == person_id)
    return int(tx.execute(wanted).scalar_one()) + 1


@dataclass(slots=True)
class Coming:
    """What of a package comes in besides its events, and sentences about what does not."""

    versions: list[Version] = field(default_factory=list)
    grants: list[Moved] = field(default_factory=list)
    grants_here: int = 0
    ledgers: list[OldLedger] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def logs(self) -> list[dict[str, Any]]:
        """The logs of the ledgers that come: origin, size, root."""
        return [{name: log[name] for name in ("origin", "size", "root")} for each in self.ledgers for log in each.logs]

    def to_json(self) -> dict[str, Any]:
        """As it is shown and kept with the batch."""
        return {"terms": len(self.versions), "grants": len(self.grants), "grants_here": self.grants_here, "logs": self.logs, "left": self.left}


def coming(broker: Broker, ring: Keyring, package: Package) -> Coming:
    """What of a checked package would come in for this person, besides its events; writes nothing. Raises `Refused`."""
    found, now = Coming(), broker.now()
    with broker.reading() as tx:
        has_terms = terms.version(tx, ring.person_id) > 0
        here = grants.ids(tx, ring.person_id)
        kept = {each.digest for each in every(tx, ring)}
    _ledgers(broker, ring, package, found, kept)
    versions = contents.terms(package, now)
    if has_terms and versions:
        found.left.append(OWN_TERMS)
    else:
        found.versions = versions
    room, too_many = GRANTS_PER_PERSON - len(here), 0
    for grant_id, each in contents.grants(package, now):
        if grant_id in here:
            found.grants_here += 1
        elif isinstance(each, str):
            found.left.append(each)
        elif len(found.grants) < room:
            found.grants.append(each)
        else:
            too_many += 1
    if too_many:
        found.left.append(FULL.format(number=too_many))
    return found


def _ledgers(broker: Broker, ring: Keyring, package: Package, found: Coming, kept: set[str]) -> None:
    mine = {b64(log_id) for log_id in heads.checkpoints_of(broker.heads, ring.person_id)}
    others = {b64(log_id) for person_id, log_id in heads.signed_heads(broker.heads) if person_id != ring.person_id}
    for each in contents.ledgers(package):
        logs = {log["log"] for log in each.logs}
        if logs & others:
            raise Refused(SOMEBODY_ELSES)
        if each.problem:
            found.left.append(f"A ledger in the export ({each.name}) does not hold, so it is not kept here: {each.problem} Keep that file yourself.")
        elif logs & mine:
            found.left.append(GOES_ON)
        elif each.digest in kept:
            found.left.append(KEPT_ALREADY)
        else:
            kept.add(each.digest)
            found.ledgers.append(each)
