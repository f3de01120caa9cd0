"""What a restore needs to know: marks, and logs that were closed."""

import sqlalchemy as sa
from alembic import context, op

revision = "6177ddeab84e"
down_revision = "350daec7205f"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "marks", sa.Column("name", sa.String(length=20), nullable=False), sa.Column("value", sa.LargeBinary(), nullable=False), sa.PrimaryKeyConstraint("name")
    )
    if context.config.attributes["from"] is not None:
        # What was kept from before there were marks is this broker's, and no strange one's: said in the very transaction that makes them.
        op.execute(sa.text("INSERT INTO marks (name, value) VALUES ('adopted', x'01')"))
