"""What operators do beyond settings: the audit trail by actor and by action.

Only adds, so the release before this one goes on serving meanwhile.
"""

from alembic import op

revision = "0009_admin"
down_revision = "0006_last_successes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Ways to ask the trail."""
    for column in ("actor", "action"):
        op.create_index(
            f"ix_audit_log_{column}_created_at_id", "audit_log", [column, "created_at", "id"]
        )


def downgrade() -> None:
    """What operators did since stays in the trail."""
    for column in ("action", "actor"):
        op.drop_index(f"ix_audit_log_{column}_created_at_id", "audit_log")
