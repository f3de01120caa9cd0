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


class _Document(Schema):
    """The members we look at (RFC 7591 section 2); others are for other servers."""

    class Meta:
        """A document is written for every server at once."""

        unknown = EXCLUDE

    client_id = fields.String(required=True)
    client_name = fields.String(validate=validate.Length(1, 80))
    redirect_uris = fields.List(fields.String(validate=check_redirect_uri), required=True, validate=validate.Length(1, 10))
    token_endpoint_auth_method = fields.String(required=True, validate=validate.Equal("private_key_jwt"))
    jwks = fields.Dict()
    jwks_uri = fields.String()
    contacts = fields.List(fields.String(validate=validate.Length(1, 200)))

    @pre_load
    def clean(self, data: Any, **_: object) -> Any:
        """Refuse what has no place in a public document; take out of names what could mislead their reader."""
        if not isinstance(data, dict):
            raise ValidationError("The document is no JSON object.")
        if {"client_secret", "client_secret_expires_at"} & data.keys():
            raise ValidationError("A document that everybody can read has no secret.")
        if ("jwks" in data) == ("jwks_uri" in data):
            raise ValidationError("Give either jwks or jwks_uri.")
        return data | {name: plain_text(data[name]) for name in ("client_name",) if isinstance(data.get(name), str)}


def read(client_id: str, fetch: Callable[[str], bytes]) -> dict[str, Any]:
    """What `add_client` wants to know of the client at this address; raises `NotFetched` with the reason, for the operator's log."""
    host = host_of(client_id)
    if urlsplit(client_id).path == "/":
        raise NotFetched("the address of a client has a path")
    try:
        found: dict[str, Any] = _Document().load(load(fetch(client_id)))
        if found["client_id"] != client_id:
            raise NotFetched("the document names another client_id than its own address")
        for uri in found["redirect_uris"]:
            there = urlsplit(uri).hostname or ""
            if there not in LOOPBACK and there != host and not there.endswith(f".{host}"):
                raise NotFetched("a redirect_uri lies on another host")
        keys = load(fetch(found["jwks_uri"])) if "jwks_uri" in found else found["jwks"]
        check_key_set(keys if isinstance(keys, dict) else {})
    except ValidationError as wrong:
        raise NotFetched(f"the document cannot be used: {wrong.messages}") from None
    except Malformed as wrong:
        raise NotFetched(f"the document is not the JSON we take: {wrong}") from None
    made = {"client_id": client_id, "domain": host, "client_name": found.get("client_name", host), "redirect_uris": found["redirect_uris"]}
    contact = {"contact": plain_text(found["contacts"][0])} if found.get("contacts") else {}
    return {**made, **contact, "jwks": {"keys": keys["keys"]}}
