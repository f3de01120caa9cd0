"""Access tokens by their end, which the sweep asks for."""

import sqlalchemy as sa
from alembic import op

revision = "6accbace9f00"
down_revision = "9f3ce5eb0fc1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("access_tokens", "tokens", ["expires_at"], unique=False, sqlite_where=sa.text("kind = 'at'"))
