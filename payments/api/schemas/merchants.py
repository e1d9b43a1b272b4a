"""What merchants look like in bodies and answers."""

from typing import Annotated, Literal

from pydantic import Field

from payments.api.bodies import Body, Note, ShortText, UtcTime
from payments.money import MAX_AMOUNT

MerchantId = Annotated[str, Field(pattern="^mer_[0-9a-f]{32}$")]


class NewMerchant(Body):
    """An application to take payments."""

    name: Annotated[ShortText, Field(description="As customers know the business.")]


class MerchantChange(Body):
    """What of a merchant to change; what is left out stays."""

    name: ShortText | None = None


class WhichMerchant(Body):
    """Whose merchant: needed by an owner of several, and never by an API key."""

    merchant: MerchantId | None = None


class MerchantObject(Body):
    """A merchant."""

    object: Literal["merchant"]
    id: MerchantId
    status: Literal["pending", "approved", "suspended"]
    version: int
    name: str
    created_at: UtcTime


class Merchants(Body):
    """A page of merchants, newest first."""

    data: list[MerchantObject]
    next_cursor: str | None


class NegativeLimit(Body):
    """How far below 0 an operator's refund may take the merchant."""

    negative_limit: Annotated[
        int, Field(ge=0, le=MAX_AMOUNT, description="Minor units of each of its currencies.")
    ]
    reason: Annotated[Note, Field(description="For the audit trail.")]


class OperatorsMerchant(MerchantObject):
    """A merchant as operators see it."""

    negative_limit: int
