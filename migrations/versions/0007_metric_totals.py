"""Add the totals that metrics show, and the function that units grow them by.

Only adds, so the release before this one goes on serving meanwhile.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0007_metric_totals"
down_revision = "0006_last_successes"
branch_labels = None
depends_on = None

FUNCTION = Path(__file__).parents[1] / "sql" / "0007_grow_totals.sql"
BYTES = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """A row for each part of each series that was ever counted."""
    op.create_table(
        "metric_totals",
        sa.Column("name", BYTES, nullable=False),
        sa.Column("labels", BYTES, nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "labels", "shard", name="pk_metric_totals"),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Room for the next version of a row beside it: each is written over and over.
        op.execute("ALTER TABLE metric_totals SET (fillfactor = 20)")
        op.get_bind().exec_driver_sql(FUNCTION.read_text())


def downgrade() -> None:
    """Nothing is counted any more."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION grow_totals")
    op.drop_table("metric_totals")
