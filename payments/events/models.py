"""What happened, who wants to hear of it, and what became of telling them."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from payments.db import Long, UtcDateTime, Version, brought, db


class Event(db.Model):
    """A fact, past tense, written in the transaction that made it true. Append-only.

    body: the webhook's body as it is sent, byte for byte, with the snapshot of that moment.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_merchant_id_created_at_id", "merchant_id", "created_at", "id"),
        Index("ix_events_object_id", "object_id"),
        brought("ix_events_request_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # evt_...
    type: Mapped[str]
    merchant_id: Mapped[str | None]  # whose event it is; null: nobody's endpoint hears of it
    object_id: Mapped[str]
    body: Mapped[str] = mapped_column(Long)
    request_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class WebhookEndpoint(db.Model):
    """A merchant's URL, its secrets (encrypted), and what sending to it is like.

    status: `enabled`, `disabled` (with `disabled_reason`: `gone`, `failing`, `merchant`,
    `operator`), `deleted`. events: `,*,` or `,payment.created,refund.succeeded,`.
    failures and closed_until are the circuit breaker, and the cap counts the live leases among the
    endpoint's deliveries: rows, not memory, so that both hold over all workers.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        CheckConstraint(
            "status IN ('enabled', 'disabled', 'deleted')", name="ck_webhook_endpoints_status"
        ),
        Index("ix_webhook_endpoints_merchant_id_created_at_id", "merchant_id", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # we_...
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    url: Mapped[str]
    events: Mapped[str]
    description: Mapped[str | None]
    status: Mapped[str]
    disabled_reason: Mapped[str | None]
    secret_sealed: Mapped[str]
    old_secret_sealed: Mapped[str | None]
    old_secret_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failures: Mapped[int]  # in a row, over all deliveries
    failing_since_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    closed_until: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the breaker is open
    succeeded_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    version: Mapped[Version]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Delivery(db.Model):
    """One event owed to one endpoint; keeps its id over retries, resends and requeues.

    status: `pending`, `delivered`, `failed`, `canceled`. attempts counts all ever made (X-Attempt
    is the next number); tries counts those of the present schedule that failed.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("event_id", "endpoint_id"),
        CheckConstraint(
            "status IN ('pending', 'delivered', 'failed', 'canceled')", name="ck_deliveries_status"
        ),
        Index("ix_deliveries_merchant_id_created_at_id", "merchant_id", "created_at", "id"),
        Index(
            "ix_deliveries_due",
            "endpoint_id",
            "next_attempt_at",
            postgresql_where=text("status = 'pending'"),
            sqlite_where=text("status = 'pending'"),
        ),
        Index(
            "ix_deliveries_leased",
            "endpoint_id",
            postgresql_where=text("lease_until IS NOT NULL"),
            sqlite_where=text("lease_until IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # dlv_...
    event_id: Mapped[str] = mapped_column(ForeignKey("events.id"))
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoints.id"))
    merchant_id: Mapped[str]
    status: Mapped[str]
    attempts: Mapped[int]
    tries: Mapped[int]
    next_attempt_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_token: Mapped[str | None]
    last_outcome: Mapped[str | None]
    version: Mapped[Version]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Attempt(db.Model):
    """One HTTP request of a delivery, and how it ended."""

    __tablename__ = "attempts"
    __table_args__ = (Index("ix_attempts_delivery_id_id", "delivery_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)  # att_...
    delivery_id: Mapped[str] = mapped_column(ForeignKey("deliveries.id"))
    number: Mapped[int]  # X-Attempt, from 1
    outcome: Mapped[str]  # one of webhooks.faults.OUTCOMES
    http_status: Mapped[int | None]
    latency_ms: Mapped[int]
    response: Mapped[str | None] = mapped_column(
        Long
    )  # the first 2 KiB, undecodable bytes replaced
    detail: Mapped[str | None]  # what went wrong, in words
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
