"""The statements: each finds its rows by an index, and no more than `LIMIT` of them."""

import json
from collections.abc import Iterable
from typing import Any

from payments.db import BROUGHT, Row, Sql

LIMIT = 200
"""Rows of each kind on one page: the newest ones."""
BEFORE_MS, AFTER_MS = 60_000, 900_000
"""Around the time in a request id of ours, in ms: rows made for it bear ids of that time."""
_LAST_MS = (1 << 48) - 1

_POSTGRES = "(SELECT json_array_elements_text(CAST(:ids AS json)))"
_SQLITE = "(SELECT value FROM json_each(:ids))"


def _of(text: str, limit: int = LIMIT) -> Sql:
    """The statement with its list of ids as each database takes it, newest first."""
    whole = f"{text} LIMIT {limit}"
    return Sql(whole.format(ids=_POSTGRES), sqlite=whole.format(ids=_SQLITE))


_EVENT = "SELECT id, type, merchant_id, object_id, body, request_id, created_at FROM events"
_ENTRY = "SELECT id, kind, subject_id, caller, request_id, created_at FROM entries"
_AUDIT = (
    "SELECT id, actor, action, subject_id, outcome, before_json, after_json, request_id,"
    " created_at FROM audit_log"
)
_NEWEST = "ORDER BY created_at DESC, id DESC"
_NO_LOOKS = "action <> 'console.search'"
"""Who only looked at it stands in the trail, not in the story."""

OBJECTS: dict[str, Sql] = {
    prefix: Sql(f"SELECT {columns} FROM {table} WHERE id = :id")
    for prefix, (table, columns) in {
        "pay": (
            "payments",
            "id, status, amount, currency, amount_captured, amount_refunded, fee, capture,"
            " merchant_id, customer_id, customer_phone, reference, code, created_at, expires_at,"
            " capture_before, paid_at, ended_at",
        ),
        "ref": (
            "refunds",
            "id, payment_id, merchant_id, status, amount, currency, fee_returned, created_at",
        ),
        "trf": (
            "transfers",
            "id, sender_id, recipient_id, amount, currency, status, service, reference, created_at",
        ),
        "dep": (
            "deposits",
            "id, service, external_reference, customer_id, account_id, amount, currency, status,"
            " created_at",
        ),
        "out": (
            "payouts",
            "id, merchant_id, amount, currency, reference, status, proposed_by, decided_by,"
            " created_at, decided_at",
        ),
        "adj": (
            "adjustments",
            "id, debit, credit, amount, currency, status, proposed_by, decided_by, created_at,"
            " decided_at",
        ),
        "hld": (
            "holds",
            "id, account_id, subject_id, amount, captured, status, created_at, expires_at,"
            " ended_at",
        ),
        "mer": ("merchants", "id, owner_id, name, status, created_at"),
        "we": (
            "webhook_endpoints",
            "id, merchant_id, url, status, disabled_reason, failures, created_at",
        ),
        "wal": (
            "accounts",
            "id, owner_id, kind, currency, held, frozen_at, created_at",
        ),
        "cus": ("customers", "id, phone, name, signed_in_at, created_at"),
        "evt": ("events", "id, type, merchant_id, object_id, body, request_id, created_at"),
        "dlv": (
            "deliveries",
            "id, event_id, endpoint_id, merchant_id, status, attempts, created_at",
        ),
        "att": ("attempts", "id, delivery_id, created_at"),
        "ent": ("entries", "id, kind, subject_id, caller, request_id, created_at"),
    }.items()
}
"""One row by its id, by the id's prefix."""

EVENTS = _of(f"{_EVENT} WHERE object_id IN {{ids}} {_NEWEST}")
ENTRIES = _of(f"{_ENTRY} WHERE subject_id IN {{ids}} {_NEWEST}")
# First what matches, then the order: else a planner may walk the whole trail backwards.
_MATCHING = "WITH matching AS MATERIALIZED ({}) SELECT * FROM matching " + _NEWEST
AUDIT = _of(_MATCHING.format(f"{_AUDIT} WHERE subject_id IN {{ids}} AND {_NO_LOOKS}"))
HOLDS = _of(
    "SELECT id, account_id, subject_id, amount, captured, status, created_at, expires_at, ended_at"
    f" FROM holds WHERE subject_id IN {{ids}} {_NEWEST}"
)
REFUNDS = _of(f"SELECT id FROM refunds WHERE payment_id IN {{ids}} {_NEWEST}")
DELIVERIES = _of(
    "SELECT id, event_id, endpoint_id, status, attempts, next_attempt_at, last_outcome,"
    f" created_at, ended_at FROM deliveries WHERE event_id IN {{ids}} {_NEWEST}"
)
ATTEMPTS = _of(
    "SELECT id, delivery_id, number, outcome, http_status, latency_ms, response, detail,"
    f" created_at FROM attempts WHERE delivery_id IN {{ids}} {_NEWEST}"
)
POSTINGS = _of(
    "SELECT p.id, p.entry_id, p.account_id, p.amount, a.kind, a.owner_id, a.currency"
    " FROM postings p JOIN accounts a ON a.id = p.account_id"
    " WHERE p.entry_id IN {ids} ORDER BY p.entry_id DESC, p.amount, p.id",
    5 * LIMIT,
)
WALLETS = _of(
    "SELECT id, owner_id, kind, currency, frozen_at, created_at FROM accounts"
    " WHERE owner_id IN {ids} AND kind = 'customer' ORDER BY created_at DESC, id DESC"
)
ENTRIES_OF_ACCOUNT = Sql(
    "SELECT e.id, e.kind, e.subject_id, e.caller, e.request_id, e.created_at"
    " FROM (SELECT entry_id, created_at, id FROM postings WHERE account_id = :id"
    f" {_NEWEST} LIMIT {LIMIT}) AS newest JOIN entries e ON e.id = newest.entry_id"
)

_PAYMENT = "SELECT id, status, amount, currency, merchant_id, created_at FROM payments"
PAYMENTS_OF_PHONE = Sql(f"{_PAYMENT} WHERE customer_phone = :phone {_NEWEST} LIMIT {LIMIT}")
PAYMENTS_OF_CUSTOMER = Sql(f"{_PAYMENT} WHERE customer_id = :id {_NEWEST} LIMIT {LIMIT}")
PAYMENTS_OF_MERCHANT = Sql(f"{_PAYMENT} WHERE merchant_id = :id {_NEWEST} LIMIT {LIMIT}")
BY_CODE = Sql("SELECT id FROM payments WHERE code = :code")
_TRANSFER = "SELECT id, sender_id, recipient_id, amount, currency, created_at FROM transfers"
SENT = Sql(f"{_TRANSFER} WHERE sender_id = :id {_NEWEST} LIMIT {LIMIT}")
RECEIVED = Sql(f"{_TRANSFER} WHERE recipient_id = :id {_NEWEST} LIMIT {LIMIT}")
DEPOSITS = Sql(
    "SELECT id, service, amount, currency, created_at FROM deposits WHERE customer_id = :id"
    f" {_NEWEST} LIMIT {LIMIT}"
)
PAYOUTS = Sql(
    "SELECT id, amount, currency, status, created_at FROM payouts WHERE merchant_id = :id"
    f" {_NEWEST} LIMIT {LIMIT}"
)
SESSIONS = Sql(
    "SELECT id, status, user_agent, created_at, ended_at FROM sessions WHERE customer_id = :id"
    f" {_NEWEST} LIMIT {LIMIT}"
)
MERCHANTS = Sql(
    "SELECT id, name, status, created_at FROM merchants WHERE owner_id = :id"
    f" {_NEWEST} LIMIT {LIMIT}"
)
ENDPOINTS = Sql(
    "SELECT id, url, status, created_at FROM webhook_endpoints WHERE merchant_id = :id"
    f" {_NEWEST} LIMIT {LIMIT}"
)
# Never the code, nor its hash.
CODES = Sql(
    "SELECT id, address, status, tries, withheld, created_at, expires_at FROM otp_challenges"
    f" WHERE phone = :phone ORDER BY created_at DESC, id DESC LIMIT {LIMIT}"
)
TRIES = Sql(
    "SELECT id, address, created_at FROM otp_tries WHERE phone = :phone"
    f" ORDER BY created_at DESC, id DESC LIMIT {LIMIT}"
)

_OURS = "id >= :first AND id < :last AND request_id = :request_id"
_BROUGHT = f"request_id = :request_id AND {BROUGHT}"
_EVENTS_OF, _ENTRIES_OF = (
    {ours: Sql(f"{text} WHERE {which} {_NEWEST} LIMIT {LIMIT}")
     for ours, which in ((True, _OURS), (False, _BROUGHT))}
    for text in (_EVENT, _ENTRY)
)  # fmt: skip
# In the order of their index: whatever number of rows bears the id, so many are read.
_AUDIT_OF = Sql(f"{_AUDIT} WHERE request_id = :request_id AND {_NO_LOOKS} {_NEWEST} LIMIT {LIMIT}")


def one(object_id: str) -> Row | None:
    """The row of an id with a known prefix, or None."""
    statement = OBJECTS.get(object_id.partition("_")[0])
    return None if statement is None else statement.one(id=object_id)


def among(statement: Sql, found: Iterable[str]) -> list[Row]:
    """The rows of these ids; none asked for, none looked for."""
    listed = sorted(set(found))
    return statement.all(ids=json.dumps(listed)) if listed else []


def of_request(request_id: str, made_here: bool) -> tuple[list[Row], list[Row], list[Row]]:
    """The events, entries and audit lines of one request.

    made_here: the id is one of ours, and bears its time.
    """
    binds: dict[str, Any] = {"request_id": request_id}
    events, entries = binds, binds
    if made_here:
        made_ms = int(request_id.partition("_")[2][:12], 16)
        first = f"{max(0, made_ms - BEFORE_MS):012x}"
        last = f"{min(_LAST_MS, made_ms + AFTER_MS):012x}"
        events, entries = (
            binds | {"first": f"{prefix}_{first}", "last": f"{prefix}_{last}"}
            for prefix in ("evt", "ent")
        )
    return (
        _EVENTS_OF[made_here].all(**events),
        _ENTRIES_OF[made_here].all(**entries),
        _AUDIT_OF.all(**binds),
    )
