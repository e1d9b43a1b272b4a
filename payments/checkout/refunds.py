"""Refunds: money back to the payer of a succeeded payment, in part or whole, several times.

Locks, in the order that all of the house takes them: the payment's row, the customer's account, the
merchant's. So a refund and a payment between the same two accounts never wait for each other.
"""

from functools import lru_cache
from typing import Any

from payments import ids
from payments.checkout import fees, objects, statuses
from payments.checkout.lookup import EFFECTIVE, Place
from payments.db import Row, Sql
from payments.errors import AmountExceedsRefundable, NotFound
from payments.events import outbox
from payments.ledger import accounts, posting

_LOCK = Sql(
    f"SELECT {EFFECTIVE} FROM payments WHERE id = :id AND merchant_id = :merchant_id"
    " FOR NO KEY UPDATE"
)

_GROW = Sql(
    "UPDATE payments SET amount_refunded = :amount_refunded, fee_refunded = :fee_refunded,"
    " version = version + 1 WHERE id = :id"
)

_FIELDS = (
    "id, payment_id, merchant_id, amount, fee_returned, currency, status, reason, metadata_json,"
    " version, created_at"
)

_INSERT = Sql(
    f"INSERT INTO refunds ({_FIELDS}) VALUES (:id, :payment_id, :merchant_id, :amount,"
    " :fee_returned, :currency, 'succeeded', :reason, :metadata_json, 1, :now)"
    f" RETURNING {_FIELDS}"
)

_GET = Sql(f"SELECT {_FIELDS} FROM refunds WHERE id = :id AND merchant_id = :merchant_id")


def create(
    merchant_id: str,
    payment_id: str,
    *,
    amount: int | None = None,
    reason: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Row:
    """Give back `amount` (minor units; None: all that is left) of the merchant's own payment.

    The part of the fee that belongs to it comes back too, to the merchant. Status: `succeeded` at
    once. Raises NotFound, InvalidState, AmountExceedsRefundable, MerchantBalanceInsufficient; then
    nothing is queued.
    """
    payment = _LOCK.one(id=payment_id, merchant_id=merchant_id)
    if payment is None:
        raise NotFound
    if payment.status != "succeeded":
        raise statuses.refusal(payment)
    left = payment.amount_captured - payment.amount_refunded
    amount = left if amount is None else amount
    if not 0 < amount <= left:
        raise AmountExceedsRefundable(
            f"Of what was captured, {left} {payment.currency} minor units are left to refund."
        )
    refunded = payment.amount_refunded + amount
    fee_refunded = fees.returned(payment.fee, payment.amount_captured, refunded)
    _GROW.run(id=payment_id, amount_refunded=refunded, fee_refunded=fee_refunded)
    refund: Row = _INSERT.one(
        id=ids.new("ref"),
        payment_id=payment_id,
        merchant_id=merchant_id,
        amount=amount,
        fee_returned=fee_refunded - payment.fee_refunded,
        currency=payment.currency,
        reason=reason,
        metadata_json=objects.metadata_text(metadata),
    )
    posting.post("refund", refund.id, _lines(payment, refund))
    outbox.record(
        "refund.succeeded",
        merchant_id=merchant_id,
        object_id=refund.id,
        snapshot=objects.refund_object(refund),
    )
    return refund


def get(merchant_id: str, refund_id: str) -> Row:
    """A refund of the merchant's. Raises NotFound."""
    row = _GET.one(id=refund_id, merchant_id=merchant_id)
    if row is None:
        raise NotFound
    return row


def of_merchant(
    merchant_id: str, payment_id: str | None, limit: int, before: Place | None
) -> list[Row]:
    """A page of the merchant's refunds, of one payment or of all, newest first."""
    binds: dict[str, Any] = {"merchant_id": merchant_id, "limit": limit}
    if payment_id is not None:
        binds["payment_id"] = payment_id
    if before is not None:
        binds |= {"before_at": before[0], "before_id": before[1]}
    return _page(payment_id is not None, before is not None).all(**binds)


@lru_cache(maxsize=4)
def _page(by_payment: bool, follows: bool) -> Sql:
    conditions = ["merchant_id = :merchant_id"]
    if by_payment:
        conditions.append("payment_id = :payment_id")
    if follows:
        conditions.append("(created_at, id) < (:before_at, :before_id)")
    return Sql(
        f"SELECT {_FIELDS} FROM refunds WHERE {' AND '.join(conditions)}"
        " ORDER BY created_at DESC, id DESC LIMIT :limit"
    )


def _lines(payment: Row, refund: Row) -> dict[str, int]:
    moved = {
        payment.customer_account_id: refund.amount,
        payment.merchant_account_id: refund.fee_returned - refund.amount,
    }
    if refund.fee_returned:
        moved[accounts.system_id("fees", payment.currency)] = -refund.fee_returned
    return moved
