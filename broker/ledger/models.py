"""Rows of the ledger: one RFC 6962 tree per person and log."""

from sqlalchemy import Column, Date, Index, Integer, LargeBinary, String, Table

from broker.db import CLUSTERED, metadata

entries = Table(
    "ledger_entries",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("log_id", LargeBinary(16), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("day", Date, nullable=False),
    Column("leaf_hash", LargeBinary(32), nullable=False),
    # Blind: lets a grant's page find its entries without unsealing the whole log.
    Column("grant_tag", LargeBinary(16)),
    Column("body", LargeBinary, nullable=False),
    **CLUSTERED,
)

# Clocks go wrong, so a day's entries need not stand together; this finds all of them without opening any.
Index("ledger_days", entries.c.person_id, entries.c.day)

heads = Table(
    "ledger_heads",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("log_id", LargeBinary(16), primary_key=True),
    Column("size", Integer, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    # Why this log is not the continuation of its last checkpoint; while it stands, nothing is read and only endings are entered.
    Column("alarm", String(300)),
    # How many entries came before it in older logs: pages count on from there.
    Column("first", Integer, nullable=False, server_default="0"),
    # The restore after which a new log was begun; nothing is ever entered here again.
    Column("closed", LargeBinary(16)),
    **CLUSTERED,
)
Index("ledger_alarms", heads.c.alarm, sqlite_where=heads.c.alarm.is_not(None))

# The ids of the rows that an entry's read sent, sealed beside it, so that the page can show them again.
rows = Table(
    "ledger_rows",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("log_id", LargeBinary(16), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
    **CLUSTERED,
)
