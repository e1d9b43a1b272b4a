"""Payments and refunds."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from payments.db import Long, UtcDateTime, Version, db


def _where_set(column: str, *columns: str) -> Index:
    """An index of the rows that have the column: the others need not be written into it."""
    condition = text(f"{column} IS NOT NULL")
    name = f"ix_payments_{'_'.join(columns)}"
    return Index(name, *columns, postgresql_where=condition, sqlite_where=condition)


class Payment(db.Model):
    """A customer pays a merchant. Amounts in minor units of `currency`.

    status: `pending`, `authorized`, `succeeded`, `canceled`, `declined`, `expired`.
    The fee's terms are those of the moment it was created, and so is `fee_whole`: what they make of
    the whole amount. `fee` is set by the capture.
    """

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint("amount > 0", name="ck_payments_amount_positive"),
        CheckConstraint(
            "amount_captured >= 0 AND amount_captured <= amount",
            name="ck_payments_captured_within_amount",
        ),
        CheckConstraint(
            "amount_refunded >= 0 AND amount_refunded <= amount_captured",
            name="ck_payments_refunded_within_captured",
        ),
        CheckConstraint(
            "fee >= 0 AND fee <= amount_captured AND fee_refunded >= 0 AND fee_refunded <= fee",
            name="ck_payments_fee_within_captured",
        ),
        CheckConstraint(
            "fee_whole >= 0 AND fee_whole <= amount", name="ck_payments_fee_whole_within_amount"
        ),
        CheckConstraint(
            "status IN ('pending', 'authorized', 'succeeded', 'canceled', 'declined', 'expired')",
            name="ck_payments_status",
        ),
        Index("ix_payments_merchant_id_created_at_id", "merchant_id", "created_at", "id"),
        _where_set("reference", "merchant_id", "reference"),
        _where_set("customer_id", "customer_id", "created_at", "id"),
        _where_set("customer_phone", "customer_phone", "created_at", "id"),
        Index(
            "ix_payments_pending_expires_at",
            "expires_at",
            postgresql_where=text("status = 'pending'"),
            sqlite_where=text("status = 'pending'"),
        ),
        Index(
            "ix_payments_authorized_capture_before",
            "capture_before",
            postgresql_where=text("status = 'authorized'"),
            sqlite_where=text("status = 'authorized'"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # pay_...
    code: Mapped[str] = mapped_column(unique=True)  # what a payer scans or types
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    merchant_account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    customer_phone: Mapped[str | None]  # whom the merchant asks; null: whoever holds id or code
    customer_id: Mapped[str | None] = mapped_column(ForeignKey("customers.id"))  # who paid
    customer_account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"))
    hold_id: Mapped[str | None] = mapped_column(ForeignKey("holds.id"))
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    capture: Mapped[str]  # automatic, manual
    status: Mapped[str]
    amount_captured: Mapped[int] = mapped_column(BigInteger)
    amount_refunded: Mapped[int] = mapped_column(BigInteger)
    fee_bps: Mapped[int]
    fee_fixed: Mapped[int] = mapped_column(BigInteger)
    fee_whole: Mapped[int] = mapped_column(BigInteger)
    fee: Mapped[int] = mapped_column(BigInteger)
    fee_refunded: Mapped[int] = mapped_column(BigInteger)
    reference: Mapped[str | None]
    description: Mapped[str | None]
    metadata_json: Mapped[str | None] = mapped_column(Long)
    version: Mapped[Version]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    capture_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    paid_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # captured
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # canceled, declined, expired


class Refund(db.Model):
    """A new entry back to the payer, against a succeeded payment. status: `succeeded`."""

    __tablename__ = "refunds"
    __table_args__ = (
        CheckConstraint("amount > 0", name="ck_refunds_amount_positive"),
        CheckConstraint("status IN ('succeeded')", name="ck_refunds_status"),
        Index("ix_refunds_merchant_id_created_at_id", "merchant_id", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # ref_...
    payment_id: Mapped[str] = mapped_column(ForeignKey("payments.id"), index=True)
    merchant_id: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)
    fee_returned: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    status: Mapped[str]
    reason: Mapped[str | None]
    metadata_json: Mapped[str | None] = mapped_column(Long)
    version: Mapped[Version]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
