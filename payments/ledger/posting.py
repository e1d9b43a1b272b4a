"""Move money: one entry, its postings and the balances, in one round trip on Postgres.

There the whole step is the function `post_entry` (migrations/sql); SQLite takes the same step in
a few prebuilt statements, where its one writer needs no side rows. Tests hold the two together.
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
    InvalidState,
    MerchantBalanceInsufficient,
    NotFound,
    WalletFrozen,
)


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


_POST = Sql(
    "SELECT * FROM post_entry(:entry_id, :kind, :subject_id, :caller, :request_id,"
    " :posting_ids::text[], :account_ids::text[], :amounts::bigint[], :held_on, :released::bigint)",
    sqlite="",
    writes=True,
)
_ACCOUNTS = Sql(
    "SELECT id, currency FROM accounts WHERE id IN (SELECT value FROM json_each(:account_ids))"
    " ORDER BY rank, id"
)
_ENTRY = Sql(
    "INSERT INTO entries (id, kind, subject_id, caller, request_id, created_at)"
    " VALUES (:entry_id, :kind, :subject_id, :caller, :request_id, :now)"
)
_POSTING = Sql(
    "INSERT INTO postings (id, entry_id, account_id, amount, created_at)"
    " VALUES (:id, :entry_id, :account_id, :amount, :now)"
)
_MOVE = Sql(
    "UPDATE accounts SET balance = balance + :amount, held = held - :released"
    " WHERE id = :account_id AND (:amount > 0 OR :released > 0 OR floor IS NULL"
    " OR (frozen_at IS NULL AND balance - held + :amount >= floor))"
)
_WHY = Sql(
    "SELECT id AS account_id, kind, currency, balance - held - floor AS available,"
    " :needed AS needed, frozen_at IS NOT NULL AS frozen FROM accounts WHERE id = :account_id"
)
_LINES = Sql(
    "SELECT account_id, amount FROM postings WHERE entry_id = :entry_id ORDER BY account_id"
)
_REVERSED = Sql("SELECT id FROM entries WHERE kind = 'reversal' AND subject_id = :entry_id")


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
    entry captures. reveal: whether a refusal may say the balance (its reader owns the wallet).
    Raises InsufficientFunds, MerchantBalanceInsufficient, WalletFrozen: the unit must not commit.
    Raises ValueError for lines that do not sum to 0.
    """
    kept = {account: amount for account, amount in lines.items() if amount}
    if len(kept) < 2 or sum(kept.values()) != 0:
        raise ValueError("an entry has two lines or more, and they sum to 0")
    entry_id = ids.new("ent")
    who = origin.current()
    entry = {
        "entry_id": entry_id,
        "kind": kind,
        "subject_id": subject_id,
        "caller": who.actor,
        "request_id": who.request_id,
    }
    unit = db.unit()
    step = _post_on_sqlite if unit.store.is_sqlite else _post_on_postgres
    refused = step(entry, kept, released)
    if refused is not None:
        _refuse(refused, reveal)
    return Posted(entry_id, unit.now)


def reverse(entry_id: str) -> Posted:
    """Undo an entry made in error: the same postings, swapped, under kind `reversal`.

    Raises NotFound, InvalidState when it was reversed before, and what `post` raises.
    """
    db.one_at_a_time(f"reversal:{entry_id}")
    lines = {row.account_id: -row.amount for row in _LINES.all(entry_id=entry_id)}
    if not lines:
        raise NotFound
    if _REVERSED.one(entry_id=entry_id) is not None:
        raise InvalidState("The entry was reversed before; an entry is reversed once.")
    return post("reversal", entry_id, lines)


def _post_on_postgres(
    entry: dict[str, Any], lines: Mapping[str, int], released: Released | None
) -> Row | None:
    return _POST.one(
        **entry,
        posting_ids=[ids.new("pst") for _ in lines],
        account_ids=list(lines),
        amounts=list(lines.values()),
        held_on=released.account_id if released else None,
        released=released.amount if released else 0,
    )


def _post_on_sqlite(
    entry: dict[str, Any], lines: Mapping[str, int], released: Released | None
) -> Row | None:
    accounts = _ACCOUNTS.all(account_ids=json.dumps(list(lines)))
    sums: dict[str, int] = {}
    for account in accounts:
        sums[account.currency] = sums.get(account.currency, 0) + lines[account.id]
    if len(accounts) != len(lines) or any(sums.values()):
        raise ValueError("an entry's lines are on known accounts and sum to 0 in each currency")
    _ENTRY.run(**entry)
    now = db.unit().now
    _POSTING.many(
        [
            {
                "id": ids.new("pst"),
                "entry_id": entry["entry_id"],
                "account_id": account_id,
                "amount": amount,
                "now": now,
            }
            for account_id, amount in lines.items()
        ]
    )
    for account in accounts:
        amount = lines[account.id]
        held = released.amount if released and released.account_id == account.id else 0
        if not _MOVE.run(account_id=account.id, amount=amount, released=held):
            return _WHY.one(account_id=account.id, needed=-amount)
    return None


def _refuse(refused: Row, reveal: bool) -> NoReturn:
    """Say why an account did not give: frozen, or short."""
    if refused.kind == "customer":
        if refused.frozen:
            raise WalletFrozen("The wallet is frozen: money can reach it, none can leave it.")
        raise InsufficientFunds(
            currency=refused.currency,
            needed=refused.needed,
            available=refused.available if reveal else None,
        )
    raise MerchantBalanceInsufficient(
        "The merchant's balance does not cover this. Nothing was moved and nothing was queued."
        " Try again when it does."
    )
