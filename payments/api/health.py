"""`/health` and `/health/live`, for balancers and whoever is on call."""

from typing import Literal

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import choose_encoder

from payments import VERSION, config
from payments.api import guards, requests
from payments.api.bodies import Body
from payments.api.routing import Answer, route
from payments.operations import health

bp = Blueprint("health", __name__)

OPENMETRICS = "application/openmetrics-text"
"""What only a scrape of Prometheus asks for."""


class Live(Body):
    """The process answers."""

    status: Literal["ok"]
    version: str


class Health(Body):
    """What was asked and what was found: `ok`, or what is wrong in a few words."""

    status: Literal["ok", "degraded", "unavailable"]
    checks: dict[str, str]
    version: str


@route(
    bp,
    "/health",
    caller=guards.probe,
    answer=Health,
    also=(503,),
    summary="Whether the service is well",
)
def whole() -> Answer:
    """200 while the database answers within 1 s and its schema is not behind the code, else 503.

    Without Redis the service goes on, `degraded`: rate limits are counted in each process alone.
    """
    found = health.check(config.current())
    return Answer(
        {"status": found.status, "checks": found.checks, "version": VERSION},
        status=503 if found.status == "unavailable" else 200,
        headers={"Cache-Control": "no-store"},
    )


@route(
    bp,
    "/health/live",
    caller=guards.probe,
    answer=Live,
    media=("application/json", OPENMETRICS),
    summary="Whether the process answers",
)
def live() -> Answer | Response:
    """The process alone: neither database nor Redis is asked.

    To Prometheus it answers as a scrape, without a token: so a service that is down and one whose
    `/metrics` can't be read are two alerts.
    """
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    accepted = requests.current().headers.get("Accept", "")
    if OPENMETRICS not in accepted:
        return Answer({"status": "ok", "version": VERSION}, headers=headers)
    registry = CollectorRegistry()
    Gauge("payments_live", "1: the process answers.", registry=registry).set(1)
    encode, media = choose_encoder(accepted)
    return Response(encode(registry), content_type=media, headers=headers)
