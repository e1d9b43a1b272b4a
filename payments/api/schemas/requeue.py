"""What an operator requeues, and what became of it."""

from typing import Annotated, Literal

from pydantic import Field

from payments.api.bodies import Body, UtcTime
from payments.api.schemas.webhooks import EndpointId, EventType, Outcome
from payments.webhooks import requeue

MAX_AT_ONCE = 1_000


class RequeueRequest(Body):
    """Which deliveries to send again; without a field, all that have failed."""

    endpoint: EndpointId | None = None
    event_type: EventType | None = None
    since: Annotated[UtcTime | None, Field(description="Created then or later.")] = None
    until: Annotated[UtcTime | None, Field(description="Created then or before.")] = None
    status: Literal["failed", "canceled", "delivered"] = "failed"
    limit: Annotated[
        int, Field(ge=1, le=MAX_AT_ONCE, description="At most so many by this call, oldest first.")
    ] = MAX_AT_ONCE
    rate: Annotated[int, Field(ge=1, le=1_000, description="First attempts a second.")] = (
        requeue.RATE
    )
    dry_run: Annotated[bool, Field(description="Only say what there is.")] = False


class RequeueGroup(Body):
    """Deliveries that have an endpoint, an age and a last answer in common."""

    endpoint: str
    endpoint_status: Literal["enabled", "disabled", "deleted"]
    age: Literal["under an hour", "under a day", "under a week", "older"]
    last_outcome: Annotated[Outcome | None, Field(description="Null: never tried.")]
    deliveries: int


class RequeueObject(Body):
    """What was found, and how much of it is due again."""

    object: Literal["requeue"]
    status: Literal["failed", "canceled", "delivered"]
    dry_run: bool
    matched: Annotated[int, Field(description="As found, before any was requeued.")]
    unsendable: Annotated[
        int, Field(description="Of them those that stay: their endpoint is not enabled.")
    ]
    groups: Annotated[
        list[RequeueGroup], Field(description=f"The largest {requeue.GROUPS} of what was found.")
    ]
    requeued: int
    first_at: UtcTime | None
    last_at: Annotated[UtcTime | None, Field(description="When the last of them is due.")]
