"""What operators do beyond settings: the audit trail by actor and action; payouts and adjustments;
how far below its floor an operator's refund left an account; checks of webhook endpoints.

Only adds, so the release before this one goes on serving meanwhile.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009_admin"
down_revision = "0007_metric_totals"
branch_labels = None
depends_on = None

BYTES = sa.String().with_variant(sa.String(collation="C"), "postgresql")
LONG = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)
RULES = {
    "amount_positive": "amount > 0",
    "status": "status IN ('proposed', 'approved', 'rejected')",
    "decided_by_somebody": "(status = 'proposed') = (decided_by IS NULL)",
    "approved_by_another": "status <> 'approved' OR decided_by <> proposed_by",
}


def upgrade() -> None:
    """Ways to ask the trail, and what one operator proposes and another approves."""
    for column in ("actor", "action"):
        op.create_index(
            f"ix_audit_log_{column}_created_at_id", "audit_log", [column, "created_at", "id"]
        )
    op.add_column("accounts", sa.Column("overdraft", sa.BigInteger()))
    _proposals(
        "payouts",
        sa.Column(
            "merchant_id",
            BYTES,
            sa.ForeignKey("merchants.id", name="fk_payouts_merchant_id"),
            nullable=False,
        ),
        sa.Column("reference", BYTES),
    )
    op.create_index(
        "ix_payouts_merchant_id_created_at_id", "payouts", ["merchant_id", "created_at", "id"]
    )
    _proposals(
        "adjustments",
        sa.Column("debit", BYTES, nullable=False),
        sa.Column("credit", BYTES, nullable=False),
        sa.Column("reason", LONG, nullable=False),
    )
    _checks()


def _checks() -> None:
    """What an operator asked about an endpoint."""
    op.create_table(
        "endpoint_checks",
        sa.Column("id", BYTES, nullable=False),
        sa.Column(
            "endpoint_id",
            BYTES,
            sa.ForeignKey("webhook_endpoints.id", name="fk_endpoint_checks_endpoint_id"),
            nullable=False,
        ),
        sa.Column("url", BYTES, nullable=False),
        sa.Column("status", BYTES, nullable=False),
        sa.Column("asked_by", BYTES, nullable=False),
        sa.Column("outcome", BYTES),
        sa.Column("result_json", LONG),
        sa.Column("lease_until", TIME),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_endpoint_checks"),
        sa.CheckConstraint("status IN ('waiting', 'running', 'done')", "ck_endpoint_checks_status"),
    )
    for columns in (["created_at", "id"], ["endpoint_id", "created_at", "id"]):
        op.create_index(f"ix_endpoint_checks_{'_'.join(columns)}", "endpoint_checks", columns)
    still_open = sa.text("status <> 'done'")
    op.create_index(
        "ix_endpoint_checks_open",
        "endpoint_checks",
        ["created_at"],
        postgresql_where=still_open,
        sqlite_where=still_open,
    )


def _proposals(table: str, *own: sa.Column[str]) -> None:
    """A table of what is proposed, with its own columns."""
    op.create_table(
        table,
        sa.Column("id", BYTES, nullable=False),
        *own,
        *(
            sa.Column(
                side, BYTES, sa.ForeignKey("accounts.id", name=f"fk_{table}_{side}"), nullable=False
            )
            for side in ("debit_account_id", "credit_account_id")
        ),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", BYTES, nullable=False),
        sa.Column("status", BYTES, nullable=False),
        sa.Column("proposed_by", BYTES, nullable=False),
        sa.Column("decided_by", BYTES),
        sa.Column("decision_reason", LONG),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("decided_at", TIME),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        *(sa.CheckConstraint(rule, f"ck_{table}_{name}") for name, rule in RULES.items()),
    )
    op.create_index(f"ix_{table}_created_at_id", table, ["created_at", "id"])


def downgrade() -> None:
    """Nothing can be proposed; what was approved stays in the ledger and in the trail. An account
    that an operator's refund left below its floor breaks an invariant from then on.
    """
    op.drop_table("endpoint_checks")
    op.drop_table("adjustments")
    op.drop_table("payouts")
    op.drop_column("accounts", "overdraft")
    for column in ("action", "actor"):
        op.drop_index(f"ix_audit_log_{column}_created_at_id", "audit_log")
