"""Rows about people: each person, their sessions, and the one-use links that make them."""

from sqlalchemy import Column, Integer, LargeBinary, String, Table

from broker.db import CLUSTERED, Moment, metadata

people = Table(
    "people",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    # Blind: the one tag that is the same for the whole broker, under a pepper in keys.db.
    Column("name_tag", LargeBinary(16), nullable=False, unique=True),
    Column("name", LargeBinary, nullable=False),
    Column("password", LargeBinary, nullable=False),
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
    Column("expires_at", Moment, nullable=False),
    **CLUSTERED,
)

# Nobody's yet, so the key is the link's own hash.
sign_up_links = Table(
    "sign_up_links",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("expires_at", Moment, nullable=False),
    Column("used_at", Moment),
)
