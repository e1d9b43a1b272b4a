"""What API keys look like in bodies, queries and answers."""

from typing import Annotated, Literal

from pydantic import Field

from payments.api.bodies import Body, ShortText, UtcTime, WholeNumber
from payments.api.paging import PageQuery
from payments.api.schemas.merchants import MerchantId

Scope = Literal[
    "*",
    "payments:read",
    "payments:write",
    "refunds:write",
    "links:write",
    "webhooks:write",
    "settlements:read",
    "api_keys",
]
KeyId = Annotated[str, Field(pattern="^key_[0-9a-f]{32}$")]
MAX_OVERLAP_S = 30 * 24 * 3600


class NewKey(Body):
    """A key to make. The owner names the merchant; a key makes keys of its own merchant."""

    name: Annotated[ShortText, Field(description="To tell keys apart.")]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=8)]
    merchant: Annotated[
        MerchantId | None, Field(description="Required with an access token, else left out.")
    ] = None
    expires_at: Annotated[
        UtcTime | None,
        Field(
            description="In the future, and no later than the end of the key that makes it. Left"
            " out: that end, and never for an owner's."
        ),
    ] = None


class KeyObject(Body):
    """An API key, without its secret."""

    object: Literal["api_key"]
    id: KeyId
    status: Literal["active", "expired", "revoked"]
    version: int
    merchant: MerchantId
    made_by: Annotated[
        KeyId | None,
        Field(description="The key that made it; null: the owner."),
    ]
    name: str
    scopes: list[Scope]
    hint: Annotated[str, Field(description="The last four characters of the secret.")]
    created_at: UtcTime
    expires_at: UtcTime | None
    revoked_at: Annotated[UtcTime | None, Field(description="May lie ahead: it works until then.")]
    last_used_at: Annotated[UtcTime | None, Field(description="To the minute.")]


class NewKeyObject(KeyObject):
    """An API key with its secret, which is shown this once."""

    secret: Annotated[str | None, Field(description="`sk_...`; null where the answer is replayed.")]


class Keys(Body):
    """A page of keys, newest first."""

    data: list[KeyObject]
    next_cursor: str | None


class KeysQuery(PageQuery):
    """Whose keys: an owner names the merchant."""

    merchant: MerchantId | None = None


class Revocation(Body):
    """When the key ends."""

    after: Annotated[
        WholeNumber,
        Field(ge=0, le=MAX_OVERLAP_S, description="Seconds in which it still works; 0: at once."),
    ] = 0
    made: Annotated[
        Literal["revoke", "keep"],
        Field(description="What becomes of the keys that it made, and of those that they made."),
    ] = "keep"
