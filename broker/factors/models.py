"""Rows of the ways to sign in beside the password: passkeys, recovery codes, and the challenges that were used."""

from sqlalchemy import Boolean, Column, Integer, LargeBinary, Table

from broker.db import CLUSTERED, Moment, metadata

passkeys = Table(
    "passkeys",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("hash", LargeBinary(32), primary_key=True),
    # As the authenticator calls it, up to 1,023 bytes; `hash` is its SHA-256.
    Column("credential_id", LargeBinary, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", Integer, nullable=False),
    Column("backed_up", Boolean, nullable=False),
    Column("name", LargeBinary, nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("used_at", Moment),
    **CLUSTERED,
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("hash", LargeBinary(32), primary_key=True),
    Column("made_at", Moment, nullable=False),
    Column("used_at", Moment),
    **CLUSTERED,
)

# Challenges of passkeys carry their own proof; here stand those that were used.
used_challenges = Table(
    "used_challenges",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("until", Moment, nullable=False),
)
