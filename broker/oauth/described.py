"""The OAuth endpoints and the metadata as OpenAPI has them; how a request looks comes from the vocabulary, as in RFC 9396."""

from typing import Any, Final

from broker import errors, openapi
from broker.grants.details import TYPE
from broker.oauth import assertion, dpop, gate, metadata
from broker.oauth.endpoints import LONGEST_STATE
from broker.oauth.schemas import MOST_ENTRIES, VENDOR_ACTIONS
from broker.openapi import FORM, HTML, INVITE, JSON, PROOF, Answer, Json, Operation, Part, ref
from broker.vendors.documents import Registration
from policies.exports import jsonschema
from policies.exports.jsonschema import closed, one_of

PAGE: Final = "reference/oauth-api"
_TEXT: Final[Json] = {"type": "string"}
_URI: Final[Json] = {"type": "string", "format": "uri"}
_SECONDS: Final[Json] = {"type": "integer", "minimum": 0}
_CLIENT: Final[Json] = {
    "client_id": {"type": "string", "description": "May be left out beside an assertion; the person's extension sends it alone."},
    "client_assertion_type": {**one_of((assertion.TYPE,)), "description": "How a vendor's client authenticates (RFC 7523)."},
    "client_assertion": {"type": "string", "maxLength": assertion.MAX_BYTES, "description": "A JWT signed with a key of the client's, good once."},
}
# What any form can be refused with, and any client.
_FORM: Final = {400: ("invalid_request",), 401: ("invalid_client",), 413: ("invalid_request",), 415: ("invalid_request",)}
_STORES: Final = (errors.RateLimit, *openapi.STORES)
_PROVED: Final = ("invalid_dpop_proof", "use_dpop_nonce")


def _form(heading: str, members: Json, required: tuple[str, ...] = ()) -> dict[str, Json]:
    """A form body; unknown parameters are ignored, so that others may stand in it. None has control characters."""
    plain = {"pattern": f"^{gate.CONTROL.pattern.replace('[', '[^', 1)}*$"}
    clean = {name: {**(plain if each.keys().isdisjoint({"enum", "pattern"}) else {}), **each} for name, each in {**members, **_CLIENT}.items()}
    schema = {**closed(clean, required), "additionalProperties": {"type": "string", **plain}, "maxProperties": gate.MAX_PARAMETERS}
    return {FORM: openapi.explained(schema, PAGE, heading)}


def _asked() -> Json:
    """What a vendor may ask for: one entry for each of its actions."""
    return {"type": "array", "items": {"anyOf": [ref(f"Ask-{action}") for action in VENDOR_ACTIONS]}, "minItems": 1, "maxItems": MOST_ENTRIES}


def _entry(action: str) -> Json:
    item = jsonschema.asked(action)
    members: Json = {_NAMES.get(name, name): member for name, member in item["properties"].items()}
    least = members["minimum"]["properties"]
    members["minimum"] = {**members["minimum"], "properties": {_NAMES.get(name, name): member for name, member in least.items()}}
    members["actions"] = {"type": "array", "items": one_of((action,)), "minItems": 1, "maxItems": 1}
    first: Json = {"type": one_of((TYPE,)), "identifier": _TEXT}
    return openapi.explained(closed({**first, **members}, ("type", *(_NAMES.get(name, name) for name in item["required"]))), PAGE, "POST /oauth/par")


_NAMES: Final = {"action": "actions", "kinds": "datatypes"}


def _pushed() -> dict[str, Json]:
    members: Json = {
        "response_type": one_of(("code",)), "redirect_uri": _URI, "code_challenge": jsonschema.text(gate.CHALLENGE), "code_challenge_method": one_of(("S256",)),
        "state": {"type": "string", "maxLength": LONGEST_STATE}, "authorization_details": _json(ref("Asked")), "scope": one_of(("events:read", "events:write")),
        "resource": _URI, "dpop_jkt": jsonschema.text(dpop.THUMBPRINT),
        "prompt": {"type": "string", "description": "`none` is answered with `consent_required`."},
        "grant_management_action": {**one_of(("create",)), "description": "May be left out: every consent makes a new grant."},
    }  # fmt: skip
    return _form("POST /oauth/par", members, ("response_type", "redirect_uri", "code_challenge", "code_challenge_method"))


def _json(schema: Json) -> Json:
    """JSON inside a parameter."""
    return {"type": "string", "contentMediaType": JSON, "contentSchema": schema}


def _redeemed() -> dict[str, Json]:
    limits = {"type": "array", "items": closed({"type": one_of((TYPE,)), "identifier": _TEXT}, ("type", "identifier")), "minItems": 1, "maxItems": MOST_ENTRIES}
    members: Json = {
        "grant_type": one_of(("authorization_code", "refresh_token")), "code": _TEXT, "redirect_uri": _URI, "code_verifier": jsonschema.text(gate.VERIFIER),
        "refresh_token": _TEXT, "authorization_details": _json(limits), "scope": _TEXT, "resource": _URI,
    }  # fmt: skip
    return _form("POST /oauth/token", members, ("grant_type",))


def _tokens() -> Json:
    members: Json = {
        "access_token": _TEXT, "token_type": one_of(("DPoP",)), "expires_in": _SECONDS, "refresh_token": _TEXT, "scope": _TEXT, "grant_id": _TEXT,
        "authorization_details": ref("Given"),
    }  # fmt: skip
    return openapi.explained(closed(members, tuple(members)), PAGE, "POST /oauth/token")


def _registered() -> Json:
    members: Json = {
        "client_id": _TEXT, "client_id_issued_at": _SECONDS, "client_name": _TEXT, "redirect_uris": {"type": "array", "items": _URI},
        "jwks": {"type": "object"},
        "token_endpoint_auth_method": one_of(("private_key_jwt",)), "grant_types": {"type": "array", "items": _TEXT},
        "response_types": {"type": "array", "items": _TEXT},
    }  # fmt: skip
    return closed(members, tuple(members))


def like(document: dict[str, Any], required: dict[str, Any]) -> Json:
    """The schema of a metadata document, from the document itself: what names no address is always the same."""

    def one(value: Any) -> Json:
        if isinstance(value, str):
            return _URI
        plain = isinstance(value, bool) or not any("://" in each for each in value)
        return {"const": value} if plain else {"type": "array", "items": _URI}

    return {"type": "object", "properties": {name: one(value) for name, value in document.items()}, "required": [*required]}


_PUSHED: Final[Json] = {"request_uri": _TEXT, "expires_in": _SECONDS}
_GONE: Final = Answer("A page: this request cannot be opened.", {HTML: _TEXT})
_SOMEWHERE: Final = "https://broker.example"
_OF_PAR: Final = ("unsupported_response_type", "request_not_supported", "invalid_scope", "invalid_target", "invalid_authorization_details", *_PROVED)
_OF_TOKEN: Final = ("unsupported_grant_type", "invalid_grant", "invalid_scope", "invalid_target", "invalid_authorization_details", *_PROVED)
_OF_REGISTER: Final = {400: ("invalid_redirect_uri", "invalid_client_metadata", "invalid_software_statement"), 401: ("invalid_token",)}
_OPENED: Final = tuple(
    {"in": "query", "name": name, "schema": _TEXT, "required": True, "description": "As it was pushed."} for name in ("client_id", "request_uri")
)


def _refused(more: tuple[str, ...] = ()) -> dict[int, tuple[str, ...]]:
    return {**_FORM, 400: (*_FORM[400], *more)}


PART: Final = Part(
    {
        "metadata.authorization_server": openapi.document(PAGE, ref("ServerMetadata")),
        "metadata.protected_resource": openapi.document(PAGE, ref("ResourceMetadata")),
        "oauth.par": Operation(
            "oauth", {201: Answer("The request is kept.", {JSON: ref("Pushed")})}, PAGE,
            body=_pushed(), problems=_STORES, refusals=_refused(_OF_PAR), security=({}, PROOF),
        ),
        "consent.authorize": Operation(
            "oauth", {303: Answer("On to the consent page, by way of signing in.", headers=("Location",)), 400: _GONE},
            PAGE, parameters=_OPENED, problems=_STORES, for_people=True,
        ),
        "oauth.token": Operation(
            "oauth", {200: Answer("Tokens.", {JSON: ref("Tokens")})}, PAGE, body=_redeemed(), problems=_STORES, refusals=_refused(_OF_TOKEN), security=(PROOF,)
        ),
        "oauth.revoke": Operation(
            "oauth", {200: Answer("Nothing is left of it, whatever it was.")}, PAGE,
            body=_form("POST /oauth/revoke", {"token": _TEXT, "token_type_hint": _TEXT}, ("token",)),
            problems=_STORES, refusals=_refused(),
        ),
        "oauth.register": Operation(
            "oauth", {201: Answer("The client is registered.", {JSON: ref("Registered")})}, PAGE, body={JSON: ref("Registration")}, problems=_STORES,
            refusals={**_FORM, **_OF_REGISTER}, security=(INVITE,),
        ),
    },
    {
        "Pushed": openapi.explained(closed(_PUSHED, tuple(_PUSHED)), PAGE, "POST /oauth/par"), "Tokens": _tokens(), "Registered": _registered(),
        "Asked": _asked(), **{f"Ask-{action}": _entry(action) for action in VENDOR_ACTIONS},
        "Registration": openapi.explained(openapi.of_marshmallow(Registration), PAGE, "POST /oauth/register"),
        "ServerMetadata": like(metadata.document(_SOMEWHERE, sandbox=True), metadata.document(_SOMEWHERE, sandbox=False)),
        "ResourceMetadata": like(metadata.resource(_SOMEWHERE), metadata.resource(_SOMEWHERE)),
    },
)  # fmt: skip
