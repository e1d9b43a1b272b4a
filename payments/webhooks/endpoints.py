"""Endpoints: where a merchant wants to hear of what happened, and the secrets it verifies with."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from payments import audit, db, ids, origin, sealing
from payments.clock import to_rfc3339
from payments.db import Row, Sql
from payments.errors import InvalidState, LimitExceeded, MerchantNotApproved, NotFound
from payments.events import outbox
from payments.events.types import ENDPOINT_DISABLED, PING
from payments.webhooks import signing

MAX_ENDPOINTS = 16
OVERLAP = timedelta(hours=24)
"""How long the secret that was rotated out still signs beside the new one."""
EVERY = "*"

_FIELDS = (
    "id, merchant_id, url, events, description, status, disabled_reason, old_secret_until,"
    " version, created_at"
)
_THEIRS = "id = :id AND merchant_id = :merchant_id AND status <> 'deleted'"

_INSERT = Sql(
    "INSERT INTO webhook_endpoints (id, merchant_id, url, events, description, status,"
    " secret_sealed, failures, version, created_at) VALUES (:id, :merchant_id, :url, :events,"
    f" :description, 'enabled', :secret, 0, 1, :now) RETURNING {_FIELDS}"
)
# The merchant's row is the lock under which its endpoints are counted.
_LOCK_MERCHANT = Sql("SELECT status FROM merchants WHERE id = :merchant_id FOR NO KEY UPDATE")
_MERCHANT = Sql("SELECT status FROM merchants WHERE id = :merchant_id")
_COUNT = Sql(
    "SELECT count(*) FROM webhook_endpoints WHERE merchant_id = :merchant_id"
    " AND status <> 'deleted'"
)
_GET = Sql(f"SELECT {_FIELDS} FROM webhook_endpoints WHERE {_THEIRS}")
_LOCK = Sql(f"SELECT {_FIELDS} FROM webhook_endpoints WHERE {_THEIRS} FOR NO KEY UPDATE")
_LOCK_ANY = Sql(
    f"SELECT {_FIELDS} FROM webhook_endpoints WHERE id = :id AND status <> 'deleted'"
    " FOR NO KEY UPDATE"
)
_PAGE = (
    f"SELECT {_FIELDS} FROM webhook_endpoints"
    " WHERE merchant_id = :merchant_id AND status <> 'deleted' {before}"
    " ORDER BY created_at DESC, id DESC LIMIT :limit"
)
_FIRST_PAGE = Sql(_PAGE.format(before=""))
_NEXT_PAGE = Sql(_PAGE.format(before="AND (created_at, id) < (:before_at, :before_id)"))
_CHANGE = Sql(
    "UPDATE webhook_endpoints SET url = :url, events = :events, description = :description,"
    f" version = version + 1 WHERE id = :id RETURNING {_FIELDS}"
)
_ROTATE = Sql(
    "UPDATE webhook_endpoints SET old_secret_sealed = secret_sealed, old_secret_until = :until,"
    f" secret_sealed = :secret, version = version + 1 WHERE {_THEIRS} RETURNING {_FIELDS}"
)
# A fresh start: what failed before it was mended counts no more.
_ENABLE = Sql(
    "UPDATE webhook_endpoints SET status = 'enabled', disabled_reason = NULL, failures = 0,"
    " failing_since_at = NULL, closed_until = NULL, version = version + 1"
    f" WHERE id = :id RETURNING {_FIELDS}"
)
_DISABLE = Sql(
    "UPDATE webhook_endpoints SET status = 'disabled', disabled_reason = :reason,"
    " version = version + 1 WHERE id = :id AND status = 'enabled'"
    f" AND (CAST(:url AS text) IS NULL OR url = :url) RETURNING {_FIELDS}"
)
_DELETE = Sql(
    "UPDATE webhook_endpoints SET status = 'deleted', version = version + 1"
    f" WHERE {_THEIRS} RETURNING {_FIELDS}"
)
_CANCEL = Sql(
    "UPDATE deliveries SET status = 'canceled', next_attempt_at = NULL, lease_until = NULL,"
    " lease_token = NULL, ended_at = :now, version = version + 1"
    " WHERE id IN (SELECT id FROM deliveries WHERE endpoint_id = :id AND status = 'pending'"
    " LIMIT :limit)"
)
CANCELED_AT_ONCE = 1_000
"""More wait for the sweep: a backlog of days must not outlast a statement's time. None of it is
sent meanwhile, since the endpoint is not enabled.
"""


def create(
    merchant_id: str, url: str, events: Sequence[str], description: str | None
) -> tuple[Row, str]:
    """A new endpoint, enabled, and its secret, which is shown this once.

    The URL was judged by `targets.check`, outside the unit. Raises MerchantNotApproved,
    LimitExceeded.
    """
    _must_have_room(merchant_id, _LOCK_MERCHANT.scalar(merchant_id=merchant_id))
    secret = signing.new_secret()
    row = _INSERT.one(
        id=ids.new("we"),
        merchant_id=merchant_id,
        url=url,
        events=_stored(events),
        description=description,
        secret=sealing.seal(secret),
    )
    return row, secret


def require_room(merchant_id: str) -> None:
    """Whether the merchant may make one more, as far as is known outside the unit that makes it.

    Raises MerchantNotApproved, LimitExceeded.
    """
    _must_have_room(merchant_id, _MERCHANT.scalar(merchant_id=merchant_id))


def get(merchant_id: str, endpoint_id: str) -> Row:
    """One of the merchant's endpoints. Raises NotFound, also for a deleted one."""
    return _found(_GET.one(id=endpoint_id, merchant_id=merchant_id))


def page(merchant_id: str, limit: int, before: tuple[datetime, str] | None) -> list[Row]:
    """The merchant's endpoints, newest first."""
    if before is None:
        return _FIRST_PAGE.all(merchant_id=merchant_id, limit=limit)
    return _NEXT_PAGE.all(
        merchant_id=merchant_id, limit=limit, before_at=before[0], before_id=before[1]
    )


def change(merchant_id: str, endpoint_id: str, changes: dict[str, Any]) -> Row:
    """Set url, events, description or status, whichever is among the changes.

    status `disabled` cancels what is pending; `enabled` begins anew with what happens from now on,
    and a resend revives what was canceled. Raises NotFound.
    """
    row = _found(_LOCK.one(id=endpoint_id, merchant_id=merchant_id))
    status = changes.pop("status", row.status)
    if changes:
        events = changes.get("events")
        row = _CHANGE.one(
            id=endpoint_id,
            url=changes.get("url", row.url),
            events=row.events if events is None else _stored(events),
            description=changes.get("description", row.description),
        )
    if status == row.status:
        return row
    return _ENABLE.one(id=endpoint_id) if status == "enabled" else disable(endpoint_id, "merchant")


def delete(merchant_id: str, endpoint_id: str) -> Row:
    """Never send to it again; what was sent stays readable. Raises NotFound."""
    row = _found(_DELETE.one(id=endpoint_id, merchant_id=merchant_id))
    _cancel_pending(endpoint_id)
    return row


def rotate_secret(merchant_id: str, endpoint_id: str) -> tuple[Row, str]:
    """A new secret, shown this once. The old one signs beside it for 24 hours. Raises NotFound."""
    secret = signing.new_secret()
    row = _ROTATE.one(
        id=endpoint_id,
        merchant_id=merchant_id,
        secret=sealing.seal(secret),
        until=db.unit().now + OVERLAP,
    )
    return _found(row), secret


def ping(merchant_id: str, endpoint_id: str) -> str:
    """An event `ping`, owed to this endpoint alone; its id. Raises NotFound, InvalidState."""
    row = get(merchant_id, endpoint_id)
    if row.status != "enabled":
        raise InvalidState("The endpoint is disabled. Set its status to enabled, then test it.")
    return outbox.record(
        PING,
        merchant_id=merchant_id,
        object_id=endpoint_id,
        snapshot=endpoint_object(row),
        only_endpoint=endpoint_id,
    )


def disable(endpoint_id: str, reason: str, url: str | None = None) -> Row | None:
    """Stop sending; what is pending is canceled, and an event says so. In the open unit of work.

    reason: `gone` (it answered 410), `failing` (for five days), `merchant`, `operator`. None when
    it was not enabled, or has another URL by now than the given one.
    """
    row = _DISABLE.one(id=endpoint_id, reason=reason, url=url)
    if row is None:
        return None
    _cancel_pending(endpoint_id)
    outbox.record(
        ENDPOINT_DISABLED,
        merchant_id=row.merchant_id,
        object_id=endpoint_id,
        snapshot=endpoint_object(row),
    )
    return row


def toggle(endpoint_id: str, status: str, reason: str) -> Row:
    """An operator sets any merchant's endpoint `enabled` or `disabled`, as `change` does.

    One that is so already stays as it is. In the audit trail, with the reason. Raises NotFound.
    """
    was = _found(_LOCK_ANY.one(id=endpoint_id))
    row = was
    if status != was.status:
        enabled = status == "enabled"
        row = _found(_ENABLE.one(id=endpoint_id) if enabled else disable(endpoint_id, "operator"))
    who = origin.current()
    audit.record(
        who.actor,
        "webhook_endpoint.toggle",
        endpoint_id,
        before={"status": was.status, "disabled_reason": was.disabled_reason},
        after={"status": row.status, "reason": reason},
        request_id=who.request_id,
    )
    return row


def _cancel_pending(endpoint_id: str) -> None:
    outbox.DELIVERIES.grow(_CANCEL.run(id=endpoint_id, limit=CANCELED_AT_ONCE), outcome="canceled")


def endpoint_object(row: Row) -> dict[str, Any]:
    """An endpoint as the API and events show it: never with a secret."""
    until = row.old_secret_until
    return {
        "object": "webhook_endpoint",
        "id": row.id,
        "status": row.status,
        "version": row.version,
        "url": row.url,
        "events": row.events.strip(",").split(","),
        "description": row.description,
        "disabled_reason": row.disabled_reason,
        "old_secret_until": to_rfc3339(until) if until is not None else None,
        "created_at": to_rfc3339(row.created_at),
    }


def _must_have_room(merchant_id: str, status: str) -> None:
    if status == "pending":
        raise MerchantNotApproved(
            "The merchant's application waits for an operator; then it may have endpoints."
        )
    if _COUNT.scalar(merchant_id=merchant_id) >= MAX_ENDPOINTS:
        raise LimitExceeded(
            f"A merchant has at most {MAX_ENDPOINTS} endpoints. Delete one that is not used."
        )


def _stored(events: Sequence[str]) -> str:
    """Between commas, so that a LIKE finds a whole name; `*` among others is all."""
    return f",{EVERY}," if EVERY in events else f",{','.join(dict.fromkeys(events))},"


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound
    return row
