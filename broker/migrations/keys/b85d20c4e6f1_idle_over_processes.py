"""When somebody was last at a page of each process."""

import sqlalchemy as sa
from alembic import op

revision = "b85d20c4e6f1"
down_revision = "4c1f0e7a92b3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("processes", sa.Column("used_at", sa.Integer(), server_default="0", nullable=False))
