"""The gate in for clients: `@token("events:read")` turns a credential and the proof of its key (RFC 9449) into an `Access`, or refuses."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

from flask import Flask, Response, g, request

from broker import current, errors
from broker.grants import queries as grant_queries
from broker.ledger import actions as ledger
from broker.notices import actions as notices
from broker.notices.actions import Notice
from broker.oauth import actions as oauth_actions
from broker.oauth import dpop, queries
from broker.vault import credentials
from broker.vault.keys import Keyring
from policies.clauses import Clause

P = ParamSpec("P")
R = TypeVar("R")
ACTION_OF: Final = {"events:read": "read", "events:write": "write"}
READS: Final = frozenset({"GET", "HEAD"})
REFUSALS: Final = (errors.NoToken, errors.InvalidToken, errors.InvalidProof, errors.UseNonce, errors.NotGranted, errors.RateLimit)
"""What every call with a token may be refused with before its route is reached."""
# Of a call without a good proof, which is refused before anyone looks at it.
NO_PROOF: Final = dpop.Proof("", b"", dt.datetime.min.replace(tzinfo=dt.UTC))


@dataclass(frozen=True, slots=True)
class Access:
    """A call by a client with a token that is good: whose data, which client, which grant. What it may see is for `policies.decide` to say."""

    person_id: bytes
    ring: Keyring
    client_id: str
    vendor_id: str
    grant_id: bytes
    status: str
    version: int
    given_at: dt.datetime
    expires_at: dt.datetime
    clauses: tuple[Clause, ...]
    limited_to: tuple[str, ...]
    terms_version: int
    erasures: int
    countersigned: bool
    # SHA-256 of the agreement; none for the person's own extension.
    agreement: bytes | None
    vendor_classes: frozenset[str]
    proof: dpop.Proof

    @property
    def grant(self) -> str:
        """The grant's id as text."""
        return grant_queries.to_text(self.grant_id)

    @property
    def as_of(self) -> grant_queries.AsOf:
        """What a decision about this call stands on, to be found unchanged when its entry is made."""
        return grant_queries.AsOf(self.person_id, self.grant_id, self.version, self.terms_version, self.erasures)

    @property
    def domain(self) -> str:
        """The vendor's verified domain; empty for the person's own extension."""
        return self.vendor_id.removeprefix("https://")

    @property
    def by(self) -> dict[str, str]:
        """Who calls, as the ledger says it."""
        return {"role": "client", "id": self.client_id, **({"vendor": self.vendor_id} if self.vendor_id else {})}


def _credential() -> credentials.Credential:
    header = request.headers.get("Authorization", "")
    scheme, _, text = header.partition(" ")
    if not header:
        raise errors.NoToken
    # A token alone opens nothing: `Bearer` is refused like a wrong token.
    parsed = credentials.parse(current.broker().vault.route_key, "at", text.strip()) if scheme.lower() == "dpop" else None
    if parsed is None:
        raise errors.InvalidToken
    return parsed


def _proof(credential: credentials.Credential) -> dpop.Proof | None:
    """The verified proof of this call; None for a bad one. Raises `UseNonce`. A call that is decided again is not proved again."""
    shown = request.headers.get("DPoP")
    if g.get("proved", ("", None))[0] != shown:
        broker = current.broker()
        url = broker.settings.origin + request.path
        try:
            proof = dpop.verify(shown, method=request.method, url=url, nonce_key=broker.vault.nonce_key, now=broker.now(), token=credential.hash)
        except dpop.BadProof:
            proof = None
        except dpop.NonceWanted:
            raise errors.UseNonce from None
        g.proved = (shown, proof)
    found: dpop.Proof | None = g.proved[1]
    return found


def look_up() -> Access:
    """Token → grant → client in one statement, in a transaction of its own; then the proof. Every cause of refusal gives the same answer."""
    broker = current.broker()
    credential = _credential()
    with broker.reading() as tx:
        row = queries.by_token(tx, credential)
    now = broker.now()
    # An access token that has merely run out makes no entry: its client refreshes it every five minutes.
    if row is None or now >= row.token_expires_at:
        raise errors.InvalidToken
    if row.terms_version != row.newest_terms:
        # The number lies open, and older terms may deny less.
        raise errors.Unsealable
    proof = _proof(credential)
    ring = broker.keyring(row.person_id)
    ended = row.status not in grant_queries.LIVE or now >= row.expires_at
    reasons = {
        "bad-proof": proof is None, "other-key": proof is not None and proof.jkt != row.jkt,
        "grant-ended": ended, "token-ended": row.token_ended_at is not None, "client-disabled": not row.enabled,
    }  # fmt: skip
    over = any(reasons.values())
    # What has ended is not opened any more: it may be damaged, or its key destroyed.
    clauses = () if over else grant_queries.opened_clauses(ring, row.grant_id, row.version, row.clauses)
    access = Access(
        row.person_id, ring, row.client_id, row.vendor_id or "", row.grant_id, row.status, row.version, row.given_at, row.expires_at,
        clauses, tuple(row.limited_to.split()), row.terms_version, row.erasures,
        row.countersigned_at is not None, row.agreement, frozenset(row.vendor_classes or ()), proof or NO_PROOF,
    )  # fmt: skip
    if over:
        # Whoever comes too often makes no more entries.
        broker.limits.check("unauthenticated", current.address())
        # The person sees that somebody came back after the end, or without the key.
        deny(access, tuple(reason for reason, holds in reasons.items() if holds), _route())
        if reasons["other-key"]:
            about = {"client": access.client_id, "vendor": access.vendor_id, "grant": access.grant}
            notices.tell(broker, access.person_id, Notice("other-key", about, once=access.grant))
        raise errors.InvalidProof if proof is None else errors.InvalidToken
    return access


def refuse_replay(access: Access) -> NoReturn:
    """A proof that was used before (rule T12): whoever shows it again may have copied it on its way."""
    deny(access, ("bad-proof",), _route())
    raise errors.InvalidProof


def _use_up(access: Access, *, durably: bool) -> None:
    """Use up the proof of a call, in this process and, for a write, for good before the write begins."""
    try:
        if not current.seen().first(access.proof, current.broker().now()):
            refuse_replay(access)
    except dpop.TooMany:
        raise errors.RateLimit(retry_after=60) from None
    if durably:
        statement, row = oauth_actions.unused(access.proof)
        if not current.broker().write(lambda tx: statement.run(tx, row).rowcount):
            refuse_replay(access)


def _route() -> dict[str, str]:
    """What was called, as its route is written: what a caller puts into an address must not make entries differ."""
    return {"method": request.method, "path": request.url_rule.rule if request.url_rule else ""}


def deny(access: Access, reasons: tuple[str, ...], about: dict[str, Any]) -> None:
    """Enter a refused call into the person's ledger, with every reason; the client learns less."""
    act = "upload" if request.method == "POST" else "read"
    entry = ledger.Entry(
        act, current.broker().now(), by=access.by, outcome="denied", reasons=reasons, grant=access.grant, request=g.get("request_id"), about=about
    )
    current.denials().record(access.person_id, entry)


def access() -> Access:
    """The access of this request; only behind `@token`."""
    found = g.get("access")
    if not isinstance(found, Access):
        raise errors.NoToken
    return found


def token(scope: str, *, proof_with_entry: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let only calls in whose grant has a clause for `scope`; wrong and missing tokens and proofs are counted per address.

    A proof opens one call: one read in this process, one write anywhere. With `proof_with_entry` the view itself uses it up, in the
    transaction that makes its entry.
    """
    action = ACTION_OF[scope]

    def wrap(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def gate(*args: P.args, **kwargs: P.kwargs) -> R:
            limits = current.broker().limits
            try:
                found = look_up()
                if not any(clause.action == action for clause in found.clauses):
                    deny(found, ("no-clause",), _route())
                    raise errors.NotGranted
                _use_up(found, durably=request.method not in READS and not proof_with_entry)
            except (errors.NoToken, errors.InvalidToken, errors.InvalidProof):
                limits.count("unauthenticated", current.address())
                raise
            g.access = found
            with limits.in_flight(found.client_id):
                return view(*args, **kwargs)

        gate.scope = scope  # type: ignore[attr-defined]
        return gate

    return wrap


def setup(app: Flask) -> None:
    """Put a nonce for the next proof on every answer to a call that came with one (rule T11)."""

    @app.after_request
    def _offer_nonce(response: Response) -> Response:
        if "DPoP" in request.headers:
            broker = current.broker()
            response.headers.add("DPoP-Nonce", dpop.nonce(broker.vault.nonce_key, broker.now()))
        return response
