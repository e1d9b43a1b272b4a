"""What sister services send, ask and are answered."""

from typing import Annotated, Literal

from pydantic import Field

from payments.api.bodies import Amount, Body, Currency, Phone, Reference, UtcTime
from payments.api.paging import PageQuery
from payments.api.schemas.transfers import CustomerId, TransferObject
from payments.api.schemas.wallets import Wallet

DepositId = Annotated[str, Field(pattern="^dep_[0-9a-f]{32}$")]
WalletId = Annotated[str, Field(pattern="^wal_[0-9a-f]{32}$")]


class NewDeposit(Body):
    """Money that arrived outside."""

    phone: Phone
    amount: Amount
    currency: Currency
    external_reference: Annotated[
        Reference, Field(description="Unique among the service's deposits.")
    ]


class DepositObject(Body):
    """A deposit."""

    object: Literal["deposit"]
    id: DepositId
    status: Literal["succeeded"]
    version: int
    amount: Amount
    currency: Currency
    phone: Annotated[str, Field(description="The customer's, E.164.")]
    customer: CustomerId
    wallet: WalletId
    external_reference: str
    created_at: UtcTime


class Deposits(Body):
    """A page of deposits, newest first."""

    data: list[DepositObject]
    next_cursor: str | None


class DepositsQuery(PageQuery):
    """Filter of a service's deposits."""

    external_reference: Reference | None = None


class NewServiceTransfer(Body):
    """Money from one customer to another, asked for by a sister service."""

    from_phone: Phone
    to_phone: Phone
    amount: Amount
    currency: Currency
    reference: Annotated[
        Reference | None, Field(description="Unique among the service's transfers.")
    ] = None


class ServiceTransfers(Body):
    """A page of transfers, newest first."""

    data: list[TransferObject]
    next_cursor: str | None


class ServiceTransfersQuery(PageQuery):
    """Filter of a service's transfers."""

    reference: Reference | None = None


class ServiceWalletsQuery(PageQuery):
    """Whose wallets."""

    phone: Phone


class ServiceWallet(Wallet):
    """A wallet as a sister service sees it. Amounts in minor units."""

    customer: CustomerId


class ServiceWallets(Body):
    """A page of the wallets of the customer with that phone; empty when nobody here has it."""

    data: list[ServiceWallet]
    next_cursor: str | None
