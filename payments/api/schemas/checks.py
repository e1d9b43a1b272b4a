"""What operators do to endpoints, and what a check finds."""

from typing import Annotated, Literal

from pydantic import Field

from payments.api.bodies import Body, Note, UtcTime
from payments.api.paging import PageQuery
from payments.api.schemas.merchants import MerchantId
from payments.api.schemas.webhooks import EndpointId, EndpointObject, Outcome


class Toggle(Body):
    """What an endpoint is to be, and why."""

    status: Literal["enabled", "disabled"]
    reason: Annotated[Note, Field(description="For the audit trail.")]


class OperatorsEndpoint(EndpointObject):
    """A webhook endpoint as operators see it."""

    merchant: MerchantId


class CheckedAddress(Body):
    """One address of the name."""

    address: str
    public: Annotated[bool, Field(description="Whether webhooks may go there in production.")]
    connect_ms: int | None
    detail: Annotated[
        str | None, Field(description="Why there is no connection. Only the first 8 are tried.")
    ]


class Certificate(Body):
    """One certificate as it was sent; nulls where it can't be read."""

    subject: str | None
    issuer: str | None
    not_before: UtcTime | None
    not_after: UtcTime | None
    names: Annotated[list[str] | None, Field(description="What it is good for.")]


class CheckedTls(Body):
    """The TLS session. verified: the chain holds for the name, and a delivery would be sent."""

    verified: bool
    version: str | None
    chain: Annotated[list[Certificate], Field(description="As sent, the endpoint's own first.")]


class CheckedAnswer(Body):
    """What an unsigned HEAD was answered with: any status is an answer. No redirect is followed."""

    status: int
    answer_ms: int


class CheckResult(Body):
    """How far one gets."""

    detail: Annotated[str | None, Field(description="What went wrong, in words.")]
    lookup_ms: int | None
    addresses: list[CheckedAddress]
    tls: CheckedTls | None
    answer: CheckedAnswer | None


class Check(Body):
    """A check of an endpoint."""

    object: Literal["endpoint_check"]
    id: Annotated[str, Field(pattern="^chk_[0-9a-f]{32}$")]
    status: Literal["waiting", "running", "done"]
    version: int
    endpoint: EndpointId
    url: str
    asked_by: str
    outcome: Annotated[
        Outcome | None,
        Field(description="`success`: an HTTP answer came; else what a delivery would end with."),
    ]
    result: CheckResult | None
    created_at: UtcTime
    ended_at: UtcTime | None


class Checks(Body):
    """A page of checks, newest first."""

    data: list[Check]
    next_cursor: str | None


class ChecksQuery(PageQuery):
    """Whose."""

    endpoint: EndpointId | None = None
