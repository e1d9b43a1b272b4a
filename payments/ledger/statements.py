"""Statements: an account's postings with their entry, counterparty and running balance.

The running balance is the account's, less the lines that come after in the order in which they are
shown: so it agrees with what stands above and below it, and the newest page costs no more on a full
account than on a new one.
"""

from collections.abc import Iterator
from datetime import datetime

from payments.db import Row, Sql
from payments.ledger.accounts import UNFOLDED

Place = tuple[datetime, str]
"""Where a page ended: the `created_at` and `id` of its last line."""

# The other side: who owns the accounts of the entry's other lines, those of the service aside; and
# their kinds, which say `external:taxi` where money came from outside.
_OTHERS = (
    "FROM postings AS other JOIN accounts AS theirs ON theirs.id = other.account_id"
    " WHERE other.entry_id = line.entry_id AND other.account_id <> line.account_id"
    " AND theirs.kind <> 'fees'"
)
_FIELDS = (
    "line.id, line.entry_id, entries.kind, entries.subject_id, line.amount,"
    f" (SELECT min(theirs.owner_id) {_OTHERS}) AS counterparty,"
    f" (SELECT min(theirs.kind) {_OTHERS}) AS counterparty_kind"
)


def _page(follows: bool) -> Sql:
    before = " AND (created_at, id) < (:before_at, :before_id)" if follows else ""
    return Sql(
        "WITH page AS (SELECT id, entry_id, account_id, amount, created_at FROM postings"
        f" WHERE account_id = :account_id{before} ORDER BY created_at DESC, id DESC LIMIT :limit),"
        " first AS (SELECT created_at, id FROM page ORDER BY created_at DESC, id DESC LIMIT 1),"
        " upto AS (SELECT (SELECT accounts.balance + "
        f"{UNFOLDED} FROM accounts WHERE accounts.id = :account_id)"
        " - coalesce(sum(postings.amount), 0) AS balance FROM postings, first"
        " WHERE postings.account_id = :account_id"
        " AND (postings.created_at, postings.id) > (first.created_at, first.id))"
        f" SELECT {_FIELDS}, CAST((SELECT balance FROM upto) - coalesce(sum(line.amount) OVER"
        " (ORDER BY line.created_at DESC, line.id DESC"
        " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bigint) AS balance,"
        " line.created_at FROM page AS line JOIN entries ON entries.id = line.entry_id"
        " ORDER BY line.created_at DESC, line.id DESC"
    )


_FIRST_PAGE, _NEXT_PAGE = _page(False), _page(True)
_ALL = Sql(
    f"SELECT {_FIELDS}, CAST(sum(line.amount) OVER (ORDER BY line.created_at, line.id)"
    " AS bigint) AS balance, line.created_at"
    " FROM postings AS line JOIN entries ON entries.id = line.entry_id"
    " WHERE line.account_id = :account_id ORDER BY line.created_at, line.id"
)


def lines(account_id: str, limit: int, before: Place | None = None) -> list[Row]:
    """A page of the account's postings, newest first.

    Rows: id, entry_id, kind and subject_id (of the entry), amount, counterparty (the owner's id),
    counterparty_kind, balance (after the line), created_at. Amounts in minor units.
    """
    if before is None:
        return _FIRST_PAGE.all(account_id=account_id, limit=limit)
    return _NEXT_PAGE.all(
        account_id=account_id, limit=limit, before_at=before[0], before_id=before[1]
    )


def stream(account_id: str) -> Iterator[Row]:
    """All of the account's postings, oldest first, as `lines` gives them; inside `snapshot()`."""
    return _ALL.stream(account_id=account_id)
