"""What must be true between transfers, deposits and the ledger. `register()` adds it to the
ledger's list, which the reconciliation, the tests and the restore drill run.
"""

from payments.ledger import invariants
from payments.ledger.invariants import Invariant


def _posted_once(kind: str, table: str) -> str:
    return (
        f"SELECT {table}.id, count(entries.id) AS entries FROM {table}"
        f" LEFT JOIN entries ON entries.subject_id = {table}.id AND entries.kind = '{kind}'"
        f" GROUP BY {table}.id HAVING count(entries.id) <> 1"
    )


_ENTRIES_HAVE_THEIRS = """
SELECT entries.id, entries.kind, entries.subject_id FROM entries
LEFT JOIN deposits ON deposits.id = entries.subject_id
LEFT JOIN transfers ON transfers.id = entries.subject_id
WHERE (entries.kind = 'deposit' AND deposits.id IS NULL)
OR (entries.kind = 'transfer' AND transfers.id IS NULL)
"""

# What was posted, less what the deposit or transfer says, is nothing on any account.
_LINES = """
SELECT subject_id, account_id, sum(amount) AS difference FROM (
  SELECT entries.subject_id, postings.account_id, postings.amount
  FROM entries JOIN postings ON postings.entry_id = entries.id
  WHERE entries.kind IN ('deposit', 'transfer')
  UNION ALL
  SELECT id, account_id, -amount FROM deposits
  UNION ALL
  SELECT deposits.id, accounts.id, deposits.amount FROM deposits JOIN accounts
  ON accounts.kind = 'external:' || deposits.service AND accounts.currency = deposits.currency
  UNION ALL
  SELECT transfers.id, accounts.id, transfers.amount FROM transfers JOIN accounts
  ON accounts.owner_id = transfers.sender_id AND accounts.kind = 'customer'
  AND accounts.currency = transfers.currency
  UNION ALL
  SELECT transfers.id, accounts.id, -transfers.amount FROM transfers JOIN accounts
  ON accounts.owner_id = transfers.recipient_id AND accounts.kind = 'customer'
  AND accounts.currency = transfers.currency
) AS moved
GROUP BY subject_id, account_id HAVING sum(amount) <> 0
"""

_DEPOSITS_FIT = """
SELECT deposits.id FROM deposits
LEFT JOIN accounts ON accounts.id = deposits.account_id AND accounts.kind = 'customer'
AND accounts.owner_id = deposits.customer_id AND accounts.currency = deposits.currency
WHERE accounts.id IS NULL
"""

_TRANSFERS_FIT = """
SELECT id FROM transfers
WHERE sender_id = recipient_id OR (service IS NULL AND reference IS NOT NULL)
"""

TRANSFERS = (
    Invariant(
        "deposit_posted_once",
        "A deposit has one entry in the ledger.",
        _posted_once("deposit", "deposits"),
    ),
    Invariant(
        "transfer_posted_once",
        "A transfer has one entry in the ledger.",
        _posted_once("transfer", "transfers"),
    ),
    Invariant(
        "transfers_entry_has_its_object",
        "An entry of a deposit or transfer is for one that exists.",
        _ENTRIES_HAVE_THEIRS,
    ),
    Invariant(
        "transfers_entry_moves_what_its_object_says",
        "On each account, what a deposit or transfer moved is what it says that it moved.",
        _LINES,
    ),
    Invariant(
        "deposit_account_fits",
        "A deposit is in a wallet of its customer, in its currency.",
        _DEPOSITS_FIT,
    ),
    Invariant(
        "transfer_fits_its_parties",
        "A transfer is between two customers, and a reference is of a service.",
        _TRANSFERS_FIT,
    ),
)


def register() -> None:
    """Add them to the ledger's list."""
    invariants.register(*TRANSFERS)
