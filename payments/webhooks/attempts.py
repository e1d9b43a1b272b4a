"""Attempts as rows: each has one id, whoever writes it down and however often.

The id follows from the lease and the delivery. So a result whose commit was not heard of can be
written again, and one that comes back after its delivery was given up as lost takes the place of
that row: nothing is there twice.
"""

import hashlib
from datetime import datetime, timedelta

from payments import clock

LOST = "lost"
"""The outcome of an attempt whose worker never said how it went."""


def insert(values: str) -> str:
    """A statement for rows as their first writer has them; only what was given up as lost is told
    better later. values: VALUES or a SELECT, in the columns' order.
    """
    return (
        "INSERT INTO attempts (id, delivery_id, number, outcome, http_status, latency_ms, response,"
        f" detail, created_at) {values} ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome,"
        " http_status = excluded.http_status, latency_ms = excluded.latency_ms,"
        " response = excluded.response, detail = excluded.detail, created_at = excluded.created_at"
        f" WHERE attempts.outcome = '{LOST}'"
    )


INSERT = insert(
    "VALUES (:id, :delivery_id, :number, :outcome, :http_status, :latency_ms, :response, :detail,"
    " :sent_at)"
)
"""For one row."""


def id_of(token: str, delivery_id: str) -> str:
    """The id of the attempt that is made under this lease: in time order, by the lease's time.

    Source: RFC 9562, version 8: 48 bits of Unix time in ms, the rest is a hash.
    """
    told = hashlib.sha256(f"{token} {delivery_id}".encode()).hexdigest()
    variant = "89ab"[int(told[3], 16) % 4]
    return f"att_{_stamp(token)}8{told[:3]}{variant}{told[4:19]}"


def leased_at(token: str) -> datetime:
    """When the lease with this token was taken, by the clock of who took it."""
    return clock.EPOCH + timedelta(milliseconds=int(_stamp(token), 16))


def _stamp(token: str) -> str:
    return token.partition("_")[2][:12]
