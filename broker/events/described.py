"""The events API as OpenAPI has it: rows from the vocabulary and the levels of precision, events from the shape they are checked by."""

from typing import Final

from broker import errors, openapi
from broker.events import kinds, schemas, shape
from broker.events.api import DETAILS
from broker.openapi import JSON, Answer, Json, Operation, Part, ref
from policies.exports import jsonschema
from policies.exports.jsonschema import closed, one_of
from policies.precision import DWELLS, LEAST_DWELL, QUANTITIES
from policies.vocabulary import CATEGORIES, FIELDS, HIDDEN, KINDS, SITE_CLASSES

PAGE: Final = "reference/events-api"
# The broker alone makes the last one.
_SENT: Final = [kind for kind in shape.KINDS.values() if kind is not shape.CartAbandoned]
_UNION, _COMPONENTS = kinds.components(_SENT, openapi.REFERENCE + "{name}")
_ALIAS: Final[Json] = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_COARSE: Final[dict[tuple[str, str], Json]] = {
    ("quantity", "bucket"): one_of(name for _, name in QUANTITIES),
    ("dwell", "bucket"): one_of((LEAST_DWELL, *(name for _, name in reversed(DWELLS)))),
    ("query", "topic"): one_of(CATEGORIES),
    ("category", "top"): one_of(CATEGORIES),
    ("site", "class"): one_of(SITE_CLASSES),
    ("coupon", "used"): {"type": "boolean"},
    ("ship_to", "country"): {"type": "string", "pattern": "^[A-Z]{2}$"},
    **{("money", level): ref("Bucket") for level in FIELDS["total"].levels[1:-1]},
}
"""What a level makes of a value, where that is not of the value's own form."""


def _exact(name: str) -> Json:
    """The form of a field as events have it, whatever kind has it."""
    names = ("Item",) if FIELDS[name].item else [kind.__name__ for kind in _SENT]
    found: Json = next(members[name] for members in (_COMPONENTS[each]["properties"] for each in names) if name in members)
    return found


def _levels(name: str) -> Json:
    """The form of a field in rows: one of those that its levels give it."""
    order = FIELDS[name].order
    forms = [_ALIAS if level == "pairwise" else _COARSE.get((order, level)) or _exact(name) for level in FIELDS[name].levels if level != HIDDEN]
    different = [form for at, form in enumerate(forms) if form not in forms[:at]]
    return {**(different[0] if len(different) == 1 else {"anyOf": different}), "description": FIELDS[name].noun.replace("you", "the person")}


def row() -> Json:
    """A row: what always shows, and every field as its levels show it."""
    plain = {name: _levels(name) for name, about in FIELDS.items() if not about.item}
    items = {"type": "array", "items": closed({name: _levels(name) for name, about in FIELDS.items() if about.item}), "minItems": 1}
    actions = dict.fromkeys(action for about in KINDS.values() for action in about.actions)
    always: Json = {"id": _ALIAS, "kind": {**one_of(KINDS), "description": "always there"}, "action": one_of(actions)}
    return openapi.explained(closed({**always, **plain, "items": items}, ("id", "kind")), PAGE, "GET /v1/events")


def _results() -> Json:
    faults = {"type": "array", "items": closed({"pointer": {"type": "string"}, "detail": {"type": "string"}}, ("pointer", "detail"))}
    members: Json = {
        "id": {"type": ["string", "null"]}, "status": one_of(("accepted", "duplicate", "conflict", "refused")),
        "reason": one_of((*sorted(DETAILS), "invalid")), "detail": {"type": "string"}, "errors": faults,
    }  # fmt: skip
    return {"type": "array", "items": closed(members, ("id", "status"))}


def _uploaded() -> Json:
    collection = closed({"version": {"type": "integer"}, "gpc": {"type": "boolean"}, "slice": {"type": "object"}}, ("version", "gpc", "slice"))
    return closed({"results": _results(), "collection": collection}, ("results",))


_PAGE_OF_ROWS: Final = closed({"items": {"type": "array", "items": ref("Row"), "maxItems": schemas.MOST_ROWS}, "next": {"type": "string"}}, ("items",))
_BY_COMMA: Final[Json] = {"schema": {"type": "array", "items": one_of(KINDS), "minItems": 1}, "style": "form", "explode": False}
_READ: Final = (errors.BadRequest, errors.GrantPaused, errors.AgreementUnsigned, errors.Unprocessable, errors.LedgerUnavailable, *openapi.STORES)
_ANSWERED: Final = closed({"answers": ref("Answers"), "as_of": {"type": "string", "format": "date"}}, ("answers", "as_of"))


def _batch() -> Json:
    """The envelope; that an event is not of this form refuses the event alone."""
    made: Json = openapi.of_marshmallow(schemas.Batch)
    events = {"type": "array", "items": ref("Event"), "maxItems": schemas.MOST_EVENTS}
    return openapi.explained({**made, "properties": {**made["properties"], "events": events}}, PAGE, "POST /v1/events")


PART: Final = Part(
    {
        "events.read": Operation(
            "events", {200: Answer("The rows of this page.", {JSON: ref("Rows")}, ("Link",))}, PAGE, query=schemas.EventsQuery, written={"kind": _BY_COMMA},
            problems=(errors.InvalidCursor, *_READ)
        ),
        "answers.read": Operation(
            "events", {200: Answer("The answers, as of a UTC day.", {JSON: ref("AnswersOfToday")})}, PAGE, query=schemas.AnswersQuery, problems=_READ
        ),
        "events.upload": Operation(
            "events", {200: Answer("One result for each event.", {JSON: ref("Uploaded")})}, PAGE, body={JSON: ref("Batch")},
            problems=(
                errors.BadRequest, errors.GrantPaused, errors.TooLarge, errors.UnsupportedMediaType, errors.Unprocessable, errors.StorageFull, *openapi.STORES
            ),
        ),
    },
    {
        **_COMPONENTS, "Event": _UNION, "Row": row(), "Bucket": jsonschema.bucket(), "Answers": jsonschema.answers(), "Batch": _batch(),
        "Rows": openapi.explained(_PAGE_OF_ROWS, PAGE, "GET /v1/events"), "AnswersOfToday": _ANSWERED, "Uploaded": _uploaded(),
    },
)  # fmt: skip
