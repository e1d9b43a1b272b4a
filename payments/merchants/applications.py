"""Merchants: a customer applies, an operator approves, suspends and lets go on.

`pending` -> `approved` <-> `suspended`. Each step is one conditional UPDATE. A merchant hears of
each by an event, the operators' steps stand in the audit trail.
"""

from typing import Any

from payments import audit, clock, config, ids, origin
from payments.db import Row, Sql
from payments.errors import InvalidState, MerchantNotApproved, MerchantSuspended, NotFound
from payments.events import outbox
from payments.ledger import accounts

_FIELDS = "id, owner_id, name, status, hot, negative_limit, version, created_at"
_INSERT = Sql(
    f"INSERT INTO merchants ({_FIELDS}) VALUES (:id, :owner_id, :name, :status, :hot, 0, 1, :now)"
    f" RETURNING {_FIELDS}"
)
_GET = Sql(f"SELECT {_FIELDS} FROM merchants WHERE id = :id")
_OWNED = Sql(f"SELECT {_FIELDS} FROM merchants WHERE owner_id = :owner_id ORDER BY created_at, id")
_RENAME = Sql(
    f"UPDATE merchants SET name = :name, version = version + 1 WHERE id = :id RETURNING {_FIELDS}"
)
_STEP = Sql(
    "UPDATE merchants SET status = :to, version = version + 1 WHERE id = :id AND status = :from_"
    f" RETURNING {_FIELDS}"
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
    """A customer's application. Status: `pending`, or `approved` under MERCHANT_AUTO_APPROVE."""
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
        before={"status": from_},
        after={"status": to},
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
