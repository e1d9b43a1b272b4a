"""What a customer's profile looks like in bodies and answers."""

from typing import Annotated, Literal

from pydantic import Field

from payments.api.bodies import Body, ShortText, UtcTime


class Profile(Body):
    """A customer, to themselves."""

    object: Literal["customer"]
    id: str
    status: Literal["active"]
    version: int
    phone: Annotated[str, Field(description="E.164.")]
    name: str | None
    created_at: UtcTime


class ProfileChange(Body):
    """A new name; null takes it away."""

    name: ShortText | None
