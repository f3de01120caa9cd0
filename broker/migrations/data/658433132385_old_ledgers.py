"""Ledgers that people brought from the brokers they left."""

import sqlalchemy as sa
from alembic import op

revision = "658433132385"
down_revision = "c4d1a7f05e92"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "old_ledgers",
        sa.Column("person_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("piece", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "number", "piece"),
    )
