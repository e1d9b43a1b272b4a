"""Transfers and deposits as the API shows them, and as events keep them."""

from datetime import datetime
from typing import Any

from payments import clock
from payments.db import Row

Place = tuple[datetime, str]
"""Where a page ended: the `created_at` and `id` of its last row."""


def transfer_object(row: Row) -> dict[str, Any]:
    """A transfer, the same for both sides and for a service."""
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


def deposit_object(row: Row) -> dict[str, Any]:
    """A deposit, for the service that told of it."""
    return {
        "object": "deposit",
        "id": row.id,
        "status": row.status,
        "version": row.version,
        "amount": row.amount,
        "currency": row.currency,
        "customer": row.customer_id,
        "wallet": row.account_id,
        "external_reference": row.external_reference,
        "created_at": clock.to_rfc3339(row.created_at),
    }
