"""Rows about vendors and clients; they belong to nobody in the household, so no person stands in their keys."""

from sqlalchemy import JSON, Boolean, Column, ForeignKey, LargeBinary, String, Table

from broker.db import Moment, metadata

vendors = Table(
    "vendors",
    metadata,
    # Its origin, such as https://books.example; the host is the verified domain.
    Column("vendor_id", String(260), primary_key=True),
    Column("domain", String(253), nullable=False),
    Column("name", String(80), nullable=False),
    # Its postal address and where to write to it, as it says itself; they stand in its agreements.
    Column("address", String(200)),
    Column("contact", String(200)),
    Column("classes", JSON, nullable=False),
    Column("made_at", Moment, nullable=False),
)

clients = Table(
    "clients",
    metadata,
    # A short name that an operator gave, or the address of its metadata document.
    Column("client_id", String(2000), primary_key=True),
    Column("vendor_id", String(260), ForeignKey("vendors.vendor_id")),
    Column("name", String(80), nullable=False),
    Column("method", String(20), nullable=False),
    Column("redirect_uris", JSON, nullable=False),
    Column("jwks", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("made_at", Moment, nullable=False),
    # When its metadata document was last fetched; none for a client that an operator registered.
    Column("checked_at", Moment),
)

# Who holds the invite can register one client, for this domain.
invites = Table(
    "invites",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("domain", String(253), nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("used_at", Moment),
)
