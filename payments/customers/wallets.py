"""A customer's wallets: their accounts in the ledger, one for each currency."""

from datetime import datetime, timedelta

from payments import clock, config, db
from payments.customers.profiles import KIND, wallet_of
from payments.db import Row
from payments.errors import Fault, InvalidRequest, NotFound
from payments.ledger import accounts

CLOSED_AFTER = timedelta(seconds=15)
"""No unit of work outlives 10 s, so what lies this far back can't change (api.md)."""


def of_customer(customer_id: str) -> list[Row]:
    """All wallets, as `ledger.accounts.get` gives them: the default currency's first, then the
    newest.
    """
    default = config.current().default_currency
    newest_first = sorted(
        accounts.of_owner(customer_id, KIND), key=lambda w: (w.created_at, w.id), reverse=True
    )
    return sorted(newest_first, key=lambda wallet: wallet.currency != default)


def own(customer_id: str, wallet_id: str) -> Row:
    """The customer's wallet. Raises NotFound, also for another's."""
    row = accounts.get(wallet_id)
    if row is None or row.kind != KIND or row.owner_id != customer_id:
        raise NotFound
    return row


def open_wallet(customer_id: str, currency: str) -> tuple[Row, bool]:
    """The customer's wallet in this currency, and whether it was opened now.

    There is one for each currency: asking again gives the one that is there.
    """
    standing = wallet_of(customer_id, currency)
    if standing is not None:
        return standing, False
    opened = accounts.get(accounts.open_account(customer_id, KIND, currency))
    assert opened is not None  # noqa: S101 (accounts are never taken away)
    return opened, True


def balance_at(wallet_id: str, at: datetime, pointer: str = "/at") -> tuple[Row, bool]:
    """`balance` and `held` as they were then, minor units, and whether that may still change.

    pointer: where the time stands in the input. Raises InvalidRequest for a time to come.
    """
    now = db.now()
    if at > now:
        raise InvalidRequest(
            Fault(pointer, f"must not lie in the future; it is {clock.to_rfc3339(now)} now")
        )
    return accounts.balance_at(wallet_id, at), at > now - CLOSED_AFTER
