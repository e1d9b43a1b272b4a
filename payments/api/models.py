"""Tables of the HTTP door itself: idempotency keys, nonces, names of sister services, sessions of
the console.
"""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from payments.db import Long, UtcDateTime, db


class IdempotencyKey(db.Model):
    """A caller's name for one intent, with the answer that was given. Kept 7 days.

    scope: the merchant, customer, sister service or operator; not the credential it came with.
    fingerprint: hash of method, path, query and parsed JSON. body: the answer, secrets left out.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    scope: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    status: Mapped[int | None]
    body: Mapped[str | None] = mapped_column(Long)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class InternalNonce(db.Model):
    """A nonce that a signed request of a sister service used, until it can't be replayed."""

    __tablename__ = "internal_nonces"

    service: Mapped[str] = mapped_column(primary_key=True)
    nonce: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class ServiceSecret(db.Model):
    """The name under which a sister service's secret was first used: its name for good.

    fingerprint: SHA-256 of the secret. Never changed, so that no reference is paid for twice.
    """

    __tablename__ = "service_secrets"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ConsoleSession(db.Model):
    """An operator who is signed in to the console. id: hash of what the cookie holds.

    entry_tag: keyed hash, by the operator's token, of its name and this session: it ends when that
    entry leaves `ADMIN_TOKEN`. ended_at: signed out.
    """

    __tablename__ = "console_sessions"

    id: Mapped[str] = mapped_column(primary_key=True)
    actor: Mapped[str]  # operator:ann
    entry_tag: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
