"""What transfers and deposits look like in bodies, queries and answers."""

from typing import Annotated, Literal

from pydantic import Field

from payments.api.bodies import Amount, Body, Currency, Note, Phone, Reference, UtcTime
from payments.api.paging import PageQuery

TransferId = Annotated[str, Field(pattern="^trf_[0-9a-f]{32}$")]
DepositId = Annotated[str, Field(pattern="^dep_[0-9a-f]{32}$")]
WalletId = Annotated[str, Field(pattern="^wal_[0-9a-f]{32}$")]
CustomerId = Annotated[str, Field(pattern="^cus_[0-9a-f]{32}$")]


class NewTransfer(Body):
    """Money for another customer."""

    to_phone: Phone
    amount: Amount
    currency: Currency
    note: Note | None = None


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
    note: str | None
    reference: Annotated[str | None, Field(description="The sister service's, if one asked.")]
    created_at: UtcTime


class Transfers(Body):
    """A page of transfers, newest first."""

    data: list[TransferObject]
    next_cursor: str | None


class NewServiceTransfer(Body):
    """Money from one customer to another, asked for by a sister service."""

    from_phone: Phone
    to_phone: Phone
    amount: Amount
    currency: Currency
    reference: Annotated[Reference, Field(description="Unique among the service's transfers.")]


class ServiceTransfersQuery(PageQuery):
    """Filter of a service's transfers."""

    reference: Reference | None = None


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


class WalletsQuery(Body):
    """Whose wallets."""

    phone: Phone


class ServiceWallet(Body):
    """A wallet as a sister service sees it. Amounts in minor units."""

    object: Literal["wallet"]
    id: WalletId
    customer: CustomerId
    currency: Currency
    balance: int
    held: int
    available: int


class ServiceWallets(Body):
    """All wallets of the customer with that phone; none when nobody has it."""

    data: list[ServiceWallet]
    next_cursor: None
