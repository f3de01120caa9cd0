"""Rows about people: each person, their sessions, and the one-use links that let them in.

What sign-in needs lies sealed under the host's key, not the person's: people sign in while the broker is sealed.
"""

from sqlalchemy import Column, Integer, LargeBinary, String, Table

from broker.db import CLUSTERED, Moment, metadata

people = Table(
    "people",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    # Blind: the one tag that is the same for the whole broker, under a pepper in keys.db.
    Column("name_tag", LargeBinary(16), nullable=False, unique=True),
    Column("name", LargeBinary, nullable=False),
    # None where the person signs in by passkeys alone.
    Column("password", LargeBinary),
    # The secret of an authenticator app, and the last of its steps that was used: none counts twice.
    Column("totp", LargeBinary),
    Column("totp_step", Integer, nullable=False, server_default="0"),
    Column("custody", String(10), nullable=False),
    Column("terms_version", Integer, nullable=False),
    # How often events were erased: a read under way when this grows is done again.
    Column("erasures", Integer, nullable=False, server_default="0"),
    Column("made_at", Moment, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("hash", LargeBinary(32), primary_key=True),
    Column("made_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    # When the person last proved who they are in this session.
    Column("fresh_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("factor", String(10), nullable=False),
    # The browser and system it was made in, sealed.
    Column("device", LargeBinary, nullable=False),
    **CLUSTERED,
)

# Nobody's yet, so the key is the link's own hash; `person_id` is whom a link of `broker person reset` lets in again.
sign_up_links = Table(
    "sign_up_links",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("person_id", LargeBinary(16)),
    Column("expires_at", Moment, nullable=False),
    Column("used_at", Moment),
)
