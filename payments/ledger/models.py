"""Tables of the ledger. Only this room writes them, by the statements beside this file."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from payments.db import UtcDateTime, Version, brought, db


class Account(db.Model):
    """A place where money of one currency is. Over all accounts of a currency the sum is 0.

    kind: `customer`, `merchant`, `agent`, `fees`, or `external:<source>`.
    balance: minor units, as far as folded; the true balance adds the account's unfolded postings.
    It may lie below the floor where they are many: what must not is the true balance.
    held: set aside by live holds. floor: what `balance - held` may not fall below; null: no floor.
    overdraft: how far below the floor an operator's entry left it, the last time; null: it did not.
    collects: credits go to side rows instead of this one (hot merchants, fees, external).
    """

    __tablename__ = "accounts"
    __table_args__ = (
        UniqueConstraint("owner_id", "kind", "currency"),
        CheckConstraint("held >= 0", name="ck_accounts_held_not_negative"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # wal_... for customers, else acc_...
    owner_id: Mapped[str]  # cus_..., mer_..., or `system`
    kind: Mapped[str]
    rank: Mapped[
        int
    ]  # place in the lock order: customer 1, agent 2, merchant 3, fees 4, external 5
    currency: Mapped[str]
    balance: Mapped[int] = mapped_column(BigInteger)
    held: Mapped[int] = mapped_column(BigInteger)
    floor: Mapped[int | None] = mapped_column(BigInteger)
    overdraft: Mapped[int | None] = mapped_column(BigInteger)
    collects: Mapped[bool]
    frozen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    version: Mapped[Version]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Entry(db.Model):
    """Why money moved, once (a journal entry). Append-only: triggers refuse any change."""

    __tablename__ = "entries"
    __table_args__ = (
        Index("ix_entries_subject_id", "subject_id"),
        brought("ix_entries_request_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # ent_..., in time order
    kind: Mapped[str]  # payment, refund, transfer, deposit, adjustment, ...
    subject_id: Mapped[str]  # the object it is for: pay_..., ref_..., trf_..., dep_...
    caller: Mapped[str]  # who asked: cus_..., mer_..., service:taxi, operator:ann, job:expiry
    request_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Posting(db.Model):
    """One signed line of an entry on one account, never changed.

    The amounts of an entry sum to 0 in each currency. A mistake is mended by a further entry.
    """

    __tablename__ = "postings"
    __table_args__ = (
        CheckConstraint("amount <> 0", name="ck_postings_amount_not_zero"),
        Index("ix_postings_account_id_created_at_id", "account_id", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # pst_..., in time order
    entry_id: Mapped[str] = mapped_column(ForeignKey("entries.id"), index=True)
    # No foreign key: its check would lock a hot account's row at every credit. The posting step
    # refuses unknown accounts, an invariant finds what came another way, and no account goes.
    account_id: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)  # minor units; minus: leaves the account
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class UnfoldedPosting(db.Model):
    """A side row: a posting that its account's balance does not include yet."""

    __tablename__ = "unfolded_postings"
    __table_args__ = (
        # By account and id: a fold takes them in batches, each from where the last one ended.
        Index("ix_unfolded_postings_account_id_posting_id", "account_id", "posting_id"),
    )

    posting_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Hold(db.Model):
    """An amount set aside on an account; then captured in whole or part, released or expired.

    status: `held`, `captured`, `released`, `expired`. Only `held` counts in the account's `held`.
    """

    __tablename__ = "holds"
    __table_args__ = (
        CheckConstraint("amount > 0", name="ck_holds_amount_positive"),
        CheckConstraint(
            "captured >= 0 AND captured <= amount", name="ck_holds_captured_within_amount"
        ),
        CheckConstraint(
            "status IN ('held', 'captured', 'released', 'expired')", name="ck_holds_status"
        ),
        Index("ix_holds_account_id_status", "account_id", "status"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # hld_...
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    subject_id: Mapped[str] = mapped_column(index=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    captured: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str]
    version: Mapped[Version]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
