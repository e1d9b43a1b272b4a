"""Holds: money set aside, then captured in whole or part, released, or expired.

Locks: the hold's row first, then accounts. A hold that stands may be captured and released whatever
becomes of the wallet; only a new one needs funds and a wallet that is not frozen.
"""

from collections.abc import Mapping
from datetime import datetime

from payments import ids
from payments.db import Row, Sql
from payments.errors import InsufficientFunds, InvalidState, NotFound, WalletFrozen
from payments.ledger import accounts, posting
from payments.ledger.posting import Posted, Released

_TAKE = Sql(
    "SELECT hold_funds(:account_id, :amount::bigint)",
    sqlite="UPDATE accounts SET held = held + :amount WHERE id = :account_id"
    " AND (:amount < 0 OR (frozen_at IS NULL"
    " AND (floor IS NULL OR balance - held - :amount >= floor))) RETURNING 1",
    writes=True,
)
_INSERT = Sql(
    "INSERT INTO holds (id, account_id, subject_id, amount, captured, status, version, created_at,"
    " expires_at, ended_at)"
    " VALUES (:id, :account_id, :subject_id, :amount, 0, 'held', 1, :now, :expires_at, NULL)"
)
_END = Sql(
    "UPDATE holds SET status = :status, captured = :captured, version = version + 1,"
    " ended_at = :now WHERE id = :id AND status = 'held' AND :captured <= amount"
    " RETURNING account_id, amount, subject_id"
)
_GET = Sql("SELECT * FROM holds WHERE id = :id")


def place(
    account_id: str,
    amount: int,
    subject_id: str,
    expires_at: datetime | None,
    *,
    reveal: bool = False,
) -> str:
    """Set an amount (minor units) aside; gives the hold's id. Status: `held`.

    Raises NotFound, InsufficientFunds (`reveal`: it may say the balance), WalletFrozen.
    """
    if amount <= 0:
        raise ValueError("a hold is on a positive amount")
    if not _TAKE.scalar(account_id=account_id, amount=amount):
        account = accounts.get(account_id)
        if account is None:
            raise NotFound
        if account.frozen_at is not None:
            raise WalletFrozen("The wallet is frozen: money can reach it, none can leave it.")
        raise InsufficientFunds(
            currency=account.currency,
            needed=amount,
            available=account.available if reveal else None,
        )
    hold_id = ids.new("hld")
    _INSERT.run(
        id=hold_id,
        account_id=account_id,
        subject_id=subject_id,
        amount=amount,
        expires_at=expires_at,
    )
    return hold_id


def get(hold_id: str) -> Row | None:
    """The hold's row: id, account_id, subject_id, amount, captured, status and times."""
    return _GET.one(id=hold_id)


def capture(hold_id: str, kind: str, lines: Mapping[str, int]) -> Posted:
    """Take what the lines take of the hold's account; release the rest. `held` -> `captured`.

    lines: as for `posting.post`; the debit of the hold's account is at most the hold's amount, and
    several credits split it. Raises NotFound, InvalidState; ValueError when it takes nothing.
    """
    hold = _GET.one(id=hold_id)
    if hold is None:
        raise NotFound
    captured = -lines.get(hold.account_id, 0)
    if not 0 < captured <= hold.amount:
        raise ValueError("a capture takes something of its hold, and no more than it holds")
    ended = _end(hold_id, "captured", captured)
    released = Released(ended.account_id, ended.amount)
    return posting.post(kind, ended.subject_id, lines, released=released)


def release(hold_id: str, *, status: str = "released") -> None:
    """Give back what is held: `held` -> `released` or `expired`. Raises NotFound, InvalidState."""
    ended = _end(hold_id, status, 0)
    _TAKE.scalar(account_id=ended.account_id, amount=-ended.amount)


def _end(hold_id: str, status: str, captured: int) -> Row:
    ended = _END.one(id=hold_id, status=status, captured=captured)
    if ended is None:
        hold = _GET.one(id=hold_id)
        if hold is None:
            raise NotFound
        raise InvalidState(f"The hold is {hold.status}; it ends once.")
    return ended
