"""People who erased everything, and keys that were destroyed."""

import sqlalchemy as sa
from alembic import op

import broker.db

revision = "8e7a8ff2a973"
down_revision = "dfd64dcebb00"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "destroyed_keys",
        sa.Column("person_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("key_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("destroyed_at", broker.db.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "key_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "erased_people",
        sa.Column("person_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("erased_at", broker.db.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("person_id"),
    )
