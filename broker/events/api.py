"""The events API: `GET /v1/events` for vendors, `POST /v1/events` for the person's extension."""

import base64
import datetime as dt
import hashlib
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson
from flask import Blueprint, Response, g, request
from sqlalchemy import Connection
from werkzeug.datastructures import MultiDict

from broker import access as gate
from broker import current, errors, quota
from broker.access import Access, token
from broker.events import actions, queries, schemas, shape
from broker.events.queries import Position
from broker.grants import actions as grant_actions
from broker.grants import queries as grant_queries
from broker.grants.agreements import digest, named
from broker.ledger import actions as ledger
from broker.oauth.actions import is_used, unused
from broker.opening import Broker
from broker.session import csrf
from broker.terms import queries as term_queries
from broker.vault.envelope import Place
from policies.clauses import Clause
from policies.decide import Asked, Denied, Grant, Permitted, decide
from policies.documents import Malformed, load
from policies.slices import Slice
from policies.terms import Deny

api: Final = Blueprint("events", __name__)
csrf.exempt(api)
CURSOR_LIVES: Final = 900
MAX_BATCH: Final = 256 * 1024
MAX_EVENT: Final = 16 * 1024
_REFUSALS: Final[dict[str, type[errors.BrokerError]]] = {
    error.slug: error for error in (errors.InvalidToken, errors.NotGranted, errors.GrantPaused, errors.AgreementUnsigned, errors.RateLimit)
}
DETAILS: Final = {
    "outside_collection": "This broker does not collect this.",
    "forgotten": "The person erased this event; it must not come back.",
    "too_large": "One event has at most 16 KiB.",
}


def decided(tx: Connection, access: Access, denies: Collection[Deny], now: dt.datetime) -> Grant:
    """The grant as `policies.decide` wants it."""
    # Whoever has a grant has agreed with the person before; whether they bought there is looked up only where a deny asks.
    classes = access.vendor_classes | {"prior-agreement"}
    if any(deny.vendors is not None and "known" in deny.vendors for deny in denies) and queries.bought_at(tx, access.ring, access.domain):
        classes |= {"known"}
    return Grant(
        id=access.grant, client=access.client_id, vendor=access.vendor_id, status=access.status, version=access.version, clauses=access.clauses,
        given=min(access.given_at, now), expires_at=access.expires_at, countersigned=access.countersigned, vendor_classes=classes,
    )  # fmt: skip


@api.get("/v1/events")
@token("events:read")
def read() -> Response:
    """The part of the person's events that the grant lets this vendor see."""
    access, broker = gate.access(), current.broker()
    query = parsed(access, schemas.query)
    now = broker.now()
    with broker.reading() as tx:
        decision, clause, left = _decide(tx, access, query, now)
        if isinstance(decision, Denied) or clause is None:
            raise refused(access, query, decision if isinstance(decision, Denied) else Denied(("no-clause",)), now)
        start = _opened_cursor(broker, access, query, decision, now)
        alias = access.ring.alias(access.grant_id, decision.clause)
        page = queries.read(tx, access.ring, within=decision.slice, alias=alias, limit=min(query.limit, left), start=start)
    after = _sealed_cursor(broker, access, query, decision, now, page.next) if page.next else None
    body = orjson.dumps({"items": page.rows, **({"next": after} if after else {})})
    _enter(broker, access, clause, decision, query, page, (body, after or ""), now)
    response = Response(body, mimetype="application/json")
    if after:
        response.headers["Link"] = f'<{broker.settings.origin}/v1/events?cursor={after}>; rel="next"'
    return response


def parsed(access: Access, parse: Callable[[MultiDict[str, str]], schemas.Query]) -> schemas.Query:
    """What the call asks, once it is counted; the person sees a call that came too fast or could not be read."""
    try:
        quota.count("vendor_read", access.grant)
        return parse(request.args)
    except (errors.BadRequest, errors.Unprocessable) as malformed:
        gate.deny(access, ("bad-request",), {"pointers": [each["pointer"] for each in malformed.errors]})
        raise
    except errors.InvalidCursor:
        gate.deny(access, ("invalid-cursor",), {})
        raise
    except errors.RateLimit:
        gate.deny(access, ("too-fast",), {})
        raise


def _decide(tx: Connection, access: Access, query: schemas.Query, now: dt.datetime) -> tuple[Permitted | Denied, Clause | None, int]:
    """The decision, its clause, and how many rows that clause has left today."""
    mine = [clause for clause in access.clauses if clause.action == "read" and (not access.limited_to or clause.id in access.limited_to)]
    # The clause that is named, or the only one that gives rows.
    able = [clause for clause in mine if clause.slice.form == "rows"] or mine
    fitting = [clause for clause in mine if clause.id == query.clause] if query.clause else able
    clause = fitting[0] if len(fitting) == 1 else None
    reads, rows = grant_queries.used_today(tx, access.person_id, access.grant_id, clause.id, now.date()) if clause else (0, 0)
    denies = term_queries.at(tx, access.ring, access.terms_version).deny
    grant = decided(tx, access, denies, now)
    # A clause the token is not limited to does not exist for it.
    asked = Asked(
        client=access.client_id, clause=clause.id if clause else query.clause or "?", action="read" if clause else "", purpose=query.purpose,
        filters=query.filters, used_reads=reads, used_rows=rows,
    )  # fmt: skip
    left = clause.rate["rows"] - rows if clause else 0
    decision = decide(grant, denies, asked, now)
    if clause:
        tell_grant(decision, clause, reads, now)
    return decision, clause, left


def tell_grant(decision: Permitted | Denied, clause: Clause, reads: int, now: dt.datetime) -> None:
    """Tell the caller what its clause has left today, after `reads` before this call; nothing where it was refused for another reason."""
    if isinstance(decision, Permitted):
        quota.of_grant(clause.rate["reads"], reads + 1, now)
    elif decision.problem == "rate-limit":
        quota.of_grant(clause.rate["reads"], reads, now)


def refused(access: Access, query: schemas.Query, denied: Denied, now: dt.datetime) -> errors.BrokerError:
    """Enter the refusal with every reason, and give the client the one it may know."""
    gate.deny(access, denied.reasons, {"asked": query.asked})
    if denied.problem == "rate-limit":
        return errors.RateLimit("The grant allows no more today.", retry_after=quota.to_midnight(now))
    return _REFUSALS[denied.problem]()


def _cursor_place(access: Access, query: schemas.Query, decision: Permitted) -> bytes:
    """A cursor opens only for the same person, grant, version, clause, purpose and filters."""
    asked = orjson.dumps([decision.purpose, *sorted((name, value) for name, value in query.asked.items() if name not in {"limit", "clause", "purpose"})])
    return Place(access.person_id, "cursors").at(access.grant_id, access.version, decision.clause, hashlib.sha256(asked).digest())


def _sealed_cursor(broker: Broker, access: Access, query: schemas.Query, decision: Permitted, now: dt.datetime, position: Position) -> str:
    plain = orjson.dumps([int(now.timestamp()), *position])
    sealed = broker.vault.seal_cursor(_cursor_place(access, query, decision), plain)
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def _opened_cursor(broker: Broker, access: Access, query: schemas.Query, decision: Permitted, now: dt.datetime) -> Position | None:
    if query.cursor is None:
        return None
    try:
        made, *position = orjson.loads(broker.vault.unseal_cursor(_cursor_place(access, query, decision), query.cursor))
    except errors.Unsealable:
        gate.deny(access, ("invalid-cursor",), {})
        raise errors.InvalidCursor from None
    if now.timestamp() - made > CURSOR_LIVES:
        gate.deny(access, ("invalid-cursor",), {})
        raise errors.InvalidCursor
    return (position[0], position[1], position[2])


def _enter(
    broker: Broker, access: Access, clause: Clause, decision: Permitted, query: schemas.Query, page: queries.Page, served: tuple[bytes, str], now: dt.datetime
) -> None:
    """Make the read's entry durable: the grant checked again, its rate counted, the entry appended, in one transaction. Then bytes may leave."""
    number, (body, after) = len(page.rows), served
    # Days that the vendor was not told stand in no entry that a receipt is made of.
    dated = all("time" in row for row in page.rows)
    about = {
        "version": access.version, "agreement": named(access.agreement) if access.agreement else "", "clause": decision.clause,
        "purpose": decision.purpose or "", "kinds": sorted(decision.slice.kinds),
        "fields": _told(page.rows, decision.slice), "from": page.first_day if dated else "", "to": page.last_day if dated else "", "asked": query.asked,
        "slice": slice_digest(decision.slice), "count": number, "body": digest(body),
    }  # fmt: skip
    entry = ledger.Entry(
        "read", now, by=access.by, grant=access.grant, request=g.request_id, about=about,
        sent=tuple(page.event_ids), within=slice_json(decision.slice), cursor=after,
    )  # fmt: skip
    key = ledger.entry_key(access.ring, now)
    guard = [
        grant_queries.still_live(access.as_of, now),
        grant_actions.count_use(
            access.person_id, access.grant_id, decision.clause, now.date(), rows=number, most_reads=clause.rate["reads"], most_rows=clause.rate["rows"]
        ),
    ]
    try:
        broker.write(lambda tx: ledger.append(tx, access.ring, key, entry, guard))
    except ledger.GuardFailed:
        # The grant or its use moved on between decision and entry, so everything is decided again from the start.
        fresh = gate.look_up()
        with broker.reading() as tx:
            again, _, _ = _decide(tx, fresh, query, broker.now())
        if isinstance(again, Denied):
            raise refused(fresh, query, again, now) from None
        raise errors.Busy(retry_after=1) from None
    except (errors.Busy, errors.OutcomeUnknown) as failed:
        raise errors.LedgerUnavailable(retry_after=failed.retry_after or 1) from None


def _told(rows: Sequence[dict[str, Any]], within: Slice) -> dict[str, str]:
    """The fields that at least one row really shows, with their levels: a standing deny may have hidden some."""
    names = set().union(*rows, *(item for row in rows for item in row.get("items", ())))
    return {name: level for name, level in within.fields.items() if name in names}


@lru_cache(maxsize=1024)
def slice_json(part: Slice) -> bytes:
    """The slice of a decision as the ledger keeps it."""
    return orjson.dumps(part.to_json())


@lru_cache(maxsize=1024)
def slice_digest(part: Slice) -> str:
    """How the ledger names the slice of a decision."""
    return digest(slice_json(part))


@api.post("/v1/events")
@token("events:write", proof_with_entry=True)
def upload() -> Response:
    """Take in a batch of the person's own events; one answer per event."""
    access, broker = gate.access(), current.broker()
    document = _document()
    found = schemas.batch(document)
    given = found["events"]
    if len(given) > schemas.MOST_EVENTS:
        raise errors.TooLarge("One batch has at most 100 events.")
    quota.count("upload", access.grant)
    broker.limits.count("upload_events", access.grant, len(given))
    now = broker.now()
    within = _collection(broker, access, now)
    results, checked = _check(given, now)
    if checked:
        results += _take_in(broker, access, checked, within, now)
    answer: dict[str, Any] = {"results": results}
    version = access.version
    if found["collection_version"] != version:
        answer["collection"] = {"version": version, "gpc": True, "slice": _clause(access).slice.to_json()}
    return Response(orjson.dumps(answer), mimetype="application/json")


def _document() -> Any:
    if request.mimetype != "application/json" or request.headers.get("Content-Encoding"):
        raise errors.UnsupportedMediaType("Send application/json without Content-Encoding.")
    if request.content_length is None or request.content_length > MAX_BATCH:
        raise errors.TooLarge("One upload has at most 256 KiB, and says its length.")
    # The application's own limit is that of forms.
    request.max_content_length = MAX_BATCH
    try:
        return load(request.get_data())
    except Malformed as malformed:
        raise errors.BadRequest("The body is not the JSON we take; see errors.", errors=malformed.errors) from None


def _clause(access: Access) -> Clause:
    return next(clause for clause in access.clauses if clause.action == "write")


def _collection(broker: Broker, access: Access, now: dt.datetime) -> Slice:
    """The slice that uploads must lie in; a refusal is entered and raised."""
    with broker.reading() as tx:
        denies = term_queries.at(tx, access.ring, access.terms_version).deny
        grant = decided(tx, access, denies, now)
    decision = decide(grant, denies, Asked(client=access.client_id, action="write"), now)
    if isinstance(decision, Denied):
        gate.deny(access, decision.reasons, {})
        raise _REFUSALS[decision.problem]
    return decision.slice


def _check(given: list[Any], now: dt.datetime) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(answers for events that are not well formed, the well-formed ones)."""
    results: list[dict[str, Any]] = []
    checked: list[dict[str, Any]] = []
    seen: dict[str, Any] = {}
    for raw in given:
        event_id = raw.get("id") if isinstance(raw, dict) and isinstance(raw.get("id"), str) else None
        if len(orjson.dumps(raw)) > MAX_EVENT:
            results.append({"id": event_id, "status": "refused", "reason": "too_large", "detail": DETAILS["too_large"]})
            continue
        if event_id in seen:
            # The first of a batch counts; the second gets an answer of its own.
            results.append({"id": event_id, "status": "duplicate" if seen[event_id] == raw else "conflict"})
            continue
        try:
            checked.append(shape.check(raw, now=now))
            seen[checked[-1]["id"]] = raw
        except shape.Invalid as invalid:
            results.append({"id": event_id, "status": "refused", "reason": "invalid", "detail": invalid.errors[0]["detail"], "errors": invalid.errors})
    return results, checked


def _take_in(broker: Broker, access: Access, checked: list[dict[str, Any]], within: Slice, now: dt.datetime) -> list[dict[str, Any]]:
    entry = ledger.Entry("upload", now, by=access.by, grant=access.grant, request=g.request_id, about={"version": access.version})
    guard = [grant_queries.still_live(access.as_of, now), unused(access.proof)]
    try:
        status = actions.take_in(broker, access.ring, checked, origin=access.grant, within=within, entry=entry, guard=guard)
    except ledger.GuardFailed:
        with broker.reading() as tx:
            replayed = is_used(tx, access.proof)
        if replayed:
            gate.refuse_replay(access)
        _collection(broker, gate.look_up(), broker.now())
        raise errors.Busy(retry_after=1) from None
    results: list[dict[str, Any]] = []
    for event_id, word in status.items():
        refused = word in {"outside_collection", "forgotten"}
        results.append({"id": event_id, "status": "refused", "reason": word, "detail": DETAILS[word]} if refused else {"id": event_id, "status": word})
    return results
