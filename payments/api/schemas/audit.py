"""What the audit trail looks like, and how it is asked for."""

from typing import Annotated, Any, Literal

from pydantic import Field

from payments.api.bodies import Body, ShortText, UtcTime
from payments.api.paging import PageQuery


class AuditQuery(PageQuery):
    """Filters of the trail; all that are given must hold."""

    actor: Annotated[
        ShortText | None, Field(description="Who, such as `operator:ann` or `script:reconcile`.")
    ] = None
    action: Annotated[ShortText | None, Field(description="What, such as `wallet.freeze`.")] = None
    subject: Annotated[ShortText | None, Field(description="The id of what it was done to.")] = None
    start: Annotated[UtcTime | None, Field(alias="from", description="Inclusive.")] = None
    to: Annotated[UtcTime | None, Field(description="Inclusive.")] = None

    def wanted(self) -> dict[str, Any]:
        """The filters that were given, times as times."""
        given = {name: getattr(self, name) for name in ("actor", "action", "subject")}
        given |= {"start": self.start, "to": self.to}
        return {name: value for name, value in given.items() if value is not None}


class AuditRecord(Body):
    """One call of an operator, or one change that a person answers for."""

    object: Literal["audit_record"]
    id: Annotated[str, Field(pattern="^aud_[0-9a-f]{32}$")]
    actor: Annotated[str, Field(description="Who; `address:...` for a caller that nobody knows.")]
    action: str
    subject: Annotated[str | None, Field(description="The id of what it was done to.")]
    outcome: Annotated[str, Field(description="`done`, or the `code` of the refusal.")]
    before: dict[str, Any] | None
    after: Annotated[
        dict[str, Any] | None,
        Field(
            description="Of calls that were no operator's `tries`: how many since the line before."
        ),
    ]
    request_id: str | None
    created_at: UtcTime


class AuditTrail(Body):
    """A page of the trail, newest first."""

    data: list[AuditRecord]
    next_cursor: str | None
