"""`/v1/events` and `/v1/deliveries`: what happened, what was sent, what came back."""

from datetime import datetime
from typing import Any

from flask import Blueprint

from payments.api import guards, paging
from payments.api.bodies import Empty
from payments.api.paging import PageQuery
from payments.api.routing import route
from payments.api.schemas.webhooks import (
    Attempts,
    Deliveries,
    DeliveriesQuery,
    DeliveryObject,
    EventList,
    EventObject,
    EventsQuery,
)
from payments.errors import InvalidState, NotFound
from payments.events import history
from payments.events.history import event_object
from payments.origin import Merchant
from payments.webhooks import deliveries
from payments.webhooks.deliveries import attempt_object, delivery_object

bp = Blueprint("events", __name__)


@route(
    bp,
    "/v1/events",
    caller=guards.merchant("payments:read"),
    query=EventsQuery,
    answer=EventList,
    summary="List events",
)
def index(caller: Merchant, query: EventsQuery) -> dict[str, Any]:
    """Newest first, or forward with `order=asc`, whose `next_cursor` is never null."""
    settled_at = history.settled_at()  # before the events are read, never after
    if query.order == "asc":
        return paging.following(
            query,
            lambda limit, after: history.forward(caller.id, query.type, limit, after),
            event_object,
            is_settled=lambda row: row.created_at < settled_at,
        )
    reached: list[tuple[datetime, str] | None] = []

    def fetch(limit: int, before: tuple[datetime, str] | None) -> list[Any]:
        reached.append(before)
        return history.newest(caller.id, query.type, limit, before)

    page = paging.listing(query, fetch, event_object)
    return {**page, "provisional": history.reaches_into_the_open(reached[0], settled_at)}


@route(
    bp,
    "/v1/events/<event_id>",
    caller=guards.merchant("payments:read"),
    answer=EventObject,
    errors=(NotFound,),
    summary="Get an event",
)
def show(caller: Merchant, event_id: str) -> dict[str, Any]:
    """Member for member as it was sent."""
    return event_object(history.get(caller.id, event_id))


@route(
    bp,
    "/v1/deliveries",
    caller=guards.merchant("webhooks:write"),
    query=DeliveriesQuery,
    answer=Deliveries,
    summary="List deliveries",
)
def list_deliveries(caller: Merchant, query: DeliveriesQuery) -> dict[str, Any]:
    """Newest first."""
    return paging.listing(
        query,
        lambda limit, before: deliveries.page(caller.id, query.filters(), limit, before),
        delivery_object,
    )


@route(
    bp,
    "/v1/deliveries/<delivery_id>",
    caller=guards.merchant("webhooks:write"),
    answer=DeliveryObject,
    errors=(NotFound,),
    summary="Get a delivery",
)
def show_delivery(caller: Merchant, delivery_id: str) -> dict[str, Any]:
    """One event owed to one endpoint."""
    return delivery_object(deliveries.get(caller.id, delivery_id))


@route(
    bp,
    "/v1/deliveries/<delivery_id>/attempts",
    caller=guards.merchant("webhooks:write"),
    query=PageQuery,
    answer=Attempts,
    errors=(NotFound,),
    summary="List a delivery's attempts",
)
def list_attempts(caller: Merchant, delivery_id: str, query: PageQuery) -> dict[str, Any]:
    """Newest first: when, how long, what came back."""
    return paging.listing(
        query,
        lambda limit, before: deliveries.attempts(caller.id, delivery_id, limit, before),
        attempt_object,
    )


@route(
    bp,
    "/v1/deliveries/<delivery_id>/resend",
    method="POST",
    caller=guards.merchant("webhooks:write"),
    body=Empty,
    answer=DeliveryObject,
    once="optional",
    errors=(NotFound, InvalidState),
    summary="Send a delivery again",
)
def resend(caller: Merchant, delivery_id: str) -> dict[str, Any]:
    """With a full new schedule. It keeps its id, and `X-Attempt` goes on."""
    return delivery_object(deliveries.resend(caller.id, delivery_id))
