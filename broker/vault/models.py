"""Rows of keys.db (wrapped keys, never backed up in one file with the data) and heads.db (what must never be rolled back)."""

from sqlalchemy import JSON, Column, Integer, LargeBinary, MetaData, String, Table

from broker.db import CLUSTERED, Moment

keys = MetaData()
heads = MetaData()

slots = Table(
    "slots",
    keys,
    Column("slot_id", LargeBinary(16), primary_key=True),
    Column("kind", String(20), nullable=False),
    # How a passphrase is stretched.
    Column("params", JSON),
    Column("public", LargeBinary(32), nullable=False),
    Column("wrapped_root", LargeBinary, nullable=False),
)

# The processes that serve this broker now; ROOT is handed to each under a key that lies in its memory alone.
processes = Table(
    "processes",
    keys,
    Column("process_id", LargeBinary(16), primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("public", LargeBinary(32), nullable=False),
    Column("wrapped_root", LargeBinary),
    # When somebody was last at one of its pages, in seconds that the machine had run.
    Column("used_at", Integer, nullable=False, server_default="0"),
)

epochs = Table(
    "epochs",
    keys,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("state", String(10), nullable=False),
    Column("wrapped_kek", LargeBinary, nullable=False),
)

# Secrets that belong to no person; they work while the broker is sealed.
host_keys = Table(
    "host_keys",
    keys,
    Column("name", String(20), primary_key=True),
    Column("secret", LargeBinary(32), nullable=False),
)

person_keys = Table(
    "person_keys",
    keys,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("key_id", LargeBinary(16), primary_key=True),
    Column("role", String(12), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("month", String(7), nullable=False),
    Column("state", String(10), nullable=False),
    Column("seals", Integer, nullable=False),
    Column("public", LargeBinary(32)),
    **CLUSTERED,
)

# A wrap is a row of its own, so that a key never knows who holds it.
person_wraps = Table(
    "person_wraps",
    keys,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("key_id", LargeBinary(16), primary_key=True),
    Column("holder", String(50), primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    **CLUSTERED,
)

# People who erased everything: nothing of them may come back from a backup, and whatever of it was not done yet is done at the next start.
erased_people = Table(
    "erased_people",
    heads,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("erased_at", Moment, nullable=False),
)

# What this broker must know of itself whatever is put back beside this file: whose it is, its newest epoch, and what is under way.
marks = Table("marks", heads, Column("name", String(20), primary_key=True), Column("value", LargeBinary, nullable=False))

# Keys that were destroyed: a backup that still has them must not bring them back.
destroyed_keys = Table(
    "destroyed_keys",
    heads,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("key_id", LargeBinary(16), primary_key=True),
    Column("destroyed_at", Moment, nullable=False),
    **CLUSTERED,
)

# The newest version in which a grant was paused or narrowed, and the newest in which it was narrowed: an older data.db must not undo it.
lessened = Table(
    "lessened_grants",
    heads,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("grant_id", LargeBinary(16), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("narrowed", Integer, nullable=False),
    **CLUSTERED,
)

# Events that were forgotten, until the keys of their month are destroyed: an older data.db must not bring them back. Tags are blind.
forgotten = Table(
    "forgotten",
    heads,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("event_tag", LargeBinary(16), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("month", String(7), nullable=False),
    Column("noted_at", Moment, nullable=False),
    **CLUSTERED,
)

# Slots that were taken away: an older keys.db must not be opened by what was lost or stolen.
removed_slots = Table("removed_slots", heads, Column("slot_id", LargeBinary(16), primary_key=True))

# The last checkpoint of each log, which a new one must follow: whoever restores an older data.db still has this.
checkpoints = Table(
    "checkpoints",
    heads,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("log_id", LargeBinary(16), primary_key=True),
    # The log's name in its notes, kept from its first checkpoint on, even should the broker move.
    Column("origin", String(300), nullable=False),
    Column("size", Integer, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("note", LargeBinary, nullable=False),
    Column("signed_at", Moment, nullable=False),
    **CLUSTERED,
)

ended_grants = Table(
    "ended_grants",
    heads,
    Column("person_id", LargeBinary(16), primary_key=True),
    Column("grant_id", LargeBinary(16), primary_key=True),
    Column("ended_at", Moment, nullable=False),
    **CLUSTERED,
)

# How far time has come, by what is gone by: `seen` is the highest that the broker has seen, `kept` where retention has come to.
times = Table(
    "times",
    heads,
    Column("name", String(10), primary_key=True),
    Column("at", Moment, nullable=False),
)
