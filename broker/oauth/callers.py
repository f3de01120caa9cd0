"""Who calls an OAuth endpoint: one client, authenticated in exactly one way (rules A6, A7, T14)."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from broker.oauth import assertion, gate
from broker.opening import Broker
from broker.vendors import actions as vendor_actions
from broker.vendors import documents
from broker.vendors import queries as vendor_queries
from broker.vendors.queries import Client


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls an OAuth endpoint: a client, and the thumbprint of the key it proved to hold; empty where nothing was proved."""

    client: Client
    jkt: str = ""


class Replayed(gate.Refused):
    """An assertion that was used before: the same `invalid_client` as for any other that is not good, and the person it may concern is told."""

    def __init__(self, client: Client) -> None:
        super().__init__("invalid_client", gate.NO_CLIENT, 401)
        self.client = client


@dataclass(frozen=True, slots=True)
class Spent:
    """An id that may be used once, until it can no longer be valid; whoever comes second is refused by `clash`."""

    holder: str
    jti: bytes
    until: dt.datetime
    clash: Callable[[], gate.Refused]


def authenticate(broker: Broker, form: Mapping[str, str], authorization: str | None) -> tuple[Client, list[Spent]]:
    """The client that sent this form, by `private_key_jwt`, or the extension by its `client_id`; raises `gate.Refused`.

    Exactly one method (RFC 6749 section 2.3). Beside the client stands the assertion's id, not used up yet (rule T4).
    """
    text = form.get("client_assertion", "")
    if "client_secret" in form or (authorization and text):
        raise gate.invalid_request("Use exactly one way of client authentication.") if text else gate.invalid_client()
    if authorization:
        raise gate.invalid_client()
    if not text:
        return _public_client(broker, form), []
    shown = assertion.read(text)
    client_id = shown.client_id
    client = _named(broker, client_id)
    known = client is not None and client.enabled and not client.public
    try:
        verified = assertion.verify(shown, keys=client.keys if known and client else (), audience=broker.settings.origin, now=broker.now())
    except assertion.NotVerified:
        raise gate.invalid_client() from None
    named = form.get("client_id", client_id)
    if client is None or not known or named != client_id or form.get("client_assertion_type") != assertion.TYPE:
        raise gate.invalid_client()
    return client, [Spent(client_id, verified.jti, verified.until, lambda: Replayed(client))]


def _named(broker: Broker, client_id: str) -> Client | None:
    """The client of this id: one that was registered, or that says what it is at an address of its own."""
    if documents.is_address(client_id):
        return vendor_actions.by_document(broker, client_id)
    with broker.reading() as tx:
        return vendor_queries.client(tx, client_id) if client_id else None


def _public_client(broker: Broker, form: Mapping[str, str]) -> Client:
    with broker.reading() as tx:
        client = vendor_queries.client(tx, form.get("client_id", ""))
    if client is None or not client.public or not client.enabled or "client_assertion_type" in form:
        raise gate.invalid_client()
    return client
