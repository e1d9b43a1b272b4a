"""`/health` and `/health/live`."""

from typing import Literal

from flask import Blueprint

from payments.api import guards
from payments.api.bodies import Body
from payments.api.routing import route

bp = Blueprint("health", __name__)


class Live(Body):
    """The process answers."""

    status: Literal["ok"]


@route(
    bp,
    "/health/live",
    caller=guards.probe,
    answer=Live,
    summary="Whether the process answers",
    in_read_only=True,
)
def live() -> dict[str, str]:
    """The process alone: neither database nor Redis is asked."""
    return {"status": "ok"}
