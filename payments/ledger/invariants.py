"""What must be true, each as a query that returns the rows which break it.

One list: the reconciliation, the metric, the tests and the restore drill all run it. A room above
adds what must be true between its tables and the ledger's, by `register`.
"""

from dataclasses import dataclass
from typing import Any

from payments import db
from payments.db import Sql


@dataclass(frozen=True, slots=True)
class Invariant:
    """name: stable, for people and metrics. meaning: one sentence. sql: its breakers, if any."""

    name: str
    meaning: str
    sql: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One row that breaks an invariant: which, and the row's columns."""

    invariant: str
    facts: dict[str, Any]


# Nothing here compares times of different units: a unit is dated by its beginning, so one that
# waited for another's lock is dated before what it builds on. A hold may end "before" it began.
#
# One pass over each table, joined by account: a subquery for each account costs more than ten
# times as much on a full table.
_POSTED = "(SELECT account_id, sum(amount) AS total FROM postings GROUP BY account_id)"
_ASIDE = "(SELECT account_id, sum(amount) AS total FROM unfolded_postings GROUP BY account_id)"
_LIVE = (
    "(SELECT account_id, sum(amount) AS total FROM holds WHERE status = 'held' GROUP BY account_id)"
)
_TRUE_ACCOUNTS = (
    "(SELECT accounts.*, balance + coalesce(aside.total, 0) AS true_balance FROM accounts"
    f" LEFT JOIN {_ASIDE} AS aside ON aside.account_id = accounts.id)"
)

LEDGER = (
    Invariant(
        "entry_sums_to_zero",
        "The postings of an entry sum to 0 in each currency.",
        "SELECT postings.entry_id, accounts.currency, sum(postings.amount) AS total FROM postings"
        " LEFT JOIN accounts ON accounts.id = postings.account_id"
        " GROUP BY postings.entry_id, accounts.currency HAVING sum(postings.amount) <> 0",
    ),
    Invariant(
        "entry_has_two_postings",
        "An entry has at least two postings, each on an account of its own.",
        "SELECT entries.id AS entry_id, count(DISTINCT postings.account_id) AS accounts,"
        " count(postings.id) AS postings"
        " FROM entries LEFT JOIN postings ON postings.entry_id = entries.id"
        " GROUP BY entries.id HAVING count(DISTINCT postings.account_id) < 2"
        " OR count(DISTINCT postings.account_id) <> count(postings.id)",
    ),
    Invariant(
        "posting_fits_its_entry",
        "A posting belongs to an account and an entry that exist, and bears the entry's time.",
        "SELECT postings.id, postings.account_id, postings.entry_id, postings.created_at"
        " FROM postings LEFT JOIN accounts ON accounts.id = postings.account_id"
        " LEFT JOIN entries ON entries.id = postings.entry_id"
        " WHERE accounts.id IS NULL OR entries.id IS NULL"
        " OR postings.created_at <> entries.created_at",
    ),
    Invariant(
        "balance_is_sum_of_postings",
        "An account's balance, with what lies beside it, is the sum of its postings.",
        "SELECT accounts.id AS account_id, accounts.kind, accounts.currency,"
        " accounts.true_balance AS stored, coalesce(posted.total, 0) AS posted"
        f" FROM {_TRUE_ACCOUNTS} AS accounts"
        f" LEFT JOIN {_POSTED} AS posted ON posted.account_id = accounts.id"
        " WHERE accounts.true_balance <> coalesce(posted.total, 0)",
    ),
    Invariant(
        "side_row_is_a_posting",
        "What lies beside an account is one of its postings, as it stands there; beside one with"
        " a floor lie only credits.",
        "SELECT side.posting_id, side.account_id, side.amount FROM unfolded_postings AS side"
        " LEFT JOIN postings ON postings.id = side.posting_id"
        " AND postings.account_id = side.account_id AND postings.amount = side.amount"
        " AND postings.created_at = side.created_at"
        " LEFT JOIN accounts ON accounts.id = side.account_id"
        " WHERE postings.id IS NULL OR (side.amount < 0 AND accounts.floor IS NOT NULL)",
    ),
    Invariant(
        "held_is_sum_of_live_holds",
        "What an account holds is the sum of its live holds.",
        "SELECT accounts.id AS account_id, accounts.held, coalesce(live.total, 0) AS live"
        f" FROM accounts LEFT JOIN {_LIVE} AS live ON live.account_id = accounts.id"
        " WHERE accounts.held <> coalesce(live.total, 0)",
    ),
    Invariant(
        "balance_is_not_below_floor",
        "An account with a floor has at least that, less what is held, and less what an operator"
        " let it go below.",
        "SELECT id AS account_id, kind, true_balance AS balance, held, floor, overdraft"
        f" FROM {_TRUE_ACCOUNTS} AS accounts"
        " WHERE floor IS NOT NULL AND true_balance - held < floor"
        " - coalesce(overdraft, 0)",
    ),
    Invariant(
        "currency_sums_to_zero",
        "Over all accounts of a currency the balances sum to 0: money only moves.",
        f"SELECT currency, sum(true_balance) AS total FROM {_TRUE_ACCOUNTS} AS accounts"
        " GROUP BY currency HAVING sum(true_balance) <> 0",
    ),
    Invariant(
        "hold_fits_its_status",
        "A live hold has captured nothing and has not ended; a captured one has taken something,"
        " and no more than it held.",
        "SELECT id, status, amount, captured FROM holds WHERE"
        " (status = 'held') <> (ended_at IS NULL)"
        " OR (status = 'captured') <> (captured > 0) OR captured > amount",
    ),
    Invariant(
        "captured_hold_has_its_posting",
        "What a hold has captured left its account, in an entry of the same moment and subject.",
        "SELECT holds.id, holds.captured FROM holds WHERE status = 'captured' AND NOT EXISTS ("
        "SELECT 1 FROM postings JOIN entries ON entries.id = postings.entry_id"
        " WHERE entries.subject_id = holds.subject_id AND postings.account_id = holds.account_id"
        " AND postings.amount = -holds.captured AND postings.created_at = holds.ended_at)",
    ),
    Invariant(
        "account_fits_its_kind",
        "An account's place in the lock order and its floor are those of its kind; without a floor"
        " it collects and is not frozen.",
        "SELECT id AS account_id, kind, rank, floor FROM accounts WHERE rank <> CASE"
        " WHEN kind = 'customer' THEN 1 WHEN kind = 'agent' THEN 2 WHEN kind = 'merchant' THEN 3"
        " WHEN kind = 'fees' THEN 4 WHEN kind LIKE 'external:%' THEN 5 ELSE 0 END"
        " OR (kind IN ('customer', 'agent', 'merchant')) <> (floor IS NOT NULL)"
        " OR (floor IS NULL AND (NOT collects OR frozen_at IS NOT NULL))",
    ),
)
"""What must be true of the ledger's own tables."""

INVARIANTS: list[Invariant] = [*LEDGER]
"""The whole list. `register` adds to it."""


def register(*more: Invariant) -> None:
    """Add invariants of a room above. The same ones again change nothing.

    Raises ValueError for another one under a name that is taken.
    """
    known = {invariant.name: invariant for invariant in INVARIANTS}
    for each in more:
        if known.setdefault(each.name, each) != each:
            raise ValueError(f"there are two invariants named {each.name}")
    INVARIANTS[:] = known.values()


def check(limit: int = 1_000) -> list[Finding]:
    """Run the whole list over one snapshot; what comes back breaks an invariant.

    limit: findings for each invariant; who has that many has seen enough. Opens the snapshot
    itself, so that a running service causes no false alarm.
    """
    found: list[Finding] = []
    with db.snapshot():
        for invariant in INVARIANTS:
            breakers = Sql(f"SELECT * FROM ({invariant.sql}) AS breakers LIMIT :limit")
            found += [Finding(invariant.name, row._asdict()) for row in breakers.all(limit=limit)]
    return found
