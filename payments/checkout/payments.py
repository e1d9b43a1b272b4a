"""A payment's life: created by the merchant, confirmed or declined by its customer, captured or
canceled by the merchant.

Each step is one conditional UPDATE that checks who asks, the status and the time by the database's
clock, and takes the row's lock. Only when it finds nothing is the row read, to say why. Then comes
the money, last, so that an account paid by many is locked only until the commit. On Postgres that
of a confirm travels with its UPDATE: a trip costs more than the posting. The event travels with the
commit. All functions run in the open unit of work; when one raises, the unit writes nothing.
"""

from datetime import timedelta
from typing import Any

from payments import db, ids, totals
from payments.checkout import codes, fees, lookup, objects, statuses
from payments.checkout.lookup import MAY_SEE, RECORDED
from payments.db import Row, Sql
from payments.errors import (
    AmountChanged,
    AmountExceedsAuthorized,
    InsufficientFunds,
    MerchantSuspended,
)
from payments.events import outbox
from payments.ledger import accounts, holds, posting
from payments.merchants import applications

PAYMENTS = totals.total(
    "payments_payments_total", "Payments that came into a status.", status=statuses.ALL
)
AMOUNTS = totals.total(
    "payments_amount_minor_total",
    "What those payments asked for, or what was captured of them, in minor units.",
    currency=(),
    status=statuses.ALL,
)
CAPTURE_WITHIN = timedelta(days=7)
"""How long after the confirm an authorized amount may be captured."""

_INSERT = Sql(
    "INSERT INTO payments (id, code, merchant_id, merchant_account_id, customer_phone, amount,"
    " currency, capture, status, amount_captured, amount_refunded, fee_bps, fee_fixed, fee_whole,"
    " fee, fee_refunded, reference, description, metadata_json, version, created_at, expires_at)"
    " VALUES (:id, :code, :merchant_id, :merchant_account_id, :customer_phone, :amount,"
    " :currency, :capture, 'pending', 0, 0, :fee_bps, :fee_fixed, :fee_whole,"
    " 0, 0, :reference, :description, :metadata_json, 1, :now, :expires_at)"
    f" RETURNING {RECORDED}"
)

_CONFIRM_TEXT = (
    "UPDATE payments SET"
    " status = CASE WHEN capture = 'manual' THEN 'authorized' ELSE 'succeeded' END,"
    " amount_captured = CASE WHEN capture = 'manual' THEN 0 ELSE amount END,"
    " fee = CASE WHEN capture = 'manual' THEN 0 ELSE fee_whole END,"
    " paid_at = CASE WHEN capture = 'manual' THEN NULL ELSE :now END,"
    " capture_before = CASE WHEN capture = 'manual' THEN :capture_before END,"
    " customer_id = :customer_id,"
    " customer_account_id = (SELECT wallet.id FROM accounts AS wallet WHERE"
    " wallet.owner_id = :customer_id AND wallet.kind = 'customer'"
    " AND wallet.currency = payments.currency),"
    " version = version + 1"
    f" WHERE id = :id AND status = 'pending' AND expires_at > :now AND {MAY_SEE}"
    f" RETURNING {RECORDED}, (SELECT shop.status FROM merchants AS shop"
    " WHERE shop.id = payments.merchant_id) AS merchant_status"
)
_LINES = {
    "paid.customer_account_id": "-paid.amount_captured",
    "paid.merchant_account_id": "paid.amount_captured - paid.fee",
    f"'{accounts.system_id('fees', '')}' || paid.currency": "paid.fee",
}
"""What `lines` says, for the statement that confirms and posts at once on Postgres."""
_CONFIRM = Sql(
    f"WITH paid AS ({_CONFIRM_TEXT}) SELECT paid.*, CASE WHEN paid.status = 'succeeded'"
    f" THEN {posting.within('paid.id', _LINES)} END AS refused FROM paid",
    sqlite=f"{_CONFIRM_TEXT}, NULL AS refused",
)

_DECLINE = Sql(
    "UPDATE payments SET status = 'declined', ended_at = :now, version = version + 1"
    f" WHERE id = :id AND status = 'pending' AND expires_at > :now AND {MAY_SEE}"
    f" RETURNING {RECORDED}"
)

_CAPTURE = Sql(
    "UPDATE payments SET status = 'succeeded', amount_captured = :captured, fee = :fee,"
    " paid_at = :now, version = version + 1"
    " WHERE id = :id AND status = 'authorized' AND capture_before > :now AND :captured <= amount"
    f" RETURNING {RECORDED}"
)

_CANCEL = Sql(
    "UPDATE payments SET status = 'canceled', ended_at = :now, version = version + 1"
    " WHERE id = :id AND merchant_id = :merchant_id AND ((status = 'pending' AND expires_at > :now)"
    " OR (status = 'authorized' AND capture_before > :now))"
    f" RETURNING {RECORDED}"
)

_NOTE_HOLD = Sql("UPDATE payments SET hold_id = :hold_id WHERE id = :id")


def create(
    merchant_id: str,
    *,
    amount: int,
    currency: str,
    customer_phone: str | None = None,
    capture: str = "automatic",
    reference: str | None = None,
    description: str | None = None,
    metadata: dict[str, Any] | None = None,
    expires_in_s: int = 900,
) -> Row:
    """A payment that waits for its customer, status `pending`, for `expires_in_s` seconds.

    amount: minor units. customer_phone: E.164, the one customer who may pay; None: whoever holds
    its id or code. capture: `automatic`, or `manual` to hold the amount at the confirm. The fee's
    terms are those of now. Raises MerchantNotApproved, MerchantSuspended.
    """
    applications.require_open(merchant_id)
    terms = fees.current_terms()
    fee_whole = fees.on(amount, terms)
    if fee_whole:
        accounts.ensure_system("fees", currency)
    row: Row = _INSERT.one(
        id=ids.new("pay"),
        code=codes.new(),
        merchant_id=merchant_id,
        merchant_account_id=applications.account_of(merchant_id, currency),
        customer_phone=customer_phone,
        amount=amount,
        currency=currency,
        capture=capture,
        fee_bps=terms.bps,
        fee_fixed=terms.fixed,
        fee_whole=fee_whole,
        reference=reference,
        description=description,
        metadata_json=objects.metadata_text(metadata),
        expires_at=db.unit().now + timedelta(seconds=expires_in_s),
    )
    record("created", row)
    return row


def confirm(payment_id: str, customer_id: str) -> Row:
    """Pay a payment from the customer's wallet: `pending` -> `succeeded`, or, with manual capture,
    -> `authorized`, the amount held for 7 days.

    A merchant's owner may pay the own merchant: the money and the fee move as for anyone.
    Raises NotFound (also when another customer is asked), InvalidState, MerchantSuspended,
    InsufficientFunds (also without a wallet in the currency), WalletFrozen.
    """
    capture_before = db.unit().now + CAPTURE_WITHIN
    row = _CONFIRM.one(
        id=payment_id,
        customer_id=customer_id,
        capture_before=capture_before,
        **posting.begun("payment", len(_LINES)),
    )
    if row is None:
        raise statuses.refusal(lookup.get_for_customer(customer_id, payment_id))
    if row.merchant_status != "approved":
        raise MerchantSuspended("The merchant is suspended and takes no payments now.")
    if row.customer_account_id is None:
        raise InsufficientFunds(currency=row.currency, needed=row.amount, available=0)
    if row.status == "authorized":
        hold_id = holds.place(
            row.customer_account_id, row.amount, row.id, capture_before, reveal=True
        )
        db.at_commit(_NOTE_HOLD.given(id=row.id, hold_id=hold_id))
        record("authorized", row)
    else:
        posting.settle(row.refused, "payment", row.id, lines(row), reveal=True)
        record("succeeded", row)
    return row


def pay(code: str, customer_id: str, amount: int | None) -> Row:
    """Confirm the payment with this code (`codes.parse`d).

    amount: what the payer saw, if they say; raises AmountChanged when the payment asks another
    amount, and else what `confirm` raises.
    """
    asked = lookup.by_code(customer_id, code)
    if amount is not None and amount != asked.amount:
        raise AmountChanged(
            "The payment asks another amount. Read its code again and show the payer what it asks."
        )
    return confirm(asked.id, customer_id)


def decline(payment_id: str, customer_id: str) -> Row:
    """The customer refuses to pay: `pending` -> `declined`. Raises NotFound, InvalidState."""
    row = _DECLINE.one(id=payment_id, customer_id=customer_id)
    if row is None:
        raise statuses.refusal(lookup.get_for_customer(customer_id, payment_id))
    record("declined", row)
    return row


def capture(payment_id: str, merchant_id: str, amount: int | None = None) -> Row:
    """Take the held amount, or a part of it, once: `authorized` -> `succeeded`.

    amount: minor units; None: all of it. What is not taken is released to the customer.
    Raises NotFound, InvalidState, AmountExceedsAuthorized.
    """
    asked = lookup.get(merchant_id, payment_id)  # amount and terms never change: safe to read first
    captured = asked.amount if amount is None else amount
    terms = fees.Terms(asked.fee_bps, asked.fee_fixed)
    row = _CAPTURE.one(id=payment_id, captured=captured, fee=fees.on(captured, terms))
    if row is None:
        late = statuses.is_late(asked)
        if asked.status == "authorized" and captured > asked.amount and not late:
            raise AmountExceedsAuthorized(
                f"The authorized amount is {asked.amount} {asked.currency} minor units."
                " Capture at most that."
            )
        raise statuses.refusal(lookup.get(merchant_id, payment_id))
    holds.capture(row.hold_id, "payment", lines(row))
    record("succeeded", row)
    return row


def cancel(payment_id: str, merchant_id: str) -> Row:
    """The merchant ends it before the money moved: `pending`, `authorized` -> `canceled`.

    A hold is released. Raises NotFound, InvalidState.
    """
    row = _CANCEL.one(id=payment_id, merchant_id=merchant_id)
    if row is None:
        raise statuses.refusal(lookup.get(merchant_id, payment_id))
    if row.hold_id is not None:
        holds.release(row.hold_id)
    record("canceled", row)
    return row


def lines(row: Row) -> dict[str, int]:
    """What a captured payment moves: from the customer to the merchant, less the fee."""
    moved = {
        row.customer_account_id: -row.amount_captured,
        row.merchant_account_id: row.amount_captured - row.fee,
    }
    if row.fee:
        moved[accounts.system_id("fees", row.currency)] = row.fee
    return moved


def record(what: str, row: Row) -> None:
    """Write the event `payment.<what>` with the merchant's view of this moment, and count it."""
    PAYMENTS.grow(status=row.status)
    amount = row.amount_captured if row.status == "succeeded" else row.amount
    AMOUNTS.grow(amount, currency=row.currency, status=row.status)
    outbox.record(
        f"payment.{what}",
        merchant_id=row.merchant_id,
        object_id=row.id,
        snapshot=objects.payment_object(row),
    )
