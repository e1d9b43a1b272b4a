"""Tables of settlement: money moved by hand, which one operator proposes and another approves."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from payments.db import Long, UtcDateTime, Version, db


def _checks(table: str) -> tuple[CheckConstraint, ...]:
    return (
        CheckConstraint("amount > 0", name=f"ck_{table}_amount_positive"),
        CheckConstraint(
            "status IN ('proposed', 'approved', 'rejected')", name=f"ck_{table}_status"
        ),
        CheckConstraint(
            "(status = 'proposed') = (decided_by IS NULL)", name=f"ck_{table}_decided_by_somebody"
        ),
        CheckConstraint(
            "status <> 'approved' OR decided_by <> proposed_by",
            name=f"ck_{table}_approved_by_another",
        ),
    )


class Payout(db.Model):
    """Money of a merchant that leaves to its bank. Amount in minor units.

    status: `proposed`, `approved` (paid), `rejected`. proposed_by, decided_by: `operator:<name>`.
    """

    __tablename__ = "payouts"
    __table_args__ = (
        *_checks("payouts"),
        Index("ix_payouts_created_at_id", "created_at", "id"),
        Index("ix_payouts_merchant_id_created_at_id", "merchant_id", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # out_...
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    debit_account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    credit_account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    reference: Mapped[str | None]
    status: Mapped[str]
    proposed_by: Mapped[str]
    decided_by: Mapped[str | None]
    decision_reason: Mapped[str | None] = mapped_column(Long)
    version: Mapped[Version]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Adjustment(db.Model):
    """A correction by hand, from one account to another. Amount in minor units.

    debit, credit: the parties as they were named: a wallet, a merchant, `fees`, `external:<name>`.
    status: `proposed`, `approved` (moved), `rejected`.
    """

    __tablename__ = "adjustments"
    __table_args__ = (
        *_checks("adjustments"),
        Index("ix_adjustments_created_at_id", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # adj_...
    debit: Mapped[str]
    credit: Mapped[str]
    debit_account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    credit_account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    reason: Mapped[str] = mapped_column(Long)
    status: Mapped[str]
    proposed_by: Mapped[str]
    decided_by: Mapped[str | None]
    decision_reason: Mapped[str | None] = mapped_column(Long)
    version: Mapped[Version]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
