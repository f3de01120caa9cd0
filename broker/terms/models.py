"""Rows of the terms: every version is kept."""

from sqlalchemy import Column, Integer, LargeBinary, Table

from broker.db import CLUSTERED, Moment, metadata

versions = Table(
    "terms_versions",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("made_at", Moment, nullable=False),
    # The version that this one put back, where it is an undo or a restoration.
    Column("restored", Integer),
    Column("body", LargeBinary, nullable=False),
    **CLUSTERED,
)
