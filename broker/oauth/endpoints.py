"""The endpoints clients talk to: push a request, get tokens, revoke."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final, cast

import orjson
from authlib.oauth2 import OAuth2Error
from flask import Blueprint, Response, request

from broker import current
from broker.oauth import actions, dpop, gate, schemas
from broker.oauth.callers import Caller
from broker.oauth.gate import Refused
from broker.oauth.server import JSON, bad_proof, server
from broker.session import csrf
from broker.vault import credentials
from broker.vendors import actions as vendor_actions
from broker.vendors import documents
from broker.vendors import queries as vendor_queries
from broker.vendors.queries import Client

oauth: Final = Blueprint("oauth", __name__)
csrf.exempt(oauth)
LONGEST_STATE: Final = 1024
ANY_METHOD: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _answered(endpoint: Callable[[], Response]) -> Callable[[], Response]:
    """The library's error format for what the library raises; ours have theirs from `problems`."""

    @wraps(endpoint)
    def wrapped() -> Response:
        try:
            return endpoint()
        except OAuth2Error as error:
            return server().handle_error_response(None, error)

    return wrapped


@oauth.route("/oauth/par", methods=ANY_METHOD)
@_answered
def par() -> Response:
    """Take a pushed authorization request (RFC 9126)."""
    made: Any = server().create_oauth2_request(request)
    form = made.payload.data
    caller = server().authenticate_client(made, [], "par")
    request_uri, expires_in = actions.push(current.broker(), caller.client, parameters_of(form, caller.client), _bound_to(form, caller))
    return Response(orjson.dumps({"request_uri": request_uri, "expires_in": expires_in}), 201, mimetype=JSON)


def parameters_of(form: Mapping[str, str], client: Client) -> dict[str, Any]:
    """Check the form of a pushed request (rules G2, D1, D4); what of it may be given is decided when the person opens it."""
    if "request_uri" in form:
        raise gate.invalid_request("A pushed request cannot contain request_uri.")
    if "request" in form:
        raise Refused("request_not_supported", "Request objects are not taken; push the parameters themselves.")
    if form.get("response_type") != "code":
        raise Refused("unsupported_response_type", "Use response_type=code.")
    if form.get("grant_management_action", "create") != "create" or "grant_id" in form:
        raise gate.invalid_request("Every consent makes a new grant; grant_management_action can only be create.")
    redirect_uri = form.get("redirect_uri", "")
    if not gate.same_redirect(client.redirect_uris, redirect_uri):
        raise gate.invalid_request("This redirect_uri is not registered for the client.")
    challenge = gate.challenge(form)
    gate.check_resource(form, current.broker().settings.origin)
    if len(form.get("state", "")) > LONGEST_STATE:
        raise gate.invalid_request("state is longer than 1024 characters.")
    common = {"redirect_uri": redirect_uri, "code_challenge": challenge, "state": form.get("state"), "prompt": form.get("prompt")}
    return {**common, "request": _asked(form, client)}


def _bound_to(form: Mapping[str, str], caller: Caller) -> str:
    """The thumbprint of the key that the code will be bound to (RFC 9449 section 10, rule T13): of the proof, or named by `dpop_jkt`."""
    named = form.get("dpop_jkt", "")
    if named and not dpop.is_thumbprint(named):
        raise gate.invalid_request("dpop_jkt is a SHA-256 thumbprint of a key in base64url.")
    if named and caller.jkt and named != caller.jkt:
        raise bad_proof()
    if not named and not caller.jkt:
        raise gate.invalid_request("Say which key the tokens will be for: send a DPoP proof, or dpop_jkt.")
    return named or caller.jkt


def _asked(form: Mapping[str, str], client: Client) -> dict[str, Any] | None:
    scopes = set(form.get("scope", "").split())
    if client.public:
        if scopes != {"events:write"}:
            raise Refused("invalid_scope", "The extension asks for events:write and nothing else.")
        if "authorization_details" in form:
            raise schemas.refused()
        return None
    if scopes - {"events:read"}:
        raise Refused("invalid_scope", "A vendor can ask for events:read only, by authorization_details.")
    if "authorization_details" not in form:
        raise schemas.refused()
    return schemas.asked(form["authorization_details"], client.vendor_id, client.domain)


@oauth.route("/oauth/token", methods=ANY_METHOD)
@_answered
def token() -> Response:
    """Turn a code into tokens, or a refresh token into another access token (RFC 6749 sections 4.1.3 and 6)."""
    return cast("Response", server().create_token_response(request))


@oauth.route("/oauth/register", methods=ANY_METHOD)
@_answered
def register() -> Response:
    """Register a client by an invite (RFC 7591 section 3); every refusal leaves the invite as it was."""
    broker = current.broker()
    if request.method != "POST":
        raise Refused("invalid_request", "Use POST.", 405, {"Allow": "POST"})
    if request.mimetype != JSON or request.headers.get("Content-Encoding") or request.query_string:
        raise Refused("invalid_request", "Send application/json without Content-Encoding, and nothing in the address.", 415)
    if request.content_length is None or request.content_length > gate.MAX_BODY:
        raise Refused("invalid_request", "The body is too large, or its length was not given.", 413)
    broker.limits.check("unauthenticated", current.address())
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    shown = credentials.parse(broker.vault.route_key, "it", text.strip()) if scheme.lower() == "bearer" else None
    with broker.reading() as tx:
        domain = vendor_queries.invited(tx, shown, broker.now()) if shown else None
    if shown is None or domain is None:
        broker.limits.count("unauthenticated", current.address())
        raise _no_invite()
    try:
        metadata = documents.registration(request.get_data(), domain)
    except documents.WrongMetadata as wrong:
        raise Refused(wrong.error, str(wrong).replace('"', "'").encode("ascii", "replace").decode()) from None
    client_id = vendor_actions.register(broker, shown, metadata)
    if client_id is None:
        raise _no_invite()
    issued = int(broker.now().timestamp())
    told = {name: metadata[name] for name in ("client_name", "redirect_uris", "jwks")}
    made = {"client_id": client_id, "client_id_issued_at": issued, **told, "token_endpoint_auth_method": "private_key_jwt"}
    return Response(orjson.dumps({**made, "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"]}), 201, mimetype=JSON)


def _no_invite() -> Refused:
    return Refused("invalid_token", "This invite is not valid, or no longer.", 401)


@oauth.route("/oauth/revoke", methods=ANY_METHOD)
@_answered
def revoke() -> Response:
    """End a token (RFC 7009); ending a refresh token hands the grant back."""
    made: Any = server().create_oauth2_request(request)
    client = server().authenticate_client(made, [], "revoke").client
    if not made.payload.data.get("token"):
        raise gate.invalid_request("Send token.")
    actions.revoke_token(current.broker(), client, made.payload.data["token"])
    return Response(status=200)
