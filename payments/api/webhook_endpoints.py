"""`/v1/webhook_endpoints`: where a merchant hears of what happened."""

from typing import Any

from flask import Blueprint

from payments.api import guards, paging
from payments.api.bodies import Empty
from payments.api.paging import PageQuery
from payments.api.routing import route
from payments.api.schemas.webhooks import (
    DeliveryObject,
    EndpointChange,
    EndpointObject,
    Endpoints,
    EndpointWithSecret,
    NewEndpoint,
)
from payments.errors import InvalidState, LimitExceeded, MerchantNotApproved, NotFound
from payments.origin import Merchant
from payments.webhooks import deliveries, endpoints, targets
from payments.webhooks.deliveries import delivery_object
from payments.webhooks.endpoints import endpoint_object

bp = Blueprint("webhook_endpoints", __name__)


def _judge_new(caller: Merchant, body: NewEndpoint) -> None:
    """Look the name up before the unit is opened: nothing waits for the network inside one.

    After the rows, which the unit asks again: nobody's name is looked up for a call that is refused
    anyway.
    """
    endpoints.require_room(caller.id)
    targets.check(body.url, caller.id)


def _judge_change(caller: Merchant, endpoint_id: str, body: EndpointChange) -> None:
    """As for a new one."""
    if body.url is not None:
        endpoints.get(caller.id, endpoint_id)
        targets.check(body.url, caller.id)


@route(
    bp,
    "/v1/webhook_endpoints",
    method="POST",
    caller=guards.merchant("webhooks:write"),
    body=NewEndpoint,
    answer=EndpointWithSecret,
    status=201,
    once="optional",
    errors=(LimitExceeded, MerchantNotApproved),
    secret_fields=("secret",),
    before=_judge_new,
    summary="Make a webhook endpoint",
)
def create(caller: Merchant, body: NewEndpoint) -> dict[str, Any]:
    """`secret` is shown this once. At most 16 endpoints for a merchant.

    Any type may be chosen: a key with `webhooks:write` may have everything sent that happens from
    then on, whatever else it may read.
    """
    row, secret = endpoints.create(caller.id, body.url, body.events, body.description)
    return {**endpoint_object(row), "secret": secret}


@route(
    bp,
    "/v1/webhook_endpoints",
    caller=guards.merchant("webhooks:write"),
    query=PageQuery,
    answer=Endpoints,
    summary="List webhook endpoints",
)
def index(caller: Merchant, query: PageQuery) -> dict[str, Any]:
    """Newest first."""
    return paging.listing(
        query,
        lambda limit, before: endpoints.page(caller.id, limit, before),
        endpoint_object,
    )


@route(
    bp,
    "/v1/webhook_endpoints/<endpoint_id>",
    caller=guards.merchant("webhooks:write"),
    answer=EndpointObject,
    errors=(NotFound,),
    summary="Get a webhook endpoint",
)
def show(caller: Merchant, endpoint_id: str) -> dict[str, Any]:
    """Without its secret."""
    return endpoint_object(endpoints.get(caller.id, endpoint_id))


@route(
    bp,
    "/v1/webhook_endpoints/<endpoint_id>",
    method="PATCH",
    caller=guards.merchant("webhooks:write"),
    body=EndpointChange,
    answer=EndpointObject,
    once="optional",
    errors=(NotFound,),
    before=_judge_change,
    summary="Change a webhook endpoint",
)
def change(caller: Merchant, endpoint_id: str, body: EndpointChange) -> dict[str, Any]:
    """What is left out stays. `description` null takes it away."""
    changes = body.model_dump(exclude_unset=True)
    for name in ("url", "events", "status"):
        if changes.get(name, "") is None:
            del changes[name]
    return endpoint_object(endpoints.change(caller.id, endpoint_id, changes))


@route(
    bp,
    "/v1/webhook_endpoints/<endpoint_id>",
    method="DELETE",
    caller=guards.merchant("webhooks:write"),
    answer=EndpointObject,
    once="optional",
    errors=(NotFound,),
    summary="Delete a webhook endpoint",
)
def delete(caller: Merchant, endpoint_id: str) -> dict[str, Any]:
    """Nothing more is sent to it; what was sent stays readable."""
    return endpoint_object(endpoints.delete(caller.id, endpoint_id))


@route(
    bp,
    "/v1/webhook_endpoints/<endpoint_id>/rotate_secret",
    method="POST",
    caller=guards.merchant("webhooks:write"),
    body=Empty,
    answer=EndpointWithSecret,
    once="optional",
    errors=(NotFound,),
    secret_fields=("secret",),
    summary="Rotate an endpoint's secret",
)
def rotate_secret(caller: Merchant, endpoint_id: str) -> dict[str, Any]:
    """The new secret is shown this once; for 24 hours both sign."""
    row, secret = endpoints.rotate_secret(caller.id, endpoint_id)
    return {**endpoint_object(row), "secret": secret}


@route(
    bp,
    "/v1/webhook_endpoints/<endpoint_id>/test",
    method="POST",
    caller=guards.merchant("webhooks:write"),
    body=Empty,
    answer=DeliveryObject,
    once="optional",
    errors=(NotFound, InvalidState),
    summary="Send a ping to an endpoint",
)
def test(caller: Merchant, endpoint_id: str) -> dict[str, Any]:
    """An event `ping` for this endpoint alone; the answer is its delivery, to be asked after."""
    event_id = endpoints.ping(caller.id, endpoint_id)
    return delivery_object(deliveries.of_event(caller.id, event_id, endpoint_id))
