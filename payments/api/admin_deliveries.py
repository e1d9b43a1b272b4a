"""`/admin/deliveries/requeue`: an operator sends failed deliveries again, as the script does."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from flask import Blueprint

from payments import clock, db
from payments.api import guards
from payments.api.routing import route
from payments.api.schemas.requeue import RequeueObject, RequeueRequest
from payments.webhooks import requeue
from payments.webhooks.requeue import Requeued, Wanted

bp = Blueprint("admin_deliveries", __name__)


@route(
    bp,
    "/admin/deliveries/requeue",
    method="POST",
    caller=guards.operator,
    body=RequeueRequest,
    answer=RequeueObject,
    once="optional",
    audit="deliveries.requeue",
    summary="Requeue deliveries",
)
def requeue_deliveries(body: RequeueRequest) -> dict[str, Any]:
    """Each keeps its id and has a full new schedule; first attempts are spread by `rate`. What is
    beyond `limit` is for another call. Stands in the audit trail, refused calls too.
    """
    these = wanted(body)
    found = requeue.preview(these)
    made = Requeued(0, None, None)
    if not body.dry_run:
        ids = [row.id for row in requeue.choose(these, body.limit)]
        made = requeue.make_due(these, ids, db.unit().now, body.rate)
    return {
        "object": "requeue",
        "status": body.status,
        "dry_run": body.dry_run,
        **asdict(found),
        "requeued": made.count,
        "first_at": _time(made.first_at),
        "last_at": _time(made.last_at),
    }


def wanted(body: RequeueRequest) -> Wanted:
    """Which deliveries are asked for."""
    return Wanted(body.status, body.endpoint, body.event_type, body.since, body.until)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else clock.to_rfc3339(moment)
