"""`/v1/wallets`: a customer's balances and statements."""

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response

from payments import clock
from payments.api import csv_streams, guards, paging
from payments.api.paging import Before, PageQuery
from payments.api.routing import Answer, route
from payments.api.schemas.wallets import (
    NewWallet,
    Statement,
    Wallet,
    WalletQuery,
    Wallets,
)
from payments.customers import wallets
from payments.db import Row
from payments.errors import Fault, InvalidCursor, InvalidRequest, NotFound
from payments.ledger import statements
from payments.origin import Customer

bp = Blueprint("wallets", __name__)

COLUMNS = (
    "id",
    "entry",
    "kind",
    "subject",
    "counterparty",
    "amount",
    "currency",
    "balance",
    "created_at",
)
"""Of a statement as CSV: the members of its JSON lines, without `object`."""


@route(
    bp,
    "/v1/wallets",
    caller=guards.customer,
    query=PageQuery,
    answer=Wallets,
    summary="List wallets",
)
def index(caller: Customer, query: PageQuery) -> dict[str, Any]:
    """The customer's wallets: the default currency's first, then the newest."""
    return paging.listing(
        query, lambda limit, before: wallet_page(caller.id, limit, before), wallet_object
    )


def wallet_page(customer_id: str, limit: int, before: Before | None) -> list[Row]:
    """What follows that wallet: there are few, and the first one is out of the order of time.

    Raises InvalidCursor for a wallet that is not there.
    """
    rows = wallets.of_customer(customer_id)
    if before is None:
        return rows[:limit]
    place = next((place for place, row in enumerate(rows) if row.id == before[1]), None)
    if place is None:
        raise InvalidCursor
    return rows[place + 1 : place + 1 + limit]


@route(
    bp,
    "/v1/wallets",
    method="POST",
    caller=guards.customer,
    body=NewWallet,
    answer=Wallet,
    status=201,
    also=(200,),
    once="optional",
    summary="Open a wallet",
)
def create(caller: Customer, body: NewWallet) -> Answer:
    """There is one wallet for each currency: 201 when it was opened, 200 and the same one when it
    was there, so asking twice does no harm.
    """
    row, opened = wallets.open_wallet(caller.id, body.currency)
    return Answer(wallet_object(row), status=201 if opened else 200)


@route(
    bp,
    "/v1/wallets/<wallet_id>",
    caller=guards.customer,
    query=WalletQuery,
    answer=Wallet,
    errors=(NotFound,),
    summary="Get a wallet",
)
def show(caller: Customer, wallet_id: str, query: WalletQuery) -> dict[str, Any]:
    """Its balance now, or with `?at=` as it was: then `at` and `provisional` are there as well."""
    row = wallets.own(caller.id, wallet_id)
    if query.at is None:
        return wallet_object(row)
    then, provisional = wallets.balance_at(wallet_id, query.at)
    return wallet_object(row) | {
        "balance": then.balance,
        "held": then.held,
        "available": then.balance - then.held,
        "at": clock.to_rfc3339(query.at),
        "provisional": provisional,
    }


@route(
    bp,
    "/v1/wallets/<wallet_id>/statement",
    caller=guards.customer,
    query=PageQuery,
    answer=Statement,
    errors=(NotFound,),
    media=("application/json", csv_streams.MEDIA_TYPE),
    summary="Get a wallet's statement",
)
def statement(
    caller: Customer, wallet_id: str, query: PageQuery
) -> dict[str, Any] | Answer | Response:
    """Every movement with its running balance, newest first. `Accept: text/csv` streams all of it,
    oldest first, without pages or an `ETag`: columns as the members of the JSON lines, `object`
    left out.
    """
    currency = wallets.own(caller.id, wallet_id).currency
    if csv_streams.wanted():
        paged = sorted(query.model_fields_set)
        if paged:
            raise InvalidRequest(*(Fault(f"/{name}", "CSV has no pages") for name in paged))
        return csv_streams.answer(
            f"statement-{wallet_id}", COLUMNS, lambda: _csv_rows(wallet_id, currency)
        )
    page = paging.listing(
        query,
        lambda limit, before: statements.lines(wallet_id, limit, before),
        lambda row: _line(row, currency),
    )
    return Answer(page, headers={"Vary": "Accept"})


def _csv_rows(wallet_id: str, currency: str) -> Iterator[list[str | int | None]]:
    for row in statements.stream(wallet_id):
        line = _line(row, currency)
        yield [line[column] for column in COLUMNS]


def _line(row: Row, currency: str) -> dict[str, Any]:
    from_outside = (row.counterparty_kind or "").startswith("external")
    return {
        "object": "posting",
        "id": row.id,
        "entry": row.entry_id,
        "kind": row.kind,
        "subject": row.subject_id,
        "counterparty": row.counterparty_kind if from_outside else row.counterparty,
        "amount": row.amount,
        "currency": currency,
        "balance": row.balance,
        "created_at": clock.to_rfc3339(row.created_at),
    }


def wallet_object(row: Row) -> dict[str, Any]:
    """A wallet as its customer and sister services see it. Amounts in minor units."""
    return {
        "object": "wallet",
        "id": row.id,
        "status": "frozen" if row.frozen_at else "active",
        "version": row.version,
        "currency": row.currency,
        "balance": row.balance,
        "held": row.held,
        "available": row.available,
        "created_at": clock.to_rfc3339(row.created_at),
    }
