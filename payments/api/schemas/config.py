"""Runtime settings in bodies and answers."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from payments.api.bodies import Body, ShortText, UtcTime
from payments.money import MAX_AMOUNT

PerMinute = Annotated[int, Field(ge=1, le=1_000_000)]
PerHour = Annotated[int, Field(ge=1, le=1_000_000)]
ExpiresIn = Annotated[
    int,
    Field(
        ge=1, le=7 * 86_400, description="Seconds after which it reverts by itself; else it stays."
    ),
]


class Change(Body):
    """Some of a setting's fields: one at least; what is left out stays as it is."""

    def given(self) -> dict[str, int | bool]:
        """What is to change."""
        return self.model_dump(exclude_none=True, exclude={"expires_in"})

    @model_validator(mode="after")
    def _says_something(self) -> "Change":
        if not self.given():
            names = ", ".join(name for name in type(self).model_fields if name != "expires_in")
            raise ValueError(f"must have at least one of {names}")
        return self


class RateLimitChange(Change):
    """The rate limit, in every process within 2 s."""

    per_minute: Annotated[PerMinute | None, Field(description="For each address.")] = None
    auth_boost: Annotated[
        int | None, Field(ge=1, le=100, description="So many times as many for a verified caller.")
    ] = None
    exempt_otp: Annotated[
        bool | None,
        Field(description="One-time codes stand outside this budget, never outside their own."),
    ] = None
    expires_in: ExpiresIn | None = None


class OtpChange(Change):
    """The limits of one-time codes."""

    per_phone_hour: PerHour | None = None
    per_address_hour: PerHour | None = None
    per_hour: PerHour | None = None
    expires_in: ExpiresIn | None = None


class FeesChange(Change):
    """The fee's terms of payments that are created from now on."""

    bps: Annotated[int | None, Field(ge=0, le=10_000, description="Basis points.")] = None
    fixed_minor: Annotated[int | None, Field(ge=0, le=MAX_AMOUNT)] = None


class Standing(Body):
    """What a setting has besides its values. source: the topmost that gives a value."""

    source: Literal["environment", "permanent", "overlay"]
    expires_at: UtcTime | None
    version: int
    updated_by: str | None
    updated_at: UtcTime | None


class RateLimitObject(Standing):
    """The rate limit in force."""

    object: Literal["rate_limit"]
    per_minute: int
    auth_boost: int
    exempt_otp: bool


class OtpObject(Standing):
    """The limits of one-time codes in force."""

    object: Literal["otp_limits"]
    per_phone_hour: int
    per_address_hour: int
    per_hour: int


class FeesObject(Standing):
    """The fee's terms in force."""

    object: Literal["fees"]
    bps: int
    fixed_minor: int


class ReadOnlyChange(Body):
    """Whether writes are stopped, and why."""

    on: bool
    reason: ShortText


class ReadOnlyObject(Body):
    """Whether writes are stopped, by an operator or by the environment (`READ_ONLY`).

    still_writing: the processes that had not ended what they wrote when it was switched on.
    """

    object: Literal["read_only"]
    on: bool
    by_environment: bool
    reason: str | None
    since: UtcTime | None
    by: str | None
    version: int
    still_writing: list[str]
