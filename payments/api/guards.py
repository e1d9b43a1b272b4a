"""Who may call a route. Each route declares one guard; a test walks the URL map for routes without.

`payments.api.callers` has found out who it is; a guard only says yes, or why not.
"""

from dataclasses import dataclass
from typing import TypeGuard

from payments.api.requests import ApiRequest
from payments.errors import (
    BodyTooLarge,
    Forbidden,
    KeyRevoked,
    PaymentsError,
    ReplayedRequest,
    ScopeMissing,
    TokenExpired,
    Unauthenticated,
)
from payments.origin import Caller, Customer, Merchant, Operator, SisterService

SCOPES: dict[str, str] = {
    "payments:read": "payments, refunds and events",
    "payments:write": "create, capture and cancel payments",
    "refunds:write": "refund payments",
    "links:write": "payment links",
    "webhooks:write": "webhook endpoints, deliveries, resend",
    "settlements:read": "balance, settlements, payouts",
    "api_keys": "make, list and revoke API keys",
}
"""Scopes of API keys and what each opens; `*` opens all."""


@dataclass(frozen=True, slots=True)
class Guard:
    """The kinds of caller that a route takes, and the scope that a merchant's key needs for it.

    kinds empty: anyone, no credential is looked at. refusals: what it may answer besides yes.
    schemes: the names of its security schemes in the OpenAPI document, each enough by itself.
    """

    name: str
    kinds: tuple[type[Caller], ...]
    refusals: tuple[type[PaymentsError], ...] = ()
    schemes: tuple[str, ...] = ()
    scope: str | None = None

    def admit(self, request: ApiRequest) -> Caller | None:
        """The caller. Raises why not: one of `refusals`.

        Whether a customer's session still stands is another question: `needs_session`.
        """
        if not self.kinds:
            return None
        caller = request.caller
        if caller is None:
            refusal = request.refusal
            if refusal is not None and isinstance(refusal, self.refusals):
                raise refusal
            raise Unauthenticated(_HOW[self.name])
        if not isinstance(caller, self.kinds):
            raise Forbidden(f"This call is not for this kind of caller. {_HOW[self.name]}")
        if isinstance(caller, Merchant):
            if self.scope and self.scope not in caller.scopes and "*" not in caller.scopes:
                raise ScopeMissing(f"The API key needs the scope {self.scope}.")
        return caller


def needs_session(caller: Caller | None, request: ApiRequest) -> TypeGuard[Customer]:
    """Whether the call is one that an ended session may not make: all but reads."""
    return isinstance(caller, Customer) and request.method not in ("GET", "HEAD")


_HOW = {
    "customer": "Send `Authorization: Bearer <access token>` of a customer.",
    "merchant": "Send `Authorization: Bearer sk_...`, a merchant's API key.",
    "customer or merchant": "Send `Authorization: Bearer` with an access token or an API key.",
    "sister service": "Send `X-Internal-Secret`, or a signature.",
    "operator": "Send `X-Admin-Token`.",
}

_BEARER = (Unauthenticated, TokenExpired, KeyRevoked, Forbidden)

anyone = Guard("anyone", ())
"""No credential is needed, and none is looked at."""

probe = Guard("probe", ())
"""Health probes: open, and outside the rate limit."""

customer = Guard("customer", (Customer,), _BEARER, ("access_token",))
"""A signed-in customer; for every method but GET and HEAD the session must still stand."""

service = Guard(
    "sister service",
    (SisterService,),
    (Unauthenticated, ReplayedRequest, Forbidden, BodyTooLarge),
    ("internal_secret", "internal_signature"),
)
"""A sister service, by secret or by signature; a signed body is measured before it is hashed."""

operator = Guard("operator", (Operator,), (Unauthenticated, Forbidden), ("admin_token",))
"""A person on call."""


def merchant(scope: str) -> Guard:
    """A merchant's API key with this scope."""
    _known(scope)
    return Guard("merchant", (Merchant,), (*_BEARER, ScopeMissing), ("api_key",), scope)


def customer_or_merchant(scope: str | None) -> Guard:
    """A signed-in customer, or a merchant's API key with this scope; None: with any."""
    if scope is not None:
        _known(scope)
    return Guard(
        "customer or merchant",
        (Customer, Merchant),
        (*_BEARER, ScopeMissing),
        ("access_token", "api_key"),
        scope,
    )


def _known(scope: str) -> None:
    if scope not in SCOPES:
        raise ValueError(f"{scope} is no scope of api.md")
