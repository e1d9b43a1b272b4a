"""Merchants: a customer applies, an operator approves, suspends and lets go on.

`pending` -> `approved` <-> `suspended`. Each step is one conditional UPDATE. A merchant hears of
each by an event, the operators' steps stand in the audit trail.

An application costs its sender nothing and each approved merchant has a rate budget of its own, so
one customer may own only so many (`MAX_PENDING`, `MAX_OWNED`).
"""

from datetime import datetime
from typing import Any

from payments import audit, clock, config, db, ids, origin
from payments.db import Row, Sql
from payments.errors import (
    InvalidState,
    LimitExceeded,
    MerchantNotApproved,
    MerchantSuspended,
    NotFound,
)
from payments.events import outbox
from payments.ledger import accounts

MAX_PENDING = 5
"""Applications of one customer that may wait for an operator at a time."""
MAX_OWNED = 20
"""Merchants of one customer in all, whatever their status."""

_FIELDS = "id, owner_id, name, status, hot, negative_limit, version, created_at"
_INSERT = Sql(
    f"INSERT INTO merchants ({_FIELDS}) VALUES (:id, :owner_id, :name, :status, :hot, 0, 1, :now)"
    f" RETURNING {_FIELDS}"
)
_COUNT = Sql(
    "SELECT count(*) AS owned, count(CASE WHEN status = 'pending' THEN 1 END) AS pending"
    " FROM merchants WHERE owner_id = :owner_id"
)
_GET = Sql(f"SELECT {_FIELDS} FROM merchants WHERE id = :id")
_OWNED = Sql(f"SELECT {_FIELDS} FROM merchants WHERE owner_id = :owner_id ORDER BY created_at, id")
_OWNED_PAGE = (
    f"SELECT {_FIELDS} FROM merchants WHERE owner_id = :owner_id {{further}}"
    " ORDER BY created_at DESC, id DESC LIMIT :limit"
)
_FIRST_PAGE = Sql(_OWNED_PAGE.format(further=""))
_NEXT_PAGE = Sql(_OWNED_PAGE.format(further="AND (created_at, id) < (:before_at, :before_id)"))
# The same name again is no change, so no new version.
_RENAME = Sql(
    "UPDATE merchants SET name = CAST(:name AS text),"
    " version = version + CASE WHEN name = CAST(:name AS text) THEN 0 ELSE 1 END"
    f" WHERE id = :id RETURNING {_FIELDS}"
)
_STEP = Sql(
    "UPDATE merchants SET status = :to, version = version + 1 WHERE id = :id AND status = :from_"
    f" RETURNING {_FIELDS}"
)
_MARK_HOT = Sql(
    "UPDATE merchants SET hot = :on, version = version + CASE WHEN hot = :on THEN 0 ELSE 1 END"
    f" WHERE id = :id RETURNING {_FIELDS}"
)
_ACCOUNT = Sql(
    "SELECT id FROM accounts WHERE owner_id = :id AND kind = 'merchant' AND currency = :currency"
)
_POSSIBLE = {
    "pending": "it can be approved",
    "approved": "it can be suspended",
    "suspended": "it can be unsuspended",
}


def apply(owner_id: str, name: str) -> Row:
    """A customer's application. Status: `pending`, or `approved` under MERCHANT_AUTO_APPROVE.

    Who may take payments hears `merchant.approved`, whether by an operator or by the setting.
    Raises LimitExceeded for an owner of too many.
    """
    _require_room(owner_id)
    approved = config.current().merchant_auto_approve
    row = _INSERT.one(
        id=ids.new("mer"),
        owner_id=owner_id,
        name=name,
        status="approved" if approved else "pending",
        hot=False,
    )
    if approved:
        _tell("approved", row)
    return row


def get(merchant_id: str) -> Row:
    """The merchant. Raises NotFound."""
    row = _GET.one(id=merchant_id)
    if row is None:
        raise NotFound
    return row


def owned_by(customer_id: str) -> list[Row]:
    """The customer's merchants, oldest first."""
    return _OWNED.all(owner_id=customer_id)


def page_owned_by(customer_id: str, limit: int, before: tuple[datetime, str] | None) -> list[Row]:
    """A page of the customer's merchants, newest first. before: `created_at` and `id`."""
    if before is None:
        return _FIRST_PAGE.all(owner_id=customer_id, limit=limit)
    return _NEXT_PAGE.all(
        owner_id=customer_id, limit=limit, before_at=before[0], before_id=before[1]
    )


def rename(merchant_id: str, name: str) -> Row:
    """Give the merchant another name. Raises NotFound."""
    row = _RENAME.one(id=merchant_id, name=name)
    if row is None:
        raise NotFound
    return row


def approve(merchant_id: str) -> Row:
    """`pending` -> `approved`. Raises NotFound, InvalidState."""
    return _step(merchant_id, "approve", "pending", "approved")


def suspend(merchant_id: str) -> Row:
    """`approved` -> `suspended`: no new payments; capture, cancel and refund go on.

    Raises NotFound, InvalidState.
    """
    return _step(merchant_id, "suspend", "approved", "suspended")


def unsuspend(merchant_id: str) -> Row:
    """`suspended` -> `approved`. Raises NotFound, InvalidState."""
    return _step(merchant_id, "unsuspend", "suspended", "approved")


def require_open(merchant_id: str) -> Row:
    """The merchant, if it may take payments. Raises MerchantNotApproved, MerchantSuspended."""
    row = get(merchant_id)
    if row.status == "pending":
        raise MerchantNotApproved("The merchant's application waits for an operator.")
    if row.status == "suspended":
        raise MerchantSuspended(
            "The merchant is suspended and takes no new payment; it may capture, cancel and refund."
        )
    return row


def account_of(merchant_id: str, currency: str) -> str:
    """The merchant's account in that currency, opened where there was none. Gives its id."""
    found = _ACCOUNT.scalar(id=merchant_id, currency=currency)
    if found is not None:
        return str(found)
    account_id = accounts.open_account(merchant_id, "merchant", currency)
    if get(merchant_id).hot:
        accounts.mark_hot(account_id, True)
    return account_id


def mark_hot(merchant_id: str, on: bool) -> Row:
    """Collect the merchant's credits aside, in all its currencies, or no longer: for one that is
    paid by so many at once that its account's row would be waited for. Raises NotFound.
    """
    row = _MARK_HOT.one(id=merchant_id, on=on)
    if row is None:
        raise NotFound
    for account in accounts.of_owner(merchant_id, "merchant"):
        accounts.mark_hot(account.id, on)
    return row


def merchant_object(row: Row) -> dict[str, Any]:
    """The merchant as the API shows it."""
    return {
        "object": "merchant",
        "id": row.id,
        "status": row.status,
        "version": row.version,
        "name": row.name,
        "created_at": clock.to_rfc3339(row.created_at),
    }


def _require_room(owner_id: str) -> None:
    """Count, and let none of this owner's other applications count until this unit has ended."""
    db.one_at_a_time(f"applications of {owner_id}")
    (count,) = _COUNT.all(owner_id=owner_id)
    if count.owned >= MAX_OWNED:
        raise LimitExceeded(
            f"You own {MAX_OWNED} merchants, the most that one customer may. Use one of them: its"
            " name can be changed by PATCH /v1/merchant."
        )
    if count.pending >= MAX_PENDING:
        raise LimitExceeded(
            f"{MAX_PENDING} of your applications wait for an operator, the most at a time. Apply"
            " again once one of them is approved, or use one of them."
        )


def _step(merchant_id: str, action: str, from_: str, to: str) -> Row:
    row = _STEP.one(id=merchant_id, from_=from_, to=to)
    if row is None:
        status = get(merchant_id).status
        raise InvalidState(f"The merchant is {status}: {_POSSIBLE[status]}.")
    who = origin.current()
    audit.record(
        who.actor,
        f"merchant.{action}",
        merchant_id,
        before={"status": from_, "version": row.version - 1},
        after={"status": to, "version": row.version},
        request_id=who.request_id,
    )
    _tell(to, row)
    return row


def _tell(what: str, row: Row) -> None:
    outbox.record(
        f"merchant.{what}",
        merchant_id=row.id,
        object_id=row.id,
        snapshot=merchant_object(row),
    )
