"""What must be true between payouts, adjustments and the ledger. `register()` adds it to the
ledger's list, which the reconciliation, the tests and the restore drill run.
"""

from payments.ledger import invariants
from payments.ledger.invariants import Invariant


def _posted_once(kind: str, table: str) -> str:
    return (
        f"SELECT {table}.id, {table}.status, count(entries.id) AS entries FROM {table}"
        f" LEFT JOIN entries ON entries.subject_id = {table}.id AND entries.kind = '{kind}'"
        f" GROUP BY {table}.id, {table}.status"
        f" HAVING count(entries.id) <> CASE {table}.status WHEN 'approved' THEN 1 ELSE 0 END"
    )


def _moved(table: str) -> str:
    """What the approved rows say, with its sign turned, and what was posted for any row."""
    return f"""
  SELECT id AS subject_id, debit_account_id AS account_id, amount FROM {table}
  WHERE status = 'approved'
  UNION ALL
  SELECT id, credit_account_id, -amount FROM {table} WHERE status = 'approved'
  UNION ALL
  SELECT entries.subject_id, postings.account_id, postings.amount FROM {table}
  JOIN entries ON entries.subject_id = {table}.id JOIN postings ON postings.entry_id = entries.id
"""


_LINES = f"""
SELECT subject_id, account_id, sum(amount) AS difference FROM (
{_moved("payouts")} UNION ALL {_moved("adjustments")}
) AS moved GROUP BY subject_id, account_id HAVING sum(amount) <> 0
"""

_ACCOUNTS_FIT = """
SELECT payouts.id FROM payouts
LEFT JOIN accounts AS own ON own.id = payouts.debit_account_id AND own.kind = 'merchant'
AND own.owner_id = payouts.merchant_id AND own.currency = payouts.currency
LEFT JOIN accounts AS outside ON outside.id = payouts.credit_account_id
AND outside.kind = 'external:payout' AND outside.currency = payouts.currency
WHERE own.id IS NULL OR outside.id IS NULL
"""

SETTLEMENT = (
    Invariant(
        "payout_posted_once",
        "An approved payout has one entry in the ledger; any other has none.",
        _posted_once("payout", "payouts"),
    ),
    Invariant(
        "adjustment_posted_once",
        "An approved adjustment has one entry in the ledger; any other has none.",
        _posted_once("adjustment", "adjustments"),
    ),
    Invariant(
        "moved_by_hand_is_what_was_approved",
        "On each account, what was posted for a payout or adjustment is what two people approved.",
        _LINES,
    ),
    Invariant(
        "payout_accounts_fit",
        "A payout leaves its merchant's account for the outside, in its currency.",
        _ACCOUNTS_FIT,
    ),
)


def register() -> None:
    """Add them to the ledger's list."""
    invariants.register(*SETTLEMENT)
