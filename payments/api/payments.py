"""`/v1/payments` and `/v1/me/payments`."""

from typing import Any

from flask import Blueprint

from payments.api import guards, paging
from payments.api.bodies import Empty
from payments.api.routing import route
from payments.api.schemas.payments import (
    EXPIRES_IN_S,
    AnyPayment,
    AskedQuery,
    Capture,
    CustomerPayment,
    CustomerPayments,
    MerchantPayment,
    MerchantPayments,
    NewPayment,
    PaymentsQuery,
)
from payments.checkout import lookup, payments
from payments.checkout.objects import customer_view, payment_object
from payments.customers import phones
from payments.errors import (
    AmountExceedsAuthorized,
    InsufficientFunds,
    InvalidState,
    LimitExceeded,
    MerchantNotApproved,
    MerchantSuspended,
    NotFound,
    WalletFrozen,
)
from payments.origin import Customer, Merchant

bp = Blueprint("payments", __name__)


@route(
    bp,
    "/v1/payments",
    method="POST",
    caller=guards.merchant("payments:write"),
    body=NewPayment,
    answer=MerchantPayment,
    status=201,
    once="required",
    errors=(MerchantNotApproved, MerchantSuspended),
    summary="Ask a customer to pay",
)
def create(caller: Merchant, body: NewPayment) -> dict[str, Any]:
    """A payment that waits for its customer until `expires_at`."""
    phone = body.customer_phone
    row = payments.create(
        caller.id,
        amount=body.amount,
        currency=body.currency,
        customer_phone=phone and phones.parse(phone, pointer="/customer_phone"),
        capture=body.capture or "automatic",
        reference=body.reference,
        description=body.description,
        metadata=body.metadata,
        expires_in_s=body.expires_in or EXPIRES_IN_S,
    )
    return payment_object(row)


@route(
    bp,
    "/v1/payments",
    caller=guards.merchant("payments:read"),
    query=PaymentsQuery,
    answer=MerchantPayments,
    summary="List payments",
)
def index(caller: Merchant, query: PaymentsQuery) -> dict[str, Any]:
    """The merchant's payments, newest first."""
    filters = query.model_dump(exclude={"limit", "cursor"})
    return paging.listing(
        query,
        lambda limit, before: lookup.of_merchant(caller.id, filters, limit, before),
        payment_object,
    )


@route(
    bp,
    "/v1/payments/<payment_id>",
    caller=guards.customer_or_merchant("payments:read"),
    answer=AnyPayment,
    errors=(NotFound,),
    summary="Get a payment",
)
def show(caller: Customer | Merchant, payment_id: str) -> dict[str, Any]:
    """For its merchant; for the customer who paid or is asked; where nobody is asked, for any
    customer who holds its id. A customer's view leaves out `fee` and `metadata`.
    """
    if isinstance(caller, Merchant):
        return payment_object(lookup.get(caller.id, payment_id))
    return customer_view(lookup.get_for_customer(caller.id, payment_id), caller.id)


@route(
    bp,
    "/v1/payments/<payment_id>/confirm",
    method="POST",
    caller=guards.customer,
    body=Empty,
    answer=CustomerPayment,
    once="required",
    errors=(
        NotFound,
        InvalidState,
        InsufficientFunds,
        WalletFrozen,
        MerchantSuspended,
        LimitExceeded,
    ),
    summary="Pay a payment",
)
def confirm(caller: Customer, payment_id: str, body: Empty) -> dict[str, Any]:
    """From the customer's wallet: `pending` to `succeeded`, or to `authorized` (manual capture)."""
    return customer_view(payments.confirm(payment_id, caller.id), caller.id)


@route(
    bp,
    "/v1/payments/<payment_id>/decline",
    method="POST",
    caller=guards.customer,
    body=Empty,
    answer=CustomerPayment,
    once="required",
    errors=(NotFound, InvalidState),
    summary="Refuse to pay a payment",
)
def decline(caller: Customer, payment_id: str, body: Empty) -> dict[str, Any]:
    """By its customer: `pending` to `declined`."""
    return customer_view(payments.decline(payment_id, caller.id), caller.id)


@route(
    bp,
    "/v1/payments/<payment_id>/capture",
    method="POST",
    caller=guards.merchant("payments:write"),
    body=Capture,
    answer=MerchantPayment,
    once="required",
    errors=(NotFound, InvalidState, AmountExceedsAuthorized, LimitExceeded),
    summary="Take an authorized amount",
)
def capture(caller: Merchant, payment_id: str, body: Capture) -> dict[str, Any]:
    """Whole or in part, once: `authorized` to `succeeded`. The rest goes back to the customer."""
    return payment_object(payments.capture(payment_id, caller.id, body.amount))


@route(
    bp,
    "/v1/payments/<payment_id>/cancel",
    method="POST",
    caller=guards.merchant("payments:write"),
    body=Empty,
    answer=MerchantPayment,
    once="required",
    errors=(NotFound, InvalidState),
    summary="Cancel a payment",
)
def cancel(caller: Merchant, payment_id: str, body: Empty) -> dict[str, Any]:
    """Before the money moved: `pending` or `authorized` to `canceled`; what is held goes back."""
    return payment_object(payments.cancel(payment_id, caller.id))


@route(
    bp,
    "/v1/me/payments",
    caller=guards.customer,
    query=AskedQuery,
    answer=CustomerPayments,
    summary="List what is asked of me and what I paid",
)
def mine(caller: Customer, query: AskedQuery) -> dict[str, Any]:
    """The customer's payments, newest first."""
    return paging.listing(
        query,
        lambda limit, before: lookup.of_customer(caller.id, query.status, limit, before),
        lambda row: customer_view(row, caller.id),
    )
