"""Folding: side rows of accounts that collect are taken into their balance.

The account's row is locked first, always and without SKIP LOCKED: a debit that folds would
otherwise miss rows which another folder holds, and refuse with money there.
"""

from functools import partial

from payments import db
from payments.db import Sql

_LOCK = Sql("SELECT id FROM accounts WHERE id = :id FOR NO KEY UPDATE")
_FOLD = Sql("SELECT fold_account(:id)", sqlite="SELECT 1", writes=True)
_WAITING = Sql(
    "SELECT account_id, min(created_at) AS oldest_at FROM unfolded_postings"
    " GROUP BY account_id ORDER BY oldest_at LIMIT :limit"
)


def fold(account_id: str) -> None:
    """Take all side rows of the account into its balance, in the open unit of work.

    On SQLite there are none: its one writer puts every line into the row.
    """
    _LOCK.one(id=account_id)
    _FOLD.one(id=account_id)


def fold_all(limit: int = 1_000) -> int:
    """Fold at most `limit` accounts, those that wait longest first, each in a unit of its own.

    Gives how many were folded. Run by the clock.
    """
    waiting = _WAITING.all(limit=limit)
    for row in waiting:
        db.in_unit(partial(fold, row.account_id))
    return len(waiting)
