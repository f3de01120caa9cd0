"""Rows of notices: one per thing to hear of, its words sealed."""

from sqlalchemy import Column, LargeBinary, String, Table

from broker.db import CLUSTERED, Moment, metadata

notices = Table(
    "notices",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    # Random, or blind of what it is about and the day: then it is told once a day.
    Column("notice_id", LargeBinary(16), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("seen_at", Moment),
    Column("body", LargeBinary, nullable=False),
    **CLUSTERED,
)
