"""What a merchant's settlements look like, and how they are asked for."""

from typing import Annotated, Literal

from pydantic import Field

from payments.api.bodies import Body, Currency, UtcTime
from payments.api.paging import PageQuery


class SettlementsQuery(PageQuery):
    """The period, as it is named: its last second is in it."""

    start: Annotated[UtcTime, Field(alias="from", description="Inclusive.")]
    to: Annotated[
        UtcTime,
        Field(
            description="Inclusive: a whole second is in it to its end, so `…T23:59:59Z` is the end"
            " of a day, and months named so meet."
        ),
    ]


class SettlementObject(Body):
    """What a merchant earned in a period, in one currency; minor units. opening + net - payouts +
    adjustments = closing, and net = gross - fees - refunds.
    """

    object: Literal["settlement"]
    start: Annotated[UtcTime, Field(alias="from")]
    to: UtcTime
    merchant: str
    currency: Currency
    opening: Annotated[int, Field(description="The balance when the period began.")]
    gross: Annotated[int, Field(description="What customers paid.")]
    fees: Annotated[int, Field(description="Kept of it, less what refunds returned.")]
    refunds: Annotated[int, Field(description="What customers got back.")]
    net: int
    payouts: Annotated[int, Field(description="What left to the bank.")]
    adjustments: Annotated[int, Field(description="Every other movement, by its sign.")]
    closing: Annotated[int, Field(description="The balance when the period ended.")]
    provisional: Annotated[
        bool, Field(description="Whether it may still change: it reaches nearer than 15 s to now.")
    ]


class Settlements(Body):
    """A page of settlements, one a currency, the newest account first."""

    data: list[SettlementObject]
    next_cursor: str | None
