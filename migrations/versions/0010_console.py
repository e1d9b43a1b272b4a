"""The console: who is signed in to it; and ways to find what belongs to a request.

Request ids that the service makes bear their time, so rows of such a request are found by their own
ids; those that callers bring are indexed, in time order since a caller may bring one for any number
of requests, and cost who brings none nothing. Only adds, so the release before this one goes on
serving meanwhile.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010_console"
down_revision = "0009_admin"
branch_labels = None
depends_on = None

BYTES = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)
BROUGHT = sa.text("substr(request_id, 1, 4) <> 'rid_'")


def upgrade() -> None:
    """Sessions of the console, and three indexes."""
    op.create_table(
        "console_sessions",
        sa.Column("id", BYTES, nullable=False),
        sa.Column("actor", BYTES, nullable=False),
        sa.Column("entry_tag", BYTES, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_used_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_console_sessions"),
    )
    op.create_index("ix_console_sessions_created_at", "console_sessions", ["created_at"])
    for table in ("events", "entries"):
        op.create_index(
            f"ix_{table}_request_id",
            table,
            ["request_id", "created_at", "id"],
            postgresql_where=BROUGHT,
            sqlite_where=BROUGHT,
        )
    op.create_index("ix_audit_log_request_id", "audit_log", ["request_id", "created_at", "id"])


def downgrade() -> None:
    """Everybody is signed out of the console; requests are found by logs alone."""
    op.drop_index("ix_audit_log_request_id", "audit_log")
    for table in ("entries", "events"):
        op.drop_index(f"ix_{table}_request_id", table)
    op.drop_table("console_sessions")
