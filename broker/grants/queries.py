"""Reading grants: for the person's pages, for a decision, and the statements that check a grant again in the ledger's transaction."""

import base64
import binascii
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson
from sqlalchemy import Connection, bindparam, func, select, tuple_

from broker.db import AnyRow, Prepared, lots
from broker.errors import NotFound
from broker.grants import agreements
from broker.grants.models import answers, grants, use
from broker.ledger import queries as ledger
from broker.ledger.actions import Check
from broker.people.models import people
from broker.vault.envelope import Place
from broker.vault.keys import Keyring
from broker.vendors.models import clients, vendors
from policies.clauses import Clause

PARSED: Final = 4096
LIVE: Final = ("active", "paused")
# The reason of a grant that its vendor ended.
HANDED_BACK: Final = "handed_back"
# The reason of a grant that is paused, or was ended, since an older copy of the stores came back.
RESTORED: Final = "restored"


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant as its person sees it; `id` is the text that pages and vendors use (22 base64url characters)."""

    person_id: bytes
    grant_id: bytes
    client_id: str
    status: str
    version: int
    given_at: dt.datetime
    expires_at: dt.datetime
    ended_at: dt.datetime | None
    countersigned_at: dt.datetime | None
    # SHA-256 of the agreement; none for the person's own extension.
    agreement: bytes | None
    reason: str
    clauses: tuple[Clause, ...]
    details: dict[str, Any]

    @property
    def id(self) -> str:
        """The grant's id as text."""
        return to_text(self.grant_id)

    @property
    def domain(self) -> str:
        """The vendor's verified domain; empty for the person's own extension."""
        return str(self.details["client"]["domain"])

    @property
    def vendor_id(self) -> str:
        """The vendor's id; empty for the person's own extension."""
        return str(self.details["client"]["vendor"])

    @property
    def name(self) -> str:
        """How sentences call the other side where they begin with it."""
        return self.domain or "Your extension"

    @property
    def called(self) -> str:
        """How sentences call the other side further on."""
        return self.domain or "your extension"

    @property
    def collects(self) -> bool:
        """Whether it only adds events, and shows nobody any."""
        return all(clause.action == "write" for clause in self.clauses)

    @property
    def moved(self) -> bool:
        """Whether its person brought it from another broker. Nobody ever could read by it here."""
        return "moved" in self.details

    def state(self, now: dt.datetime) -> str:
        """active, paused, revoked or expired, as of `now`."""
        return state_of(self.status, self.expires_at, now)


def state_of(status: str, expires_at: dt.datetime, now: dt.datetime) -> str:
    """active, paused, revoked or expired, as of `now`."""
    return "expired" if status in LIVE and now >= expires_at else status


def to_text(grant_id: bytes) -> str:
    """A grant's id as 22 base64url characters."""
    return base64.urlsafe_b64encode(grant_id).rstrip(b"=").decode()


def to_bytes(text: str) -> bytes:
    """The 16 bytes of a grant's id; `NotFound` if the text cannot be one."""
    try:
        raw = base64.b64decode(text + "==", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise NotFound from None
    if to_text(raw) != text or len(raw) != 16:  # noqa: PLR2004 - bytes of an id
        raise NotFound
    return raw


@lru_cache(maxsize=PARSED)
def place(person_id: bytes, column: str, grant_id: bytes) -> bytes:
    """Where a grant's sealed columns live."""
    return Place(person_id, "grants", column).at(grant_id)


def pairwise(ring: Keyring, vendor_id: str) -> str:
    """The id under which a vendor knows this person, and no other vendor does (rule G10)."""
    return agreements.PERSON_ID + agreements.b64(ring.pairwise(vendor_id))


def reads_under(tx: Connection, ring: Keyring, grant: str) -> list[dict[str, Any]]:
    """The ledger's entries of all reads that a grant gave, oldest first: receipts are made from them, there is no second log."""
    found: list[dict[str, Any]] = []
    below: int | None = None
    while True:
        page = ledger.page(tx, ring, ledger.Wanted(grant=grant, act="read", outcome="permitted"), below=below, limit=ledger.SCAN)
        found += page.entries
        below = page.older
        if below is None:
            return found[::-1]


def opened_clauses(ring: Keyring, grant_id: bytes, version: int, sealed: bytes) -> tuple[Clause, ...]:
    """A grant's clauses; parsed once per version."""
    return _clauses(ring.person_id, grant_id, version, ring.unseal(place(ring.person_id, "clauses", grant_id), sealed))


@lru_cache(maxsize=PARSED)
def _clauses(_person_id: bytes, _grant_id: bytes, _version: int, plain: bytes) -> tuple[Clause, ...]:
    return tuple(Clause.parse(each) for each in orjson.loads(plain))


def _grant(ring: Keyring, row: AnyRow) -> Grant:
    details = orjson.loads(ring.unseal(place(ring.person_id, "details", row.grant_id), row.details))
    clauses = opened_clauses(ring, row.grant_id, row.version, row.clauses)
    return Grant(
        row.person_id, row.grant_id, row.client_id, row.status, row.version, row.given_at, row.expires_at, row.ended_at, row.countersigned_at, row.agreement,
        row.reason, clauses, details,
    )  # fmt: skip


def every(tx: Connection, ring: Keyring) -> list[Grant]:
    """All grants of the person, newest first."""
    mine = select(grants).where(grants.c.person_id == ring.person_id)
    return [_grant(ring, row) for row in tx.execute(mine.order_by(grants.c.given_at.desc(), grants.c.grant_id))]


_ONE: Final = Prepared(select(grants).where(grants.c.person_id == bindparam("person"), grants.c.grant_id == bindparam("grant")))


def one(tx: Connection, ring: Keyring, grant_id: bytes) -> Grant:
    """One grant of this person; anybody else's is `NotFound`, like a missing one."""
    row = _ONE.first(tx, {"person": ring.person_id, "grant": grant_id})
    if row is None:
        raise NotFound
    return _grant(ring, row)


@dataclass(frozen=True, slots=True)
class Outline:
    """A grant by its plain columns alone: what is known of it while the broker is sealed."""

    grant_id: bytes
    client_id: str
    status: str
    domain: str
    given_at: dt.datetime
    expires_at: dt.datetime

    @property
    def id(self) -> str:
        """As it stands in addresses."""
        return to_text(self.grant_id)

    @property
    def name(self) -> str:
        """What it is called: the vendor's verified domain."""
        return self.domain or "Your extension"


def outlines(tx: Connection, person_id: bytes) -> list[Outline]:
    """All grants of a person by what lies open, newest first."""
    joined = grants.outerjoin(clients, clients.c.client_id == grants.c.client_id).outerjoin(vendors, vendors.c.vendor_id == clients.c.vendor_id)
    wanted = select(grants, vendors.c.domain).select_from(joined).where(grants.c.person_id == person_id).order_by(grants.c.given_at.desc())
    return [Outline(row.grant_id, row.client_id, row.status, row.domain or "", row.given_at, row.expires_at) for row in tx.execute(wanted)]


def versions(tx: Connection, wanted: Sequence[tuple[bytes, bytes]]) -> dict[tuple[bytes, bytes], int]:
    """The version of each of these grants (person_id, grant_id) that is live."""
    found: dict[tuple[bytes, bytes], int] = {}
    for lot in lots(wanted):
        mine = tuple_(grants.c.person_id, grants.c.grant_id).in_(lot) & grants.c.status.in_(LIVE)
        found |= {(row.person_id, row.grant_id): row.version for row in tx.execute(select(grants.c.person_id, grants.c.grant_id, grants.c.version).where(mine))}
    return found


def client_of(tx: Connection, person_id: bytes, grant_id: bytes) -> str:
    """The client of a grant by its plain columns alone, which can be read whatever happened to the sealed ones; `NotFound`."""
    client_id: str | None = tx.execute(select(grants.c.client_id).where(grants.c.person_id == person_id, grants.c.grant_id == grant_id)).scalar()
    if client_id is None:
        raise NotFound
    return client_id


def active(tx: Connection, person_id: bytes, now: dt.datetime) -> list[bytes]:
    """The ids of the person's active grants, without opening any."""
    mine = (grants.c.person_id == person_id) & (grants.c.status == "active") & (grants.c.expires_at > now)
    return list(tx.execute(select(grants.c.grant_id).where(mine).order_by(grants.c.given_at)).scalars())


def ids(tx: Connection, person_id: bytes) -> set[str]:
    """The ids of all the person's grants as text, without opening any."""
    return {to_text(each) for each in tx.execute(select(grants.c.grant_id).where(grants.c.person_id == person_id)).scalars()}


def is_live(tx: Connection, person_id: bytes, grant_id: bytes) -> bool:
    """Whether the grant exists and has not ended."""
    wanted = select(grants.c.status).where(grants.c.person_id == person_id, grants.c.grant_id == grant_id)
    return tx.execute(wanted).scalar() in LIVE


def live_of(tx: Connection, ids: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Those of these (person_id, grant_id), of all people, that exist and have not ended."""
    wanted = select(grants.c.person_id, grants.c.grant_id).where(grants.c.status.in_(LIVE))
    both = tuple_(grants.c.person_id, grants.c.grant_id)
    return [(row.person_id, row.grant_id) for lot in lots(ids) for row in tx.execute(wanted.where(both.in_(lot)))]


_STILL_LIVE: Final = Prepared(
    select(grants.c.version)
    .select_from(grants.join(people, people.c.person_id == grants.c.person_id))
    .where(
        grants.c.person_id == bindparam("person"), grants.c.grant_id == bindparam("grant"), grants.c.version == bindparam("at_version"),
        grants.c.status == "active", grants.c.countersigned_at.is_not(None), grants.c.expires_at > bindparam("now"),
        people.c.terms_version == bindparam("at_terms"), people.c.erasures == bindparam("at_erasures"),
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AsOf:
    """What a decision stood on: a grant's version, the number of the person's terms, and how often they had erased something."""

    person_id: bytes
    grant_id: bytes
    version: int
    terms: int
    erasures: int


def still_live(known: AsOf, now: dt.datetime) -> Check:
    """Finds a row only while grant, terms and erasures are as they were when the decision was made."""
    return _STILL_LIVE, {
        "person": known.person_id, "grant": known.grant_id, "at_version": known.version, "at_terms": known.terms, "at_erasures": known.erasures, "now": now,
    }  # fmt: skip


_USED: Final = Prepared(
    select(use.c.reads, use.c.rows).where(
        use.c.person_id == bindparam("person"), use.c.grant_id == bindparam("grant"), use.c.clause == bindparam("of_clause"), use.c.day == bindparam("on_day")
    )
)


def used_today(tx: Connection, person_id: bytes, grant_id: bytes, clause: str, day: dt.date) -> tuple[int, int]:
    """(reads, rows) of one clause on one UTC day."""
    reads, rows = _USED.run(tx, {"person": person_id, "grant": grant_id, "of_clause": clause, "on_day": day}).fetchone() or (0, 0)
    return reads, rows


@dataclass(frozen=True, slots=True)
class Kept:
    """The answers of one clause that were worked out on one UTC day, by the digest of the slice they were worked out from; `body` is the row as it stands."""

    day: dt.date
    body: bytes
    by_slice: dict[str, dict[str, Any]]


def kept_answers(tx: Connection, ring: Keyring, grant_id: bytes, clause: str, today: dt.date) -> Kept | None:
    """What is kept of a clause's answers; those of another day count no more. None where there is no row yet."""
    mine = (answers.c.person_id == ring.person_id) & (answers.c.grant_id == grant_id) & (answers.c.clause == clause)
    row = tx.execute(select(answers.c.day, answers.c.body).where(mine)).first()
    if row is None:
        return None
    known = orjson.loads(ring.unseal(answers_place(ring.person_id, grant_id, clause), row.body)) if row.day == today else {}
    return Kept(row.day, row.body, known)


def answers_place(person_id: bytes, grant_id: bytes, clause: str) -> bytes:
    """Where a clause's kept answers live."""
    return Place(person_id, "grant_answers").at(grant_id, clause)


@dataclass(frozen=True, slots=True)
class Use:
    """How a grant was used: the last UTC day with a read, reads and rows since `since`."""

    last: dt.date | None
    reads: int
    rows: int


def use_since(tx: Connection, person_id: bytes, since: dt.date) -> dict[bytes, Use]:
    """Use of each of the person's grants, by grant_id."""
    last = select(use.c.grant_id, func.max(use.c.day)).where(use.c.person_id == person_id).group_by(use.c.grant_id)
    days = {row[0]: row[1] for row in tx.execute(last)}
    recent = (
        select(use.c.grant_id, func.sum(use.c.reads), func.sum(use.c.rows)).where(use.c.person_id == person_id, use.c.day >= since).group_by(use.c.grant_id)
    )
    sums = {row[0]: (row[1], row[2]) for row in tx.execute(recent)}
    return {grant_id: Use(day, *sums.get(grant_id, (0, 0))) for grant_id, day in days.items()}


def ended_after(tx: Connection, person_id: bytes, client_id: str, moment: dt.datetime) -> bool:
    """Whether the person ended a grant of this client after `moment`; what the client pushed before that cannot be answered any more."""
    wanted = select(grants.c.grant_id).where(
        grants.c.person_id == person_id, grants.c.client_id == client_id, grants.c.status == "revoked", grants.c.ended_at >= moment
    )
    return tx.execute(wanted).first() is not None


def people_with(tx: Connection, client_id: str) -> list[bytes]:
    """Everybody who has a live grant to a client, for what the operator does with it."""
    return list(tx.execute(select(grants.c.person_id).distinct().where(grants.c.client_id == client_id, grants.c.status.in_(LIVE))).scalars())


def expired(tx: Connection, now: dt.datetime) -> list[tuple[bytes, bytes]]:
    """(person_id, grant_id) of live grants whose time is over, of all people: for the sweep."""
    wanted = select(grants.c.person_id, grants.c.grant_id).where(grants.c.status.in_(LIVE), grants.c.expires_at <= now)
    return [(row.person_id, row.grant_id) for row in tx.execute(wanted)]


def unsigned(tx: Connection, given_before: dt.datetime) -> list[tuple[bytes, bytes]]:
    """(person_id, grant_id) of live grants, of all people, that were given before then and not countersigned since: for the sweep."""
    wanted = select(grants.c.person_id, grants.c.grant_id).where(
        grants.c.status.in_(LIVE), grants.c.countersigned_at.is_(None), grants.c.given_at <= given_before
    )
    return [(row.person_id, row.grant_id) for row in tx.execute(wanted)]
