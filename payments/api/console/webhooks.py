"""Webhooks: what waits, who fails and with which answers; one endpoint; requeue with a preview."""

from datetime import datetime
from typing import Any

from flask import Blueprint, Response

from payments import clock
from payments.api import admin_deliveries, admin_endpoints, bodies, requests
from payments.api.console import acts, door, pages
from payments.api.schemas.requeue import MAX_AT_ONCE, RequeueRequest
from payments.errors import Fault, InvalidRequest
from payments.events.types import EVENT_TYPES
from payments.webhooks import backlog, checks, deliveries, requeue, troubles

ANSWERS = DELIVERIES = 20
CHECKS = 5
LIST = "/admin/console/webhooks"

bp = Blueprint("console_webhooks", __name__)


@door.page(bp, LIST)
def webhooks() -> Response:
    """The backlog, and the endpoints that need an eye, each with its last answer."""
    rows = troubles.endpoints()
    return pages.render(
        "webhooks.html",
        pending=backlog.pending(),
        most=backlog.COUNTED,
        overdue=backlog.overdue(),
        rows=[(row, next(iter(troubles.answers(row, 1)), None)) for row in rows],
        whole=len(rows) < troubles.SHOWN,
    )


@door.page(bp, f"{LIST}/<endpoint_id>")
def endpoint(endpoint_id: str) -> Response:
    """One endpoint: its health, its last answers, deliveries and checks, and what can be done."""
    row = troubles.get(endpoint_id)
    return pages.render(
        "endpoint.html",
        row=row,
        answers=troubles.answers(row, ANSWERS),
        deliveries=deliveries.page(row.merchant_id, {"endpoint": row.id}, DELIVERIES, None),
        checks=[checks.check_object(one) for one in checks.page(row.id, CHECKS, None)],
    )


@door.page(bp, f"{LIST}/<endpoint_id>/toggle", method="POST")
def toggle(endpoint_id: str) -> Response:
    """Enable or disable it, with a reason."""
    given = door.form()
    told = {"status": given.get("status", ""), "reason": given.get("reason", "")}
    made = acts.do(
        admin_endpoints.toggle, told, intent=given.get("intent"), endpoint_id=endpoint_id
    )
    return pages.back_to(f"{LIST}/{endpoint_id}", said=f"The endpoint is {made['status']}.")


@door.page(bp, f"{LIST}/<endpoint_id>/check", method="POST")
def check(endpoint_id: str) -> Response:
    """Have the worker see how far one gets."""
    given = door.form()
    acts.do(admin_endpoints.check, {}, intent=given.get("intent"), endpoint_id=endpoint_id)
    return pages.back_to(
        f"{LIST}/{endpoint_id}", said="The check was asked for. Load this page again in a moment."
    )


@door.page(bp, "/admin/console/requeue")
def requeue_form() -> Response:
    """What would be sent again, by endpoint, age and last answer; nothing is done here."""
    given = requests.current().args.to_dict()
    given.pop("said", None)
    found = body = None
    if given:
        # Read as any page is: in read-only mode too, and what is refused was no act of anybody's.
        body = bodies.validate(RequeueRequest, _wanted(given))
        found = requeue.preview(admin_deliveries.wanted(body))
    return pages.render(
        "requeue.html",
        given=given,
        found=found,
        found_status="" if body is None else body.status,
        sendable=0 if found is None else found.matched - found.unsendable,
        at_once=MAX_AT_ONCE,
        rate=requeue.RATE,
        statuses=requeue.STATUSES,
        types=EVENT_TYPES,
    )


@door.page(bp, "/admin/console/requeue", method="POST")
def requeue_now() -> Response:
    """Make them due again, as previewed: at most as many as the form says."""
    given = door.form()
    told = _wanted(given)
    for name in ("limit", "rate"):
        if given.get(name):
            told[name] = acts.number(given[name])
    made = acts.do(admin_deliveries.requeue_deliveries, told, intent=given.get("intent"))
    left = made["matched"] - made["unsendable"] - made["requeued"]
    count = made["requeued"]
    said = "1 delivery is due again" if count == 1 else f"{count} deliveries are due again"
    if made["last_at"] is not None:
        said += f", the last of them at {made['last_at'][:19].replace('T', ' ')} UTC"
    said += f". {left} more match: send this again for them." if left > 0 else "."
    filters = {name: given.get(name) for name in ("status", "endpoint", "event_type")}
    times = {name: given.get(name) for name in ("since", "until")}
    return pages.back_to("/admin/console/requeue", said=said, **filters, **times)


def _wanted(given: dict[str, str]) -> dict[str, Any]:
    """The filters of a form as the call's body has them."""
    told: dict[str, Any] = {
        name: given[name] for name in ("status", "endpoint", "event_type") if given.get(name)
    }
    for name in ("since", "until"):
        if given.get(name):
            told[name] = moment_of(given[name], name)
    return told


def moment_of(text: str, field: str) -> str:
    """A time of a form, in UTC, as RFC 3339. Raises InvalidRequest.

    Browsers give `2026-03-01T09:00`; with an offset it may be typed or pasted as well.
    """
    try:
        try:
            return clock.to_rfc3339(clock.parse_rfc3339(text.replace(" ", "T")))
        except ValueError:
            plain = datetime.fromisoformat(text)
            if plain.tzinfo is not None:
                raise
            return clock.to_rfc3339(plain.replace(tzinfo=clock.now().tzinfo))
    except ValueError:
        raise InvalidRequest(
            Fault(f"/{field}", "must be a time such as 2026-03-01T09:00, in UTC")
        ) from None
