"""Secrets of endpoints and the signatures made with them (Standard Webhooks, symmetric)."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime

from payments import VERSION, clock

SECRET_PREFIX = "whsec_"
SECRET_BYTES = 32
USER_AGENT = f"payments-webhooks/{VERSION}"


def new_secret() -> str:
    """`whsec_` and 32 random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The key: what the part after `whsec_` decodes to."""
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)


def sign(key: bytes, event_id: str, sent_at: datetime, body: bytes) -> str:
    """One signature for the `webhook-signature` header.

    sent_at: aware, the same as `webhook-timestamp`, which counts whole seconds. body: the bytes as
    sent. While a secret rotates, call once for each and join with a space.
    Raises ValueError for a naive time. Source: Standard Webhooks, "Signature scheme".
    """
    head = f"{event_id}.{_seconds(sent_at)}.".encode()
    return "v1," + base64.b64encode(hmac.digest(key, head + body, hashlib.sha256)).decode()


def headers(
    *,
    event_id: str,
    delivery_id: str,
    attempt: int,
    keys: Sequence[bytes],
    sent_at: datetime,
    body: bytes,
) -> dict[str, str]:
    """The headers of one attempt. keys: the current one first; another while a secret rotates."""
    return {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "Accept-Encoding": "identity",
        "webhook-id": event_id,
        "webhook-timestamp": str(_seconds(sent_at)),
        "webhook-signature": " ".join(sign(key, event_id, sent_at, body) for key in keys),
        "X-Delivery-ID": delivery_id,
        "X-Attempt": str(attempt),
    }


def _seconds(moment: datetime) -> int:
    return int(clock.aware(moment).timestamp())
