"""What the room keeps for itself: checks of endpoints. Endpoints and deliveries lie in `events`."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from payments.db import Long, UtcDateTime, Version, db


class EndpointCheck(db.Model):
    """An operator wants to know whether an endpoint can be reached, and how far one gets.

    status: `waiting`, `running` (until its lease ends, then it waits again), `done`. result: JSON.
    """

    __tablename__ = "endpoint_checks"
    __table_args__ = (
        CheckConstraint(
            "status IN ('waiting', 'running', 'done')", name="ck_endpoint_checks_status"
        ),
        Index("ix_endpoint_checks_created_at_id", "created_at", "id"),
        Index("ix_endpoint_checks_endpoint_id_created_at_id", "endpoint_id", "created_at", "id"),
        Index(
            "ix_endpoint_checks_open",
            "created_at",
            postgresql_where=text("status <> 'done'"),
            sqlite_where=text("status <> 'done'"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # chk_...
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoints.id"))
    url: Mapped[str]
    status: Mapped[str]
    asked_by: Mapped[str]
    outcome: Mapped[str | None]
    result_json: Mapped[str | None] = mapped_column(Long)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    version: Mapped[Version]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
