"""Reading payments: by id or code, and lists, for the merchant and for customers.

A payment whose time is over reads as `expired` once that is recorded, or 15 s later (`statuses`),
with the version it will have: both answers are the same.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from payments.checkout.statuses import STATUS, VERSION
from payments.db import Row, Sql
from payments.errors import NotFound

FIELDS = (
    "id, code, merchant_id, merchant_account_id, customer_phone, customer_id, customer_account_id,"
    " hold_id, amount, currency, capture, amount_captured, amount_refunded, fee_bps, fee_fixed,"
    " fee_whole, fee, fee_refunded, reference, description, metadata_json, created_at, expires_at,"
    " capture_before"
)
RECORDED = f"{FIELDS}, status, version"
"""What an UPDATE returns. Its condition has judged the time, so status and version are true."""

EFFECTIVE = f"{FIELDS}, {STATUS} AS status, {VERSION} AS version"
"""What a SELECT reads, with `:closed`."""

MAY_SEE = (
    "(customer_phone IS NULL OR customer_id = :customer_id"
    " OR customer_phone = (SELECT phone FROM customers WHERE id = :customer_id))"
)
"""Whom a payment is for: who is asked, or, where nobody is, whoever holds its id or code."""

_OF_MERCHANT = Sql(
    f"SELECT {EFFECTIVE} FROM payments WHERE id = :id AND merchant_id = :merchant_id"
)
_BY_ID = Sql(f"SELECT {EFFECTIVE} FROM payments WHERE id = :id AND {MAY_SEE}")
_BY_CODE = Sql(f"SELECT {EFFECTIVE} FROM payments WHERE code = :code AND {MAY_SEE}")


def get(merchant_id: str, payment_id: str) -> Row:
    """A merchant's own payment. Raises NotFound."""
    return _found(_OF_MERCHANT.one(id=payment_id, merchant_id=merchant_id))


def get_for_customer(customer_id: str, payment_id: str) -> Row:
    """A payment that the customer paid or is asked, or that asks nobody. Raises NotFound."""
    return _found(_BY_ID.one(id=payment_id, customer_id=customer_id))


def by_code(customer_id: str, code: str) -> Row:
    """The payment with this code (`codes.parse`d). Raises NotFound, also for who is not asked."""
    return _found(_BY_CODE.one(code=code, customer_id=customer_id))


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound
    return row


_FILTERS = {
    "status": f"{STATUS} = :status",
    "reference": "reference = :reference",
    "customer": "customer_id = :customer",
    "created_from": "created_at >= :created_from",
    "created_to": "created_at < :created_to",
}
_PAGE = "ORDER BY created_at DESC, id DESC LIMIT :limit"
_BEFORE = "(created_at, id) < (:before_at, :before_id)"

Place = tuple[datetime, str]
"""Where a page ended: the `created_at` and `id` of its last row."""


def of_merchant(
    merchant_id: str, filters: Mapping[str, Any], limit: int, before: Place | None
) -> list[Row]:
    """A page of the merchant's payments, newest first.

    filters: any of status, reference, customer (`cus_...`), created_from (inclusive) and created_to
    (exclusive); one that is None is not applied.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    statement = _merchant_page(frozenset(given), before is not None)
    return statement.all(merchant_id=merchant_id, limit=limit, **given, **_place(before))


@lru_cache(maxsize=64)
def _merchant_page(names: frozenset[str], follows: bool) -> Sql:
    """One statement for each set of filters, so that each is planned for its own indexes."""
    conditions = ["merchant_id = :merchant_id", *(_FILTERS[name] for name in sorted(names))]
    if follows:
        conditions.append(_BEFORE)
    return Sql(f"SELECT {EFFECTIVE} FROM payments WHERE {' AND '.join(conditions)} {_PAGE}")


def of_customer(
    customer_id: str, status: str | None, limit: int, before: Place | None
) -> list[Row]:
    """A page of what is asked of the customer and what they paid, newest first."""
    given = {} if status is None else {"status": status}
    statement = _customer_page(status is not None, before is not None)
    return statement.all(customer_id=customer_id, limit=limit, **given, **_place(before))


@lru_cache(maxsize=4)
def _customer_page(by_status: bool, follows: bool) -> Sql:
    """Two index walks, merged: with one condition joined by OR the database would sort all."""
    further = (f" AND {_FILTERS['status']}" if by_status else "") + (
        f" AND {_BEFORE}" if follows else ""
    )
    walks = " UNION ".join(
        f"SELECT id FROM (SELECT id FROM payments WHERE {whose}{further} {_PAGE}) AS {name}"
        for name, whose in (
            ("paid", "customer_id = :customer_id"),
            ("asked", "customer_phone = (SELECT phone FROM customers WHERE id = :customer_id)"),
        )
    )
    return Sql(f"SELECT {EFFECTIVE} FROM payments WHERE id IN ({walks}) {_PAGE}")


def _place(before: Place | None) -> dict[str, Any]:
    return {} if before is None else {"before_at": before[0], "before_id": before[1]}
