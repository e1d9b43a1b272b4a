"""What each process counts by itself: requests and refusals, which no transaction goes with.

Under Gunicorn the web processes keep these in files of one folder (`PROMETHEUS_MULTIPROC_DIR`, set
by `ops/gunicorn.conf.py`), so that any of them can tell the sum of all, those that died included.
What a transaction counts is a row instead: see `totals`.
"""

import json
import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from prometheus_client import Counter, Histogram, disable_created_metrics
from prometheus_client.core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.utils import floatToGoString

disable_created_metrics()

LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BOUNDS = {floatToGoString(bound): bound for bound in (*LATENCY_BUCKETS_S, math.inf)}
"""By how a bucket's label is written."""

REQUESTS = Counter("http_requests", "Requests that were answered.", ("method", "status", "route"))
DURATION = Histogram(
    "http_request_duration_seconds",
    "From the first hook of a request to the last.",
    ("method", "route"),
    buckets=LATENCY_BUCKETS_S,
)
RATE_LIMITED = Counter(
    "payments_rate_limited",
    "Requests refused for being too many, by the limit.",
    ("scope",),
)
OTP_REQUESTS = Counter(
    "payments_otp_requests", "One-time codes asked for, by what came of it.", ("outcome",)
)
OTP_VERIFICATIONS = Counter(
    "payments_otp_verifications", "One-time codes tried, by what came of it.", ("outcome",)
)
OLD_SECRET_USES = Counter(
    "payments_old_secret_uses",
    "Uses of an entry that is not the first of its list: who still comes with the old secret.",
    ("secret",),
)

_KNOWN: tuple[tuple[Counter, tuple[str, ...]], ...] = (
    (RATE_LIMITED, ("address", "caller", "otp_phone", "otp_address", "otp_overall")),
    (OTP_REQUESTS, ("sent", "limited", "withheld", "undelivered")),
    (OTP_VERIFICATIONS, ("success", "wrong", "limited")),
    (
        OLD_SECRET_USES,
        (
            *("JWT_SECRET", "SECRET_KEY", "INTERNAL_API_SECRET", "ADMIN_TOKEN"),
            *("METRICS_TOKEN", "ENCRYPTION_KEY"),
        ),
    ),
)
UNMATCHED = "unmatched"
"""The route of a request whose URL or method is nobody's."""
CONSOLE = "/admin/"
"""The route of every page of the console, rq-dashboard's too: people look at them, and no objective
tells one from another, while a label for each page cost 460 lines of every scrape. They count all
the same, so that a fault on one of them is seen; the access log has its template.
"""


def begin_at_zero(routes: Iterable[tuple[str, str, Iterable[int]]]) -> None:
    """Make every series that can be foreseen, so that its first increase is seen as one.

    routes: method, template and the statuses that are declared. Too many requests and a fault of
    ours can happen on each.
    """
    for counter, values in _KNOWN:
        for value in values:
            counter.labels(value)
    rest = (("GET", UNMATCHED, (404, 405)), ("GET", CONSOLE, (200,)), ("POST", CONSOLE, (303,)))
    for method, route, statuses in (*routes, *rest):
        DURATION.labels(method, route)
        for status in {*statuses, 429, 500, 503}:
            REQUESTS.labels(method, str(status), route)


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request. route: the template, never the path."""
    REQUESTS.labels(method, str(status), route).inc()
    DURATION.labels(method, route).observe(seconds)


class _Series(NamedTuple):
    """A series as its key in a file says it. below: a histogram's bucket, by its upper bound.

    histogram: what all of one histogram's buckets have in common.
    """

    family: str
    name: str
    labels: dict[str, str]
    help: str
    below: float | None
    histogram: tuple[str, ...]


def of_all_processes(folder: Path) -> Iterator[Metric]:
    """What the processes that have their files in the folder have counted together.

    The library's own collector takes each series of each process apart at each scrape, which took
    longer than all that is asked of the database. Here they are summed first, by their keys, and a
    key is taken apart once.
    """
    families: dict[str, Metric] = {}
    buckets: dict[tuple[str, ...], list[tuple[float, _Series, float]]] = {}
    for kind, summed in _sums(folder).items():
        for key, value in summed.items():
            series = _series(key)
            family = families.get(series.family)
            if family is None:
                family = families[series.family] = Metric(series.family, series.help, kind)
            if series.below is None:
                family.add_sample(series.name, series.labels, value)
            else:
                buckets.setdefault(series.histogram, []).append((series.below, series, value))
    for found in buckets.values():
        _add_buckets(families[found[0][1].family], found)
    yield from families.values()


def _sums(folder: Path) -> dict[str, dict[str, float]]:
    """The sum over all processes of each key, by the kind of its file."""
    sums: dict[str, dict[str, float]] = {}
    for path in sorted(folder.glob("*.db")):
        summed = sums.setdefault(path.name.partition("_")[0], {})
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
            summed[key] = summed.get(key, 0.0) + value
    return sums


def _add_buckets(family: Metric, found: list[tuple[float, _Series, float]]) -> None:
    """Of one histogram: a file counts each bucket alone, Prometheus all that is below."""
    found.sort(key=itemgetter(0))
    below = 0.0
    for _, series, value in found:
        below += value
        family.add_sample(series.name, series.labels, below)
    labels = {name: value for name, value in found[0][1].labels.items() if name != "le"}
    family.add_sample(f"{family.name}_count", labels, below)


@lru_cache(maxsize=100_000)
def _series(key: str) -> _Series:
    family, name, labels, help = json.loads(key)
    if "le" not in labels:
        return _Series(family, name, labels, help, None, ())
    histogram = (name, *(value for label, value in labels.items() if label != "le"))
    return _Series(family, name, labels, help, _BOUNDS[labels["le"]], histogram)
