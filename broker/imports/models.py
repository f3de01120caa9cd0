"""Rows of imports: one batch per file taken in, with one undo."""

from sqlalchemy import Column, Integer, LargeBinary, String, Table

from broker.db import CLUSTERED, Moment, metadata

batches = Table(
    "import_batches",
    metadata,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("batch_id", LargeBinary(16), primary_key=True),
    # mapping (columns to be told), reading, ready (dry run done), taking, done, undoing, undone, failed
    Column("state", String(10), nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Column("total", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    # File name, kind, where it came from, mapping and findings; while its columns are being told, the first rows too.
    Column("details", LargeBinary, nullable=False),
    **CLUSTERED,
)
