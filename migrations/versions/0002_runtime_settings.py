"""Add runtime settings: what operators change while the service runs, and the switch of read-only.

Only adds, so the release before this one goes on serving meanwhile.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0002_runtime_settings"
down_revision = "0001_initial"
branch_labels = None
depends_on = None

FUNCTION = Path(__file__).parents[1] / "sql" / "0002_writes_are_stopped.sql"
BYTES = sa.String().with_variant(sa.String(collation="C"), "postgresql")
JSON = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """One row for each setting that was ever changed."""
    op.create_table(
        "runtime_settings",
        sa.Column("name", BYTES, nullable=False),
        sa.Column("value_json", JSON),
        sa.Column("overlay_json", JSON),
        sa.Column("overlay_until", sa.DateTime(timezone=True)),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_by", BYTES, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_runtime_settings"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.get_bind().exec_driver_sql(FUNCTION.read_text())


def downgrade() -> None:
    """The environment's values again."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION writes_are_stopped")
    op.drop_table("runtime_settings")
