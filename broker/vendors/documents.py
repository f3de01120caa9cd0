"""A client whose id is an address: the document there says what it is (draft-ietf-oauth-client-id-metadata-document, sections 3 to 5).

Whoever holds the host holds the vendor, so nobody has to register, and the host is the verified domain.
"""

import datetime as dt
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from marshmallow import EXCLUDE, Schema, ValidationError, fields, pre_load, validate

from broker.fetching import NotFetched, host_of
from broker.vendors.checks import LOOPBACK, check_key_set, check_redirect_uri
from broker.vendors.words import plain_text
from policies.documents import Malformed, load

# What was fetched is believed so long; a key that its vendor took out of the document is refused after it at the latest.
FRESH: Final = dt.timedelta(minutes=20)


def is_address(client_id: str) -> bool:
    """Whether this client says what it is at an address of its own."""
    return client_id.startswith("https://")


class WrongMetadata(Exception):
    """A registration that cannot be taken: the error of RFC 7591 section 3.2.2, and a sentence that says what to change."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error = error


class _Told(Schema):
    """What a client says of itself (RFC 7591 section 2); other members are for other servers."""

    class Meta:
        """A document is written for every server at once."""

        unknown = EXCLUDE

    client_name = fields.String(validate=validate.Length(1, 80))
    redirect_uris = fields.List(fields.String(validate=check_redirect_uri), required=True, validate=validate.Length(1, 10))
    token_endpoint_auth_method = fields.String(required=True, validate=validate.Equal("private_key_jwt"))
    jwks = fields.Dict()
    contacts = fields.List(fields.String(validate=validate.Length(1, 200)))

    @pre_load
    def clean(self, data: dict[str, Any], **_: object) -> dict[str, Any]:
        """Refuse secrets; take out of the name what could mislead its reader."""
        if {"client_secret", "client_secret_expires_at"} & data.keys():
            raise ValidationError("There are no client secrets here.")
        return data | {name: plain_text(data[name]) for name in ("client_name",) if isinstance(data.get(name), str)}


class _Document(_Told):
    client_id = fields.String(required=True)
    jwks_uri = fields.String()


class Registration(_Told):
    """What registers a client (RFC 7591 section 3.1)."""

    client_name = fields.String(required=True, validate=validate.Length(1, 80))
    jwks = fields.Dict(required=True, validate=check_key_set)
    grant_types = fields.List(fields.String(validate=validate.OneOf(("authorization_code", "refresh_token"))))
    response_types = fields.List(fields.String(validate=validate.Equal("code")))


def _check_host(uris: list[str], host: str) -> None:
    """Redirects lie on the client's own host or below it, or on loopback: a code goes to whoever asked."""
    for uri in uris:
        there = urlsplit(uri).hostname or ""
        if there not in LOOPBACK and there != host and not there.endswith(f".{host}"):
            raise ValidationError(f"A redirect_uri lies on another host than {host}.")


def _for_adding(told: dict[str, Any], host: str, keys: Any) -> dict[str, Any]:
    contact = {"contact": plain_text(told["contacts"][0])} if told.get("contacts") else {}
    made = {"domain": host, "client_name": told.get("client_name", host), "redirect_uris": told["redirect_uris"], "jwks": {"keys": keys["keys"]}}
    return {**made, **contact}


def registration(body: bytes, domain: str) -> dict[str, Any]:
    """What `actions.register` wants to know, of a registration request (RFC 7591 section 3.1) for a domain; raises `WrongMetadata`."""
    try:
        told = load(body)
    except Malformed as wrong:
        raise WrongMetadata("invalid_client_metadata", f"The body is not the JSON we take: {wrong.errors[0]['detail']}") from None
    if not isinstance(told, dict):
        raise WrongMetadata("invalid_client_metadata", "Send a JSON object.")
    if "software_statement" in told:
        raise WrongMetadata("invalid_software_statement", "Software statements are not taken; send the metadata themselves.")
    if "jwks_uri" in told:
        raise WrongMetadata("invalid_client_metadata", "Send the keys themselves as jwks, or let your client_id be the address of a metadata document.")
    try:
        found: dict[str, Any] = Registration().load(told)
    except ValidationError as wrong:
        member = min(wrong.messages_dict)
        error = "invalid_redirect_uri" if member == "redirect_uris" else "invalid_client_metadata"
        raise WrongMetadata(error, f"{member}: {_first(wrong.messages_dict[member])}") from None
    try:
        _check_host(found["redirect_uris"], domain)
    except ValidationError as wrong:
        raise WrongMetadata("invalid_redirect_uri", str(wrong.messages[0])) from None
    return _for_adding(found, domain, found["jwks"])


def _first(messages: Any) -> str:
    """The first sentence of marshmallow's nested messages."""
    while not isinstance(messages, str):
        messages = next(iter(messages.values())) if isinstance(messages, dict) else messages[0]
    return messages


def read(client_id: str, fetch: Callable[[str], bytes]) -> dict[str, Any]:
    """What `add_client` wants to know of the client at this address; raises `NotFetched` with the reason, for the operator's log."""
    host = host_of(client_id)
    if urlsplit(client_id).path == "/":
        raise NotFetched("the address of a client has a path")
    try:
        told = load(fetch(client_id))
        if not isinstance(told, dict) or ("jwks" in told) == ("jwks_uri" in told):
            raise NotFetched("the document is no JSON object with either jwks or jwks_uri")
        found: dict[str, Any] = _Document().load(told)
        if found["client_id"] != client_id:
            raise NotFetched("the document names another client_id than its own address")
        _check_host(found["redirect_uris"], host)
        keys = load(fetch(found["jwks_uri"])) if "jwks_uri" in found else found["jwks"]
        check_key_set(keys if isinstance(keys, dict) else {})
    except ValidationError as wrong:
        raise NotFetched(f"the document cannot be used: {wrong.messages}") from None
    except Malformed as wrong:
        raise NotFetched(f"the document is not the JSON we take: {wrong}") from None
    return {"client_id": client_id, **_for_adding(found, host, keys)}
