"""Payments and refunds as the world sees them: one truth for answers and for events' snapshots."""

import json
from typing import Any

from payments.clock import to_rfc3339
from payments.db import Row


def payment_object(row: Row) -> dict[str, Any]:
    """The merchant's view of a payment. Amounts in minor units, times RFC 3339."""
    return {
        "object": "payment",
        "id": row.id,
        "status": row.status,
        "version": row.version,
        "amount": row.amount,
        "currency": row.currency,
        "amount_captured": row.amount_captured,
        "amount_refunded": row.amount_refunded,
        "fee": row.fee,
        "capture": row.capture,
        "merchant": row.merchant_id,
        "customer": row.customer_id,
        "customer_phone": row.customer_phone,
        "reference": row.reference,
        "description": row.description,
        "metadata": _metadata(row),
        "code": row.code,
        "created_at": to_rfc3339(row.created_at),
        "expires_at": to_rfc3339(row.expires_at),
        "capture_before": None if row.capture_before is None else to_rfc3339(row.capture_before),
    }


def customer_view(row: Row, customer_id: str) -> dict[str, Any]:
    """A customer's view of a payment: without fee and metadata, which are the merchant's business.

    One who only holds the id or code of a payment does not learn who paid it.
    """
    shown = payment_object(row)
    del shown["fee"], shown["metadata"]
    if row.customer_id != customer_id:
        shown["customer"] = None
    return shown


def refund_object(row: Row) -> dict[str, Any]:
    """A refund. Amounts in minor units; `fee_returned` is the part of the fee it brought back."""
    return {
        "object": "refund",
        "id": row.id,
        "status": row.status,
        "version": row.version,
        "payment": row.payment_id,
        "merchant": row.merchant_id,
        "amount": row.amount,
        "currency": row.currency,
        "fee_returned": row.fee_returned,
        "reason": row.reason,
        "metadata": _metadata(row),
        "created_at": to_rfc3339(row.created_at),
    }


def metadata_text(metadata: dict[str, Any] | None) -> str | None:
    """Metadata as it is stored: compact JSON, nothing for none."""
    if not metadata:
        return None
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))


def _metadata(row: Row) -> dict[str, Any]:
    return {} if row.metadata_json is None else json.loads(row.metadata_json)
