"""`GET /v1/answers`: answers in place of rows, worked out at most once per UTC day and clause (policies.md, F9)."""

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final

import orjson
from flask import Blueprint, Response, g
from sqlalchemy import Connection

from broker import access as gate
from broker import current, errors
from broker.access import Access, token
from broker.events import schemas
from broker.events.answering import answer
from broker.events.api import decided, parsed, refused, slice_digest, tell_grant
from broker.grants import actions as grant_actions
from broker.grants import queries as grant_queries
from broker.grants.agreements import digest, named
from broker.grants.queries import Kept
from broker.ledger import actions as ledger
from broker.opening import Broker
from broker.terms import queries as term_queries
from policies.clauses import Clause
from policies.decide import Asked, Denied, Permitted, decide

answers: Final = Blueprint("answers", __name__)
# The first try may find no row to keep answers in, and the second that somebody else was first.
TRIES: Final = 3


@answers.get("/v1/answers")
@token("events:read")
def read() -> Response:
    """The answers that the grant lets this vendor have, as of today (UTC)."""
    access, broker = gate.access(), current.broker()
    query = parsed(access, schemas.answers_query)
    for number in range(TRIES):
        found = _attempt(broker, access if number == 0 else gate.look_up(), query)
        if found is not None:
            return Response(found, mimetype="application/json")
    raise errors.Busy(retry_after=1)


def _attempt(broker: Broker, access: Access, query: schemas.Query) -> bytes | None:
    """The answers, entered into the ledger; None where grant, rate or events moved on meanwhile, and all has to be looked at again."""
    now = broker.now()
    outcome = _decide(broker, access, query, now)
    if isinstance(outcome, Denied):
        raise refused(access, query, outcome, now)
    decision, clause = outcome
    # One snapshot, so that what was kept and the events it goes with belong together.
    with broker.reading() as tx:
        kept = grant_queries.kept_answers(tx, access.ring, access.grant_id, clause.id, now.date())
        by_slice, found = _worked_out(tx, access, decision, kept, now) if kept else ({}, {})
    if kept is None:
        grant_actions.start_answers(broker, access.person_id, access.grant_id, clause.id)
        return None
    body = orjson.dumps({"answers": found, "as_of": now.date().isoformat()})
    guard = [
        grant_queries.still_live(access.as_of, now),
        grant_actions.count_use(
            access.person_id, access.grant_id, clause.id, now.date(), rows=0, most_reads=clause.rate["reads"], most_rows=clause.rate["rows"]
        ),
        grant_actions.keep_answers(access.ring, access.grant_id, clause.id, now.date(), kept, by_slice),
    ]
    return body if _enter(broker, access, query, decision, body, now, guard) else None


def _decide(broker: Broker, access: Access, query: schemas.Query, now: dt.datetime) -> tuple[Permitted, Clause] | Denied:
    """The decision and its clause: the one that is named, or the only one with answers."""
    mine = [clause for clause in access.clauses if clause.action == "read" and (not access.limited_to or clause.id in access.limited_to)]
    able = [clause for clause in mine if clause.slice.answers] or mine
    named = [clause for clause in mine if clause.id == query.clause] if query.clause else able
    clause = named[0] if len(named) == 1 else None
    with broker.reading() as tx:
        reads, _ = grant_queries.used_today(tx, access.person_id, access.grant_id, clause.id, now.date()) if clause else (0, 0)
        denies = term_queries.at(tx, access.ring, access.terms_version).deny
        grant = decided(tx, access, denies, now)
    asked = Asked(
        client=access.client_id, clause=clause.id if clause else query.clause or "?", action="read" if clause else "", purpose=query.purpose,
        form="answers", answers=clause.slice.answers if clause else frozenset(), used_reads=reads,
    )  # fmt: skip
    decision = decide(grant, denies, asked, now)
    if clause:
        tell_grant(decision, clause, reads, now)
    if isinstance(decision, Denied) or clause is None:
        return decision if isinstance(decision, Denied) else Denied(("no-clause",))
    return decision, clause


def _worked_out(tx: Connection, access: Access, decision: Permitted, kept: Kept, now: dt.datetime) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """What is to be kept now, and the answers among it: those of today where there are some, for the same slice."""
    key = slice_digest(decision.slice)
    found = kept.by_slice.get(key)
    if found is None:
        found = answer(tx, access.ring, within=decision.slice, today=now.date())
    return {**kept.by_slice, key: found}, found


def _enter(broker: Broker, access: Access, query: schemas.Query, decision: Permitted, body: bytes, now: dt.datetime, guard: Iterable[ledger.Check]) -> bool:
    """Make the entry durable, in one transaction with the grant's check, its count and what is kept; False where one of them did not hold."""
    about = {
        "version": access.version, "agreement": named(access.agreement) if access.agreement else "", "clause": decision.clause,
        "purpose": decision.purpose or "", "kinds": ["purchase"], "answers": sorted(decision.slice.answers), "asked": query.asked,
        "slice": slice_digest(decision.slice), "body": digest(body),
    }  # fmt: skip
    entry = ledger.Entry("read", now, by=access.by, grant=access.grant, request=g.request_id, about=about)
    key = ledger.entry_key(access.ring, now)
    try:
        broker.write(lambda tx: ledger.append(tx, access.ring, key, entry, guard))
    except ledger.GuardFailed:
        return False
    except (errors.Busy, errors.OutcomeUnknown) as failed:
        raise errors.LedgerUnavailable(retry_after=failed.retry_after or 1) from None
    return True
