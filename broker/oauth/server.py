"""Authlib's authorization server with our gate before it and our transactions behind it (rules A1-A11)."""

from collections.abc import Mapping
from typing import Any, Final, cast

import orjson
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Request, UnsupportedGrantTypeError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from flask import Request, Response, current_app, g

from broker import current, quota
from broker.grants import details
from broker.grants import queries as grant_queries
from broker.ledger import actions as ledger
from broker.notices import actions as notices
from broker.notices.actions import Notice
from broker.oauth import actions, callers, dpop, gate, queries, schemas
from broker.oauth.dpop import Proof
from broker.oauth.gate import Refused
from broker.vendors.queries import Client

SCOPE_OF: Final = {"read": "events:read", "write": "events:write"}
JSON: Final = "application/json"


class CodeGrant(AuthorizationCodeGrant):
    """`grant_type=authorization_code`; the whole of it is one call, one transaction (rule A3)."""

    def validate_token_request(self) -> None:
        """Authenticate the client; everything else is checked where the code is used up."""
        self.caller = self.server.authenticate_client(self.request, [])

    def create_token_response(self) -> Any:
        """Redeem the code."""
        request: Any = self.request
        form, caller = request.form, self.caller
        if not form.get("code"):
            raise gate.invalid_request("Send code.")
        gate.check_resource(form, current.broker().settings.origin)
        return 200, answer(actions.redeem(current.broker(), caller, form, schemas.limits)), []


class RefreshGrant(RefreshTokenGrant):
    """`grant_type=refresh_token`; the refresh token is not rotated (rule T8)."""

    def validate_token_request(self) -> None:
        """Authenticate the client; its ids are used up, and everything else is checked, where the token is issued: one durable commit, not two."""
        self.caller, self.ids = server().identify(self.request, "token")

    def create_token_response(self) -> Any:
        """Issue another access token."""
        request: Any = self.request
        broker, form, caller = current.broker(), request.form, self.caller

        def check() -> None:
            if not form.get("refresh_token"):
                raise gate.invalid_request("Send refresh_token.")
            gate.check_resource(form, broker.settings.origin)

        try:
            return 200, answer(actions.refresh(broker, caller, self.ids, form, check, schemas.limits)), []
        except actions.OtherKey as other:
            _tell(other, caller.client)
            raise
        except callers.Replayed as replayed:
            _tell_of_replay(replayed.client, form)
            raise


class Server(AuthorizationServer):
    """Routing of grant types and the form of errors are Authlib's; storage, authentication and redirects are ours."""

    def __init__(self) -> None:
        super().__init__()
        self.register_grant(CodeGrant)
        self.register_grant(RefreshGrant)

    def create_oauth2_request(self, request: Request) -> OAuth2Request:
        """The gate's form and the configured origin; `Host` and forwarded headers are never read here."""
        gate.check_envelope(
            request.method, request.headers.get("Content-Type", ""), request.query_string.decode("ascii", "replace"),
            request.headers.get("Content-Encoding", ""), request.content_length,
        )  # fmt: skip
        form = gate.parse_form(request.get_data())
        shown = {name: request.headers.get(name, "") for name in ("Authorization", "DPoP")}
        made = OAuth2Request("POST", current.broker().settings.origin + request.path, headers=shown)
        made.payload = BasicOAuth2Payload(form)
        # Authlib's own place for the parsed body, which its grants read.
        made._body = form  # type: ignore[attr-defined] # noqa: SLF001
        return made

    def authenticate_client(self, request: Any, methods: object, endpoint: str = "token") -> Any:  # noqa: ARG002 - Authlib's signature
        """Our own client authentication, then the proof of its key, then both used up (rule T4); the answer is a `Caller`."""
        caller, ids = self.identify(request, endpoint)
        try:
            actions.use_up(current.broker(), ids)
        except callers.Replayed as replayed:
            _tell_of_replay(replayed.client, request.payload.data)
            raise
        return caller

    def identify(self, request: Any, endpoint: str) -> tuple[callers.Caller, list[callers.Spent]]:
        """Who calls, and the ids that have to be used up before anything is done for them.

        Failures are counted per address, successes per client.
        """
        broker = current.broker()
        broker.limits.check("unauthenticated", current.address())
        try:
            client, ids = callers.authenticate(broker, request.payload.data, request.headers["Authorization"] or None)
        except Refused:
            broker.limits.count("unauthenticated", current.address())
            raise
        if endpoint in {"par", "token"}:
            # Everybody's extension has one client id, so what one address sends must not use up the others' rate.
            quota.count(endpoint, f"{client.client_id} {current.address()}" if client.public else client.client_id)
        proof = _proof(request, endpoint)
        if proof is not None:
            ids.append(callers.Spent(proof.jkt, proof.jti, proof.until, bad_proof))
        return callers.Caller(client, proof.jkt if proof else ""), ids

    def save_token(self, token: object, request: object) -> None:
        """Never used: tokens are written in the transaction that uses up the code."""
        raise NotImplementedError

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """No hooks (rule A11)."""

    def handle_response(self, status: int, body: object, headers: object) -> Response:  # noqa: ARG002 - no header of Authlib's is wanted (rule A9)
        """JSON that is never cached."""
        return Response(orjson.dumps(body), status, mimetype=JSON)

    def handle_error_response(self, request: object, error: OAuth2Error) -> Response:  # noqa: ARG002 - Authlib's signature
        """RFC 6749 section 5.2; an unsupported grant type is not echoed."""
        if isinstance(error, UnsupportedGrantTypeError):
            error = Refused("unsupported_grant_type", "Use authorization_code or refresh_token.")
        response = Response(orjson.dumps({"error": error.error, "error_description": error.description}), error.status_code, mimetype=JSON)
        response.headers.update(getattr(error, "extra_headers", {}))
        return response


def _tell(other: actions.OtherKey, client: Client) -> None:
    """Enter into the person's ledger that a refresh token was shown with a key that is not its own."""
    by = {"role": "client", "id": client.client_id, **({"vendor": client.vendor_id} if client.vendor_id else {})}
    grant = grant_queries.to_text(other.grant_id)
    entry = ledger.Entry("read", current.broker().now(), by=by, outcome="denied", reasons=("other-key",), grant=grant, request=g.get("request_id"))
    current.denials().record(other.person_id, entry)
    about = {"client": client.client_id, "vendor": client.vendor_id, "grant": grant}
    notices.tell(current.broker(), other.person_id, Notice("other-key", about, once=grant))


def _tell_of_replay(client: Client, form: Mapping[str, str]) -> None:
    """Tell the person whose code or refresh token came with an assertion that was used before; where neither came, nobody was meant yet."""
    broker = current.broker()
    with broker.reading() as tx:
        concerned = queries.shown_with(broker, tx, client.client_id, form)
    if concerned is not None:
        about = {"client": client.client_id, "vendor": client.vendor_id, "grant": grant_queries.to_text(concerned[1])}
        notices.tell(broker, concerned[0], Notice("assertion-replayed", about, once=client.client_id))


def bad_proof() -> Refused:
    """`invalid_dpop_proof`, 400 (RFC 9449 section 5): one sentence for every cause."""
    return Refused("invalid_dpop_proof", "Send one DPoP header with a fresh proof for this very call.")


def _proof(request: Any, endpoint: str) -> Proof | None:
    """The proof of a call: needed for tokens, taken at PAR where it is sent, not asked for where a token is only ended."""
    shown = request.headers["DPoP"]
    if endpoint == "revoke" or (endpoint == "par" and not shown):
        return None
    broker = current.broker()
    try:
        return dpop.verify(shown or None, method="POST", url=request.uri, nonce_key=broker.vault.nonce_key, now=broker.now())
    except dpop.BadProof:
        raise bad_proof() from None
    except dpop.NonceWanted:
        raise Refused("use_dpop_nonce", "Repeat the call with a proof that has the nonce of this answer.") from None


def answer(issued: actions.Issued) -> dict[str, Any]:
    """The token answer (RFC 6749 section 5.1, RFC 9396 section 7, RFC 9449 section 5)."""
    clauses = [clause for clause in issued.grant.clauses if not issued.limited_to or clause.id in issued.limited_to]
    return {
        "access_token": issued.access_token,
        "token_type": "DPoP",
        "expires_in": issued.expires_in,
        "refresh_token": issued.refresh_token,
        "scope": " ".join(sorted({SCOPE_OF[clause.action] for clause in clauses if clause.action in SCOPE_OF})),
        "grant_id": issued.grant.id,
        "authorization_details": details.given(clauses),
    }


def server() -> Server:
    """The application's authorization server; filled once in `create_app`, read-only after."""
    return cast("Server", current_app.extensions["oauth"])
