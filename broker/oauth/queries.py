"""Reading the authorization server's rows: the token of a call, a pushed request, the requests a person has opened."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Connection, bindparam, func, select

from broker.db import AnyRow, Prepared
from broker.grants.models import grants
from broker.grants.queries import LIVE, RESTORED
from broker.oauth.models import codes, pushed_requests, requests, tokens
from broker.opening import Broker
from broker.people.models import people
from broker.terms import queries as term_queries
from broker.vault import credentials
from broker.vault.credentials import Credential
from broker.vault.envelope import Place
from broker.vendors.models import clients, vendors

# What of a grant no decision looks at; the details are long.
_NOT_LOOKED_AT: Final = frozenset({"details", "reason", "ended_at"})
# One statement: token → grant → client, and the number of the person's terms. Nothing of it is cached.
_LOOK_UP: Final = Prepared(
    select(
        tokens.c.kind, tokens.c.jkt, tokens.c.clauses.label("limited_to"), tokens.c.expires_at.label("token_expires_at"),
        tokens.c.ended_at.label("token_ended_at"),
        *(column for column in grants.columns if column.key not in _NOT_LOOKED_AT),
        clients.c.enabled, clients.c.vendor_id, vendors.c.classes.label("vendor_classes"), people.c.terms_version, people.c.erasures,
        term_queries.newest().label("newest_terms"),
    )
    .select_from(
        tokens.join(grants, (grants.c.person_id == tokens.c.person_id) & (grants.c.grant_id == tokens.c.grant_id))
        .join(clients, clients.c.client_id == tokens.c.client_id)
        .join(people, people.c.person_id == tokens.c.person_id)
        .outerjoin(vendors, vendors.c.vendor_id == clients.c.vendor_id)
    )
    .where(tokens.c.person_id == bindparam("person"), tokens.c.hash == bindparam("hash"), tokens.c.kind == "at")
)  # fmt: skip


def by_token(tx: Connection, credential: Credential) -> Any:
    """Token, grant, client and terms version behind an access token, whatever their state; None if there is no such token."""
    return _LOOK_UP.first(tx, {"person": credential.person_id, "hash": credential.hash})


@dataclass(frozen=True, slots=True)
class Pushed:
    """A pushed request as stored; `parameters` are redirect_uri, state, code_challenge, scope and request."""

    hash: bytes
    client_id: str
    jkt: str
    parameters: dict[str, Any]
    pushed_at: dt.datetime
    expires_at: dt.datetime
    browser: bytes | None
    opened_at: dt.datetime | None
    used_at: dt.datetime | None


def place(digest: bytes) -> bytes:
    """Where a pushed request's parameters are sealed."""
    return Place(b"", "pushed_requests", "parameters").at(digest)


def pushed(broker: Broker, tx: Connection, digest: bytes) -> Pushed | None:
    """The pushed request with this hash, used or not."""
    row = tx.execute(select(pushed_requests).where(pushed_requests.c.hash == digest)).first()
    if row is None:
        return None
    parameters = orjson.loads(broker.vault.host_unseal(place(digest), row.parameters))
    return Pushed(row.hash, row.client_id, row.jkt, parameters, row.pushed_at, row.expires_at, row.browser, row.opened_at, row.used_at)


@dataclass(frozen=True, slots=True)
class Opened:
    """A request that the person has opened, and until when it can be answered."""

    request_id: bytes
    hash: bytes
    client_id: str
    state: str
    opened_at: dt.datetime
    decide_by: dt.datetime


def _opened(row: AnyRow) -> Opened:
    return Opened(row.request_id, row.hash, row.client_id, row.state, row.opened_at, row.decide_by)


def opened(tx: Connection, person_id: bytes, request_id: bytes) -> Opened | None:
    """One request that this person has opened."""
    row = tx.execute(select(requests).where(requests.c.person_id == person_id, requests.c.request_id == request_id)).first()
    return _opened(row) if row else None


def opened_by_hash(tx: Connection, person_id: bytes, digest: bytes) -> Opened | None:
    """The same, found by the pushed request's hash."""
    row = tx.execute(select(requests).where(requests.c.person_id == person_id, requests.c.hash == digest)).first()
    return _opened(row) if row else None


def waiting(tx: Connection, person_id: bytes, now: dt.datetime) -> list[Opened]:
    """Requests this person opened and left unanswered, that can still be answered; oldest first."""
    wanted = select(requests).where(requests.c.person_id == person_id, requests.c.state == "waiting", requests.c.decide_by > now)
    return [_opened(row) for row in tx.execute(wanted.order_by(requests.c.opened_at))]


def asked_by(tx: Connection, person_id: bytes) -> list[tuple[str, dt.datetime]]:
    """(client id, first time) of every client whose request this person has opened."""
    wanted = select(requests.c.client_id, func.min(requests.c.opened_at)).where(requests.c.person_id == person_id)
    return [(row[0], row[1]) for row in tx.execute(wanted.group_by(requests.c.client_id))]


def shown_with(broker: Broker, tx: Connection, client_id: str, form: Mapping[str, str]) -> tuple[bytes, bytes] | None:
    """(person_id, grant_id) of the code or refresh token in a token call, if it is this client's."""
    for kind, table, member in (("ac", codes, "code"), ("rt", tokens, "refresh_token")):
        shown = credentials.parse(broker.vault.route_key, kind, form.get(member, ""))
        if shown is not None:
            row = tx.execute(select(table.c.grant_id, table.c.client_id).where(table.c.person_id == shown.person_id, table.c.hash == shown.hash)).first()
            return (shown.person_id, row.grant_id) if row is not None and row.client_id == client_id else None
    return None


def collect_by(tx: Connection, person_id: bytes, grant_id: bytes) -> dt.datetime | None:
    """When a grant ends unless its client comes for it; None once it has come."""
    wanted = select(codes.c.expires_at).where(codes.c.person_id == person_id, codes.c.grant_id == grant_id, codes.c.used_at.is_(None))
    return tx.execute(wanted).scalar()


def uncollected(tx: Connection, now: dt.datetime) -> list[tuple[bytes, bytes]]:
    """(person_id, grant_id) of live grants, of all people, whose code nobody came for in time: for the sweep."""
    wanted = select(codes.c.person_id, codes.c.grant_id).where(codes.c.used_at.is_(None), codes.c.expires_at <= now)
    live = wanted.join(grants, (grants.c.person_id == codes.c.person_id) & (grants.c.grant_id == codes.c.grant_id))
    return [(row.person_id, row.grant_id) for row in tx.execute(live.where(grants.c.status.in_(LIVE)))]


def is_usable(tx: Connection, person_id: bytes, grant_id: bytes) -> bool:
    """Whether its client still holds what new access tokens are fetched with."""
    mine = (tokens.c.person_id == person_id) & (tokens.c.grant_id == grant_id)
    return tx.execute(select(tokens.c.hash).where(mine, tokens.c.kind == "rt", tokens.c.ended_at.is_(None)).limit(1)).first() is not None


def unusable(tx: Connection, used_after: dt.datetime, now: dt.datetime) -> list[tuple[bytes, bytes]]:
    """(person_id, grant_id) of live grants, of all people, that nothing can use any more (rule T7): for the sweep.

    They have no code to redeem, and no refresh token that was used after then. A restore leaves some without any: their person is told first.
    """
    mine = (grants.c.person_id == codes.c.person_id) & (grants.c.grant_id == codes.c.grant_id)
    code = select(codes.c.hash).where(mine, codes.c.used_at.is_(None), codes.c.expires_at > now)
    theirs = (grants.c.person_id == tokens.c.person_id) & (grants.c.grant_id == tokens.c.grant_id)
    token = select(tokens.c.hash).where(theirs, tokens.c.kind == "rt", tokens.c.ended_at.is_(None), tokens.c.last_used_at > used_after)
    told = (grants.c.status == "paused") & (grants.c.reason == RESTORED)
    wanted = select(grants.c.person_id, grants.c.grant_id).where(grants.c.status.in_(LIVE), ~told, ~code.exists(), ~token.exists())
    return [(row.person_id, row.grant_id) for row in tx.execute(wanted)]
