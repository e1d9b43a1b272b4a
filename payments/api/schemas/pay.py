"""What paying by a code takes."""

from typing import Annotated

from pydantic import Field

from payments.api.bodies import Amount, Body


class Pay(Body):
    """A code that was scanned or typed, and the amount that the payer was shown."""

    code: Annotated[
        str, Field(min_length=1, max_length=64, description="Case, spaces, dashes don't matter.")
    ]
    amount: Annotated[
        Amount | None,
        Field(description="What the payer agreed to; another amount than is asked is refused."),
    ] = None
