"""Holds: money set aside, then captured in whole or part, released, or expired.

Locks: the hold's row first, then accounts. A hold that stands may be captured and released whatever
becomes of the wallet; only a new one needs funds and a wallet that is not frozen. Whether its time
is over is for the room to judge whose object it is for: it records the end by `release`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from payments import db, ids
from payments.db import Row, Sql
from payments.errors import InvalidState, NotFound
from payments.ledger import posting
from payments.ledger.posting import Posted, Refusal, Released
from payments.money import MAX_BALANCE

_PLACE = Sql(
    "SELECT * FROM place_hold(:id, :account_id, :amount::bigint, :subject_id,"
    " :expires_at::timestamptz)",
    writes=True,
)
_ACCOUNT = Sql(
    "SELECT id, kind, currency, balance, held, floor, frozen_at FROM accounts"
    " WHERE id = :account_id"
)
_TAKE = Sql(
    "UPDATE accounts SET held = held + :amount, version = version + 1 WHERE id = :account_id"
)
_INSERT = Sql(
    "INSERT INTO holds (id, account_id, subject_id, amount, captured, status, version, created_at,"
    " expires_at, ended_at)"
    " VALUES (:id, :account_id, :subject_id, :amount, 0, 'held', 1, :now, :expires_at, NULL)"
)
_FIELDS = (
    "id, account_id, subject_id, amount, captured, status, version, created_at, expires_at,"
    " ended_at"
)
_GET = Sql(f"SELECT {_FIELDS} FROM holds WHERE id = :id")
_LOCK = Sql(f"SELECT {_FIELDS} FROM holds WHERE id = :id FOR NO KEY UPDATE")
_END = Sql(
    "UPDATE holds SET status = :status, captured = :captured, version = version + 1,"
    " ended_at = :now WHERE id = :id"
)


def place(
    account_id: str,
    amount: int,
    subject_id: str,
    expires_at: datetime | None,
    *,
    reveal: bool = False,
) -> str:
    """Set an amount (minor units) aside; gives the hold's id. Status: `held`.

    subject_id: the object it is for. reveal: whether a refusal may say the balance. Raises
    InsufficientFunds, MerchantBalanceInsufficient, WalletFrozen, LimitExceeded, or NotFound for an
    unknown account; then nothing was written. ValueError for an amount below 1.
    """
    if amount < 1:
        raise ValueError("a hold is on a positive amount")
    hold_id = ids.new("hld")
    hold: dict[str, Any] = {
        "id": hold_id,
        "account_id": account_id,
        "amount": amount,
        "subject_id": subject_id,
        "expires_at": expires_at,
    }
    step = _place_on_sqlite if db.unit().store.is_sqlite else _PLACE.one
    refused = step(**hold)
    if refused is not None:
        posting.refuse(refused, amount, reveal)
    return hold_id


def _place_on_sqlite(account_id: str, amount: int, **hold: Any) -> Refusal | None:
    account = _ACCOUNT.one(account_id=account_id)
    if account is None:
        return Refusal("no_account", "", "", "", 0)
    if account.held + amount > MAX_BALANCE:
        return Refusal("limit", account_id, "", "", 0)
    refused = posting.judge(account, -amount)
    if refused is None:
        _TAKE.run(account_id=account_id, amount=amount)
        _INSERT.run(account_id=account_id, amount=amount, **hold)
    return refused


def get(hold_id: str) -> Row | None:
    """The hold: id, account_id, subject_id, amount, captured, status, version, created_at,
    expires_at, ended_at. Amounts in minor units.
    """
    return _GET.one(id=hold_id)


def capture(hold_id: str, kind: str, lines: Mapping[str, int]) -> Posted:
    """Take of a hold what the lines take of its account; the rest is released.

    `held` -> `captured`. kind: why, as for `posting.post`; the entry's subject is the hold's.
    lines: the debit of the hold's account is at most what is held, and several credits split it.
    Raises NotFound, InvalidState, and for lines on other accounts what `post` raises; ValueError
    when it takes nothing of the hold or more than is held.
    """
    hold = _held(hold_id)
    captured = -lines.get(hold.account_id, 0)
    if not 0 < captured <= hold.amount:
        raise ValueError("a capture takes something of its hold, and no more than it holds")
    posted = posting.post(
        kind, hold.subject_id, lines, released=Released(hold.account_id, hold.amount)
    )
    _END.run(id=hold_id, status="captured", captured=captured)
    return posted


def release(hold_id: str, *, status: str = "released") -> None:
    """Give back what is held: `held` -> `released` or `expired`. Raises NotFound, InvalidState."""
    hold = _held(hold_id)
    _TAKE.run(account_id=hold.account_id, amount=-hold.amount)
    _END.run(id=hold_id, status=status, captured=0)


def _held(hold_id: str) -> Row:
    """The hold, locked, while it stands."""
    hold = _LOCK.one(id=hold_id)
    if hold is None:
        raise NotFound
    if hold.status != "held":
        raise InvalidState(f"The hold is {hold.status}; it ends once.")
    return hold
