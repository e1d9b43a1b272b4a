"""Rebuild the cached amounts of an account, `balance` and `held`, from what they are made of.

Postings, side rows and holds are the truth and are never touched. The account's row is locked
first, as folding locks it; then one statement, which sees all that was committed before the lock
was had, finds the difference anew and writes it. Whatever moves money on the account's row waits,
and a credit that goes beside it brings posting and side row at once: neither is ever half seen.
"""

from dataclasses import dataclass

from payments import audit, origin
from payments.db import Sql
from payments.ledger.accounts import UNFOLDED
from payments.ledger.invariants import LEDGER

CACHED = ("balance_is_sum_of_postings", "held_is_sum_of_live_holds")
"""The invariants that a repair mends: their rows are accounts."""

_WRONG = " UNION ".join(
    f"SELECT account_id FROM ({each.sql}) AS {each.name}" for each in LEDGER if each.name in CACHED
)
_COUNT = Sql(f"SELECT count(*) FROM ({_WRONG}) AS wrong")
_NEXT = Sql(
    f"SELECT account_id FROM ({_WRONG}) AS wrong WHERE account_id > :after"
    " ORDER BY account_id LIMIT :limit"
)
_LOCK = Sql(
    "SELECT kind, currency, balance, held, floor - coalesce(overdraft, 0) AS floor FROM accounts"
    " WHERE id = :id FOR NO KEY UPDATE"
)
_REBUILD = Sql(
    "UPDATE accounts SET balance = made.posted - made.beside, held = made.live,"
    " version = version + 1 FROM (SELECT"
    " CAST(coalesce((SELECT sum(amount) FROM postings WHERE account_id = :id), 0) AS bigint)"
    " AS posted,"
    " CAST(coalesce((SELECT sum(amount) FROM unfolded_postings WHERE account_id = :id), 0)"
    " AS bigint) AS beside,"
    " CAST(coalesce((SELECT sum(amount) FROM holds WHERE account_id = :id AND status = 'held'), 0)"
    " AS bigint) AS live) AS made"
    " WHERE accounts.id = :id"
    " AND (accounts.balance <> made.posted - made.beside OR accounts.held <> made.live)"
    f" RETURNING accounts.balance, accounts.held, CAST({UNFOLDED} AS bigint) AS beside"
)


@dataclass(frozen=True, slots=True)
class Amounts:
    """An account's true balance (side rows included) and what is held of it, minor units."""

    balance: int
    held: int


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was written. is_below_floor: less than the floor is left, or than
    an operator left there, which people must look at.
    """

    account_id: str
    kind: str
    currency: str
    before: Amounts
    after: Amounts
    is_below_floor: bool


def count_wrong() -> int:
    """How many accounts have a cached amount that is not what it is made of. A lone read."""
    return int(_COUNT.scalar())


def wrong_accounts(after: str = "", limit: int = 1_000) -> list[str]:
    """The ids of such accounts that follow that id, in order. A pass over the whole ledger."""
    return [row.account_id for row in _NEXT.all(after=after, limit=limit)]


def rebuild(account_id: str) -> Repaired | None:
    """Make the account's cached amounts right, in the open unit of work, with its audit line.

    None where they are right, or there is no such account.
    """
    was = _LOCK.one(id=account_id)
    if was is None:
        return None
    made = _REBUILD.one(id=account_id)
    if made is None:
        return None
    repaired = Repaired(
        account_id,
        was.kind,
        was.currency,
        Amounts(was.balance + made.beside, was.held),
        Amounts(made.balance + made.beside, made.held),
        was.floor is not None and made.balance + made.beside - made.held < was.floor,
    )
    _write_down(repaired)
    return repaired


def _write_down(repaired: Repaired) -> None:
    before, after = repaired.before, repaired.after
    who = origin.current()
    audit.record(
        who.actor,
        "ledger.rebuild_balance",
        repaired.account_id,
        before={"balance": before.balance, "held": before.held},
        after={"balance": after.balance, "held": after.held},
        request_id=who.request_id,
    )
