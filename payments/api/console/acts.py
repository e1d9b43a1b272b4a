"""What a form does: exactly what the JSON call does, by its own view.

So the checks, the line in the audit trail (of a refusal too), read-only mode and the answer are the
call's. A form's intent is the call's idempotency key: a form sent twice is done once.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from payments import ids, origin
from payments.api import bodies, idempotency, routing
from payments.api.routing import PREFIXES, Route
from payments.errors import NotFound, PaymentsError


def do(
    view: Callable[..., Any], told: Mapping[str, Any], *, intent: str | None, **given: str
) -> dict[str, Any]:
    """What the call answers. Raises what it refuses with.

    told: the members of its body. intent: of the form; None asks nothing to be remembered. given:
    the parameters of its path.
    """
    facts: Route = view.route  # type: ignore[attr-defined]
    try:
        return _done(facts, inspect.unwrap(view), told, intent, given)
    except PaymentsError as refusal:
        routing.follow(facts, refusal, given)
        raise


def _done(
    facts: Route,
    work: Callable[..., dict[str, Any]],
    told: Mapping[str, Any],
    intent: str | None,
    given: dict[str, Any],
) -> dict[str, Any]:
    for name in facts.parameters:
        if not ids.is_id(PREFIXES[name], given[name]):
            raise NotFound
    named = dict(given)
    if facts.body is not None:
        body = bodies.validate(facts.body, dict(told))
        if "body" in inspect.signature(work).parameters:
            given = given | {"body": body}
    once = _intent(facts, named, told, intent)
    if facts.before is not None and (once is None or not idempotency.answered(once)):
        facts.before(**given)
    stored = idempotency.once(
        once,
        lambda: (work(**given), facts.status),
        facts.secret_fields,
        in_read_only=facts.in_read_only,
    )
    answer: dict[str, Any] = json.loads(stored.text)
    return answer


def _intent(
    facts: Route, named: Mapping[str, str], told: Mapping[str, Any], intent: str | None
) -> idempotency.Intent | None:
    if not intent:
        return None
    path = facts.rule
    for name, value in named.items():
        path = path.replace(f"<{name}>", value)
    whole = idempotency.fingerprint(facts.method, path, "", dict(told))
    return idempotency.Intent(origin.current().actor, f"console-{intent}"[:255], whole)


def number(text: str | None) -> int | str | None:
    """What a field says: the number, what stands there in its place, or None for nothing."""
    if not text:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else text
