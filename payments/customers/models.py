"""Customers, their one-time codes and their sessions."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from payments.db import UtcDateTime, Version, db


class Customer(db.Model):
    """A person, known by one phone number (E.164)."""

    __tablename__ = "customers"

    id: Mapped[str] = mapped_column(primary_key=True)  # cus_...
    phone: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str | None]
    signed_in_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the first sign-in
    version: Mapped[Version]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


def _counted(name: str) -> Index:
    """What the overall limit counts, found without the rows that it does not."""
    where = text("withheld IS NULL")
    return Index(name, "created_at", postgresql_where=where, sqlite_where=where)


class OtpChallenge(db.Model):
    """A one-time code sent to a phone: hashed, five tries, one use.

    Rows are what velocity is counted from: codes asked for and wrong tries, by phone, by address
    and overall. status: `open`, `used`, `replaced`. withheld: true where nothing was sent and no
    code is right, since what was left of the overall limit is kept for customers; else null.
    """

    __tablename__ = "otp_challenges"
    __table_args__ = (
        CheckConstraint("status IN ('open', 'used', 'replaced')", name="ck_otp_challenges_status"),
        Index("ix_otp_challenges_phone_created_at", "phone", "created_at"),
        Index("ix_otp_challenges_address_created_at", "address", "created_at"),
        Index("ix_otp_challenges_site_created_at", "site", "created_at"),
        Index("ix_otp_challenges_created_at", "created_at"),
        _counted("ix_otp_challenges_counted"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # otp_...
    phone: Mapped[str]
    address: Mapped[str]  # an IPv6 one as its /64
    site: Mapped[str | None]  # and its /48
    withheld: Mapped[bool | None]
    code_hash: Mapped[str]
    status: Mapped[str]
    tries: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class OtpTry(db.Model):
    """A try at a code, taken for wrong until it proves right: counted against guessing.

    Written before the code is compared; the right code takes its challenge's tries away again.
    address, site: where the try came from, which need not be where the code was asked for.
    withheld: the challenge's.
    """

    __tablename__ = "otp_tries"
    __table_args__ = (
        Index("ix_otp_tries_phone_created_at", "phone", "created_at"),
        Index("ix_otp_tries_address_created_at", "address", "created_at"),
        Index("ix_otp_tries_site_created_at", "site", "created_at"),
        Index("ix_otp_tries_created_at", "created_at"),
        _counted("ix_otp_tries_counted"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # try_...
    challenge_id: Mapped[str] = mapped_column(ForeignKey("otp_challenges.id"), index=True)
    phone: Mapped[str]
    address: Mapped[str]
    site: Mapped[str | None]
    withheld: Mapped[bool | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Session(db.Model):
    """A sign-in on one device: a family of rotating refresh tokens.

    status: `active`, `ended` (signed out), `revoked` (a replaced refresh token was shown again).
    """

    __tablename__ = "sessions"
    __table_args__ = (
        CheckConstraint("status IN ('active', 'ended', 'revoked')", name="ck_sessions_status"),
        Index("ix_sessions_customer_id_created_at_id", "customer_id", "created_at", "id"),
        Index("ix_sessions_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # ses_...
    customer_id: Mapped[str] = mapped_column(ForeignKey("customers.id"))
    status: Mapped[str]
    user_agent: Mapped[str | None]
    version: Mapped[Version]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RefreshToken(db.Model):
    """One refresh token of a session, as a hash. The present one has no `replaced_at`.

    successor_sealed: the next token, encrypted, so that a client which lost the answer and comes
    again within 30 s gets the same one; taken away once that next token was used, or by the pruning
    after those 30 s: what is sealed here opens a session.
    """

    __tablename__ = "refresh_tokens"
    __table_args__ = (
        Index(
            "ix_refresh_tokens_replaced_at",
            "replaced_at",
            postgresql_where=text("successor_sealed IS NOT NULL"),
            sqlite_where=text("successor_sealed IS NOT NULL"),
        ),
    )

    token_hash: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), index=True)
    successor_sealed: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    replaced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
