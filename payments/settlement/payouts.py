"""Payouts: money of a merchant that leaves to its bank, one operator proposing, another approving.

Nothing is set aside by a proposal: the approval finds the money, or is refused and may be tried
again. Locks, as everywhere: the payout's row, then the merchant's account.
"""

from typing import Any

from payments import ids, origin
from payments.clock import to_rfc3339
from payments.db import Row, Sql
from payments.errors import (
    MerchantBalanceInsufficient,
    MerchantNotApproved,
    MerchantSuspended,
    NotFound,
)
from payments.events import outbox
from payments.ledger import accounts, posting
from payments.merchants import applications
from payments.settlement.proposals import Place, Proposals

OUTSIDE = "external:payout"
"""The account that payouts leave to: what banks were told to pay."""

_FIELDS = (
    "id, merchant_id, debit_account_id, credit_account_id, amount, currency, reference, status,"
    " proposed_by, decided_by, decision_reason, version, created_at, decided_at"
)
_INSERT = Sql(
    "INSERT INTO payouts (id, merchant_id, debit_account_id, credit_account_id, amount, currency,"
    " reference, status, proposed_by, version, created_at) VALUES (:id, :merchant_id, :debit,"
    " :credit, :amount, :currency, :reference, 'proposed', :by, 1, :now)"
    f" RETURNING {_FIELDS}"
)
proposals = Proposals("payouts", "payout", _FIELDS)


def propose(merchant_id: str, amount: int, currency: str, reference: str | None) -> Row:
    """Status: `proposed`; the merchant hears `payout.created`. amount: minor units.

    Raises NotFound, MerchantNotApproved, MerchantSuspended, and MerchantBalanceInsufficient for
    more than is available now.
    """
    _require_open(merchant_id)
    own = accounts.find(merchant_id, "merchant", currency)
    if own is None or own.available < amount:
        raise MerchantBalanceInsufficient(
            "The merchant's available balance does not cover this. Nothing was proposed."
        )
    row: Row = _INSERT.one(
        id=ids.new("out"),
        merchant_id=merchant_id,
        debit=own.id,
        credit=accounts.ensure_system(OUTSIDE, currency),
        amount=amount,
        currency=currency,
        reference=reference,
        by=origin.current().actor,
    )
    proposals.note_proposal(row, merchant=merchant_id)
    _tell("payout.created", row)
    return row


def approve(payout_id: str) -> Row:
    """`proposed` -> `approved`: the money leaves, and the merchant hears `payout.paid`.

    Raises NotFound, InvalidState, SecondOperatorNeeded, MerchantNotApproved, MerchantSuspended,
    MerchantBalanceInsufficient, LimitExceeded; then the payout stays proposed.
    """
    row = proposals.approve(payout_id)
    _require_open(row.merchant_id)
    _tell("payout.paid", row)
    posting.post(
        "payout", row.id, {row.debit_account_id: -row.amount, row.credit_account_id: row.amount}
    )
    return row


def of_merchant(merchant_id: str, payout_id: str) -> Row:
    """One of the merchant's. Raises NotFound, also for another's."""
    row = proposals.get(payout_id)
    if row.merchant_id != merchant_id:
        raise NotFound
    return row


def page_of_merchant(
    merchant_id: str, filters: dict[str, Any], limit: int, before: Place | None
) -> list[Row]:
    """A page of the merchant's, newest first. filters: status, reference."""
    return proposals.page({**filters, "merchant_id": merchant_id}, limit, before)


def payout_object(row: Row) -> dict[str, Any]:
    """A payout as its merchant sees it: not which operators had it in hand."""
    paid = row.status == "approved"
    return {
        "object": "payout",
        "id": row.id,
        "status": row.status,
        "version": row.version,
        "merchant": row.merchant_id,
        "amount": row.amount,
        "currency": row.currency,
        "reference": row.reference,
        "created_at": to_rfc3339(row.created_at),
        "paid_at": to_rfc3339(row.decided_at) if paid else None,
    }


def _require_open(merchant_id: str) -> None:
    status = applications.get(merchant_id).status
    if status == "pending":
        raise MerchantNotApproved("The merchant's application waits for an operator.")
    if status == "suspended":
        raise MerchantSuspended("The merchant is suspended: nothing is paid out until it is not.")


def _tell(what: str, row: Row) -> None:
    outbox.record(what, merchant_id=row.merchant_id, object_id=row.id, snapshot=payout_object(row))
