"""What each process counts by itself: requests and refusals, which no transaction goes with.

Under Gunicorn the web processes keep these in files of one folder (`PROMETHEUS_MULTIPROC_DIR`, set
by `ops/gunicorn.conf.py`), so that any of them can tell the sum of all, those that died included.
What a transaction counts is a row instead: see `totals`.
"""

from collections.abc import Iterable

from prometheus_client import Counter, Histogram, disable_created_metrics

disable_created_metrics()

LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

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


def begin_at_zero(routes: Iterable[tuple[str, str, int]]) -> None:
    """Make every series that can be foreseen, so that its first increase is seen as one.

    routes: method, template and the status of success. A fault of ours can happen on each.
    """
    for counter, values in _KNOWN:
        for value in values:
            counter.labels(value)
    rest = (("GET", UNMATCHED, 404), ("GET", CONSOLE, 200), ("POST", CONSOLE, 303))
    for method, route, status in (*routes, *rest):
        DURATION.labels(method, route)
        for code in (status, 500, 503):
            REQUESTS.labels(method, str(code), route)


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request. route: the template, never the path."""
    REQUESTS.labels(method, str(status), route).inc()
    DURATION.labels(method, route).observe(seconds)
