"""Folding: side rows of accounts that collect are taken into their balance, a batch in each unit.

However far an account fell behind, a batch is what one statement takes well within its time. The
account's row is locked first, always and without SKIP LOCKED (`fold_account`): a debit that folds
would otherwise miss rows which another folder holds, and refuse with money there.
"""

import logging
import time
from collections import deque
from datetime import datetime
from functools import partial

from payments import db
from payments.db import Row, Sql
from payments.errors import Busy
from payments.gauges import gauge

log = logging.getLogger(__name__)

BATCH = 10_000
"""Side rows taken in one unit of work. As many as a debit that falls short takes (`move_on`)."""
RUN_S = 2.0
"""How long `fold_all` begins second batches: the clock has other things to do, and comes again."""

# SQLite's one writer puts every line into the row: there is nothing to fold.
_FOLD = Sql(
    "SELECT folded, reached FROM fold_account(:id, :after, :batch)",
    sqlite="SELECT 0 AS folded, NULL AS reached",
    writes=True,
)
# By jumps in the index, one for each account: a scan would read every row of who fell behind, each
# time. Ids are in the order of time, so the first of an account is about its oldest.
_WAITING = Sql(
    "WITH RECURSIVE first AS ("
    "(SELECT account_id, created_at FROM unfolded_postings ORDER BY account_id, posting_id LIMIT 1)"
    " UNION ALL SELECT further.account_id, further.created_at FROM first, LATERAL ("
    "SELECT account_id, created_at FROM unfolded_postings WHERE account_id > first.account_id"
    " ORDER BY account_id, posting_id LIMIT 1) AS further)"
    " SELECT account_id FROM first ORDER BY created_at LIMIT :limit",
    sqlite="SELECT account_id FROM unfolded_postings LIMIT :limit",
)

_OLDEST = Sql(
    "SELECT created_at FROM unfolded_postings ORDER BY posting_id LIMIT 1",
)


@gauge("payments_unfolded_oldest_seconds", "Age of the oldest side row that no fold has taken.")
def oldest_s() -> float:
    """How far folding is behind, in seconds; 0 where nothing waits. Ids are in time order."""
    oldest: datetime | None = _OLDEST.scalar()
    return 0.0 if oldest is None else max(0.0, (db.now() - oldest).total_seconds())


def fold(account_id: str, after: str = "") -> Row:
    """Take at most a batch of the account's side rows into its balance, in the open unit of work.

    after: the `reached` of the batch before. Gives `folded`, how many it took: less than a batch
    means that no more were there; and `reached`, the last one's id.
    """
    return _FOLD.one(id=account_id, after=after, batch=BATCH)


def fold_all(limit: int = 1_000) -> int:
    """Fold at most `limit` accounts, those that wait longest first, each batch in its own unit.

    Gives how many were folded to their end. Run by the clock. Who has more than a batch waits for
    its next one until all others had theirs, and only while there is time; an account that is busy
    is left for the next run. So neither holds back any other.
    """
    ends_at = time.monotonic() + RUN_S
    waiting = deque((row.account_id, "") for row in _WAITING.all(limit=limit))
    done = 0
    while waiting:
        account_id, after = waiting.popleft()
        if after and time.monotonic() >= ends_at:
            break
        try:
            batch = db.in_unit(partial(fold, account_id, after))
        except Busy:
            log.warning("an account is busy; it is folded later", extra={"id": account_id})
        except Exception:
            log.exception("an account can't be folded", extra={"id": account_id})
        else:
            if batch.folded < BATCH:
                done += 1
            else:
                waiting.append((account_id, batch.reached))
    return done
