"""Payouts and adjustments in bodies, queries and answers."""

from typing import Annotated, Literal

from pydantic import Field

from payments.api.bodies import Amount, Body, Currency, Note, Reference, UtcTime
from payments.api.paging import PageQuery
from payments.api.schemas.merchants import MerchantId

Status = Annotated[
    Literal["proposed", "approved", "rejected"],
    Field(description="`approved`: the money has moved."),
]
PayoutId = Annotated[str, Field(pattern="^out_[0-9a-f]{32}$")]
Party = Annotated[
    str,
    Field(
        pattern=r"^(wal_[0-9a-f]{32}|mer_[0-9a-f]{32}|fees|external:[A-Za-z0-9._-]{1,64})$",
        description="A wallet, a merchant, `fees`, `external:adjustment`, or another"
        " `external:<name>` that money came from or went to before.",
    ),
]


class NewPayout(Body):
    """What to pay out, to the bank that the merchant has named elsewhere."""

    merchant: MerchantId
    amount: Amount
    currency: Currency
    reference: Reference | None = None


class PayoutObject(Body):
    """Money of a merchant that leaves to its bank."""

    object: Literal["payout"]
    id: PayoutId
    status: Status
    version: int
    merchant: MerchantId
    amount: Amount
    currency: Currency
    reference: str | None
    created_at: UtcTime
    paid_at: UtcTime | None


class Payouts(Body):
    """A page of payouts, newest first."""

    data: list[PayoutObject]
    next_cursor: str | None


class PayoutsQuery(PageQuery):
    """Filters; all that are given must hold."""

    status: Status | None = None
    reference: Reference | None = None


class Decision(Body):
    """Who proposed and who decided."""

    proposed_by: Annotated[str, Field(description="Such as `operator:ann`.")]
    decided_by: str | None
    decided_at: UtcTime | None
    decision_reason: Annotated[str | None, Field(description="Why it was rejected.")]


class OperatorsPayout(PayoutObject, Decision):
    """A payout as operators see it."""


class OperatorsPayouts(Body):
    """A page of payouts, newest first."""

    data: list[OperatorsPayout]
    next_cursor: str | None


class OperatorsPayoutsQuery(PayoutsQuery):
    """Filters; all that are given must hold."""

    merchant: MerchantId | None = None


class NewAdjustment(Body):
    """What to correct."""

    debit: Annotated[Party, Field(description="Whom it leaves.")]
    credit: Annotated[Party, Field(description="Whom it reaches.")]
    amount: Amount
    currency: Currency
    reason: Note


class AdjustmentObject(Decision):
    """A correction of money by hand."""

    object: Literal["adjustment"]
    id: Annotated[str, Field(pattern="^adj_[0-9a-f]{32}$")]
    status: Status
    version: int
    debit: Party
    credit: Party
    amount: Amount
    currency: Currency
    reason: str
    created_at: UtcTime


class Adjustments(Body):
    """A page of adjustments, newest first."""

    data: list[AdjustmentObject]
    next_cursor: str | None


class AdjustmentsQuery(PageQuery):
    """Filters; all that are given must hold."""

    status: Status | None = None
