"""`/v1/settlements`: what the merchant earned in a period, as `scripts/settlement_report.py`."""

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response

from payments import db
from payments.api import csv_streams, guards, paging
from payments.api.paging import Before
from payments.api.routing import Answer, route
from payments.api.schemas.settlements import Settlements, SettlementsQuery
from payments.db import Row
from payments.errors import Fault, InvalidCursor, InvalidRequest
from payments.origin import Merchant
from payments.settlement import periods, report
from payments.settlement.periods import Period

bp = Blueprint("settlements", __name__)


@route(
    bp,
    "/v1/settlements",
    caller=guards.merchant("settlements:read"),
    query=SettlementsQuery,
    answer=Settlements,
    media=("application/json", csv_streams.MEDIA_TYPE),
    summary="List settlements",
)
def index(caller: Merchant, query: SettlementsQuery) -> Answer | Response:
    """One for each currency that had money move by the period's end. `Accept: text/csv` gives all
    of them as CSV, by currency, and says whether they may still change in the header `Provisional`.
    """
    asked = _period(query)
    provisional = asked.is_provisional(db.now())
    if csv_streams.wanted():
        return _csv(caller.id, asked, provisional, query)
    page = paging.listing(
        query,
        lambda limit, before: _page(asked, caller.id, limit, before),
        lambda row: report.settlement_object(row, asked, provisional),
    )
    return Answer(page, headers={"Vary": "Accept"})


def _period(query: SettlementsQuery) -> Period:
    try:
        return periods.period(query.start, query.to)
    except ValueError as fault:
        raise InvalidRequest(Fault("/to", str(fault))) from None


def _page(asked: Period, merchant_id: str, limit: int, before: Before | None) -> list[Row]:
    """What follows that account's; there are as many as currencies. Raises InvalidCursor."""
    rows = report.of_merchant(asked, merchant_id)
    if before is None:
        return rows[:limit]
    place = next((place for place, row in enumerate(rows) if row.id == before[1]), None)
    if place is None:
        raise InvalidCursor
    return rows[place + 1 : place + 1 + limit]


def _csv(merchant_id: str, asked: Period, provisional: bool, query: SettlementsQuery) -> Response:
    paged = sorted(query.model_fields_set & {"limit", "cursor"})
    if paged:
        raise InvalidRequest(*(Fault(f"/{name}", "CSV has no pages") for name in paged))

    def rows() -> Iterator[list[Any]]:
        for row in report.stream(asked, merchant_id):
            shown = report.settlement_object(row, asked, provisional)
            yield [shown[column] for column in report.COLUMNS]

    response = csv_streams.answer("settlement", report.COLUMNS, rows)
    response.headers["Provisional"] = "true" if provisional else "false"
    return response
