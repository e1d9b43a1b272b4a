"""`/metrics` for Prometheus: what processes count, what transactions counted, what is so now."""

import hmac
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from flask import Blueprint, Response
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from payments import config, counters, gauges, totals
from payments.api import callers, guards, requests
from payments.api.routing import route
from payments.errors import Busy, Unauthenticated

bp = Blueprint("metrics", __name__)

VARIABLE = "METRICS_TOKEN"


@route(
    bp,
    "/metrics",
    caller=guards.probe,
    media=("text/plain",),
    errors=(Unauthenticated,),
    summary="Metrics, for Prometheus",
)
def expose() -> Response:
    """`Authorization: Bearer <METRICS_TOKEN>`; open in development where none is set.

    Any process answers for all. While the database does not answer, what is read from it is left
    out and `payments_database_up` is 0.
    """
    _require_token()
    registry = CollectorRegistry()
    registry.register(_Everything())
    # Never OpenMetrics, which Prometheus would rather have: to write two thousand series
    # in it takes longer than all the rest, and it says no more of counters without exemplars.
    text = generate_latest(registry)
    headers = {"Cache-Control": "no-store"}
    return Response(text, content_type=CONTENT_TYPE_PLAIN_0_0_4, headers=headers)


def _require_token() -> None:
    known = config.current().metrics_token
    if not known:
        return
    scheme, _, shown = requests.current().headers.get("Authorization", "").partition(" ")
    given = shown.strip().encode("utf-8", "replace")
    places = [n for n, token in enumerate(known) if hmac.compare_digest(given, token.encode())]
    if scheme.lower() != "bearer" or not places:
        raise Unauthenticated("Send `Authorization: Bearer <METRICS_TOKEN>`.")
    callers.note_place(VARIABLE, places[0])


class _Everything(Collector):
    def collect(self) -> Iterable[Metric]:
        """Every family, those that the database must be asked for last."""
        yield from _of_processes()
        database_up = True
        for family in gauges.read_all():
            if family.name == gauges.DATABASE_UP:
                database_up = family.samples[0].value > 0
            yield family
        if database_up:
            yield from _of_transactions()


def _of_processes() -> Iterator[Metric]:
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None:
        yield from REGISTRY.collect()
    else:
        yield from counters.of_all_processes(Path(folder))


def _of_transactions() -> Iterator[Metric]:
    try:
        found = totals.read(currency=(config.current().default_currency,))
    except Busy:
        return
    for name, series in found.items():
        total = totals.TOTALS[name]
        family = CounterMetricFamily(name, total.help, labels=list(total.labels))
        for labels, value in series.items():
            family.add_metric(labels, value)
        yield family
