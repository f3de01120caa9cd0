"""How a passphrase is stretched, and the processes that ROOT is handed to."""

import sqlalchemy as sa
from alembic import op

revision = "4c1f0e7a92b3"
down_revision = "db77fb5ff80f"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("slots", sa.Column("params", sa.JSON(), nullable=True))
    op.create_table(
        "processes",
        sa.Column("process_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("public", sa.LargeBinary(length=32), nullable=False),
        sa.Column("wrapped_root", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("process_id"),
    )
