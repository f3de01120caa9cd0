"""Reading clients and the vendors behind them."""

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from broker.db import Prepared
from broker.vault.credentials import Credential
from broker.vendors.models import clients, invites, vendors


@dataclass(frozen=True, slots=True)
class Client:
    """A client; the person's own extension has no vendor (`vendor_id`, `domain` empty)."""

    client_id: str
    name: str
    method: str
    redirect_uris: tuple[str, ...]
    keys: tuple[dict[str, Any], ...]
    enabled: bool
    vendor_id: str
    domain: str
    vendor_name: str
    address: str
    contact: str
    classes: frozenset[str]
    # When its metadata document was last fetched; none where an operator registered it.
    checked_at: dt.datetime | None = None

    @property
    def public(self) -> bool:
        """Whether this is a public client (RFC 6749 section 2.1)."""
        return self.method == "none"

    @property
    def signing_key(self) -> dict[str, str] | None:
        """The key an agreement names as the vendor's: its first Ed25519 key, else its first P-256 key, without further members; None if it has neither."""
        for kty, crv, names in (("OKP", "Ed25519", ("crv", "kty", "x")), ("EC", "P-256", ("crv", "kty", "x", "y"))):
            for key in self.keys:
                if (key.get("kty"), key.get("crv")) == (kty, crv):
                    return {name: key[name] for name in names}
        return None


_JOINED = select(clients, vendors.c.domain, vendors.c.name.label("vendor_name"), vendors.c.address, vendors.c.contact, vendors.c.classes).select_from(
    clients.outerjoin(vendors, vendors.c.vendor_id == clients.c.vendor_id)
)


_ONE: Final = Prepared(_JOINED.where(clients.c.client_id == bindparam("client")))


def client(tx: Connection, client_id: str) -> Client | None:
    """The client with this id, enabled or not."""
    row = _ONE.first(tx, {"client": client_id})
    if row is None:
        return None
    return Client(
        row.client_id, row.name, row.method, tuple(row.redirect_uris), tuple(row.jwks.get("keys", ())), row.enabled,
        row.vendor_id or "", row.domain or "", row.vendor_name or "", row.address or "", row.contact or "",
        frozenset(row.classes or ()), row.checked_at,
    )  # fmt: skip


def invited(tx: Connection, shown: Credential, now: dt.datetime) -> str | None:
    """The domain that the holder of this invite can register a client for; None where the invite is no longer good."""
    row = tx.execute(select(invites).where(invites.c.hash == shown.hash)).first()
    return str(row.domain) if row is not None and row.used_at is None and now < row.expires_at else None


def is_known(tx: Connection, domain: str) -> bool:
    """Whether a client was registered for this domain."""
    return tx.execute(select(vendors.c.vendor_id).where(vendors.c.vendor_id == f"https://{domain}")).first() is not None


def registered_domains(tx: Connection) -> list[str]:
    """The domains of vendors whose clients an operator registered."""
    wanted = select(vendors.c.domain).join(clients, clients.c.vendor_id == vendors.c.vendor_id).where(clients.c.checked_at.is_(None))
    return list(tx.execute(wanted.distinct()).scalars())


def every_client(tx: Connection) -> list[Client]:
    """All clients, for the operator's list."""
    found = (client(tx, client_id) for client_id in tx.execute(select(clients.c.client_id).order_by(clients.c.client_id)).scalars())
    return [each for each in found if each is not None]
