"""Who asked, typed, and under which request: known once at the door, ambient below it.

Entries, events and audit lines say who and which request; carrying that through every signature
would hide what the functions are about.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Customer:
    """A signed-in customer. `scope` names the caller's intents, whichever session they come by."""

    id: str
    session_id: str

    @property
    def scope(self) -> str:
        """Idempotency scope and actor."""
        return self.id

    @property
    def budget(self) -> str:
        """Rate budget: with that of the merchants whose applications wait."""
        return self.id


@dataclass(frozen=True, slots=True)
class Merchant:
    """A merchant, by one of its API keys. `scope` is the merchant, not the key."""

    id: str
    key_id: str
    scopes: frozenset[str]
    key_expires: str | None = None  # RFC 3339; a key it makes lives no longer
    waits_for: str | None = None  # while its application waits: the owner, whose budget it uses

    @property
    def scope(self) -> str:
        """Idempotency scope and actor."""
        return self.id

    @property
    def budget(self) -> str:
        """Rate budget: its own once an operator has approved it, so that applying buys none."""
        return self.waits_for or self.id


@dataclass(frozen=True, slots=True)
class SisterService:
    """A vertical (taxi, food, ...), by the name its secret goes by."""

    name: str

    @property
    def scope(self) -> str:
        """Idempotency scope and actor."""
        return f"service:{self.name}"

    @property
    def budget(self) -> str:
        """Rate budget."""
        return self.scope


@dataclass(frozen=True, slots=True)
class Operator:
    """A person on call, by the name their token goes by."""

    name: str

    @property
    def scope(self) -> str:
        """Idempotency scope and actor."""
        return f"operator:{self.name}"

    @property
    def budget(self) -> str:
        """Never counted: operators stand outside the rate limit."""
        return self.scope


Caller = Customer | Merchant | SisterService | Operator


@dataclass(frozen=True, slots=True)
class Origin:
    """The actor's scope (`job:<name>` or `script:<name>` for our own) and the request's id."""

    actor: str
    request_id: str | None


_origin: ContextVar[Origin | None] = ContextVar("origin", default=None)


def current() -> Origin:
    """The present origin; `system` where no door has named one."""
    return _origin.get() or Origin("system", None)


@contextmanager
def acting(actor: str, request_id: str | None = None) -> Iterator[None]:
    """Everything inside is done by this actor."""
    token = _origin.set(Origin(actor, request_id))
    try:
        yield
    finally:
        _origin.reset(token)
