"""Rows of grants, of how much they were used, of the answers that were given today, and of what both sides signed."""

from sqlalchemy import Column, Date, Integer, LargeBinary, String, Table

from broker.db import CLUSTERED, Moment, metadata

grants = Table(
    "grants",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("grant_id", LargeBinary(16), primary_key=True),
    # Plain, because a grant can be ended while everything else is sealed.
    Column("client_id", String(2000), nullable=False),
    Column("status", String(10), nullable=False),
    Column("version", Integer, nullable=False),
    Column("given_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    # When the other side had signed the agreement too; the person's own extension has none to sign, so at once.
    Column("countersigned_at", Moment),
    Column("ended_at", Moment),
    # SHA-256 of the agreement; none for the person's own extension.
    Column("agreement", LargeBinary(32)),
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

agreements = Table(
    "agreements",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("grant_id", LargeBinary(16), primary_key=True),
    # The JWS as the person signed it, and what the vendor added.
    Column("document", LargeBinary, nullable=False),
    Column("countersignature", LargeBinary),
    # What opens its commitments: the salt, and the terms and the page it was given on. They stay with the person.
    Column("opening", LargeBinary, nullable=False),
    **CLUSTERED,
)

# The chain of statements that an agreement's grant was paused, resumed, narrowed or ended, each a compact JWS.
changes = Table(
    "consent_changes",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("grant_id", LargeBinary(16), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("statement", LargeBinary, nullable=False),
    **CLUSTERED,
)
