"""What signing in and sessions look like in bodies and answers."""

from typing import Annotated, Literal

from pydantic import Field

from payments.api.bodies import Body, Phone, UtcTime

SessionStatus = Literal["active", "ended", "revoked", "expired"]


class OtpRequest(Body):
    """Where to send a one-time code."""

    phone: Phone


class Challenge(Body):
    """A code that is on its way; the same whether or not the phone is a customer's."""

    challenge_id: str
    expires_at: Annotated[UtcTime, Field(description="When the code ends: after 5 minutes.")]
    resend_after: Annotated[
        UtcTime, Field(description="Don't offer to send another before this time.")
    ]


class SignIn(Body):
    """The code that the phone received."""

    challenge_id: Annotated[
        str,
        Field(
            pattern="^otp_[0-9a-f]{32}$",
            description="From `POST /v1/auth/otp`.",
            json_schema_extra={"examples": ["otp_" + "0" * 32]},
        ),
    ]
    code: Annotated[
        str,
        Field(
            pattern="^[0-9]{6}$",
            description="Six digits.",
            json_schema_extra={"examples": ["042137"]},
        ),
    ]


class RefreshRequest(Body):
    """The refresh token of a session."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=255)]


class Tokens(Body):
    """What proves a customer from now on. The tokens are null where an answer is replayed."""

    access_token: Annotated[
        str | None, Field(description="Send it as `Authorization: Bearer`; shown this once.")
    ]
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Field(description="Seconds the access token is good for.")]
    refresh_token: Annotated[
        str | None, Field(description="For `POST /v1/auth/refresh`, once; shown this once.")
    ]


class Session(Body):
    """A sign-in on one device."""

    object: Literal["session"]
    id: str
    status: SessionStatus
    version: int
    current: Annotated[bool, Field(description="Whether this call came by it.")]
    user_agent: Annotated[str | None, Field(description="What the device called itself.")]
    created_at: UtcTime
    last_used_at: Annotated[UtcTime, Field(description="Its last refresh.")]
    expires_at: Annotated[UtcTime, Field(description="90 days after the sign-in.")]
    ended_at: Annotated[UtcTime | None, Field(description="When it was ended or revoked.")]


class Sessions(Body):
    """A page of sessions, newest first."""

    data: list[Session]
    next_cursor: str | None
