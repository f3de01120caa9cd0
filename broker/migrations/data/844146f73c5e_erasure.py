"""What is erased: months whose keys are to go, how long kinds are kept."""

import sqlalchemy as sa
from alembic import op

import broker.db

revision = "844146f73c5e"
down_revision = "f1e4c4c9da5a"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retired_keys",
        sa.Column("person_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("key_id", sa.LargeBinary(length=16), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "key_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "retention",
        sa.Column("person_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "kind"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "shreds",
        sa.Column("person_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("asked_at", broker.db.Moment(), nullable=False),
        sa.Column("destroyed_at", broker.db.Moment(), nullable=True),
        sa.PrimaryKeyConstraint("person_id", "kind", "month"),
        sqlite_with_rowid=False,
    )
