"""The vendor's side of the protocol: discovery (RFC 8414), pushed requests (RFC 9126), the callback (RFC 9207), tokens, revocation (RFC 7009).

Every request and every token is bound to a key of the vendor's (RFC 9449).
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from proffer_vendor.asking import Ask
from proffer_vendor.errors import BrokerRefused, CallbackRefused, CodeRefused, Declined, GrantEnded, NotABroker
from proffer_vendor.keys import SigningKey
from proffer_vendor.tokens import Tokens
from proffer_vendor.transport import Transport, check_address

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "pushed_authorization_request_endpoint", "revocation_endpoint")


@dataclass(frozen=True)
class Pending:
    """A request on its way: send the browser to `url`, keep the rest on the server, bound to that browser's session, until the callback."""

    url: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)


class Vendor:
    """One client of one broker. `issuer` is the broker's issuer, character by character; `redirect_uri` is one that was registered.

    `key` is the registered one. `proof_key` is another that nobody else needs to know: tokens are given to it, and are worth nothing
    without it, so it must be kept as long as they are.
    """

    def __init__(
        self, issuer: str, client_id: str, key: SigningKey, redirect_uri: str, *, proof_key: SigningKey, transport: Transport | None = None
    ) -> None:
        self.issuer = issuer
        self.client_id = client_id
        self.redirect_uri = redirect_uri
        self.key = key
        self.proof_key = proof_key
        self.transport = transport or Transport()
        self._endpoints: dict[str, str] | None = None

    def endpoints(self) -> dict[str, str]:
        """The broker's metadata (RFC 8414 section 3), asked once; NotABroker if it is another issuer's or lacks an endpoint."""
        if self._endpoints is None:
            told = self.transport.send("GET", f"{self.issuer}/.well-known/oauth-authorization-server")
            # Section 3.3: a broker that names another issuer could pass its answers off as that one's.
            if not isinstance(told, dict) or told.get("issuer") != self.issuer:
                raise NotABroker("The metadata is not that of the issuer that was asked.")
            if not all(isinstance(told.get(name), str) for name in _ENDPOINTS):
                raise NotABroker("The metadata lacks an endpoint.")
            for name in _ENDPOINTS:
                check_address(told[name])
            self._endpoints = {name: told[name] for name in _ENDPOINTS}
        return self._endpoints

    def begin(self, asks: Iterable[Ask]) -> Pending:
        """Pushes a request and says where to send the browser; the address is good for about 90 seconds."""
        state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        answer = self._post(
            "pushed_authorization_request_endpoint",
            {
                "response_type": "code",
                "redirect_uri": self.redirect_uri,
                "state": state,
                "code_challenge": challenge(verifier),
                "code_challenge_method": "S256",
                "authorization_details": json.dumps([ask.details() for ask in asks]),
            },
        )
        request_uri = answer.get("request_uri") if isinstance(answer, dict) else None
        if not isinstance(request_uri, str):
            raise NotABroker("The answer to the pushed request has no request_uri.")
        query = urlencode({"client_id": self.client_id, "request_uri": request_uri})
        return Pending(f"{self.endpoints()['authorization_endpoint']}?{query}", state, verifier)

    def finish(self, pending: Pending, query: Mapping[str, str]) -> Tokens:
        """Exchanges the code of a callback; `query` is the callback's. Raises CallbackRefused, CodeRefused, Declined, or what the broker says."""
        if not hmac.compare_digest(query.get("state", "").encode(), pending.state.encode()):
            raise CallbackRefused("The callback does not carry the state of this request.")
        if query.get("iss") != self.issuer:
            raise CallbackRefused("The callback comes from another issuer (RFC 9207).")
        if query.get("error") == "access_denied":
            raise Declined("The person did not give what was asked.")
        if "error" in query:
            raise BrokerRefused(query.get("error_description") or query["error"], code=query["error"])
        if not query.get("code"):
            raise CallbackRefused("The callback carries neither a code nor an error.")
        form = {"grant_type": "authorization_code", "code": query["code"], "redirect_uri": self.redirect_uri, "code_verifier": pending.verifier}
        try:
            return self._tokens(form)
        except GrantEnded as error:
            # `invalid_grant` is the broker's word for a wrong code as well (RFC 6749 section 5.2).
            told = "The broker does not take this code: it was mistyped, used before, is older than a minute, or answers another request. Ask the person again."
            raise CodeRefused(told) from error

    def refresh(self, tokens: Tokens) -> Tokens:
        """New tokens; the broker repeats the same refresh token. GrantEnded if the grant is over."""
        return self._tokens({"grant_type": "refresh_token", "refresh_token": tokens.refresh_token})

    def revoke(self, tokens: Tokens) -> None:
        """Ends the grant from the vendor's side (RFC 7009): the person is told, and nothing can be read any more."""
        self._post("revocation_endpoint", {"token": tokens.refresh_token})

    def grant(self, tokens: Tokens) -> dict[str, Any]:
        """The grant as the broker holds it now: status, authorization_details, what was narrowed, the agreement."""
        answer = self.call("GET", self.grant_address(tokens), tokens)
        if not isinstance(answer, dict):
            raise NotABroker("The grant is not a JSON object.")
        return answer

    def call(self, method: str, url: str, tokens: Tokens, *, json: Any = None, query: Mapping[str, str] | None = None) -> Any:
        """What the broker's API answers to these tokens and the proof of their key; raises what Transport.send raises."""
        return self.transport.send(method, url, key=self.proof_key, tokens=tokens, json=json, query=query)

    def grant_address(self, tokens: Tokens) -> str:
        """Where the grant of `tokens` is read, ended and countersigned."""
        return f"{self.issuer}/v1/grants/{quote(tokens.grant_id, safe='')}"

    def _tokens(self, form: Mapping[str, str]) -> Tokens:
        answer = self._post("token_endpoint", form)
        try:
            return Tokens.from_answer(answer)
        except (KeyError, TypeError, ValueError) as error:
            raise NotABroker("The token answer lacks a member.") from error

    def _post(self, endpoint: str, form: Mapping[str, str]) -> Any:
        mine = {
            "client_id": self.client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.key.assertion(self.client_id, self.issuer),
        }
        return self.transport.send("POST", self.endpoints()[endpoint], form={**form, **mine}, key=self.proof_key)


def challenge(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier (RFC 7636 section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode()
