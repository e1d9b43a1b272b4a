"""What must be true between payments, refunds, holds and the ledger. `register()` adds it to the
ledger's list, which the reconciliation, the tests and the restore drill run.
"""

from payments.ledger import invariants
from payments.ledger.invariants import Invariant

_FITS = """
SELECT id, status FROM payments WHERE (
  CASE status
  WHEN 'pending' THEN
    customer_id IS NULL AND customer_account_id IS NULL AND hold_id IS NULL
    AND capture_before IS NULL AND paid_at IS NULL AND ended_at IS NULL
  WHEN 'authorized' THEN
    capture = 'manual' AND customer_id IS NOT NULL AND customer_account_id IS NOT NULL
    AND hold_id IS NOT NULL AND capture_before IS NOT NULL AND paid_at IS NULL
    AND ended_at IS NULL
  WHEN 'succeeded' THEN
    customer_id IS NOT NULL AND customer_account_id IS NOT NULL AND paid_at IS NOT NULL
    AND ended_at IS NULL AND amount_captured > 0
    AND (hold_id IS NOT NULL) = (capture = 'manual')
    AND (amount_captured = amount OR capture = 'manual')
    AND (amount_captured < amount OR fee = fee_whole)
  ELSE paid_at IS NULL AND ended_at IS NOT NULL AND (status <> 'declined' OR hold_id IS NULL)
  END
  AND (status = 'succeeded' OR (amount_captured = 0 AND amount_refunded = 0 AND fee = 0))
) IS NOT TRUE
"""

_CAPTURED_ONCE = """
SELECT payments.id, payments.status, count(entries.id) AS captures FROM payments
LEFT JOIN entries ON entries.subject_id = payments.id AND entries.kind = 'payment'
GROUP BY payments.id, payments.status
HAVING count(entries.id) <> CASE WHEN payments.status = 'succeeded' THEN 1 ELSE 0 END
"""

_REFUNDED_ONCE = """
SELECT refunds.id, count(entries.id) AS entries FROM refunds
LEFT JOIN entries ON entries.subject_id = refunds.id AND entries.kind = 'refund'
GROUP BY refunds.id HAVING count(entries.id) <> 1
"""

_ENTRIES_HAVE_THEIRS = """
SELECT entries.id, entries.kind, entries.subject_id FROM entries
LEFT JOIN payments ON payments.id = entries.subject_id
LEFT JOIN refunds ON refunds.id = entries.subject_id
WHERE (entries.kind = 'payment' AND payments.id IS NULL)
OR (entries.kind = 'refund' AND refunds.id IS NULL)
"""

# What was posted, less what the payment or refund says, is nothing on any account.
_LINES = """
SELECT subject_id, account_id, sum(amount) AS difference FROM (
  SELECT entries.subject_id, postings.account_id, postings.amount
  FROM entries JOIN postings ON postings.entry_id = entries.id
  WHERE entries.kind IN ('payment', 'refund')
  UNION ALL
  SELECT id, customer_account_id, amount_captured FROM payments WHERE status = 'succeeded'
  UNION ALL
  SELECT id, merchant_account_id, fee - amount_captured FROM payments WHERE status = 'succeeded'
  UNION ALL
  SELECT payments.id, accounts.id, -payments.fee FROM payments JOIN accounts
  ON accounts.kind = 'fees' AND accounts.currency = payments.currency
  WHERE payments.status = 'succeeded'
  UNION ALL
  SELECT refunds.id, payments.customer_account_id, -refunds.amount
  FROM refunds JOIN payments ON payments.id = refunds.payment_id
  UNION ALL
  SELECT refunds.id, payments.merchant_account_id, refunds.amount - refunds.fee_returned
  FROM refunds JOIN payments ON payments.id = refunds.payment_id
  UNION ALL
  SELECT refunds.id, accounts.id, refunds.fee_returned FROM refunds JOIN accounts
  ON accounts.kind = 'fees' AND accounts.currency = refunds.currency
) AS moved
GROUP BY subject_id, account_id HAVING sum(amount) <> 0
"""

_REFUNDS_ADD_UP = """
SELECT payments.id, payments.amount_refunded, payments.fee_refunded FROM payments
LEFT JOIN (
  SELECT payment_id, sum(amount) AS amount, sum(fee_returned) AS fee FROM refunds
  GROUP BY payment_id
) AS made ON made.payment_id = payments.id
WHERE payments.amount_refunded <> coalesce(made.amount, 0)
OR payments.fee_refunded <> coalesce(made.fee, 0)
"""

_REFUNDS_FIT = """
SELECT refunds.id FROM refunds JOIN payments ON payments.id = refunds.payment_id
WHERE payments.status <> 'succeeded' OR refunds.currency <> payments.currency
OR refunds.merchant_id <> payments.merchant_id
"""

_HOLDS_AGREE = """
SELECT holds.id, holds.status, payments.id AS payment_id FROM holds
LEFT JOIN payments ON payments.hold_id = holds.id
WHERE substr(holds.subject_id, 1, 4) = 'pay_' AND (
  holds.subject_id = payments.id AND holds.account_id = payments.customer_account_id
  AND holds.amount = payments.amount AND holds.captured = payments.amount_captured
  AND holds.status = CASE payments.status WHEN 'authorized' THEN 'held'
    WHEN 'succeeded' THEN 'captured' WHEN 'canceled' THEN 'released'
    WHEN 'expired' THEN 'expired' END
) IS NOT TRUE
"""

_ACCOUNTS_FIT = """
SELECT payments.id FROM payments
LEFT JOIN accounts AS merchants ON merchants.id = payments.merchant_account_id
AND merchants.kind = 'merchant' AND merchants.owner_id = payments.merchant_id
AND merchants.currency = payments.currency
LEFT JOIN accounts AS customers ON customers.id = payments.customer_account_id
AND customers.kind = 'customer' AND customers.owner_id = payments.customer_id
AND customers.currency = payments.currency
WHERE merchants.id IS NULL
OR (payments.customer_account_id IS NOT NULL AND customers.id IS NULL)
"""

CHECKOUT = (
    Invariant(
        "payment_fits_its_status",
        "Amounts, times, payer and hold of a payment are those that its status has.",
        _FITS,
    ),
    Invariant(
        "payment_captured_once",
        "A succeeded payment has one entry in the ledger; any other has none.",
        _CAPTURED_ONCE,
    ),
    Invariant("refund_posted_once", "A refund has one entry in the ledger.", _REFUNDED_ONCE),
    Invariant(
        "checkout_entry_has_its_object",
        "An entry of a payment or refund is for one that exists.",
        _ENTRIES_HAVE_THEIRS,
    ),
    Invariant(
        "checkout_entry_moves_what_its_object_says",
        "On each account, what a payment or refund moved is what it says that it moved.",
        _LINES,
    ),
    Invariant(
        "refunds_add_up",
        "What a payment says was refunded, of amount and fee, is the sum of its refunds.",
        _REFUNDS_ADD_UP,
    ),
    Invariant(
        "refund_fits_its_payment",
        "A refund is of a succeeded payment, of its currency and its merchant.",
        _REFUNDS_FIT,
    ),
    Invariant(
        "payment_hold_agrees",
        "The hold of a payment is in the status and of the amounts that the payment says.",
        _HOLDS_AGREE,
    ),
    Invariant(
        "payment_accounts_fit",
        "A payment's accounts are its merchant's and its payer's, in its currency.",
        _ACCOUNTS_FIT,
    ),
)


def register() -> None:
    """Add them to the ledger's list."""
    invariants.register(*CHECKOUT)
