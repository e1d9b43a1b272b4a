"""Find the sealed refresh tokens whose time is over.

Only adds, so the release before this one goes on serving meanwhile.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012_forgotten_successors"
down_revision = "0011_planned_once"
branch_labels = None
depends_on = None

INDEX = "ix_refresh_tokens_replaced_at"
SEALED = sa.text("successor_sealed IS NOT NULL")


def upgrade() -> None:
    """One small index: a row is in it for seconds, or until the next pruning."""
    op.create_index(
        INDEX, "refresh_tokens", ["replaced_at"], postgresql_where=SEALED, sqlite_where=SEALED
    )


def downgrade() -> None:
    """As before."""
    op.drop_index(INDEX, "refresh_tokens")
