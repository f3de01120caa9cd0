"""Insights: totals by month and site, the months that are to be worked out (all there are), and what a person says of a shop."""

import sqlalchemy as sa
from alembic import op

revision = "c4d1a7f05e92"
down_revision = "832a710fc332"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event_totals",
        sa.Column("person_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("domain_tag", sa.LargeBinary(length=16), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "kind", "month", "domain_tag"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "stale_totals",
        sa.Column("person_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("mark", sa.LargeBinary(length=16), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "kind", "month"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "shop_periods",
        sa.Column("person_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("domain_tag", sa.LargeBinary(length=16), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "domain_tag"),
        sqlite_with_rowid=False,
    )
    # What was kept before is still to be added up.
    op.execute(
        "INSERT INTO stale_totals (person_id, kind, month, mark) SELECT person_id, kind, month, randomblob(16) FROM ("
        "SELECT DISTINCT person_id, kind, substr(day, 1, 7) AS month FROM event_counts "
        "WHERE number > 0 AND kind IN ('page_visit', 'purchase', 'return', 'subscription'))"
    )
