"""The grants API as OpenAPI has it: clauses from the vocabulary, in the words of RFC 9396."""

from typing import Final

from broker import errors, openapi
from broker.grants import agreements, queries, schemas
from broker.grants.details import TYPE
from broker.openapi import JSON, Answer, Json, Operation, Part, ref
from policies.clauses import MEMBERS
from policies.exports import jsonschema
from policies.exports.jsonschema import closed, one_of
from policies.negotiate import CODES
from policies.purposes import PURPOSES
from policies.requests import MOST_ITEMS
from policies.roster import ROSTER
from policies.vocabulary import KINDS, SENSITIVE, SITE_CLASSES

PAGE: Final = "reference/grants-api"
SHOW: Final = "GET /v1/grants/{grant_id}"
_TEXT: Final[Json] = {"type": "string"}
_TIME: Final[Json] = {"type": "string", "format": "date-time"}
_B64: Final[Json] = {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}
_PATH: Final[Json] = {
    "grant_id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{22}$", "description": "The grant that the token is of, as the token answer names it."}
}
_NONE: Final = Answer("Done.")


def details(action: str) -> Json:
    """One clause of `authorization_details` (RFC 9396), as it was given."""
    clause = jsonschema.clause(action)
    members = clause["properties"]
    first: Json = {
        "type": one_of((TYPE,)),
        "identifier": members.pop("id"),
        "actions": {"type": "array", "items": members.pop("action"), "minItems": 1, "maxItems": 1},
    }
    kinds: Json = {"datatypes": members.pop("kinds")} if "kinds" in members else {}
    properties = {**first, **kinds, **members}
    return openapi.explained(closed(properties, tuple(properties)), PAGE, SHOW)


def _narrowed() -> Json:
    anything: Json = {}
    line: Json = {"clause": _TEXT, "dim": _TEXT, "asked": anything, "given": anything, "code": one_of(sorted({*CODES.values(), "fewer"}))}
    return openapi.explained(closed(line, tuple(line)), PAGE, SHOW)


def _signature() -> Json:
    made = closed({name: jsonschema.text(schemas.BASE64URL) for name in schemas.NAMES}, schemas.NAMES)
    return openapi.explained(made, PAGE, "PUT /v1/grants/{grant_id}/signature")


def _agreement() -> Json:
    signatures = {"type": "array", "items": ref("Signature"), "minItems": 1, "maxItems": len(agreements.ALGORITHMS)}
    return closed({"payload": _B64, "signatures": signatures}, ("payload", "signatures"))


def _grant() -> Json:
    agreement: Json = {"anyOf": [ref("Agreement"), {"type": "null"}]}
    members: Json = {
        "id": _TEXT, "status": one_of(sorted(queries.LIVE)), "person": _TEXT, "created": _TIME, "expires_at": _TIME, "authorization_details": ref("Given"),
        "narrowed": {"type": "array", "items": ref("Narrowed")}, "agreement": agreement, "changes": {"type": "array", "items": _TEXT},
    }  # fmt: skip
    return openapi.explained(closed(members, tuple(members)), PAGE, SHOW)


_READ: Final = jsonschema.clause()["properties"]
_PLACES: Final[Json] = {name: {"type": "string", "format": "uri"} for name in ("grant", "events", "answers")}
_OWN: Final = (errors.NotFound, *openapi.STORES)
_TAKEN: Final = (errors.BadRequest, errors.Conflict, errors.TooLarge, errors.UnsupportedMediaType, errors.Unprocessable)

PART: Final = Part(
    {
        "grants_api.index": Operation("grants", {200: Answer("Where this token can be used.", {JSON: ref("Places")})}, PAGE, problems=openapi.STORES),
        "grants_api.show": Operation(
            "grants", {200: Answer("The grant as it is now.", {JSON: ref("Grant")}, ("ETag",)), 304: Answer("As it was.", headers=("ETag",))}, PAGE,
            path=_PATH, parameters=(openapi.IF_NONE_MATCH,), problems=_OWN,
        ),
        "grants_api.countersign": Operation("grants", {204: _NONE}, PAGE, path=_PATH, body={JSON: ref("Signature")}, problems=(*_TAKEN, *_OWN)),
        "grants_api.end": Operation("grants", {204: _NONE}, PAGE, path=_PATH, problems=_OWN),
    },
    {
        **{f"Clause-{action}": details(action) for action in MEMBERS},
        "Given": {"type": "array", "items": {"anyOf": [ref(f"Clause-{action}") for action in MEMBERS]}, "maxItems": MOST_ITEMS},
        "Places": closed(_PLACES, tuple(_PLACES)), "Grant": _grant(), "Narrowed": _narrowed(), "Agreement": _agreement(), "Signature": _signature(),
    },
    {
        "Purpose": one_of(PURPOSES), "Kind": one_of(KINDS), "SensitiveSubject": one_of(SENSITIVE), "StandardAgreement": one_of(ROSTER),
        "SiteClass": one_of(("*", *SITE_CLASSES)), **{name.title(): _READ[name] for name in ("fields", "window", "duties", "validity")},
        "FieldsAsked": jsonschema.asked()["properties"]["want"]["properties"]["fields"],
    },
)  # fmt: skip
