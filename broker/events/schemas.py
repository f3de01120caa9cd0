"""What a vendor may ask of `GET /v1/events`, and the envelope of `POST /v1/events`."""

import base64
import binascii
import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from marshmallow import RAISE, Schema, ValidationError, fields, validate
from werkzeug.datastructures import MultiDict

from broker.errors import BadRequest, InvalidCursor, Unprocessable
from broker.events.sites import site_of_host
from policies.decide import Filters
from policies.documents import MOST_INTEGER
from policies.vocabulary import KINDS

MOST_PARAMETERS: Final = 20
LONGEST_VALUE: Final = 512
MOST_ROWS: Final = 1000
DEFAULT_ROWS: Final = 100
EARLIEST: Final = dt.datetime(1995, 1, 1, tzinfo=dt.UTC)
LATEST: Final = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)
MOST_EVENTS: Final = 100
# Marshmallow looks at the beginning alone, so that each says where it ends.
_SITE: Final = re.compile(r"=?[a-z0-9.-]{1,253}\Z")
_CATEGORY: Final = re.compile(r"[^\x00-\x1f]{1,200}\Z")
_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})\Z")
_COUNT: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Query:
    """A vendor's call, parsed: which clause and purpose it names, its filters, how many rows, and the sealed cursor."""

    clause: str | None
    purpose: str | None
    filters: Filters
    limit: int
    cursor: bytes | None
    asked: dict[str, str]


class _Count(fields.Integer):
    """A number in plain digits: Python would also read `1_000`, ` 7` and digits of other scripts."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        if not isinstance(value, str) or not _COUNT.fullmatch(value):
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **kwargs)


class EventsQuery(Schema):
    """The parameters of `GET /v1/events` (interface.md section 11)."""

    class Meta:
        """An unknown parameter is refused: it may have been meant to narrow."""

        unknown = RAISE

    clause = fields.String(validate=validate.Length(1, 64))
    purpose = fields.String(validate=validate.Length(1, 80))
    kind = fields.String(validate=validate.Length(1, 200))
    site = fields.String(validate=validate.Regexp(_SITE, error="Give a domain, or = and a host."))
    category = fields.String(validate=validate.Regexp(_CATEGORY, error="Give a category path such as books/crime."))
    after = fields.String(validate=validate.Regexp(_INSTANT, error="Give an RFC 3339 time with its zone, such as 2026-11-01T00:00:00Z."))
    before = fields.String(validate=validate.Regexp(_INSTANT, error="Give an RFC 3339 time with its zone, such as 2026-11-01T00:00:00Z."))
    limit = _Count(validate=validate.Range(1, MOST_ROWS), load_default=DEFAULT_ROWS)
    cursor = fields.String(validate=validate.Length(1, LONGEST_VALUE))


class AnswersQuery(Schema):
    """The parameters of `GET /v1/answers`."""

    class Meta:
        """As for events."""

        unknown = RAISE

    clause = fields.String(validate=validate.Length(1, 64))
    purpose = fields.String(validate=validate.Length(1, 80))


_EVENTS: Final = EventsQuery()
_ANSWERS: Final = AnswersQuery()


# What most polls are.
_NOTHING_ASKED: Final = Query(None, None, Filters(), DEFAULT_ROWS, None, {})


def query(arguments: MultiDict[str, str]) -> Query:
    """Parse the parameters of a read; `BadRequest` for what cannot be read, `Unprocessable` with pointers for wrong values, `InvalidCursor`."""
    if not arguments:
        return _NOTHING_ASKED
    given = _given(arguments)
    found = _loaded(_EVENTS, given)
    try:
        filters = _filters(found)
    except ValidationError as wrong:
        raise _unprocessable(wrong) from None
    asked = {name: value for name, value in given.items() if name != "cursor"}
    return Query(found.get("clause"), found.get("purpose"), filters, found["limit"], _cursor(found.get("cursor")), asked)


def answers_query(arguments: MultiDict[str, str]) -> Query:
    """Parse the parameters of a call for answers; refuses like `query`. There are no filters: an answer is about the whole clause."""
    given = _given(arguments)
    found = _loaded(_ANSWERS, given)
    return Query(found.get("clause"), found.get("purpose"), Filters(), 0, None, given)


def _given(arguments: MultiDict[str, str]) -> dict[str, str]:
    flat = arguments.to_dict(flat=False)
    if sum(len(values) for values in flat.values()) > MOST_PARAMETERS or any(len(value) > LONGEST_VALUE for values in flat.values() for value in values):
        raise BadRequest("Send at most 20 parameters of at most 512 characters.")
    if any(len(values) > 1 for values in flat.values()):
        raise BadRequest("Send each parameter once; several kinds are separated by commas.")
    return {name: values[0] for name, values in flat.items()}


def _loaded(schema: Schema, given: Mapping[str, str]) -> dict[str, Any]:
    try:
        return dict(schema.load(given))
    except ValidationError as wrong:
        raise _unprocessable(wrong) from None


def _unprocessable(wrong: ValidationError) -> Unprocessable:
    return Unprocessable("Some parameters cannot be used; see errors.", errors=pointers(wrong.messages_dict))


def _domain_of(site: str) -> str | None:
    """The registrable domain of a host that is asked for; None of a domain, which is its own."""
    found = site_of_host(site[1:]) if site.startswith("=") else None
    return found.domain if found else None


def _filters(found: Mapping[str, Any]) -> Filters:
    kinds = frozenset(found["kind"].split(",")) if "kind" in found else None
    if kinds and kinds - set(KINDS):
        raise ValidationError({"kind": [f"Use kinds such as {', '.join(sorted(KINDS)[:3])}, separated by commas."]})
    return Filters(
        kinds=kinds,
        sites=frozenset({found["site"]}) if "site" in found else None,
        domain=_domain_of(found.get("site", "")),
        categories=frozenset({found["category"]}) if "category" in found else None,
        after=_instant(found, "after"),
        before=_instant(found, "before"),
    )


def _instant(found: Mapping[str, Any], name: str) -> dt.datetime | None:
    if name not in found:
        return None
    try:
        moment = dt.datetime.fromisoformat(found[name]).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise ValidationError({name: ["There is no such time."]}) from None
    if not EARLIEST <= moment <= LATEST:
        raise ValidationError({name: ["Give a time between the years 1995 and 2200."]})
    return moment


def _cursor(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidCursor from None


def pointers(messages: Mapping[Any, Any], start: str = "") -> list[dict[str, str]]:
    """Marshmallow's messages as `{pointer, detail}` pairs (RFC 6901)."""
    found: list[dict[str, str]] = []
    for name, value in messages.items():
        # A name the sender made up is not repeated.
        part = re.sub(r"[^A-Za-z0-9_]", "", str(name))[:40]
        where = start if name == "_schema" else f"{start}/{part}"
        if isinstance(value, Mapping):
            found += pointers(value, where)
        else:
            found += [{"pointer": where, "detail": str(each)} for each in value]
    return found


class _Client(Schema):
    """Which build of the extension sends."""

    class Meta:
        """As everywhere: unknown members are refused."""

        unknown = RAISE

    version = fields.String(required=True, validate=validate.Length(1, 40))
    browser = fields.String(required=True, validate=validate.Length(1, 40))


class Batch(Schema):
    """The envelope of an upload (extension.md section 7); each event is judged on its own."""

    class Meta:
        """Unknown members are refused, so that a device cannot leak by accident."""

        unknown = RAISE

    schema = fields.String(required=True, validate=validate.Equal("events/1"))
    batch = fields.UUID(required=True)
    client = fields.Nested(_Client, required=True)
    notice_version = fields.String(required=True, validate=validate.Length(1, 40))
    collection_version = fields.Integer(required=True, strict=True, validate=validate.Range(0, MOST_INTEGER))
    events = fields.List(fields.Raw(allow_none=True), required=True)


_BATCH: Final = Batch()


def batch(document: Any) -> dict[str, Any]:
    """A checked envelope; `Unprocessable` with pointers."""
    if not isinstance(document, dict):
        raise Unprocessable("Send a JSON object.", errors=[{"pointer": "", "detail": "Send a JSON object."}])
    try:
        found: dict[str, Any] = _BATCH.load(document)
    except ValidationError as wrong:
        raise Unprocessable("This batch cannot be used; see errors.", errors=pointers(wrong.messages_dict)) from None
    return found
