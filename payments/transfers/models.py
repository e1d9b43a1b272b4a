"""Money between customers, and money that arrived from outside."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from payments.db import UtcDateTime, Version, db


class Transfer(db.Model):
    """A customer pays a customer, asked for by the sender or by a sister service.

    status: `succeeded`. service and reference: set when a sister service asked; unique together.
    """

    __tablename__ = "transfers"
    __table_args__ = (
        CheckConstraint("amount > 0", name="ck_transfers_amount_positive"),
        CheckConstraint("status IN ('succeeded')", name="ck_transfers_status"),
        UniqueConstraint("service", "reference"),
        Index("ix_transfers_sender_id_created_at_id", "sender_id", "created_at", "id"),
        Index("ix_transfers_recipient_id_created_at_id", "recipient_id", "created_at", "id"),
        Index(
            "ix_transfers_service_created_at_id",
            "service",
            "created_at",
            "id",
            postgresql_where=text("service IS NOT NULL"),
            sqlite_where=text("service IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # trf_...
    sender_id: Mapped[str] = mapped_column(ForeignKey("customers.id"))
    recipient_id: Mapped[str] = mapped_column(ForeignKey("customers.id"))
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    note: Mapped[str | None]
    status: Mapped[str]
    service: Mapped[str | None]
    reference: Mapped[str | None]
    version: Mapped[Version]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Deposit(db.Model):
    """Money that arrived outside and was told to us by a sister service.

    Unique by service and external reference. status: `succeeded`.
    """

    __tablename__ = "deposits"
    __table_args__ = (
        CheckConstraint("amount > 0", name="ck_deposits_amount_positive"),
        CheckConstraint("status IN ('succeeded')", name="ck_deposits_status"),
        UniqueConstraint("service", "external_reference"),
        Index("ix_deposits_customer_id_created_at_id", "customer_id", "created_at", "id"),
        Index("ix_deposits_service_created_at_id", "service", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # dep_...
    service: Mapped[str]
    external_reference: Mapped[str]
    customer_id: Mapped[str] = mapped_column(ForeignKey("customers.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    status: Mapped[str]
    version: Mapped[Version]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
