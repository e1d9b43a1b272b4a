"""What transfers between customers look like in bodies and answers."""

from typing import Annotated, Literal

from pydantic import Field

from payments.api.bodies import Amount, Body, Currency, Note, Phone, Reference, UtcTime
from payments.api.paging import PageQuery

TransferId = Annotated[str, Field(pattern="^trf_[0-9a-f]{32}$")]
CustomerId = Annotated[str, Field(pattern="^cus_[0-9a-f]{32}$")]


class NewTransfer(Body):
    """Money for another customer."""

    to_phone: Phone
    amount: Amount
    currency: Currency
    note: Annotated[Note | None, Field(description="The recipient reads it.")] = None


class TransferObject(Body):
    """A transfer between two customers."""

    object: Literal["transfer"]
    id: TransferId
    status: Literal["succeeded"]
    version: int
    amount: Amount
    currency: Currency
    sender: CustomerId
    recipient: CustomerId
    from_phone: Annotated[str, Field(description="The sender's, E.164.")]
    to_phone: Annotated[str, Field(description="The recipient's, E.164.")]
    note: str | None
    reference: Annotated[str | None, Field(description="The sister service's, if one asked.")]
    created_at: UtcTime


class CustomerTransfer(TransferObject):
    """A transfer as one of its two sides sees it."""

    direction: Annotated[Literal["in", "out"], Field(description="`out`: sent by the caller.")]


class TransfersQuery(PageQuery):
    """Filter of a customer's transfers."""

    reference: Annotated[
        Reference | None, Field(description="Of those that a sister service asked for.")
    ] = None


class CustomerTransfers(Body):
    """A page of transfers, newest first."""

    data: list[CustomerTransfer]
    next_cursor: str | None
