"""What was taken away and must stay so: grants that were lessened, forgotten events, removed slots."""

import sqlalchemy as sa
from alembic import op

import broker.db

revision = "c3a7f02d9be4"
down_revision = "6177ddeab84e"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lessened_grants",
        sa.Column("person_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("grant_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("narrowed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "grant_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "forgotten",
        sa.Column("person_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("event_tag", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("noted_at", broker.db.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "event_tag"),
        sqlite_with_rowid=False,
    )
    op.create_table("removed_slots", sa.Column("slot_id", sa.LargeBinary(length=16), nullable=False), sa.PrimaryKeyConstraint("slot_id"))
