"""What refunds look like in bodies, queries and answers."""

from typing import Annotated, Any, Literal

from pydantic import Field

from payments.api.bodies import Amount, Body, Currency, Metadata, Note, UtcTime
from payments.api.paging import PageQuery
from payments.api.schemas.payments import Minor, PaymentId


class NewRefund(Body):
    """What to give back of a succeeded payment."""

    payment: PaymentId
    amount: Annotated[
        Amount | None,
        Field(description="At most what was captured and not yet refunded; all of it without."),
    ] = None
    reason: Note | None = None
    metadata: Metadata | None = None


class OperatorsRefund(NewRefund):
    """What to give back of any merchant's succeeded payment, and why."""

    reason: Annotated[Note, Field(description="The merchant sees it; the audit trail has it.")]


class RefundObject(Body):
    """A refund. It succeeds at once or not at all."""

    object: Literal["refund"]
    id: Annotated[str, Field(pattern="^ref_[0-9a-f]{32}$")]
    status: Literal["succeeded"]
    version: int
    payment: PaymentId
    merchant: str
    amount: Amount
    currency: Currency
    fee_returned: Annotated[Minor, Field(description="The part of the fee that came back.")]
    reason: str | None
    metadata: dict[str, Any]
    created_at: UtcTime


class Refunds(Body):
    """A page of a merchant's refunds, newest first."""

    data: list[RefundObject]
    next_cursor: str | None


class RefundsQuery(PageQuery):
    """Filter of the list."""

    payment: PaymentId | None = None
