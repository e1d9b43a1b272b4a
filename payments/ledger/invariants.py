"""What must be true, each as a query that returns the rows which break it.

One list: the reconciliation, the metric, the tests and the restore drill all run it. A room above
adds what must be true between its tables and the ledger's, by `register`.
"""

from dataclasses import dataclass
from typing import Any

from payments import db
from payments.db import Sql
from payments.ledger.accounts import UNFOLDED


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


_POSTED = "coalesce((SELECT sum(amount) FROM postings WHERE account_id = accounts.id), 0)"
_HELD = (
    "coalesce((SELECT sum(amount) FROM holds"
    " WHERE account_id = accounts.id AND status = 'held'), 0)"
)

INVARIANTS: list[Invariant] = [
    Invariant(
        "entry_sums_to_zero",
        "The postings of an entry sum to 0 in each currency.",
        "SELECT postings.entry_id, accounts.currency, sum(postings.amount) AS total FROM postings"
        " JOIN accounts ON accounts.id = postings.account_id"
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
        "posting_is_on_an_account_and_entry",
        "Every posting belongs to an account and an entry that exist.",
        "SELECT postings.id, postings.account_id, postings.entry_id FROM postings"
        " LEFT JOIN accounts ON accounts.id = postings.account_id"
        " LEFT JOIN entries ON entries.id = postings.entry_id"
        " WHERE accounts.id IS NULL OR entries.id IS NULL",
    ),
    Invariant(
        "balance_is_sum_of_postings",
        "An account's balance, with what lies beside it, is the sum of its postings.",
        "SELECT id AS account_id, kind, currency, stored, posted FROM ("
        f"SELECT id, kind, currency, balance + {UNFOLDED} AS stored, {_POSTED} AS posted"
        " FROM accounts) AS compared WHERE stored <> posted",
    ),
    Invariant(
        "side_row_is_a_posting",
        "What lies beside an account is one of its postings, of the same amount.",
        "SELECT side.posting_id, side.account_id, side.amount FROM unfolded_postings AS side"
        " LEFT JOIN postings ON postings.id = side.posting_id"
        " AND postings.account_id = side.account_id AND postings.amount = side.amount"
        " WHERE postings.id IS NULL",
    ),
    Invariant(
        "held_is_sum_of_live_holds",
        "What an account holds is the sum of its live holds.",
        "SELECT id AS account_id, held, live FROM ("
        f"SELECT id, held, {_HELD} AS live FROM accounts) AS compared WHERE held <> live",
    ),
    Invariant(
        "balance_is_not_below_floor",
        "An account with a floor has at least that, less what is held.",
        "SELECT id AS account_id, kind, balance, held, floor FROM ("
        f"SELECT id, kind, balance + {UNFOLDED} AS balance, held, floor FROM accounts) AS compared"
        " WHERE floor IS NOT NULL AND balance - held < floor",
    ),
    Invariant(
        "currency_sums_to_zero",
        "Over all accounts of a currency the balances sum to 0: money only moves.",
        "SELECT currency, sum(total) AS total FROM ("
        f"SELECT currency, balance + {UNFOLDED} AS total FROM accounts) AS totals"
        " GROUP BY currency HAVING sum(total) <> 0",
    ),
    Invariant(
        "hold_fits_its_status",
        "A live hold has captured nothing and has not ended; a captured one has taken something.",
        "SELECT id, status, amount, captured FROM holds WHERE"
        " (status = 'held') <> (ended_at IS NULL)"
        " OR (status = 'captured') <> (captured > 0) OR captured > amount",
    ),
    Invariant(
        "account_fits_its_kind",
        "An account's place in the lock order and its floor are those of its kind.",
        "SELECT id AS account_id, kind, rank, floor FROM accounts WHERE rank <> CASE"
        " WHEN kind = 'customer' THEN 1 WHEN kind = 'agent' THEN 2 WHEN kind = 'merchant' THEN 3"
        " WHEN kind = 'fees' THEN 4 WHEN kind LIKE 'external:%' THEN 5 ELSE 0 END"
        " OR (kind IN ('customer', 'agent', 'merchant')) <> (floor IS NOT NULL)",
    ),
    Invariant(
        "reversal_happens_once",
        "An entry is reversed at most once, and the reversal is of one that exists.",
        "SELECT entries.subject_id, count(*) AS reversals FROM entries"
        " LEFT JOIN entries AS original ON original.id = entries.subject_id"
        " WHERE entries.kind = 'reversal' GROUP BY entries.subject_id, original.id"
        " HAVING count(*) > 1 OR original.id IS NULL",
    ),
]
"""The list. `register` adds to it."""


def register(*more: Invariant) -> None:
    """Add invariants of a room above. The same ones again are not added twice."""
    known = {invariant.name for invariant in INVARIANTS}
    INVARIANTS.extend(each for each in more if each.name not in known)


def check() -> list[Finding]:
    """Run the whole list over one snapshot; what comes back breaks an invariant.

    Opens the snapshot itself, so that a running service causes no false alarm.
    """
    found: list[Finding] = []
    with db.snapshot():
        for invariant in INVARIANTS:
            rows = Sql(invariant.sql).all()
            found += [Finding(invariant.name, row._asdict()) for row in rows]
    return found
