"""Folding: side rows of accounts that collect are taken into their balance.

The account's row is locked first, always and without SKIP LOCKED (`fold_account`): a debit that
folds would otherwise miss rows which another folder holds, and refuse with money there.
"""

import logging
from functools import partial

from payments import db
from payments.db import Sql
from payments.errors import Busy

log = logging.getLogger(__name__)

# SQLite's one writer puts every line into the row: there is nothing to fold.
_FOLD = Sql("SELECT fold_account(:id)", sqlite="SELECT 1", writes=True)
_WAITING = Sql(
    "SELECT account_id, min(created_at) AS oldest_at FROM unfolded_postings"
    " GROUP BY account_id ORDER BY oldest_at LIMIT :limit"
)


def fold(account_id: str) -> None:
    """Take all side rows of the account into its balance, in the open unit of work."""
    _FOLD.one(id=account_id)


def fold_all(limit: int = 1_000) -> int:
    """Fold at most `limit` accounts, those that wait longest first, each in a unit of its own.

    Gives how many were folded. Run by the clock. An account that is busy is left for the next run,
    so that it holds back no other.
    """
    folded = 0
    for row in _WAITING.all(limit=limit):
        try:
            db.in_unit(partial(fold, row.account_id))
        except Busy:
            log.warning("an account is busy; it is folded later", extra={"id": row.account_id})
        except Exception:
            log.exception("an account can't be folded", extra={"id": row.account_id})
        else:
            folded += 1
    return folded
