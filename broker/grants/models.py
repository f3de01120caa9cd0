"""Rows of grants, of how much they were used, and of the answers that were given today."""

from sqlalchemy import Column, Date, Integer, LargeBinary, String, Table

from broker.db import CLUSTERED, Moment, metadata

grants = Table(
    "grants",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("grant_id", LargeBinary(16), primary_key=True),
    # Plain, because a grant can be ended while everything else is sealed.
    Column("client_id", String(64), nullable=False),
    Column("status", String(10), nullable=False),
    Column("version", Integer, nullable=False),
    Column("given_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("reason", String(20), nullable=False),
    Column("clauses", LargeBinary, nullable=False),
    # What was asked, narrowed and shown: for the person's page.
    Column("details", LargeBinary, nullable=False),
    **CLUSTERED,
)

use = Table(
    "grant_use",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("grant_id", LargeBinary(16), primary_key=True),
    Column("clause", String(40), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("reads", Integer, nullable=False),
    Column("rows", Integer, nullable=False),
    **CLUSTERED,
)

answers = Table(
    "grant_answers",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("grant_id", LargeBinary(16), primary_key=True),
    Column("clause", String(40), primary_key=True),
    Column("day", Date, nullable=False),
    # Sealed; random bytes where there are none, so that whoever worked from an older state is noticed.
    Column("body", LargeBinary, nullable=False),
    **CLUSTERED,
)
