"""The grant as its vendor meets it: `GET`, `DELETE /v1/grants/<id>` and `PUT /v1/grants/<id>/signature`; they work while it is paused or unsigned."""

import datetime as dt
from typing import Any, Final

import orjson
from flask import Blueprint, Response, request

from broker import access as gate
from broker import current, errors, quota
from broker.access import Access, token
from broker.grants import actions, agreed, details, queries, schemas
from broker.session import csrf

api: Final = Blueprint("grants_api", __name__)
csrf.exempt(api)


@api.get("/v1")
@token("events:read")
def index() -> Response:
    """What this token is for. Without a token the refusal says where to begin (RFC 9728 section 5.1)."""
    access, origin = gate.access(), current.broker().settings.origin
    quota.count("vendor_read", access.grant)
    places = {"grant": f"{origin}/v1/grants/{access.grant}", "events": f"{origin}/v1/events", "answers": f"{origin}/v1/answers"}
    return Response(orjson.dumps(places), mimetype="application/json")


def _own(grant_id: str) -> Access:
    """The access of this call, if its token is of this very grant; another's grant is like one that never was."""
    access = gate.access()
    quota.count("vendor_read", access.grant)
    if grant_id != access.grant:
        raise errors.NotFound
    return access


def _moment(at: dt.datetime) -> str:
    return f"{at.replace(tzinfo=None).isoformat(timespec='seconds')}Z"


@api.get("/v1/grants/<grant_id>")
@token("events:read")
def show(grant_id: str) -> Response:
    """What the person gave, where that is less than was asked, and the agreement with the signatures so far."""
    access, broker = _own(grant_id), current.broker()
    with broker.reading() as tx:
        grant = agreed.told(tx, access.ring, access.grant_id)
        changes = agreed.changes_of(tx, access.ring, access.grant_id)
    status = queries.state_of(grant.status, grant.expires_at, broker.now())
    if status not in queries.LIVE:
        # It ended while this call was under way.
        raise errors.InvalidToken
    body: dict[str, Any] = {
        "id": access.grant,
        "status": status,
        "person": queries.pairwise(access.ring, access.vendor_id),
        "created": _moment(grant.given_at),
        "expires_at": _moment(grant.expires_at),
        "authorization_details": orjson.Fragment(details.given_json(grant.clauses)),
        "narrowed": orjson.Fragment(details.narrowed_json(grant.asked, grant.ticked, grant.clauses, grant.given_at)),
        "agreement": orjson.Fragment(grant.document) if grant.document else None,
        "changes": changes,
    }
    response = Response(orjson.dumps(body), mimetype="application/json")
    response.add_etag()
    if "If-None-Match" in request.headers:
        response.make_conditional(request)
    return response


@api.delete("/v1/grants/<grant_id>")
@token("events:read")
def end(grant_id: str) -> Response:
    """End the grant from the vendor's side, for good."""
    access = _own(grant_id)
    actions.revoke(current.broker(), access.person_id, access.grant_id, by=access.by, reason=queries.HANDED_BACK)
    return Response(status=204)


@api.put("/v1/grants/<grant_id>/signature")
@token("events:read")
def countersign(grant_id: str) -> Response:
    """Add the vendor's signature to the agreement; from then on it may read. Sending the same again is fine."""
    access = _own(grant_id)
    actions.countersign(current.broker(), access.person_id, access.grant_id, schemas.signature(request.mimetype, request.get_data()))
    return Response(status=204)
