"""Refunds: money back to the payer of a succeeded payment, in part or whole, several times.

Locks, in the order that all of the house takes them: the payment's row, the customer's account, the
merchant's. So a refund and a payment between the same two accounts never wait for each other.
"""

from functools import lru_cache
from typing import Any

from payments import audit, ids, origin
from payments.checkout import fees, objects, statuses
from payments.checkout.lookup import EFFECTIVE, Place
from payments.db import Row, Sql
from payments.errors import AmountExceedsRefundable, NotFound
from payments.events import outbox
from payments.ledger import accounts, overdrafts, posting

_LOCK = Sql(
    f"SELECT {EFFECTIVE} FROM payments WHERE id = :id AND merchant_id = :merchant_id"
    " FOR NO KEY UPDATE"
)

_SHOP = Sql(
    "SELECT payments.merchant_id, merchants.negative_limit FROM payments"
    " JOIN merchants ON merchants.id = payments.merchant_id WHERE payments.id = :id"
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
    payment = _locked(merchant_id, payment_id)
    refund = _record(payment, amount, reason, metadata)
    posting.post("refund", refund.id, _lines(payment, refund))
    _tell(refund)
    return refund


def create_by_operator(
    payment_id: str,
    *,
    amount: int | None,
    reason: str,
    metadata: dict[str, Any] | None = None,
) -> Row:
    """As `create`, of any merchant's payment: it may take the merchant below 0, down to its
    `negative_limit`; later credits repay first. Stands in the audit trail.
    """
    shop = _SHOP.one(id=payment_id)
    if shop is None:
        raise NotFound
    payment = _locked(shop.merchant_id, payment_id)
    refund = _record(payment, amount, reason, metadata)
    _write_down(payment, refund)
    overdrafts.post(
        "refund",
        refund.id,
        _lines(payment, refund),
        account_id=payment.merchant_account_id,
        limit=shop.negative_limit,
    )
    _tell(refund)
    return refund


def _locked(merchant_id: str, payment_id: str) -> Row:
    payment = _LOCK.one(id=payment_id, merchant_id=merchant_id)
    if payment is None:
        raise NotFound
    if payment.status != "succeeded":
        raise statuses.refusal(payment)
    return payment


def _record(
    payment: Row, amount: int | None, reason: str | None, metadata: dict[str, Any] | None
) -> Row:
    """The refund's row, and the payment's part of it."""
    left = payment.amount_captured - payment.amount_refunded
    amount = left if amount is None else amount
    if not 0 < amount <= left:
        raise AmountExceedsRefundable(
            f"Of what was captured, {left} {payment.currency} minor units are left to refund."
        )
    refunded = payment.amount_refunded + amount
    fee_refunded = fees.returned(payment.fee, payment.amount_captured, refunded)
    _GROW.run(id=payment.id, amount_refunded=refunded, fee_refunded=fee_refunded)
    refund: Row = _INSERT.one(
        id=ids.new("ref"),
        payment_id=payment.id,
        merchant_id=payment.merchant_id,
        amount=amount,
        fee_returned=fee_refunded - payment.fee_refunded,
        currency=payment.currency,
        reason=reason,
        metadata_json=objects.metadata_text(metadata),
    )
    return refund


def _write_down(payment: Row, refund: Row) -> None:
    who = origin.current()
    audit.record(
        who.actor,
        "refund.create",
        payment.id,
        before={"amount_refunded": payment.amount_refunded},
        after={
            "amount_refunded": payment.amount_refunded + refund.amount,
            "refund": refund.id,
            "merchant": refund.merchant_id,
            "currency": refund.currency,
            "reason": refund.reason,
        },
        request_id=who.request_id,
    )


def _tell(refund: Row) -> None:
    outbox.record(
        "refund.succeeded",
        merchant_id=refund.merchant_id,
        object_id=refund.id,
        snapshot=objects.refund_object(refund),
    )


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
