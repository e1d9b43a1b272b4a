"""Accounts with money on them, and what a test looks at. All through the ledger itself."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from payments import db
from payments.db import Row, Sql
from payments.ledger import accounts, invariants, posting
from payments.ledger.posting import Posted

T = TypeVar("T")

_ROW = Sql("SELECT balance, held FROM accounts WHERE id = :id")
_SIDE = Sql("SELECT amount FROM unfolded_postings WHERE account_id = :id ORDER BY posting_id")


def did(work: Callable[[], T]) -> T:
    """The work, as one unit."""
    return db.in_unit(work)


def outside(currency: str = "EUR") -> str:
    """Where money comes from."""
    return did(lambda: accounts.ensure_system("external:bank", currency))


def fees(currency: str = "EUR") -> str:
    """The service's own account."""
    return did(lambda: accounts.ensure_system("fees", currency))


def wallet(owner: str = "cus_1", has: int = 0, currency: str = "EUR") -> str:
    """A customer's account with that much on it."""
    account = did(lambda: accounts.open_account(owner, "customer", currency))
    return _with(account, has, currency)


def shop(owner: str = "mer_1", has: int = 0, currency: str = "EUR", *, hot: bool = False) -> str:
    """A merchant's account with that much on it, beside it where it is hot."""
    account = did(lambda: accounts.open_account(owner, "merchant", currency))
    if hot:
        did(lambda: accounts.mark_hot(account, True))
    return _with(account, has, currency)


def _with(account: str, has: int, currency: str) -> str:
    if has:
        moves({outside(currency): -has, account: has})
    return account


def moves(
    lines: Mapping[str, int], kind: str = "moved", subject: str = "x_1", *, reveal: bool = False
) -> Posted:
    """One entry, as one unit. Its kind is none that a room above has rules for."""
    return did(lambda: posting.post(kind, subject, lines, reveal=reveal))


def account(account_id: str) -> Row:
    """The account, with its true balance."""
    found = accounts.get(account_id)
    assert found is not None
    return found


def balance(account_id: str) -> int:
    """The true balance."""
    return int(account(account_id).balance)


def purse(account_id: str) -> tuple[int, int]:
    """The true balance, and what is held of it."""
    row = account(account_id)
    return row.balance, row.held


def stored(account_id: str) -> int:
    """The balance as far as the row alone knows."""
    found = _ROW.one(id=account_id)
    assert found is not None
    return int(found.balance)


def beside(account_id: str) -> list[int]:
    """What lies beside the row."""
    return [row.amount for row in _SIDE.all(id=account_id)]


def sound() -> None:
    """Every invariant holds."""
    assert invariants.check() == []
