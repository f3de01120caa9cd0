"""Ways to sign in: sessions with their devices, passkeys, recovery codes, authenticator apps; notices."""

import sqlalchemy as sa
from alembic import op

import broker.db

revision = "f1e4c4c9da5a"
down_revision = "38c1487efb71"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notices",
        sa.Column("person_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("notice_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("made_at", broker.db.Moment(), nullable=False),
        sa.Column("seen_at", broker.db.Moment(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "notice_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "passkeys",
        sa.Column("person_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.Integer(), nullable=False),
        sa.Column("backed_up", sa.Boolean(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", broker.db.Moment(), nullable=False),
        sa.Column("used_at", broker.db.Moment(), nullable=True),
        sa.PrimaryKeyConstraint("person_id", "hash"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "recovery_codes",
        sa.Column("person_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("made_at", broker.db.Moment(), nullable=False),
        sa.Column("used_at", broker.db.Moment(), nullable=True),
        sa.PrimaryKeyConstraint("person_id", "hash"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "used_challenges",
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("until", broker.db.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
    )
    with op.batch_alter_table("people") as people:
        people.alter_column("password", existing_type=sa.LargeBinary(), nullable=True)
        people.add_column(sa.Column("totp", sa.LargeBinary(), nullable=True))
        people.add_column(sa.Column("totp_step", sa.Integer(), server_default="0", nullable=False))
    # Nobody knows on which device an old session was made: everyone signs in once more.
    op.drop_table("sessions")
    op.create_table(
        "sessions",
        sa.Column("person_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("made_at", broker.db.Moment(), nullable=False),
        sa.Column("seen_at", broker.db.Moment(), nullable=False),
        sa.Column("fresh_at", broker.db.Moment(), nullable=False),
        sa.Column("expires_at", broker.db.Moment(), nullable=False),
        sa.Column("factor", sa.String(length=10), nullable=False),
        sa.Column("device", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "hash"),
        sqlite_with_rowid=False,
    )
    op.add_column("sign_up_links", sa.Column("person_id", sa.LargeBinary(length=16), nullable=True))
