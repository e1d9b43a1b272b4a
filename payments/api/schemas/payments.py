"""What payments look like in bodies, queries and answers."""

from typing import Annotated, Any, Literal

from pydantic import Field, RootModel

from payments.api.bodies import (
    Amount,
    Body,
    Currency,
    Metadata,
    Note,
    Phone,
    Reference,
    UtcTime,
)
from payments.api.paging import PageQuery

Status = Literal["pending", "authorized", "succeeded", "canceled", "declined", "expired"]
Minor = Annotated[int, Field(ge=0, description="Minor units of `currency`.")]
PaymentId = Annotated[
    str, Field(pattern="^pay_[0-9a-f]{32}$", json_schema_extra={"examples": ["pay_" + "0" * 32]})
]
CustomerId = Annotated[str, Field(pattern="^cus_[0-9a-f]{32}$")]

EXPIRES_IN_S = 900


class NewPayment(Body):
    """What a merchant asks a customer to pay."""

    amount: Amount
    currency: Currency
    customer_phone: Annotated[
        Phone | None,
        Field(description="The one customer who may pay; without, whoever holds its id or code."),
    ] = None
    capture: Annotated[
        Literal["automatic", "manual"] | None,
        Field(description="`manual`: the confirm holds the amount, a capture takes it."),
    ] = "automatic"
    reference: Reference | None = None
    description: Note | None = None
    metadata: Metadata | None = None
    expires_in: Annotated[
        Annotated[int, Field(ge=60, le=2_592_000)] | None,
        Field(description="Seconds until a pending payment expires."),
    ] = EXPIRES_IN_S


class Capture(Body):
    """How much of the authorized amount to take."""

    amount: Annotated[
        Amount | None, Field(description="At most what was authorized; all of it when left out.")
    ] = None


class CustomerPayment(Body):
    """A payment as its customer sees it."""

    object: Literal["payment"]
    id: PaymentId
    status: Status
    version: int
    amount: Amount
    currency: Currency
    amount_captured: Minor
    amount_refunded: Minor
    capture: Literal["automatic", "manual"]
    merchant: str
    customer: Annotated[
        CustomerId | None,
        Field(description="Who paid, once it is confirmed. A customer sees only themselves."),
    ]
    customer_phone: Annotated[str | None, Field(description="Whom the merchant asks, E.164.")]
    reference: str | None
    description: str | None
    code: Annotated[str, Field(description="What a payer types or scans; spaces don't matter.")]
    created_at: UtcTime
    expires_at: Annotated[
        UtcTime, Field(description="When `pending` ends; it reads as `expired` within 15 s.")
    ]
    capture_before: Annotated[
        UtcTime | None, Field(description="When `authorized` ends: 7 days after the confirm.")
    ]


class MerchantPayment(CustomerPayment):
    """A payment as its merchant sees it."""

    fee: Annotated[Minor, Field(description="On what was captured, by the terms of its creation.")]
    metadata: dict[str, Any]


class AnyPayment(RootModel[MerchantPayment | CustomerPayment]):
    """The merchant's view for a merchant, the customer's for a customer."""


class MerchantPayments(Body):
    """A page of a merchant's payments, newest first."""

    data: list[MerchantPayment]
    next_cursor: str | None


class CustomerPayments(Body):
    """A page of a customer's payments, newest first."""

    data: list[CustomerPayment]
    next_cursor: str | None


class PaymentsQuery(PageQuery):
    """Filters of a merchant's list; all that are given must hold."""

    status: Status | None = None
    reference: Reference | None = None
    customer: Annotated[CustomerId | None, Field(description="Who paid.")] = None
    created_from: Annotated[UtcTime | None, Field(description="Inclusive.")] = None
    created_to: Annotated[UtcTime | None, Field(description="Exclusive.")] = None


class AskedQuery(PageQuery):
    """Filter of a customer's list."""

    status: Status | None = None
