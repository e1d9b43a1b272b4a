"""Transfers and deposits as each of their readers sees them, and as events keep them."""

from datetime import datetime
from typing import Any

from payments import clock
from payments.db import Row

Place = tuple[datetime, str]
"""Where a page ended: the `created_at` and `id` of its last row."""


def transfer_snapshot(row: Row) -> dict[str, Any]:
    """A transfer as an event keeps it, for good: by ids, no phone."""
    return {
        "object": "transfer",
        "id": row.id,
        "status": row.status,
        "version": row.version,
        "amount": row.amount,
        "currency": row.currency,
        "sender": row.sender_id,
        "recipient": row.recipient_id,
        "note": row.note,
        "reference": row.reference,
        "created_at": clock.to_rfc3339(row.created_at),
    }


def transfer_object(row: Row) -> dict[str, Any]:
    """A transfer for those who may know both phones: its two sides, and the service that asked."""
    return transfer_snapshot(row) | {"from_phone": row.from_phone, "to_phone": row.to_phone}


def customer_view(row: Row, customer_id: str) -> dict[str, Any]:
    """A transfer as one of its two sides sees it: `out` for who sent, `in` for who received."""
    direction = "out" if row.sender_id == customer_id else "in"
    return transfer_object(row) | {"direction": direction}


def deposit_object(row: Row) -> dict[str, Any]:
    """A deposit, for the service that told of it."""
    return {
        "object": "deposit",
        "id": row.id,
        "status": row.status,
        "version": row.version,
        "amount": row.amount,
        "currency": row.currency,
        "phone": row.phone,
        "customer": row.customer_id,
        "wallet": row.account_id,
        "external_reference": row.external_reference,
        "created_at": clock.to_rfc3339(row.created_at),
    }
