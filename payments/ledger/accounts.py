"""Accounts: opening them, and reading them with their true balance.

The true balance is the row's and that of its side rows, in every read. Nothing here moves money.
"""

from datetime import datetime

from payments import ids
from payments.db import Row, Sql
from payments.errors import NotFound
from payments.ledger import folding

RANK = {"customer": 1, "agent": 2, "merchant": 3, "fees": 4, "external": 5}
"""The order in which accounts are locked, whatever moves between them; then by id."""

SYSTEM = "system"
"""The owner of accounts that are nobody's: fees and the outside world."""

UNFOLDED = (
    "coalesce((SELECT sum(side.amount) FROM unfolded_postings AS side"
    " WHERE side.account_id = accounts.id), 0)"
)
_READ = (
    "SELECT id, owner_id, kind, currency, balance, held,"
    " balance - held - coalesce(floor, 0) AS available, floor, frozen_at, version, created_at"
    " FROM (SELECT id, owner_id, kind, currency,"
    f" CAST(accounts.balance + {UNFOLDED} AS bigint) AS balance,"
    " held, floor, frozen_at, version, created_at FROM accounts) AS true_accounts"
)
_GET = Sql(f"{_READ} WHERE id = :id")
_FIND = Sql(f"{_READ} WHERE owner_id = :owner_id AND kind = :kind AND currency = :currency")
_OF_OWNER = Sql(f"{_READ} WHERE owner_id = :owner_id AND kind = :kind ORDER BY created_at, id")
_OPEN = Sql(
    "INSERT INTO accounts (id, owner_id, kind, rank, currency, balance, held, floor, collects,"
    " frozen_at, version, created_at)"
    " VALUES (:id, :owner_id, :kind, :rank, :currency, 0, 0, :floor, :collects, NULL, 1, :now)"
    " ON CONFLICT (owner_id, kind, currency) DO NOTHING"
)
_ID_OF = Sql(
    "SELECT id FROM accounts WHERE owner_id = :owner_id AND kind = :kind AND currency = :currency"
)
_FREEZE = Sql(
    "UPDATE accounts SET frozen_at = :now, version = version + 1"
    " WHERE id = :id AND frozen_at IS NULL AND floor IS NOT NULL"
)
_UNFREEZE = Sql(
    "UPDATE accounts SET frozen_at = NULL, version = version + 1"
    " WHERE id = :id AND frozen_at IS NOT NULL"
)
_COLLECT = Sql(
    "UPDATE accounts SET collects = :collects, version = version + 1"
    " WHERE id = :id AND floor IS NOT NULL"
)
_BALANCE_AT = Sql(
    "SELECT CAST(coalesce((SELECT sum(amount) FROM postings"
    " WHERE account_id = :id AND created_at <= :at), 0) AS bigint) AS balance,"
    " CAST(coalesce((SELECT sum(amount) FROM holds WHERE account_id = :id AND created_at <= :at"
    " AND (ended_at IS NULL OR ended_at > :at)), 0) AS bigint) AS held"
)


def system_id(kind: str, currency: str) -> str:
    """The id of a system account, such as `acc_fees_EUR`; for `external:taxi` in EUR
    `acc_external_taxi_EUR`.
    """
    return f"acc_{kind.replace(':', '_')}_{currency}"


def ensure_system(kind: str, currency: str) -> str:
    """Open a system account unless it is there: without a floor, collecting aside. Gives its id."""
    account_id = system_id(kind, currency)
    _OPEN.run(
        id=account_id,
        owner_id=SYSTEM,
        kind=kind,
        rank=RANK[kind.partition(":")[0]],
        currency=currency,
        floor=None,
        collects=True,
    )
    return account_id


def open_account(owner_id: str, kind: str, currency: str, floor: int = 0) -> str:
    """The owner's account of that kind and currency, opened where there was none. Gives its id.

    floor: what `balance - held` may not fall below, minor units; an account that stands keeps its.
    """
    key = {"owner_id": owner_id, "kind": kind, "currency": currency}
    standing = _ID_OF.scalar(**key)
    if standing is None:
        _OPEN.run(
            id=ids.new("wal" if kind == "customer" else "acc"),
            rank=RANK[kind],
            floor=floor,
            collects=False,
            **key,
        )
        standing = _ID_OF.scalar(**key)  # another may have opened it at the same time
    return str(standing)


def get(account_id: str) -> Row | None:
    """The account with its true balance: id, owner_id, kind, currency, balance, held, available,
    floor, frozen_at, version, created_at. Amounts in minor units.
    """
    return _GET.one(id=account_id)


def find(owner_id: str, kind: str, currency: str) -> Row | None:
    """As `get`, by owner, kind and currency."""
    return _FIND.one(owner_id=owner_id, kind=kind, currency=currency)


def of_owner(owner_id: str, kind: str) -> list[Row]:
    """All of an owner's accounts of one kind, as `get` gives them, oldest first."""
    return _OF_OWNER.all(owner_id=owner_id, kind=kind)


def balance_at(account_id: str, at: datetime) -> Row:
    """`balance` and `held` as they were at that moment, minor units, from the postings themselves.

    What lies less than 15 s back may still change.
    """
    return _BALANCE_AT.one(id=account_id, at=at)


def freeze(account_id: str) -> bool:
    """Let no debit start from the account. False when it is frozen already.

    A debit that is under way is waited for. Raises NotFound, also for an account without a floor:
    what comes from outside is not stopped here.
    """
    return _switch(_FREEZE, account_id)


def unfreeze(account_id: str) -> bool:
    """Let debits start again. False when it was not frozen. Raises NotFound."""
    return _switch(_UNFREEZE, account_id)


def _switch(statement: Sql, account_id: str) -> bool:
    if statement.run(id=account_id):
        return True
    account = get(account_id)
    if account is None or account.floor is None:
        raise NotFound
    return False


def mark_hot(account_id: str, on: bool) -> None:
    """Collect the account's credits aside from now on, or no longer.

    A credit under way may still land the other way. Nothing depends on it: the true balance counts
    both, folding visits every account with side rows, and a debit that falls short of the row
    counts them too. The first batch is folded at once. Raises NotFound, also for an account without
    a floor: those always collect.
    """
    if not _COLLECT.run(id=account_id, collects=on):
        raise NotFound
    if not on:
        folding.fold(account_id)
