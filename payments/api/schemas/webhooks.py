"""What endpoints, events and deliveries look like in bodies, queries and answers."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from payments.api.bodies import Body, Note, UtcTime
from payments.api.paging import PageQuery
from payments.events.types import EVENT_TYPES

EndpointId = Annotated[str, Field(pattern="^we_[0-9a-f]{32}$")]
EventId = Annotated[str, Field(pattern="^evt_[0-9a-f]{32}$")]
DeliveryId = Annotated[str, Field(pattern="^dlv_[0-9a-f]{32}$")]
AttemptId = Annotated[str, Field(pattern="^att_[0-9a-f]{32}$")]
Url = Annotated[str, Field(min_length=1, max_length=2048, description="https, a public address.")]
Outcome = Annotated[
    Literal[
        "success", "http_3xx", "http_4xx", "http_5xx", "timeout", "dns", "tls", "connect",
        "blocked", "lost",
    ],
    Field(description="`lost`: our worker ended before it said; it is sent again."),
]  # fmt: skip
DeliveryStatus = Literal["pending", "delivered", "failed", "canceled"]


def _type(name: str) -> str:
    if name not in EVENT_TYPES:
        raise ValueError("must be a type of event, see /docs")
    return name


def _subscription(name: str) -> str:
    if name != "*" and name not in EVENT_TYPES:
        raise ValueError('must be a type of event, or "*" for all, see /docs')
    return name


EventType = Annotated[
    str, AfterValidator(_type), Field(json_schema_extra={"enum": list(EVENT_TYPES)})
]
Events = Annotated[
    list[
        Annotated[
            str,
            AfterValidator(_subscription),
            Field(json_schema_extra={"enum": ["*", *EVENT_TYPES]}),
        ]
    ],
    Field(min_length=1, max_length=32, description='Types to send, or `["*"]`.'),
]


class NewEndpoint(Body):
    """Where to send, and what."""

    url: Url
    events: Events
    description: Note | None = None


class EndpointChange(Body):
    """What of an endpoint to change; what is left out stays."""

    url: Url | None = None
    events: Events | None = None
    description: Note | None = None
    status: Annotated[
        Literal["enabled", "disabled"] | None,
        Field(description="`enabled` begins anew after it was disabled; resend what was missed."),
    ] = None


class EndpointObject(Body):
    """A webhook endpoint, without its secret."""

    object: Literal["webhook_endpoint"]
    id: EndpointId
    status: Literal["enabled", "disabled", "deleted"]
    version: int
    url: str
    events: list[str]
    description: str | None
    disabled_reason: Literal["gone", "failing", "merchant", "operator"] | None
    old_secret_until: Annotated[
        UtcTime | None, Field(description="Until then the secret before signs as well.")
    ]
    created_at: UtcTime


class EndpointWithSecret(EndpointObject):
    """A webhook endpoint with its secret, which is shown this once."""

    secret: Annotated[
        str | None, Field(description="`whsec_...`; null where the answer is replayed.")
    ]


class Endpoints(Body):
    """A page of endpoints, newest first."""

    data: list[EndpointObject]
    next_cursor: str | None


class EventData(Body):
    """What an event is about."""

    object: dict[str, Any]


class EventObject(Body):
    """An event, member for member as it was sent."""

    id: EventId
    object: Literal["event"]
    type: EventType
    api_version: Literal["v1"]
    created_at: UtcTime
    request_id: str | None
    data: EventData


class EventList(Body):
    """A page of events. provisional: it reaches into the last 15 s or so, where more may appear."""

    data: list[EventObject]
    next_cursor: Annotated[str | None, Field(description="Never null with `order=asc`.")]
    provisional: bool


class EventsQuery(PageQuery):
    """Filter and order of a merchant's events."""

    type: EventType | None = None
    order: Annotated[
        Literal["asc", "desc"],
        Field(
            description="`asc` follows forward: ask again with `next_cursor`. It stays before the"
            " last 15 s, and before what an open transaction may still add, so events of that time"
            " come again: tell them by their id."
        ),
    ] = "desc"


class DeliveryObject(Body):
    """An event owed to an endpoint, and what became of it."""

    object: Literal["delivery"]
    id: Annotated[DeliveryId, Field(description="`X-Delivery-ID`, the same on every attempt.")]
    status: DeliveryStatus
    version: int
    event: EventId
    event_type: EventType
    endpoint: EndpointId
    attempts: int
    next_attempt_at: UtcTime | None
    last_outcome: Outcome | None
    created_at: UtcTime
    ended_at: UtcTime | None


class Deliveries(Body):
    """A page of deliveries, newest first."""

    data: list[DeliveryObject]
    next_cursor: str | None


class DeliveriesQuery(PageQuery):
    """Filters of a merchant's deliveries; all that are given must hold."""

    endpoint: EndpointId | None = None
    event: EventId | None = None
    status: DeliveryStatus | None = None


class AttemptObject(Body):
    """One HTTP request of a delivery."""

    object: Literal["attempt"]
    id: AttemptId
    delivery: DeliveryId
    number: Annotated[int, Field(description="`X-Attempt`.")]
    outcome: Outcome
    http_status: int | None
    latency_ms: int
    response: Annotated[str | None, Field(description="The first 2 KiB of the answer's body.")]
    detail: Annotated[str | None, Field(description="What went wrong, in words.")]
    created_at: UtcTime


class Attempts(Body):
    """A page of attempts, newest first."""

    data: list[AttemptObject]
    next_cursor: str | None
