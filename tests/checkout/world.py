"""A small world to sell and pay in, made through the rooms themselves."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from payments import db, ids
from payments.checkout import payments, refunds
from payments.checkout.objects import payment_object
from payments.customers import profiles
from payments.db import Row, Sql
from payments.ledger import accounts, invariants, posting
from payments.merchants import applications
from payments.transfers import deposits

T = TypeVar("T")

_OVERDUE = Sql(
    "UPDATE payments SET expires_at = :past,"
    " capture_before = CASE WHEN status = 'authorized' THEN :past ELSE capture_before END"
    " WHERE id = :id"
)
_RAW = Sql("SELECT * FROM payments WHERE id = :id")
_EVENTS = Sql("SELECT type, body FROM events WHERE object_id = :id ORDER BY created_at, id")
_HOLD = Sql("SELECT * FROM holds WHERE subject_id = :id")
_ALL_EVENTS = Sql("SELECT count(*) AS n FROM events")


def did(work: Callable[[], T]) -> T:
    """The work, as one unit."""
    return db.in_unit(work)


def customer(phone: str = "+4915112345678", has: int = 0, currency: str = "EUR") -> str:
    """The id of a customer with that much in the wallet."""

    def made() -> str:
        found = profiles.get_or_create(phone)
        if has:
            deposits.create("bank", phone, has, currency, ids.new("dep"))
        return str(found.id)

    return did(made)


def merchant(owner_phone: str = "+4915198765432", name: str = "Corner shop") -> str:
    """The id of an approved merchant."""

    def made() -> str:
        applied = applications.apply(profiles.get_or_create(owner_phone).id, name)
        if applied.status == "pending":
            applications.approve(applied.id)
        return str(applied.id)

    return did(made)


def applied(owner_phone: str) -> str:
    """The id of a merchant whose application waits, where nobody is approved at once."""
    return did(lambda: str(applications.apply(profiles.get_or_create(owner_phone).id, "New").id))


def leaves(merchant_id: str, amount: int) -> None:
    """Money leaves the merchant's account, as by a payout."""

    def moved() -> None:
        outside = accounts.ensure_system("external:bank", "EUR")
        own = applications.account_of(merchant_id, "EUR")
        posting.post("payout", ids.new("out"), {own: -amount, outside: amount})

    did(moved)


def suspend(merchant_id: str) -> None:
    """An operator suspends the merchant."""
    did(lambda: applications.suspend(merchant_id))


def asks(merchant_id: str, amount: int = 20_00, **more: Any) -> Row:
    """A payment that waits."""
    return did(
        lambda: payments.create(merchant_id, **{"amount": amount, "currency": "EUR", **more})
    )


def confirms(customer_id: str, payment_id: str) -> Row:
    """The customer pays."""
    return did(lambda: payments.confirm(payment_id, customer_id))


def declines(customer_id: str, payment_id: str) -> Row:
    """The customer refuses."""
    return did(lambda: payments.decline(payment_id, customer_id))


def captures(merchant_id: str, payment_id: str, amount: int | None = None) -> Row:
    """The merchant takes what is held."""
    return did(lambda: payments.capture(payment_id, merchant_id, amount))


def cancels(merchant_id: str, payment_id: str) -> Row:
    """The merchant ends it."""
    return did(lambda: payments.cancel(payment_id, merchant_id))


def refunds_of(merchant_id: str, payment_id: str, amount: int | None = None, **more: Any) -> Row:
    """The merchant gives back."""
    return did(lambda: refunds.create(merchant_id, payment_id, amount=amount, **more))


def freeze(customer_id: str, on: bool = True) -> None:
    """An operator freezes the customer's wallet in EUR, or lets it go."""
    wallet: Row = accounts.find(customer_id, "customer", "EUR")
    did(lambda: (accounts.freeze if on else accounts.unfreeze)(wallet.id))


def overdue(payment_id: str, by_s: float = 15.0) -> None:
    """Let the payment's time be over, unrecorded; for so long that no step can be under way."""
    did(lambda: _OVERDUE.run(id=payment_id, past=db.unit().now - timedelta(seconds=by_s)))


def raw(payment_id: str) -> Row:
    """The payment's row as it is stored."""
    return _RAW.one(id=payment_id)


def hold(payment_id: str) -> Row:
    """The payment's hold, or None."""
    return _HOLD.one(id=payment_id)


def events(object_id: str) -> list[str]:
    """The types of what was told about it, in order."""
    return [row.type for row in _EVENTS.all(id=object_id)]


def told(object_id: str) -> list[dict[str, Any]]:
    """The snapshots of what was told about it, in order."""
    return [json.loads(row.body)["data"]["object"] for row in _EVENTS.all(id=object_id)]


def all_events() -> int:
    """How many events there are."""
    return int(_ALL_EVENTS.scalar())


def purse(owner_id: str, kind: str = "customer", currency: str = "EUR") -> tuple[int, int]:
    """The true balance and what is held."""
    found = accounts.find(owner_id, kind, currency)
    return (0, 0) if found is None else (found.balance, found.held)


def fees_taken(currency: str = "EUR") -> int:
    """What the service has kept."""
    return purse("system", "fees", currency)[0]


def money(*owners: tuple[str, str]) -> list[tuple[int, int]]:
    """The purses of several, to be compared before and after."""
    return [purse(owner, kind) for owner, kind in owners]


def shown(row: Row) -> dict[str, Any]:
    """The merchant's view."""
    return payment_object(row)


def sound() -> None:
    """Every invariant holds."""
    assert invariants.check() == []
