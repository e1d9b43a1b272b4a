"""What operators do beyond settings: the audit trail by actor and action; payouts and adjustments;
how far below its floor an operator's refund left an account.

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
    op.drop_table("adjustments")
    op.drop_table("payouts")
    op.drop_column("accounts", "overdraft")
    for column in ("action", "actor"):
        op.drop_index(f"ix_audit_log_{column}_created_at_id", "audit_log")
