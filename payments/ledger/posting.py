"""Move money: one entry, its postings and the balances, in one round trip on Postgres.

There the whole step is the function `post_entry` (migrations/sql/0001_ledger.sql); SQLite takes the
same step in a few prebuilt statements, where its one writer needs no locks and no side rows. Tests
hold the two together. A refusal comes before anything is written, on both.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from payments import db, ids, origin
from payments.db import Row, Sql
from payments.errors import (
    InsufficientFunds,
    LimitExceeded,
    MerchantBalanceInsufficient,
    NotFound,
    WalletFrozen,
)
from payments.money import MAX_BALANCE


@dataclass(frozen=True, slots=True)
class Posted:
    """What was written. created_at: the unit's time."""

    entry_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Released:
    """A hold that an entry uses up: the account it lies on, and its whole amount."""

    account_id: str
    amount: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing was written: `frozen`, `short`, `limit`, `no_account`, `no_entry`; which account
    it is, and what it has available (minor units).
    """

    status: str
    account_id: str
    kind: str
    currency: str
    available: int


_POST = Sql(
    "SELECT * FROM post_entry(:entry_id, :kind, :subject_id, :caller, :request_id,"
    " :posting_ids::text[], :account_ids::text[], :amounts::bigint[], :held_on, :released::bigint)",
    writes=True,
)
_WITHIN = (
    "(SELECT row_to_json(refused)::text FROM post_entry(:entry_id, :kind, {subject}, :caller,"
    " :request_id, :posting_ids::text[], ARRAY[{accounts}], ARRAY[{amounts}]::bigint[], NULL, 0)"
    " AS refused)"
)
_ACCOUNTS = Sql(
    "SELECT id, kind, currency, balance, held, floor, frozen_at FROM accounts"
    " WHERE id IN (SELECT value FROM json_each(:account_ids)) ORDER BY rank, id"
)
_ENTRY = Sql(
    "INSERT INTO entries (id, kind, subject_id, caller, request_id, created_at)"
    " VALUES (:entry_id, :kind, :subject_id, :caller, :request_id, :now)"
)
_POSTING = Sql(
    "INSERT INTO postings (id, entry_id, account_id, amount, created_at)"
    " VALUES (:posting_id, :entry_id, :account_id, :amount, :now)"
)
_MOVE = Sql(
    "UPDATE accounts SET balance = balance + :amount, held = held - :released,"
    " version = version + 1"
    " WHERE id = :account_id"
)


def post(
    kind: str,
    subject_id: str,
    lines: Mapping[str, int],
    *,
    released: Released | None = None,
    reveal: bool = False,
) -> Posted:
    """Write an entry and move what its lines say, in the open unit of work.

    kind: why (`payment`, `refund`, ...). subject_id: the object it is for. lines: account to amount
    in minor units, minus leaves the account; lines of 0 are dropped. released: the hold that the
    entry captures (`holds.capture` says). reveal: whether a refusal may say the balance (its reader
    owns the wallet). Raises InsufficientFunds, MerchantBalanceInsufficient, WalletFrozen, or
    LimitExceeded for a balance that would pass `MAX_BALANCE`; then nothing was written. ValueError
    for what is no entry: fewer than two lines, an unknown account, a sum in some currency that is
    not 0.
    """
    kept = {account_id: amount for account_id, amount in lines.items() if amount}
    if len(kept) < 2 or sum(kept.values()) != 0:
        raise ValueError("an entry has two lines or more, and they sum to 0")
    entry_id, who = ids.new("ent"), origin.current()
    entry = {
        "entry_id": entry_id,
        "kind": kind,
        "subject_id": subject_id,
        "caller": who.actor,
        "request_id": who.request_id,
    }
    unit = db.unit()
    step = _post_on_sqlite if unit.store.is_sqlite else _post_on_postgres
    refused = step(entry, kept, released or Released("", 0))
    if refused is not None:
        refuse(refused, -kept.get(refused.account_id, 0), reveal)
    return Posted(entry_id, unit.now)


def within(subject: str, lines: Mapping[str, str]) -> str:
    """SQL for Postgres that posts an entry as a part of another statement, in the same round trip.

    subject: a column. lines: account to amount, each an expression; those of 0 are dropped. Its
    value is null, or the refusal for `settle`; `begun` has the rest of its binds.
    """
    return _WITHIN.format(
        subject=subject, accounts=", ".join(lines), amounts=", ".join(lines.values())
    )


def begun(kind: str, lines: int) -> dict[str, Any]:
    """The binds of `within`: a fresh entry of so many lines, by whoever acts now. None on SQLite,
    where no statement holds the step.
    """
    if db.unit().store.is_sqlite:
        return {}
    who = origin.current()
    return {
        "entry_id": ids.new("ent"),
        "kind": kind,
        "caller": who.actor,
        "request_id": who.request_id,
        "posting_ids": [ids.new("pst") for _ in range(lines)],
    }


def settle(
    refused: str | None, kind: str, subject_id: str, lines: Mapping[str, int], *, reveal: bool
) -> None:
    """The end of what `begun` began: on Postgres it is done, or refused; on SQLite it is done here.

    refused: the value of `within`; null on SQLite. The rest, and what it raises, as for `post`.
    """
    if db.unit().store.is_sqlite:
        post(kind, subject_id, lines, reveal=reveal)
    elif refused is not None:
        refusal = Refusal(**json.loads(refused))
        refuse(refusal, -lines.get(refusal.account_id, 0), reveal)


def refuse(refused: Refusal | Row, needed: int, reveal: bool) -> NoReturn:
    """Raise what a refusal of the database means. needed: minor units that the account lacks."""
    if refused.status == "no_entry":
        raise ValueError("an entry's lines are on known accounts and sum to 0 in each currency")
    if refused.status == "no_account":
        raise NotFound
    if refused.status == "limit":
        raise LimitExceeded(
            "An account would hold more than is possible here. Nothing was moved."
            " Move money out of it first, or use a smaller amount."
        )
    if refused.status == "frozen":
        raise WalletFrozen("The wallet is frozen: money can reach it, none can leave it.")
    if refused.kind == "merchant":
        raise MerchantBalanceInsufficient(
            "The merchant's balance does not cover this. Nothing was moved and nothing was queued."
            " Try again when it does."
        )
    raise InsufficientFunds(
        currency=refused.currency, needed=needed, available=refused.available if reveal else None
    )


def judge(account: Row, gain: int) -> Refusal | None:
    """What `move_on` says on Postgres, of an account read under SQLite's write lock.

    gain: the amount, and what a hold on the account that it uses up gives free.
    """
    if gain >= 0 or account.floor is None:
        return None
    available = account.balance - account.held - account.floor
    if account.frozen_at is None and available + gain >= 0:
        return None
    status = "short" if account.frozen_at is None else "frozen"
    return Refusal(status, account.id, account.kind, account.currency, available)


def leads_too_far(account: Row, amount: int) -> bool:
    """What the function of this name says on Postgres."""
    total = account.balance + amount
    if amount > 0:
        return bool(total > MAX_BALANCE)
    return account.floor is None and total < -MAX_BALANCE


def _post_on_postgres(
    entry: Mapping[str, str | None], lines: Mapping[str, int], released: Released
) -> Row | None:
    return _POST.one(
        **entry,
        posting_ids=[ids.new("pst") for _ in lines],
        account_ids=list(lines),
        amounts=list(lines.values()),
        held_on=released.account_id or None,
        released=released.amount,
    )


def _post_on_sqlite(
    entry: Mapping[str, str | None], lines: Mapping[str, int], released: Released
) -> Refusal | None:
    accounts = _ACCOUNTS.all(account_ids=json.dumps(list(lines)))
    sums: dict[str, int] = {}
    for account in accounts:
        sums[account.currency] = sums.get(account.currency, 0) + lines[account.id]
    if len(accounts) != len(lines) or any(sums.values()):
        return Refusal("no_entry", "", "", "", 0)
    for account in accounts:
        if leads_too_far(account, lines[account.id]):
            return Refusal("limit", account.id, "", "", 0)
    free = {released.account_id: released.amount}
    for account in accounts:
        refused = judge(account, lines[account.id] + free.get(account.id, 0))
        if refused is not None:
            return refused
    rows: list[dict[str, Any]] = [
        {
            "posting_id": ids.new("pst"),
            "entry_id": entry["entry_id"],
            "account_id": account_id,
            "amount": amount,
            "released": free.get(account_id, 0),
            "now": db.unit().now,
        }
        for account_id, amount in lines.items()
    ]
    _ENTRY.run(**entry)
    _POSTING.many(rows)
    _MOVE.many(rows)
    return None
