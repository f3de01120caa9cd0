"""Registering clients, and taking them out."""

import base64
import datetime as dt
import hashlib
import logging
import os
import re
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from broker.errors import Conflict
from broker.fetching import NotFetched, host_of
from broker.opening import Broker
from broker.vault import credentials
from broker.vault.credentials import Credential
from broker.vendors import documents, queries
from broker.vendors.models import clients, invites, vendors

log = logging.getLogger(__name__)
EXTENSION: Final = "extension"
INVITE_LIVES: Final = dt.timedelta(days=7)
# The public key that pins the Chromium id of our own extension; it signs nothing, so nobody needs its other half.
EXTENSION_KEY: Final = (
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAkTad1DLMiv5JpP22vewcBn9RvvrFP1rGqTRgwkQ2OYmAgibdYAQl+f5f5GNlbbQS6/Q9xWg4X/tdV/elHjnNs8q2xtJZq00V"
    "xJAAWxwRU2Bfse6rckrEHCjzntl5rolfaMHSQVJH25lStxzoEELBfVkGOl8Q6kPZDZReOmAdBALgBDVvhx7Nn39C+0aA/oKvUs3y+Ejywq/3YXk+5DnoHuKIoUM0sWHjm2eB4nR8dTJq"
    "pF6HCtJMGbCod1/9pw7Yo4G7noNe52I5zqKgC58dPClzzDW+CU2M+72YpLSHfovFbpyPtfyKcu/S/w0k/bFyfI5xJxpDjD1FIMbojX8hVQIDAQAB"
)
GECKO_ID: Final = "proffer@proffer.example"


def _redirects() -> tuple[str, ...]:
    """The redirect addresses that browsers give the extension (rule T15): from its pinned key, and from its Gecko id."""
    digest = hashlib.sha256(base64.b64decode(EXTENSION_KEY)).hexdigest()[:32]
    chromium = digest.translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop"))
    gecko = hashlib.sha1(GECKO_ID.encode(), usedforsecurity=False).hexdigest()
    return (f"https://{chromium}.chromiumapp.org/cb", f"https://{gecko}.extensions.allizom.org/cb", f"http://127.0.0.1/mozoauth2/{gecko}/cb")


EXTENSION_REDIRECTS: Final = _redirects()


def add_client(broker: Broker, metadata: dict[str, Any]) -> str:
    """Register a vendor's client from checked metadata (`schemas.ClientMetadata`) and return its client_id; `Conflict` if the id is taken."""
    client_id: str = metadata.get("client_id") or _new_id(metadata["client_name"])

    def job(tx: Connection) -> None:
        if tx.execute(select(clients.c.client_id).where(clients.c.client_id == client_id)).first():
            raise Conflict(f"There is a client {client_id!r} already. Remove it first, or choose another client_id.")
        _insert(tx, client_id, metadata, broker.now())

    broker.write(job)
    return client_id


def invite(broker: Broker, domain: str) -> Credential:
    """What lets its holder register one client for this domain, within seven days; whoever makes it answers for whose domain it is."""
    made = credentials.mint(broker.vault.route_key, "it")
    row = {"hash": made.hash, "domain": domain, "expires_at": broker.now() + INVITE_LIVES}
    broker.write(lambda tx: tx.execute(insert(invites).values(row)))
    return made


def register(broker: Broker, shown: Credential, metadata: dict[str, Any]) -> str | None:
    """Use an invite up and register the client in one transaction; the client_id, or None where the invite is no longer good."""
    now = broker.now()
    client_id = _new_id(metadata["client_name"])
    take = update(invites).where(invites.c.hash == shown.hash, invites.c.used_at.is_(None), invites.c.expires_at > now).values(used_at=now)

    def job(tx: Connection) -> bool:
        if not tx.execute(take).rowcount:
            return False
        _insert(tx, client_id, metadata, now)
        return True

    return client_id if broker.write(job) else None


def _new_id(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:40] or "client"
    # Many call themselves alike, and of 32 bits two would soon be the same.
    return f"{slug}-{os.urandom(8).hex()}"


def _insert(tx: Connection, client_id: str, metadata: dict[str, Any], now: dt.datetime, checked_at: dt.datetime | None = None) -> None:
    vendor_id = f"https://{metadata['domain']}"
    if not tx.execute(select(vendors.c.vendor_id).where(vendors.c.vendor_id == vendor_id)).first():
        tx.execute(
            insert(vendors).values(
                vendor_id=vendor_id, domain=metadata["domain"], name=metadata["client_name"], address=metadata.get("address"),
                contact=metadata.get("contact"), classes=[], made_at=now,
            )
        )  # fmt: skip
    tx.execute(
        insert(clients).values(
            client_id=client_id, vendor_id=vendor_id, name=metadata["client_name"], method="private_key_jwt", redirect_uris=metadata["redirect_uris"],
            jwks=metadata["jwks"], enabled=True, made_at=now, checked_at=checked_at,
        )
    )  # fmt: skip


def by_document(broker: Broker, client_id: str) -> queries.Client | None:
    """The client at this address, as its document says not longer than 20 minutes ago; None where it cannot be had, which the log tells."""
    now = broker.now()
    with broker.reading() as tx:
        known = queries.client(tx, client_id)
    if known and (not known.enabled or (known.checked_at and now - known.checked_at < documents.FRESH)):
        return known

    def fetch(url: str) -> bytes:
        # Each host that a stranger's document leads to, its own and that of its keys.
        broker.limits.count("fetch", host_of(url))
        return broker.fetch(url)

    try:
        metadata = documents.read(client_id, fetch)
    except NotFetched as why:
        log.warning("the client %r could not be looked up: %s", client_id[:300], why)
        return None

    def job(tx: Connection) -> queries.Client | None:
        told = {"name": metadata["client_name"], "redirect_uris": metadata["redirect_uris"], "jwks": metadata["jwks"], "checked_at": now}
        if not tx.execute(update(clients).where(clients.c.client_id == client_id).values(told)).rowcount:
            _insert(tx, client_id, metadata, now, checked_at=now)
        return queries.client(tx, client_id)

    return broker.write(job)


def seed_extension(broker: Broker) -> None:
    """Make sure that the person's own extension is registered as the one public client."""
    row: dict[str, Any] = {
        "client_id": EXTENSION, "vendor_id": None, "name": "Proffer extension", "method": "none",
        "redirect_uris": list(EXTENSION_REDIRECTS), "jwks": {}, "enabled": True, "made_at": broker.now(),
    }  # fmt: skip

    def job(tx: Connection) -> None:
        if not tx.execute(select(clients.c.client_id).where(clients.c.client_id == EXTENSION)).first():
            tx.execute(insert(clients).values(row))

    broker.write(job)


def disable_client(broker: Broker, client_id: str, enter: Callable[[Connection], None] = lambda _tx: None) -> bool:
    """Take a client out of service: from now on it is refused everywhere; False if there is none. Its grants stay listed.

    `enter` tells those who have given it something, in the same transaction.
    """

    def job(tx: Connection) -> bool:
        if not tx.execute(update(clients).where(clients.c.client_id == client_id).values(enabled=False)).rowcount:
            return False
        enter(tx)
        return True

    return broker.write(job, ending=True)
