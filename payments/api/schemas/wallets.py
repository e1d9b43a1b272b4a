"""What wallets and statements look like in bodies, queries and answers."""

from typing import Annotated, Literal

from pydantic import Field

from payments.api.bodies import Body, Currency, Note, UtcTime


class NewWallet(Body):
    """The currency to hold."""

    currency: Currency


class Wallet(Body):
    """A customer's account in one currency. Amounts in minor units."""

    object: Literal["wallet"]
    id: str
    status: Annotated[
        Literal["active", "frozen"], Field(description="A frozen wallet receives and can't pay.")
    ]
    version: int
    currency: str
    balance: int
    held: Annotated[int, Field(description="Set aside for payments that are authorized.")]
    available: Annotated[int, Field(description="Balance less held.")]
    created_at: UtcTime
    at: Annotated[
        UtcTime | None, Field(description="With `?at=`: when the amounts were these.")
    ] = None
    provisional: Annotated[
        bool | None,
        Field(description="With `?at=`: whether they may still change, as in the last 15 s."),
    ] = None


class OperatorsWallet(Wallet):
    """A wallet as operators see it."""

    customer: str
    frozen_at: UtcTime | None


class WithReason(Body):
    """Why an operator does it: for the audit trail."""

    reason: Annotated[Note, Field(description="For the audit trail.")]


class Wallets(Body):
    """A page of wallets: the default currency's first, then newest first."""

    data: list[Wallet]
    next_cursor: str | None


class WalletQuery(Body):
    """When."""

    at: Annotated[
        UtcTime | None, Field(description="The balance as it was then; not in the future.")
    ] = None


class StatementLine(Body):
    """One posting on the wallet."""

    object: Literal["posting"]
    id: str
    entry: Annotated[str, Field(description="The ledger entry it is part of.")]
    kind: Annotated[str, Field(description="Why: `payment`, `refund`, `transfer`, `deposit`, …")]
    subject: Annotated[str, Field(description="The object it is for.")]
    counterparty: Annotated[
        str | None,
        Field(
            description="Who is on the other side: a merchant's or customer's id, or where money"
            " came from outside, such as `external:taxi`."
        ),
    ]
    amount: Annotated[int, Field(description="Minor units; minus: paid out of the wallet.")]
    currency: str
    balance: Annotated[int, Field(description="Of the wallet, after this line; minor units.")]
    created_at: UtcTime


class Statement(Body):
    """A page of a wallet's statement, newest first."""

    data: list[StatementLine]
    next_cursor: str | None
