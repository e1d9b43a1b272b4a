"""Note when a named job last succeeded, such as reconcile and backups: metrics read it.

Only adds, so the release before this one goes on serving meanwhile.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006_last_successes"
down_revision = "0005_people"
branch_labels = None
depends_on = None

BYTES = sa.String().with_variant(sa.String(collation="C"), "postgresql")
JSON = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """One row for each job."""
    op.create_table(
        "last_successes",
        sa.Column("name", BYTES, nullable=False),
        sa.Column("succeeded_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("findings", sa.Integer(), nullable=False),
        sa.Column("detail_json", JSON, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_last_successes"),
    )


def downgrade() -> None:
    """Nobody knows then when a job last succeeded, until it runs again."""
    op.drop_table("last_successes")
