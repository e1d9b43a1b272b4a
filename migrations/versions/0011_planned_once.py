"""Plan once what goes with each payment: whether the session stands, and the answer that is kept.

Only adds, so the release before this one goes on serving meanwhile.
"""

from pathlib import Path

from alembic import op

revision = "0011_planned_once"
down_revision = "0010_console"
branch_labels = None
depends_on = None

FUNCTIONS = Path(__file__).parents[1] / "sql" / "0011_planned_once.sql"


def upgrade() -> None:
    """Functions of Postgres; SQLite has no plans to keep."""
    if op.get_bind().dialect.name == "postgresql":
        op.get_bind().exec_driver_sql(FUNCTIONS.read_text())


def downgrade() -> None:
    """Planned at each call again. Roll back the code first: it calls these in every payment."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION session_stands")
        op.execute("DROP FUNCTION keep_answer")
