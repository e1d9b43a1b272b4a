"""Who sends, who receives, and which services move money for them."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from flask import Flask
from werkzeug.test import TestResponse

from payments.customers import profiles
from payments.db import Sql
from payments.ledger import accounts
from tests.checkout import world
from tests.merchants import callers
from tests.merchants.callers import Caller

T = TypeVar("T")

ANN, BOB, CAROL = "+4915112345678", "+4915187654321", "+4915155555555"
TAXI = "tests-taxi-0123456789abcdef0123456789abcdef"
FOOD = "tests-food-fedcba9876543210fedcba9876543210"
SETTINGS = {
    "INTERNAL_API_SECRET": f"taxi:{TAXI},food:{FOOD}",
    "RATE_LIMIT_PER_MINUTE": "10000",
}
_ENTRIES = Sql("SELECT id FROM entries WHERE subject_id = :id")
_COUNTS = Sql(
    "SELECT (SELECT count(*) FROM customers) AS customers, (SELECT count(*) FROM accounts) AS"
    " accounts, (SELECT count(*) FROM entries) AS entries, (SELECT count(*) FROM events) AS"
    " events, (SELECT count(*) FROM transfers) AS transfers, (SELECT count(*) FROM deposits) AS"
    " deposits"
)


def service(app: Flask, secret: str = TAXI) -> Caller:
    """A sister service, by its bare secret."""
    return Caller(app.test_client(), **{"X-Internal-Secret": secret})


def customer(app: Flask, phone: str, has: int = 0, currency: str = "EUR") -> Caller:
    """The customer with that phone and that much money, signed in."""
    return callers.customer(app.test_client(), world.customer(phone, has, currency))


def outside(service_name: str, currency: str = "EUR") -> int:
    """What came in by a service, below zero."""
    found = accounts.find("system", f"external:{service_name}", currency)
    assert found is not None
    return int(found.balance)


def purse(phone: str, currency: str = "EUR") -> int | None:
    """What the phone's wallet has; None without a wallet."""
    found = profiles.find_by_phone(phone)
    wallet = found and accounts.find(found.id, "customer", currency)
    return wallet.balance if wallet else None


def only(answers: Iterable[TestResponse], status: int) -> dict[str, Any]:
    """The object of the one answer of that status."""
    (found,) = [answer.json for answer in answers if answer.status_code == status]
    assert isinstance(found, dict)
    return found


def entries(object_id: str) -> int:
    """How many entries are for it."""
    return len(_ENTRIES.all(id=object_id))


def rows() -> Any:
    """How many of everything there are: to be compared before and after."""
    return _COUNTS.one()


def at_once(calls: Iterable[Callable[[], T]]) -> list[T]:
    """All of them, each in a thread of its own; what they gave in the same order."""
    waiting = list(calls)
    with ThreadPoolExecutor(len(waiting)) as pool:
        return [each.result() for each in [pool.submit(call) for call in waiting]]
