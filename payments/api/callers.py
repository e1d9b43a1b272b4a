"""Who is calling? Found out once, before the rate limiter and before any guard.

An app-level hook turns the credential into a typed caller of `payments.origin`, or remembers why
it failed for the guard to raise: a public route does not care. Where a request bears several
credentials, its path says which one counts.
"""

import hmac
import logging
from collections.abc import Callable

from flask import Flask

from payments import config, logs
from payments.api import requests, service_names, signatures
from payments.api.idempotency import Premise
from payments.api.requests import ApiRequest
from payments.config import NamedSecret
from payments.counters import OLD_SECRET_USES
from payments.customers import sessions, tokens
from payments.db import Row
from payments.errors import KeyRevoked, PaymentsError, Unauthenticated
from payments.merchants import api_keys
from payments.origin import Caller, Customer, Operator

log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Register the hook. Call it before the limiter's: the budget is the caller's."""
    app.before_request(identify)


def identify() -> None:
    """Set the request's `caller`, or its `refusal` when a credential was shown and did not count.

    A known caller's credential that the database could not be asked about is a refusal as well
    (503 `busy`), raised here: nobody may pass for unknown because a query was slow.
    """
    request = requests.current()
    for shown, read in _ways(request.path):
        if not shown(request):
            continue
        try:
            request.caller = read(request)
        except PaymentsError as refusal:
            if refusal.status >= 500:
                raise
            request.refusal = request.refusal or refusal
            return
        logs.bind(caller=request.caller.scope)
        return


def require_session(customer: Customer) -> None:
    """Raise KeyRevoked when the session behind the access token has ended."""
    if not sessions.still_stands(customer.session_id):
        raise _ended()


def session_premise(customer: Customer) -> Premise:
    """`require_session`, asked in the unit of work itself, with the key."""

    def judge(rows: list[Row]) -> None:
        if not rows:
            raise _ended()

    return Premise(lambda: sessions.standing(customer.session_id), judge)


def _ended() -> KeyRevoked:
    return KeyRevoked("The session was ended. Sign in with a new code.")


def matching(shown: str, entries: tuple[NamedSecret, ...], variable: str) -> NamedSecret | None:
    """The entry with this secret, compared with every entry in constant time.

    Noted when it is not the first one: the list is being rotated, and who still comes with the
    old secret must be known before it goes.
    """
    given = shown.encode("utf-8", "replace")
    found = None
    for place, entry in enumerate(entries):
        if hmac.compare_digest(given, entry.secret.encode()) and found is None:
            found = (place, entry)
    if found is None:
        return None
    note_place(variable, found[0])
    return found[1]


def note_place(variable: str, place: int) -> None:
    """Count and log the use of an entry that is not the first of its list."""
    if place > 0:
        OLD_SECRET_USES.labels(variable).inc()
        log.info("an old secret was used", extra={"variable": variable, "place": place + 1})


def _shows_bearer(request: ApiRequest) -> bool:
    return "HTTP_AUTHORIZATION" in request.environ


def _bearer(request: ApiRequest) -> Caller:
    scheme, _, credential = request.environ["HTTP_AUTHORIZATION"].partition(" ")
    if scheme.lower() != "bearer" or not credential:
        raise Unauthenticated("The Authorization header is not `Bearer` and a credential.")
    if credential.startswith(api_keys.PREFIX):
        return api_keys.authenticate(credential)
    return tokens.verify(credential, note_place)


def _shows_secret(request: ApiRequest) -> bool:
    return (
        "HTTP_X_INTERNAL_SECRET" in request.environ
        or "HTTP_X_INTERNAL_SIGNATURE" in request.environ
    )


def _service(request: ApiRequest) -> Caller:
    if "HTTP_X_INTERNAL_SIGNATURE" in request.environ:
        return signatures.verify(request, note_place)
    settings = config.current()
    if settings.internal_require_hmac:
        raise Unauthenticated("The bare secret is not taken here: sign the request (see /docs).")
    shown = request.environ["HTTP_X_INTERNAL_SECRET"]
    entry = matching(shown, settings.internal_api_secret, signatures.VARIABLE)
    if entry is None:
        raise Unauthenticated("The secret in X-Internal-Secret is not known.")
    return service_names.settle(entry)


def _shows_token(request: ApiRequest) -> bool:
    return "HTTP_X_ADMIN_TOKEN" in request.environ


def _operator(request: ApiRequest) -> Caller:
    shown = request.environ["HTTP_X_ADMIN_TOKEN"]
    entry = matching(shown, config.current().admin_token, "ADMIN_TOKEN")
    if entry is None:
        raise Unauthenticated("The token in X-Admin-Token is not known.")
    return Operator(entry.name)


_Way = tuple[Callable[[ApiRequest], bool], Callable[[ApiRequest], Caller]]
_BEARER_WAY: _Way = (_shows_bearer, _bearer)
_SERVICE_WAY: _Way = (_shows_secret, _service)
_OPERATOR_WAY: _Way = (_shows_token, _operator)
_V1 = (_BEARER_WAY, _SERVICE_WAY, _OPERATOR_WAY)
_INTERNAL = (_SERVICE_WAY, _BEARER_WAY, _OPERATOR_WAY)
_ADMIN = (_OPERATOR_WAY, _BEARER_WAY, _SERVICE_WAY)


def _ways(path: str) -> tuple[_Way, ...]:
    """The credentials to look for, the path's own kind first."""
    if path.startswith("/internal/"):
        return _INTERNAL
    if path.startswith("/admin/"):
        return _ADMIN
    return _V1
