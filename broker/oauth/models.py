"""Rows of the authorization server; a credential is stored only as the SHA-256 of its text."""

from sqlalchemy import Column, Index, LargeBinary, String, Table

from broker.db import CLUSTERED, Moment, metadata

tokens = Table(
    "tokens",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("hash", LargeBinary(32), primary_key=True),
    Column("kind", String(2), nullable=False),
    Column("client_id", String(2000), nullable=False),
    Column("grant_id", LargeBinary(16), nullable=False),
    # The thumbprint of the key that must be proved with it (RFC 9449).
    Column("jkt", String(43), nullable=False),
    # The clauses this token is limited to, separated by spaces; empty means all of the grant's.
    Column("clauses", String(400), nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("last_used_at", Moment, nullable=False),
    Column("ended_at", Moment),
    **CLUSTERED,
)

Index("access_tokens", tokens.c.expires_at, sqlite_where=tokens.c.kind == "at")

codes = Table(
    "codes",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("hash", LargeBinary(32), primary_key=True),
    Column("client_id", String(2000), nullable=False),
    Column("grant_id", LargeBinary(16), nullable=False),
    Column("redirect_uri", String(2000), nullable=False),
    Column("code_challenge", String(43), nullable=False),
    Column("jkt", String(43), nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("used_at", Moment),
    **CLUSTERED,
)

# Nobody's until a person opens it. The parameters are the vendor's words, sealed by the host's key.
pushed_requests = Table(
    "pushed_requests",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("client_id", String(2000), nullable=False),
    Column("parameters", LargeBinary, nullable=False),
    Column("jkt", String(43), nullable=False),
    Column("pushed_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    # The browser that opened it first (SHA-256 of a cookie of its own), then the person.
    Column("browser", LargeBinary(32)),
    Column("opened_at", Moment),
    Column("opened_by", LargeBinary(16)),
    Column("used_at", Moment),
)

# A request that a person has opened; it can be answered here until `decide_by`.
requests = Table(
    "requests",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("request_id", LargeBinary(16), primary_key=True),
    Column("hash", LargeBinary(32), nullable=False),
    Column("client_id", String(2000), nullable=False),
    Column("state", String(10), nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("decide_by", Moment, nullable=False),
    **CLUSTERED,
)

used_ids = Table(
    "used_ids",
    metadata,
    Column("holder", String(2000), primary_key=True),
    Column("jti", LargeBinary(32), primary_key=True),
    Column("until", Moment, nullable=False),
    Index("used_ids_until", "until"),
    **CLUSTERED,
)
