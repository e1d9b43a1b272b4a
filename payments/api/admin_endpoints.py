"""`/admin/webhook_endpoints`: an operator disables one, enables it, and has it checked."""

from typing import Any

from flask import Blueprint

from payments.api import guards, paging
from payments.api.bodies import Empty
from payments.api.routing import route
from payments.api.schemas.checks import (
    Check,
    Checks,
    ChecksQuery,
    OperatorsEndpoint,
    Toggle,
)
from payments.errors import InvalidState, NotFound
from payments.webhooks import checks, endpoints
from payments.webhooks.checks import check_object

bp = Blueprint("admin_endpoints", __name__)


@route(
    bp,
    "/admin/webhook_endpoints/<endpoint_id>/toggle",
    method="POST",
    caller=guards.operator,
    body=Toggle,
    answer=OperatorsEndpoint,
    once="optional",
    errors=(NotFound,),
    audit="webhook_endpoint.toggle",
    summary="Enable or disable any endpoint",
)
def toggle(endpoint_id: str, body: Toggle) -> dict[str, Any]:
    """`disabled` cancels what is pending, and the merchant hears `webhook_endpoint.disabled`;
    `enabled` begins anew with what happens from now on. One that is so already stays as it is.
    """
    row = endpoints.toggle(endpoint_id, body.status, body.reason)
    return endpoints.endpoint_object(row) | {"merchant": row.merchant_id}


@route(
    bp,
    "/admin/webhook_endpoints/<endpoint_id>/check",
    method="POST",
    caller=guards.operator,
    body=Empty,
    answer=Check,
    status=202,
    once="optional",
    errors=(NotFound, InvalidState),
    audit="webhook_endpoint.check",
    summary="Have an endpoint checked",
)
def check(endpoint_id: str, body: Empty) -> dict[str, Any]:
    """Name, addresses, TLS chain and its expiry, times to connect and to answer; by the worker,
    which sends from the same place. Ask for the result by the check's id: it is there within the
    webhooks' own deadline and a moment. Nothing is delivered: the request is an unsigned HEAD.
    """
    return check_object(checks.ask(endpoint_id))


@route(
    bp,
    "/admin/webhook_checks",
    caller=guards.operator,
    query=ChecksQuery,
    answer=Checks,
    summary="List checks of endpoints",
)
def index(query: ChecksQuery) -> dict[str, Any]:
    """Of the last 7 days, newest first."""
    return paging.listing(
        query,
        lambda limit, before: checks.page(query.endpoint, limit, before),
        check_object,
    )


@route(
    bp,
    "/admin/webhook_checks/<check_id>",
    caller=guards.operator,
    answer=Check,
    errors=(NotFound,),
    summary="Get a check of an endpoint",
)
def show(check_id: str) -> dict[str, Any]:
    """`result` stands in it once its status is `done`."""
    return check_object(checks.get(check_id))
