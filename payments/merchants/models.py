"""Merchants and their API keys."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from payments.db import UtcDateTime, Version, db


class Merchant(db.Model):
    """A business that takes payments, owned by the customer who applied.

    status: `pending`, `approved`, `suspended`. negative_limit: how far below 0 an operator's refund
    may take its balance, minor units.
    """

    __tablename__ = "merchants"
    __table_args__ = (
        CheckConstraint(
            "status IN ('pending', 'approved', 'suspended')", name="ck_merchants_status"
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # mer_...
    owner_id: Mapped[str] = mapped_column(ForeignKey("customers.id"), index=True)
    name: Mapped[str]
    status: Mapped[str]
    hot: Mapped[bool]
    negative_limit: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[Version]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ApiKey(db.Model):
    """An API key, as a hash. It works from its creation until it expires or is revoked.

    scopes: names joined by spaces. revoked_at may lie ahead: the overlap of a rotation.
    made_by: the key that made it, null for the owner.
    """

    __tablename__ = "api_keys"
    __table_args__ = (
        Index("ix_api_keys_merchant_id_created_at_id", "merchant_id", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # key_...
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    made_by: Mapped[str | None] = mapped_column(ForeignKey("api_keys.id"), index=True)
    name: Mapped[str]
    secret_hash: Mapped[str] = mapped_column(unique=True)
    hint: Mapped[str]  # the last four characters, to tell keys apart
    scopes: Mapped[str]
    version: Mapped[Version]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
