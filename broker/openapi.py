"""The description of the API (OpenAPI 3.1), put together from the routes, the tables and the reference pages; nothing in it is written a second time."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from marshmallow import Schema
from werkzeug.routing import Rule

from broker import documentation, errors, problems
from broker.access import REFUSALS

Json = dict[str, Any]
VERSION: Final = "3.1.0"
JSON: Final = "application/json"
HTML: Final = "text/html"
FORM: Final = "application/x-www-form-urlencoded"
PROBLEM: Final = "application/problem+json"
REFERENCE: Final = "#/components/schemas/"
# What every route may answer, whatever it is for.
EVERYWHERE: Final = (errors.AddressTooLong, errors.Misdirected, errors.HeadersTooLarge, errors.Internal)
STORES: Final = (errors.Busy, errors.OutcomeUnknown, errors.Sealed)
"""What a route may answer that needs the stores and the keys."""
HEADERS: Final[dict[str, Json]] = {
    "Request-Id": {
        "description": "The id of this call, which its ledger entry and the broker's log name too.",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    },
    "Link": {"description": "The address of the next page, where there is one (RFC 8288).", "schema": {"type": "string"}},
    "ETag": {"description": "What the document is recognised by; send it back in If-None-Match.", "required": True, "schema": {"type": "string"}},
    "Location": {"description": "Where the browser goes on.", "required": True, "schema": {"type": "string"}},
    "RateLimit-Policy": {
        "description": "The limits that hold for this call: the host's and the grant's. See [rates](/docs/reference/access#rates).",
        "schema": {"type": "string"},
    },
    "RateLimit": {"description": "What is left of each, and seconds until all of it is there again.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds after which it works again.", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "WWW-Authenticate": {"description": "The challenge (RFC 9449 section 7.1).", "required": True, "schema": {"type": "string", "pattern": "^DPoP "}},
    "DPoP-Nonce": {"description": "The nonce of the next proof, on every answer to a call that carried one.", "schema": {"type": "string"}},
}
IF_NONE_MATCH: Final[Json] = {
    "in": "header", "name": "If-None-Match", "schema": {"type": "string"}, "description": "The ETag of what you have: 304 where nothing has changed."
}  # fmt: skip
LIMITED: Final = ("RateLimit-Policy", "RateLimit")
PROOF: Final[Json] = {"proof": []}
INVITE: Final[Json] = {"invite": []}


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation answers where it was done: in a sentence, as JSON schemas by media type, with these headers at least."""

    sentence: str
    body: Mapping[str, Json] = field(default_factory=dict)
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route, as far as the route itself does not say it.

    `page` is the reference page with its section, `problems` what it may be refused with besides what its scope and `EVERYWHERE` say, `refusals`
    the same for OAuth endpoints: status -> words of RFC 6749.
    """

    tag: str
    answers: Mapping[int, Answer]
    page: str = ""
    query: type[Schema] | None = None
    written: Mapping[str, Json] = field(default_factory=dict)
    """How a parameter of `query` is written, where its text stands for something else."""
    path: Mapping[str, Json] = field(default_factory=dict)
    parameters: tuple[Json, ...] = ()
    body: Mapping[str, Json] = field(default_factory=dict)
    problems: tuple[type[errors.BrokerError], ...] = ()
    refusals: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    security: tuple[Json, ...] = ()
    for_people: bool = False
    """Whether it answers with pages, and refuses with pages too."""


def document(page: str, schema: Json) -> Operation:
    """A JSON document that is the same for everyone, as `headers.kept` answers with it."""
    answers = {200: Answer("The document.", {JSON: schema}, ("ETag",)), 304: Answer("As it was.", headers=("ETag",))}
    return Operation("metadata", answers, page, parameters=(IF_NONE_MATCH,))


@dataclass(frozen=True, slots=True)
class Part:
    """What one capability adds: operations by endpoint, and the schemas that they name."""

    operations: Mapping[str, Operation]
    schemas: Mapping[str, Json] = field(default_factory=dict)
    shared: Mapping[str, Json] = field(default_factory=dict)
    """Schemas that stand in many places, and are told once."""


def ref(name: str) -> Json:
    """A schema by its name."""
    return {"$ref": REFERENCE + name}


def ecma(schema: Any) -> Any:
    """A schema whose patterns are of Python, with patterns of ECMA-262 for the whole text."""
    if isinstance(schema, list):
        return [ecma(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: ecma(each) for name, each in schema.items()}
    if isinstance(made.get("pattern"), str):
        bare = made["pattern"].removesuffix(r"\Z").removesuffix("$")
        made["pattern"] = f"{bare}$" if bare.startswith("^") else f"^(?:{bare})$"
    return made


def of_marshmallow(schema: type[Schema]) -> Json:
    """The schema of what a border of ours takes, with nested ones inside."""
    plugin = MarshmallowPlugin()
    spec = APISpec("", "", VERSION, plugins=[plugin])
    spec.components.schema("outer", schema=schema)
    found: Json = spec.to_dict()["components"]["schemas"]

    def whole(part: Any) -> Any:
        if isinstance(part, list):
            return [whole(each) for each in part]
        if not isinstance(part, dict):
            return part
        return whole(found[part["$ref"].removeprefix(REFERENCE)]) if "$ref" in part else {name: whole(each) for name, each in part.items()}

    made: Json = ecma(whole(found["outer"]))
    return made


def explained(schema: Json, page: str, heading: str) -> Json:
    """The schema of an object, with what the reference page says of its members."""
    told = documentation.meanings(page, heading)
    members = {name: {**({"description": told[name]} if name in told else {}), **each} for name, each in schema["properties"].items()}
    return {**schema, "properties": members}


def setup(app: Flask, origin: str, parts: Iterable[Part]) -> None:
    """Keep what the parts say, for the description of `app` that is made when somebody first asks."""
    app.extensions["openapi"] = cache(lambda: _made(app, origin, tuple(parts)))


def paths_of(app: Flask, parts: Iterable[Part]) -> list[tuple[Rule, str, Operation]]:
    """Each described route with its method, in the order of the parts."""
    known = {endpoint: operation for part in parts for endpoint, operation in part.operations.items()}
    order = list(known)
    found = [(rule, known[rule.endpoint]) for rule in app.url_map.iter_rules() if rule.endpoint in known]
    found.sort(key=lambda each: order.index(each[0].endpoint))
    # An OAuth endpoint takes the other methods only to refuse them in its own words.
    return [(rule, "POST" if operation.refusals else min((rule.methods or set()) - {"HEAD", "OPTIONS"}), operation) for rule, operation in found]


def _made(app: Flask, origin: str, parts: tuple[Part, ...]) -> Json:
    plugin = MarshmallowPlugin()
    spec = APISpec("Proffer", version("proffer"), VERSION, plugins=[plugin], info=_info(), servers=[{"url": origin}])
    for part in (_COMMON, *parts):
        for name, schema in part.schemas.items():
            spec.components.schema(name, component=ecma(schema))
    for name, scheme in _SCHEMES.items():
        spec.components.security_scheme(name, scheme)
    for name, header in HEADERS.items():
        spec.components.header(name, header)
    for rule, method, operation in paths_of(app, parts):
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        spec.path(path, operations={method.lower(): _operation(app, plugin, rule, method, path, operation)})
    made: Json = _with_names(spec.to_dict(), {name: ecma(schema) for part in parts for name, schema in part.shared.items()})
    return {**made, "tags": [{"name": name, "description": sentence} for name, sentence in TAGS.items()]}


TAGS: Final = {
    "events": "What the person did, as far as a grant lets it be seen.", "grants": "The grant that a token is of.",
    "oauth": "How a vendor asks and gets its tokens.", "metadata": "What the broker says of itself.",
}  # fmt: skip
_SCHEMES: Final[dict[str, Json]] = {
    "token": {"type": "http", "scheme": "DPoP", "description": "An access token, bound to a key (RFC 9449 section 7.1): `Authorization: DPoP <token>`."},
    "proof": {
        "type": "apiKey", "in": "header", "name": "DPoP",
        "description": "A proof of that key for this very call (RFC 9449 section 4), a JWT with the newest `DPoP-Nonce`. See [access](/docs/reference/access).",
    },
    "invite": {"type": "http", "scheme": "bearer", "description": "An invite, which opens registration once and nothing else."},
}  # fmt: skip
_COMMON: Final = Part(
    {},
    {
        "Problem": {
            "type": "object",
            "description": "A problem document (RFC 9457); its type is the address of a page that says what to do.",
            "properties": {
                "type": {"type": "string", "enum": [f"/problems/{error.slug}" for error in errors.every_error()]},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "request_id": {"type": "string", "format": "uuid"},
                "errors": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
                        "required": ["pointer", "detail"],
                        "additionalProperties": False,
                    },
                },
            },
            "required": ["type", "title", "status", "detail", "request_id"],
            "additionalProperties": False,
        }
    },
)


def _with_names(made: Json, shared: Mapping[str, Json]) -> Json:
    """The description with each of the shared schemas told once, and named everywhere else."""
    names = {json.dumps(schema): name for name, schema in shared.items()}

    def named(part: Any) -> Any:
        if isinstance(part, list):
            return [named(each) for each in part]
        if not isinstance(part, dict):
            return part
        bare = {key: each for key, each in part.items() if key != "description"}
        name = names.get(json.dumps(bare))
        told = {"description": part["description"]} if "description" in part else {}
        return {**ref(name), **told} if name else {key: named(each) for key, each in part.items()}

    found: Json = named(made)
    found["components"]["schemas"] |= shared
    return found


def _info() -> Json:
    return {
        "summary": "The API of a personal data broker that belongs to the person.",
        "description": "Every call carries a token and a proof of its key. What is refused is a problem document, at OAuth endpoints an error of RFC 6749. "
        "JSON that is sent has each member once and no decimal point in any number; integers are at most 2^53-1.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }


def _operation(app: Flask, plugin: MarshmallowPlugin, rule: Rule, method: str, path: str, operation: Operation) -> Json:
    view = app.view_functions[rule.endpoint]
    scope: str = getattr(view, "scope", "")
    section = f"{method} {path}"
    told = documentation.meanings(operation.page, section)
    security = [{"token": [scope], **PROOF}] if scope else list(operation.security)
    query = plugin.converter.schema2parameters(operation.query(), location="query") if operation.query and plugin.converter else []
    named = [{"in": "path", "name": name, "required": True, "schema": schema} for name, schema in operation.path.items()]
    shown = [{**each, **operation.written.get(each["name"], {})} for each in query]
    parameters = [
        {**each, "description": told.get(each["name"], each.get("description", each["schema"].get("description", "")))}
        for each in (*named, *ecma(shown), *operation.parameters)
    ]
    made: Json = {
        "operationId": rule.endpoint.replace("_", "-"),
        "tags": [operation.tag],
        "summary": (view.__doc__ or "").split("\n", maxsplit=1)[0],
        **({"description": documentation.first_paragraph(operation.page, section)} if operation.page else {}),
        **({"externalDocs": {"url": f"/docs/{operation.page}#{documentation.anchor(section)}"}} if operation.page else {}),
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": {"required": True, "content": _content(operation.body)}} if operation.body else {}),
        "security": security,
        "responses": _responses(operation, scope),
    }
    return made


def _content(body: Mapping[str, Json]) -> Json:
    return {media: {"schema": ecma(schema)} for media, schema in body.items()}


def _responses(operation: Operation, scope: str) -> Json:
    limited = LIMITED if errors.RateLimit in operation.problems or scope else ()
    found = {str(status): _response(answer.sentence, answer.body, (*answer.headers, *limited)) for status, answer in operation.answers.items()}
    refused: dict[int, list[type[errors.BrokerError]]] = {}
    for error in dict.fromkeys((*(REFUSALS if scope else ()), *operation.problems, *EVERYWHERE)):
        refused.setdefault(error.status, []).append(error)
    if operation.refusals:
        return {
            **found,
            **{str(status): _of_oauth(status, words, proved=PROOF in operation.security) for status, words in _with_everywhere(operation.refusals, refused)},
        }
    if operation.for_people:
        pages = {str(status): _response("A page that says what happened.", {HTML: {"type": "string"}}, _headers_of(status)) for status in sorted(refused)}
        return {**pages, **found}
    return {**found, **{str(status): _of_problems(status, slugs) for status, slugs in sorted(refused.items())}}


def _with_everywhere(refusals: Mapping[int, tuple[str, ...]], refused: Mapping[int, list[type[errors.BrokerError]]]) -> list[tuple[int, tuple[str, ...]]]:
    # At an OAuth endpoint the broker's own errors have the three words that `problems` gives them.
    own = {status: (problems.oauth_word(status),) for status in refused}
    return sorted({status: tuple(dict.fromkeys((*refusals.get(status, ()), *own.get(status, ())))) for status in {*refusals, *own}}.items())


def _response(sentence: str, body: Mapping[str, Json], headers: Iterable[str]) -> Json:
    named = {name: {"$ref": f"#/components/headers/{name}"} for name in ("Request-Id", *headers)}
    return {"description": sentence, "headers": named, **({"content": _content(body)} if body else {})}


def _of_problems(status: int, slugs: list[type[errors.BrokerError]]) -> Json:
    words = ", ".join(f"[`{error.slug}`](/problems/{error.slug})" for error in slugs)
    schema = {"allOf": [ref("Problem")], "properties": {"type": {"enum": [f"/problems/{error.slug}" for error in slugs]}, "status": {"const": status}}}
    return _response(words, {PROBLEM: schema}, _headers_of(status))


def _of_oauth(status: int, words: tuple[str, ...], *, proved: bool) -> Json:
    schema = {
        "type": "object",
        "properties": {"error": {"type": "string", "enum": list(words)}, "error_description": {"type": "string", "pattern": "^[ !#-\\[\\]-~]*$"}},
        "required": ["error", "error_description"],
        "additionalProperties": False,
    }
    headers = {*_headers_of(status), *(("DPoP-Nonce",) if proved else ())} - {"WWW-Authenticate"}
    return _response(", ".join(f"`{word}`" for word in words), {JSON: schema}, sorted(headers))


def _headers_of(status: int) -> tuple[str, ...]:
    return {401: ("WWW-Authenticate", "DPoP-Nonce"), 429: ("Retry-After", *LIMITED), 503: ("Retry-After",)}.get(status, ())
