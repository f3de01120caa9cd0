"""Registering clients, and taking them out."""

import os
import re
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from broker.errors import Conflict
from broker.opening import Broker
from broker.vendors.models import clients, vendors

EXTENSION: Final = "extension"
# The redirect addresses of our own extension: its pinned Chromium id, and the SHA-1 of its Gecko id (rule T15).
EXTENSION_REDIRECTS: Final = (
    "https://ejgmiaiedjnaeobpmlbdpcmbbikgbjma.chromiumapp.org/cb",
    "https://83fd1cb0fb2cdd26a9bf0ec5e36be2ec2c94ed9f.extensions.allizom.org/cb",
    "http://127.0.0.1/mozoauth2/83fd1cb0fb2cdd26a9bf0ec5e36be2ec2c94ed9f/cb",
)


def add_client(broker: Broker, metadata: dict[str, Any]) -> str:
    """Register a vendor's client from checked metadata (`schemas.ClientMetadata`) and return its client_id; `Conflict` if the id is taken."""
    slug = re.sub(r"[^a-z0-9]+", "-", metadata["client_name"].casefold()).strip("-")[:40] or "client"
    client_id: str = metadata.get("client_id") or f"{slug}-{os.urandom(4).hex()}"
    vendor_id = f"https://{metadata['domain']}"
    now = broker.now()

    def job(tx: Connection) -> None:
        if tx.execute(select(clients.c.client_id).where(clients.c.client_id == client_id)).first():
            raise Conflict(f"There is a client {client_id!r} already. Remove it first, or choose another client_id.")
        if not tx.execute(select(vendors.c.vendor_id).where(vendors.c.vendor_id == vendor_id)).first():
            vendor = {"vendor_id": vendor_id, "domain": metadata["domain"], "name": metadata["client_name"], "classes": [], "made_at": now}
            tx.execute(insert(vendors).values(vendor))
        tx.execute(
            insert(clients).values(
                client_id=client_id, vendor_id=vendor_id, name=metadata["client_name"], method="private_key_jwt",
                redirect_uris=metadata["redirect_uris"], jwks=metadata["jwks"], enabled=True, made_at=now,
            )
        )  # fmt: skip

    broker.write(job)
    return client_id


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


def disable_client(broker: Broker, client_id: str) -> bool:
    """Take a client out of service: from now on it is refused everywhere; False if there is none. Its grants stay listed."""
    return broker.write(lambda tx: tx.execute(update(clients).where(clients.c.client_id == client_id).values(enabled=False)).rowcount > 0, ending=True)
