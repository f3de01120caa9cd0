"""Everything that changes the authorization server's state: use up, push, open, decide, redeem, refresh, end a token."""

import datetime as dt
import hashlib
import hmac
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from broker.db import AnyRow, Prepared, upsert
from broker.errors import Conflict, TermsChanged, Unsealable
from broker.grants import actions as grant_actions
from broker.grants import queries as grant_queries
from broker.ledger import actions as ledger
from broker.notices import actions as notices
from broker.notices.actions import Notice
from broker.oauth import gate, queries
from broker.oauth.callers import Caller, Spent
from broker.oauth.dpop import Proof
from broker.oauth.models import codes, pushed_requests, requests, tokens, used_ids
from broker.opening import Broker
from broker.terms import queries as term_queries
from broker.terms.actions import NewTerms
from broker.vault import credentials
from broker.vault.credentials import Credential
from broker.vendors.queries import Client
from policies.clauses import Clause

log = logging.getLogger(__name__)
ACCESS_TOKEN_LIVES: Final = dt.timedelta(seconds=300)
CODE_LIVES: Final = dt.timedelta(seconds=60)
REQUEST_LIVES: Final = dt.timedelta(seconds=90)
EXTENSION_REQUEST_LIVES: Final = dt.timedelta(seconds=300)
ANSWERABLE: Final = dt.timedelta(hours=1)
ANSWERABLE_AT_MOST: Final = dt.timedelta(hours=24)
REFRESH_IDLE: Final = dt.timedelta(days=90)
DOUBLE_SUBMIT: Final = dt.timedelta(seconds=1)
DAY: Final = dt.timedelta(days=1)
UNSEEN: Final = "unseen"
"""The state of a request that the person's terms refused before it was shown."""
REQUEST_URI: Final = "urn:ietf:params:oauth:request_uri:"
_USE: Final = Prepared(upsert(used_ids).on_conflict_do_nothing(), [column.name for column in used_ids.columns])


def use_up(broker: Broker, ids: Sequence[Spent]) -> None:
    """Use up each id, or none, each in one statement: of parallel replays one wins. Raises the clash of one that was used before."""
    if ids:
        broker.write(lambda tx: _spend(tx, ids))


def _spend(tx: Connection, ids: Sequence[Spent]) -> None:
    for each in ids:
        if not _USE.run(tx, {"holder": each.holder, "jti": each.jti, "until": each.until}).rowcount:
            raise each.clash()


def unused(proof: Proof) -> tuple[Prepared, dict[str, Any]]:
    """What uses up a proof inside the transaction of the write that it is for; it touches no row where the proof was used before."""
    return _USE, {"holder": proof.jkt, "jti": proof.jti, "until": proof.until}


def is_used(tx: Connection, proof: Proof) -> bool:
    """Whether a write has used up this proof."""
    mine = (used_ids.c.holder == proof.jkt) & (used_ids.c.jti == proof.jti)
    return tx.execute(select(used_ids.c.until).where(mine)).first() is not None


def push(broker: Broker, client: Client, parameters: dict[str, Any], jkt: str) -> tuple[str, int]:
    """Store a pushed request (RFC 9126) whose form was checked; returns (request_uri, seconds it lives unopened).

    `jkt` is the thumbprint of the key that its code, and every token after it, will be bound to (rule T13).
    """
    credential = credentials.mint(broker.vault.route_key, "ru")
    lives = EXTENSION_REQUEST_LIVES if client.public else REQUEST_LIVES
    now = broker.now()
    sealed = broker.vault.host_seal(queries.place(credential.hash), orjson.dumps(parameters))
    row = {"hash": credential.hash, "client_id": client.client_id, "parameters": sealed, "jkt": jkt, "pushed_at": now, "expires_at": now + lives}
    broker.write(lambda tx: tx.execute(insert(pushed_requests).values(row)))
    return REQUEST_URI + credential.text, int(lives.total_seconds())


def find_pushed(broker: Broker, client_id: str, request_uri: str) -> queries.Pushed | None:
    """The unused pushed request behind a `request_uri` of this client; None for whatever cannot be opened any more."""
    credential = credentials.parse(broker.vault.route_key, "ru", request_uri.removeprefix(REQUEST_URI))
    if credential is None or not request_uri.startswith(REQUEST_URI):
        return None
    with broker.reading() as tx:
        found = queries.pushed(broker, tx, credential.hash)
    if found is None or found.client_id != client_id or found.used_at is not None:
        return None
    return found if found.opened_at is not None or broker.now() < found.expires_at else None


def tie_to_browser(broker: Broker, pushed: queries.Pushed, cookie: str) -> bool:
    """Tie a request to the browser that opens it first (rule G4); False if another browser was first."""
    mine = hashlib.sha256(cookie.encode()).digest()
    if pushed.browser is not None:
        return hmac.compare_digest(pushed.browser, mine)
    now = broker.now()
    first = update(pushed_requests).where(pushed_requests.c.hash == pushed.hash, pushed_requests.c.browser.is_(None)).values(browser=mine, opened_at=now)
    return broker.write(lambda tx: tx.execute(first).rowcount == 1)


def open_request(broker: Broker, person_id: bytes, pushed: queries.Pushed) -> queries.Opened:
    """Put an opened request among the person's own, answerable for an hour after its last use and a day at most.

    `Conflict` where another person opened it first.
    """
    now = broker.now()
    most = (pushed.opened_at or now) + ANSWERABLE_AT_MOST
    decide_by = min(now + ANSWERABLE, most)

    nobody_else = pushed_requests.c.opened_by.is_(None) | (pushed_requests.c.opened_by == person_id)
    tie = update(pushed_requests).where(pushed_requests.c.hash == pushed.hash, nobody_else).values(opened_by=person_id)

    def job(tx: Connection) -> queries.Opened:
        if not tx.execute(tie).rowcount:
            raise Conflict("Somebody else opened this request first. The vendor has to ask again.")
        known = queries.opened_by_hash(tx, person_id, pushed.hash)
        if known is not None:
            later = update(requests).where(requests.c.person_id == person_id, requests.c.request_id == known.request_id).values(decide_by=decide_by)
            tx.execute(later)
            return queries.Opened(known.request_id, known.hash, known.client_id, known.state, known.opened_at, decide_by)
        row: dict[str, Any] = {
            "person_id": person_id, "request_id": os.urandom(16), "hash": pushed.hash, "client_id": pushed.client_id, "state": "waiting",
            "opened_at": now, "decide_by": decide_by,
        }  # fmt: skip
        tx.execute(insert(requests).values(row))
        return queries.Opened(row["request_id"], pushed.hash, pushed.client_id, "waiting", now, decide_by)

    return broker.write(job)


def _use_up(tx: Connection, person_id: bytes, opened: queries.Opened, state: str, now: dt.datetime) -> None:
    used = update(pushed_requests).where(pushed_requests.c.hash == opened.hash, pushed_requests.c.used_at.is_(None)).values(used_at=now)
    answered = update(requests).where(
        requests.c.person_id == person_id, requests.c.request_id == opened.request_id, requests.c.state == "waiting", requests.c.decide_by > now
    )
    if not tx.execute(used).rowcount or not tx.execute(answered.values(state=state)).rowcount:
        raise Conflict("This request was answered already, or can no longer be answered. The vendor has to ask again.")


def give(
    broker: Broker, person_id: bytes, opened: queries.Opened, pushed: queries.Pushed, given: grant_actions.Given, *, terms_version: int,
    notice: Notice | None = None,
) -> Credential:  # fmt: skip
    """The person's yes, one transaction (rule G3): the request used up, the grant with its entry, the code whose 60 s start here.

    `Conflict` where it was answered already, the terms moved on, or the person ended a grant of this client after it asked.
    """
    now = broker.now()
    code = credentials.mint(broker.vault.route_key, "ac", person_id)
    row = {
        "person_id": person_id, "hash": code.hash, "client_id": opened.client_id, "grant_id": given.grant_id,
        "redirect_uri": pushed.parameters["redirect_uri"], "code_challenge": pushed.parameters["code_challenge"], "jkt": pushed.jkt,
        "expires_at": now + CODE_LIVES,
    }  # fmt: skip

    def job(tx: Connection) -> None:
        _use_up(tx, person_id, opened, "given", now)
        if term_queries.version(tx, person_id) != terms_version:
            raise TermsChanged
        if grant_queries.ended_after(tx, person_id, opened.client_id, pushed.pushed_at):
            raise Conflict("You ended a grant to this vendor after it asked. It has to ask again.")
        given.insert(tx)
        tx.execute(insert(codes).values(row))
        if notice is not None:
            notices.add(tx, given.ring, given.entry_key, notice, now)

    broker.write(job)
    return code


def refuse(broker: Broker, person_id: bytes, opened: queries.Opened, about: dict[str, Any], *, unseen: bool = False, block: NewTerms | None = None) -> None:
    """The person's no: the request used up and an entry in the ledger; the vendor learns only `access_denied`.

    `unseen`: their terms said it, before anything was shown. `block`: terms that deny the vendor everything come into force with it.
    """
    now = broker.now()
    ring = broker.keyring(person_id)
    key = ledger.entry_key(ring, now)
    by = {"role": "broker"} if unseen else ledger.PERSON
    entry = ledger.Entry("refuse", now, by=by, outcome="denied", reasons=("denied-by-terms",) if unseen else (), about=about)

    def job(tx: Connection) -> None:
        _use_up(tx, person_id, opened, UNSEEN if unseen else "refused", now)
        if block is not None:
            block.insert(tx)
        ledger.append(tx, ring, key, entry)

    broker.write(job, ending=True)


class OtherKey(gate.Refused):
    """A refresh token shown with another key than its own (rule T9): `invalid_grant` for the caller, and the person is told."""

    def __init__(self, person_id: bytes, grant_id: bytes) -> None:
        super().__init__("invalid_grant", gate.NO_GRANT)
        self.person_id = person_id
        self.grant_id = grant_id


# Reads the `authorization_details` of a token call against the grant's clauses.
Limits = Callable[[str, Sequence[Clause]], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Issued:
    """What the token endpoint answers with, `expires_in` in seconds; `refresh_token` is repeated on refresh, never rotated (rule T8)."""

    access_token: str
    refresh_token: str
    grant: grant_queries.Grant
    limited_to: tuple[str, ...]
    expires_in: int


def _token_row(credential: Credential, caller: Caller, grant_id: bytes, clauses: str, now: dt.datetime, expires_at: dt.datetime) -> dict[str, Any]:
    return {
        "person_id": credential.person_id, "hash": credential.hash, "kind": credential.kind, "client_id": caller.client.client_id, "grant_id": grant_id,
        "jkt": caller.jkt, "clauses": clauses, "expires_at": expires_at, "last_used_at": now,
    }  # fmt: skip


def _live_grant(broker: Broker, tx: Connection, person_id: bytes, grant_id: bytes, now: dt.datetime) -> grant_queries.Grant | None:
    """The grant if it is active or paused (rule G8): a paused vendor keeps its tokens, they open nothing."""
    grant = grant_queries.one(tx, broker.keyring(person_id), grant_id)
    return grant if grant.state(now) in grant_queries.LIVE else None


def redeem(broker: Broker, caller: Caller, form: Mapping[str, str], limits: Limits) -> Issued:
    """Turn a code into tokens, once (rule T5). Every wrong presentation burns the code; a used code shown again ends its grant (rule T6)."""
    code = credentials.parse(broker.vault.route_key, "ac", form.get("code", ""))
    if code is None:
        raise gate.invalid_grant()
    now = broker.now()
    mine = (codes.c.person_id == code.person_id) & (codes.c.hash == code.hash)
    take = update(codes).where(mine, codes.c.used_at.is_(None), codes.c.expires_at > now).values(used_at=now).returning(codes)

    def job(tx: Connection) -> Issued | None:
        row = tx.execute(take).first()
        if row is None or not _presented_right(row, caller, form):
            return None
        grant = _live_grant(broker, tx, code.person_id, row.grant_id, now)
        return None if grant is None else _issue(broker, tx, caller, grant, _limited(form, grant, limits), now)

    issued = broker.write(job)
    if issued is None:
        _replayed(broker, caller.client, code, now)
        raise gate.invalid_grant()
    return issued


def _limited(form: Mapping[str, str], grant: grant_queries.Grant, limits: Limits) -> tuple[str, ...]:
    """The clauses a token is limited to, empty for all; a scope the grant does not imply is `invalid_scope` (rule D4)."""
    implied = {f"events:{clause.action}" for clause in grant.clauses}
    if set(form.get("scope", "").split()) - implied:
        raise gate.Refused("invalid_scope", "The grant does not cover this scope.")
    text = form.get("authorization_details", "")
    return limits(text, grant.clauses) if text else ()


def _presented_right(row: AnyRow, caller: Caller, form: Mapping[str, str]) -> bool:
    verifier = form.get("code_verifier", "")
    return (
        row.client_id == caller.client.client_id
        and row.jkt == caller.jkt
        and row.redirect_uri == form.get("redirect_uri", "")
        and gate.is_verifier(verifier)
        and hmac.compare_digest(create_s256_code_challenge(verifier), row.code_challenge)  # type: ignore[no-untyped-call]
    )


def _issue(broker: Broker, tx: Connection, caller: Caller, grant: grant_queries.Grant, limited_to: tuple[str, ...], now: dt.datetime) -> Issued:
    access = credentials.mint(broker.vault.route_key, "at", grant.person_id)
    refresh = credentials.mint(broker.vault.route_key, "rt", grant.person_id)
    limits = " ".join(limited_to)
    until = min(now + ACCESS_TOKEN_LIVES, grant.expires_at)
    rows = [
        _token_row(access, caller, grant.grant_id, limits, now, until),
        _token_row(refresh, caller, grant.grant_id, "", now, grant.expires_at),
    ]
    tx.execute(insert(tokens), rows)
    return Issued(access.text, refresh.text, grant, limited_to, int((until - now).total_seconds()))


def _replayed(broker: Broker, client: Client, code: Credential, now: dt.datetime) -> None:
    """End the grant of a code that its own client shows again a second or more after it was used."""
    with broker.reading() as tx:
        row = tx.execute(select(codes).where(codes.c.person_id == code.person_id, codes.c.hash == code.hash)).first()
    if row is not None and row.used_at is not None and row.client_id == client.client_id and now - row.used_at >= DOUBLE_SUBMIT:
        about = {"client": client.client_id, "vendor": client.vendor_id, "grant": grant_queries.to_text(row.grant_id)}
        notice = Notice("code-replayed", about)
        grant_actions.revoke(broker, code.person_id, row.grant_id, by={"role": "broker"}, reason="code_replayed", notice=notice)


_REFRESH_TOKEN: Final = Prepared(
    select(tokens).where(
        tokens.c.person_id == bindparam("person"), tokens.c.hash == bindparam("shown"), tokens.c.kind == "rt", tokens.c.ended_at.is_(None)
    )
)
_INSERT_TOKEN: Final = Prepared(insert(tokens), [column.name for column in tokens.columns if column.name != "ended_at"])


def refresh(broker: Broker, caller: Caller, ids: Sequence[Spent], form: Mapping[str, str], check: Callable[[], None], limits: Limits) -> Issued:
    """A new access token for a refresh token of this client and key (rules T8, T9); the refresh token stays the same.

    The caller's ids are used up first, in the same transaction, and stay used up whatever is refused after them. `check` is the form's own.
    """
    now = broker.now()

    def job(tx: Connection) -> Issued | gate.Refused:
        _spend(tx, ids)
        try:
            check()
            return _refreshed(broker, tx, caller, form, limits, now)
        except gate.Refused as refused:
            return refused

    issued = broker.write(job)
    if isinstance(issued, gate.Refused):
        raise issued
    return issued


def _refreshed(broker: Broker, tx: Connection, caller: Caller, form: Mapping[str, str], limits: Limits, now: dt.datetime) -> Issued:
    """Writes nothing before everything has been checked: what it refuses does not undo what was written before."""
    shown = credentials.parse(broker.vault.route_key, "rt", form.get("refresh_token", ""))
    row = _REFRESH_TOKEN.first(tx, {"person": shown.person_id, "shown": shown.hash}) if shown else None
    if shown is None or row is None or row.client_id != caller.client.client_id or now >= row.expires_at or now - row.last_used_at > REFRESH_IDLE:
        raise gate.invalid_grant()
    if row.jkt != caller.jkt:
        # Nothing is ended, or anyone who came by a refresh token could end a grant.
        raise OtherKey(shown.person_id, row.grant_id)
    grant = _live_grant(broker, tx, shown.person_id, row.grant_id, now)
    if grant is None:
        raise gate.invalid_grant()
    limited_to = _limited(form, grant, limits)
    if now - row.last_used_at >= DAY:
        mine = (tokens.c.person_id == shown.person_id) & (tokens.c.hash == shown.hash)
        tx.execute(update(tokens).where(mine).values(last_used_at=now))
    access = credentials.mint(broker.vault.route_key, "at", shown.person_id)
    until = min(now + ACCESS_TOKEN_LIVES, grant.expires_at)
    _INSERT_TOKEN.run(tx, _token_row(access, caller, grant.grant_id, " ".join(limited_to), now, until))
    return Issued(access.text, shown.text, grant, limited_to, int((until - now).total_seconds()))


def revoke_token(broker: Broker, client: Client, text: str) -> None:
    """RFC 7009: a refresh token hands the grant back, an access token ends alone; unknown or another client's: no effect."""
    now = broker.now()
    for kind in ("rt", "at"):
        shown = credentials.parse(broker.vault.route_key, kind, text)
        if shown is None:
            continue
        mine = (tokens.c.person_id == shown.person_id) & (tokens.c.hash == shown.hash) & (tokens.c.kind == kind)
        with broker.reading() as tx:
            row = tx.execute(select(tokens.c.grant_id, tokens.c.client_id).where(mine)).first()
        if row is None or row.client_id != client.client_id:
            return
        if kind == "rt":
            by = {"role": "client", "id": client.client_id, "vendor": client.vendor_id}
            grant_actions.revoke(broker, shown.person_id, row.grant_id, by=by, reason=grant_queries.HANDED_BACK)
        else:
            ended = update(tokens).where(mine).values(ended_at=now)
            broker.write(lambda tx, ended=ended: tx.execute(ended), ending=True)  # type: ignore[misc]


def sweep(broker: Broker) -> None:
    """End what time has ended: grants over, codes never collected; forget old requests and ids. Safe to run at any time, on any process."""
    now = broker.now()
    with broker.reading() as tx:
        over = [(*each, "over") for each in grant_queries.expired(tx, now)]
        over += [(*each, "uncollected") for each in queries.uncollected(tx, now)]
        over += [(*each, "unsigned") for each in grant_queries.unsigned(tx, now - grant_actions.SIGN_WITHIN)]
        over += [(*each, "unused") for each in queries.unusable(tx, now - REFRESH_IDLE, now)]
    for person_id, grant_id, reason in over:
        try:
            grant_actions.expire(broker, person_id, grant_id, reason)
        except Unsealable:
            log.exception("a grant could not be expired")

    def job(tx: Connection) -> None:
        tx.execute(delete(used_ids).where(used_ids.c.until < now))
        # Here and not at each refresh, which would have to look through all of the person's for them.
        tx.execute(delete(tokens).where(tokens.c.kind == "at", tokens.c.expires_at <= now))
        unopened = pushed_requests.c.opened_at.is_(None) & (pushed_requests.c.expires_at < now)
        tx.execute(delete(pushed_requests).where(unopened | (pushed_requests.c.expires_at < now - ANSWERABLE_AT_MOST)))

    broker.write(job)


def void(broker: Broker) -> None:
    """Before time goes back: end for good what is over, and void every access token and every request under way.

    Refresh tokens stay: they live as long as their grant, and of these what is over has ended. Raises `Conflict` where something does not end.
    """
    sweep(broker)
    now = broker.now()
    with broker.reading() as tx:
        left = grant_queries.expired(tx, now) or queries.uncollected(tx, now)
    if left:
        raise Conflict("A grant that is over cannot be ended, so time was not set back. The log says why.")

    def job(tx: Connection) -> None:
        tx.execute(delete(tokens).where(tokens.c.kind == "at"))
        tx.execute(delete(pushed_requests))
        tx.execute(update(requests).where(requests.c.state == "waiting").values(decide_by=requests.c.opened_at))

    broker.write(job)
