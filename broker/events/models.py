"""Rows of events: plain person, kind and day; blind tags; the rest sealed."""

from sqlalchemy import Column, Date, Index, Integer, LargeBinary, String, Table

from broker.db import CLUSTERED, Moment, metadata

events = Table(
    "events",
    metadata,
    # Clustered by how it is read: one person's events of one kind, in order of days.
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("day", Date, primary_key=True),
    # Blind, since an event's id (UUIDv7) would tell its time to the millisecond.
    Column("event_tag", LargeBinary(16), primary_key=True),
    Column("domain_tag", LargeBinary(16)),
    Column("host_tag", LargeBinary(16)),
    Column("class_tag", LargeBinary(16)),
    # The one top category of all items; empty where there are none or several, and then the row stays a candidate.
    Column("category_tag", LargeBinary(16)),
    # The import batch or the extension's grant it came by, blind.
    Column("origin_tag", LargeBinary(16), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("events_by_tag", "person_id", "event_tag", unique=True),
    **CLUSTERED,
)

# Kept in step with `events` in the same transaction, so that no page counts by scanning.
counts = Table(
    "event_counts",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("number", Integer, nullable=False),
    **CLUSTERED,
)

# Months of which something was erased, until no key is left that could open it; a row is made in the transaction that erases.
shreds = Table(
    "shreds",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("month", String(7), primary_key=True),
    Column("asked_at", Moment, nullable=False),
    # When those keys were destroyed; the epoch they lay under goes next.
    Column("destroyed_at", Moment),
    **CLUSTERED,
)

# Keys that are going or gone: nothing may be stored under them any more, by whatever process it was sealed.
retired_keys = Table(
    "retired_keys",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("key_id", LargeBinary(16), primary_key=True),
    **CLUSTERED,
)

# How many days a kind of event is kept; none is for ever.
retention = Table(
    "retention",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("days", Integer, nullable=False),
    **CLUSTERED,
)

# What the person forgot must not come back with the next upload or import.
forgotten = Table(
    "forgotten_events",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("event_tag", LargeBinary(16), primary_key=True),
    Column("day", Date, nullable=False),
    **CLUSTERED,
)

# What insights add up, by month and site, sealed under that month's own key: what erases the month erases them.
totals = Table(
    "event_totals",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("month", String(7), primary_key=True),
    Column("domain_tag", LargeBinary(16), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    **CLUSTERED,
)

# Months whose totals have to be worked out. Each change gives the row a new mark, so that none is kept that was worked out before it.
stale = Table(
    "stale_totals",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("month", String(7), primary_key=True),
    Column("mark", LargeBinary(16), nullable=False),
    **CLUSTERED,
)
