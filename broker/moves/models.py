"""Rows of the ledgers that people brought from brokers they left, sealed in pieces."""

from sqlalchemy import Column, Integer, LargeBinary, Table

from broker.db import metadata

old_ledgers = Table(
    "old_ledgers",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    # Piece 0 says what it is, and is written last: without it the others are the rest of an import that broke off. The file is in the pieces after it.
    Column("piece", Integer, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)
