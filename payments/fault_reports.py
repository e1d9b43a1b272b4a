"""Faults, to whoever collects them: each error that is logged, with its traceback, to `SENTRY_DSN`.

What goes out is redacted as a log line is, and holds no values of variables, no request and no
user. It is sent by a thread of its own, after the fact: nobody waits for it, and without the
collector nothing changes.
"""

import logging
from collections.abc import Mapping
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.logging import EventHandler

from payments import VERSION
from payments.config import Settings
from payments.logs import Redactor

ENDS_WITHIN_S = 2
"""How long a process that ends waits for its last reports."""


def configure(settings: Settings) -> None:
    """Report from now on, or, without a DSN, no more."""
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, EventHandler)]:
        root.removeHandler(old)
    if settings.sentry_dsn is None:
        sentry_sdk.get_global_scope().set_client(None)
        return
    redactor = Redactor(settings.secret_texts())
    sentry_sdk.init(
        settings.sentry_dsn,
        release=VERSION,
        environment=settings.env,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[AtexitIntegration(callback=_say_nothing), DedupeIntegration()],
        before_send=lambda event, _hint: _redacted(redactor, "event", event),
        include_local_variables=False,
        max_breadcrumbs=0,
        shutdown_timeout=ENDS_WITHIN_S,
    )
    root.addHandler(EventHandler(level=logging.ERROR))


def _redacted(redactor: Redactor, name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _redacted(redactor, str(key), inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(redactor, name, inner) for inner in value]
    return redactor.field(name, value)


def _say_nothing(_pending: int, _timeout: float) -> None:
    """The library would write to stderr, past the logs."""
