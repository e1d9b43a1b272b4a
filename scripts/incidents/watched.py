"""What Prometheus saw of a window: releases, starts, outages, alerts, and rates step by step."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from scripts._prometheus import Prometheus, Series
from scripts.incidents.happenings import Happening

FIRING = 'ALERTS{alertstate="firing",alertname!="Watchdog"}'
POINTS = 2_000
"""How many moments of a window Prometheus is asked for; it gives 11,000 at most."""
FINEST_S = 1
COUNTED = 'sum by (instance) (http_request_duration_seconds_count{route="/metrics"})'
"""Grows with each scrape, for as long as the web server lives."""
QUIET = ("alertname", "alertstate", "__name__", "severity", "slo")
RATES = {
    "requests a second": "sum(rate(http_requests_total[{w}]))",
    "5xx": 'sum(increase(http_requests_total{{status=~"5.."}}[{w}]))',
    "p95, ms": (
        "1000 * histogram_quantile(0.95,"
        " sum by (le) (rate(http_request_duration_seconds_bucket[{w}])))"
    ),
    "429": "sum(increase(payments_rate_limited_total[{w}]))",
    "overdue": "max(max_over_time(payments_webhook_overdue[{w}]))",
}
"""Columns of the table, by what each asks of a step."""


@dataclass
class Watched:
    """What Prometheus answered. rates: by column, a value for each step, None where none is known.

    faults: 5xx in all; None where unknown.
    """

    happenings: list[Happening] = field(default_factory=list)
    rates: dict[str, list[float | None]] = field(default_factory=dict)
    faults: float | None = None


def watch(prometheus: Prometheus, start: datetime, end: datetime, step: timedelta) -> Watched:
    """Ask for all of it. Raises Unanswered."""
    found = Watched()
    fine_s = max(FINEST_S, -(-int((end - start).total_seconds()) // POINTS))
    for look in (_releases, _starts, _outages, _workers, _alerts):
        found.happenings.extend(look(prometheus, start, end, fine_s))
    window = f"{max(1, int(step.total_seconds()))}s"
    for name, asked in RATES.items():
        found.rates[name] = _by_step(prometheus, asked.format(w=window), start, end, step)
    whole = f"{max(1, int((end - start).total_seconds()))}s"
    answer = prometheus.at(RATES["5xx"].format(w=whole), end)
    found.faults = answer[0].last if answer else None
    return found


def _by_step(
    prometheus: Prometheus, expr: str, start: datetime, end: datetime, step: timedelta
) -> list[float | None]:
    """The value at the end of each step, for the step."""
    step_s = max(1, int(step.total_seconds()))
    count = max(1, -((start - end) // step))
    last = start + step * count
    found = prometheus.over(expr, start + step, last, step_s)
    values = dict(found[0].points) if found else {}
    moments = [(start + step * (number + 1)).timestamp() for number in range(count)]
    return [_near(values, moment) for moment in moments]


def _near(values: Mapping[float, float], moment: float) -> float | None:
    return next((value for at, value in values.items() if abs(at - moment) < 0.5), None)


def _releases(
    prometheus: Prometheus, start: datetime, end: datetime, fine_s: int
) -> Iterator[Happening]:
    """A version that comes or goes while the window lasts."""
    asked = "count by (version) (payments_build_info)"
    for series in prometheus.over(asked, start, end, fine_s):
        version = series.labels.get("version", "?")
        for begin, over in _spells(series, fine_s):
            if begin - start.timestamp() > fine_s:
                yield Happening(_moment(begin), "deploy", f"release {version} answers", "metrics")
            if end.timestamp() - over > fine_s:
                told = f"release {version} answers no more"
                yield Happening(_moment(over), "deploy", told, "metrics")


def _starts(
    prometheus: Prometheus, start: datetime, end: datetime, fine_s: int
) -> Iterator[Happening]:
    """Counters that begin anew: the web server was started again."""
    for series in prometheus.over(COUNTED, start, end, fine_s):
        told = f"the web server {series.labels.get('instance', '')} was started anew"
        for (_, was), (moment, count) in pairwise(series.points):
            if count < was:
                yield Happening(_moment(moment), "deploy", told, "metrics")


def _outages(
    prometheus: Prometheus, start: datetime, end: datetime, fine_s: int
) -> Iterator[Happening]:
    """Web servers that do not answer their scrapes."""
    for series in prometheus.over('up{job="payments"} == 0', start, end, fine_s):
        name = series.labels.get("instance", "")
        for begin, over in _spells(series, fine_s):
            yield Happening(_moment(begin), "outage", f"{name} does not answer", "metrics")
            if end.timestamp() - over > fine_s:
                yield Happening(
                    _moment(over + fine_s), "outage", f"{name} answers again", "metrics"
                )


def _workers(
    prometheus: Prometheus, start: datetime, end: datetime, fine_s: int
) -> Iterator[Happening]:
    """How many workers serve, each time that it changes."""
    for series in prometheus.over("max(payments_rq_workers)", start, end, fine_s):
        for (_, was), (moment, count) in pairwise(series.points):
            if was != count:
                told = f"workers: {was:g} → {count:g}"
                yield Happening(_moment(moment), "outage" if count < was else "deploy", told,
                                "metrics")  # fmt: skip


def _alerts(
    prometheus: Prometheus, start: datetime, end: datetime, fine_s: int
) -> Iterator[Happening]:
    """Each alert's begin and end; what fires at the window's begin is told so."""
    for series in prometheus.over(FIRING, start, end, fine_s):
        labels = series.labels
        more = ", ".join(v for k, v in sorted(labels.items()) if k not in QUIET and v)
        name = labels.get("alertname", "?") + (f" ({more})" if more else "")
        who = labels.get("severity", "")
        for begin, over in _spells(series, fine_s):
            fires = "fires" if begin - start.timestamp() > fine_s else "fires already"
            yield Happening(_moment(begin), "alert", f"{name} {fires}", who)
            if end.timestamp() - over > fine_s:
                yield Happening(_moment(over + fine_s), "alert", f"{name} ends", who)


def _spells(series: Series, fine_s: int) -> Iterator[tuple[float, float]]:
    """(first, last) of each run of samples without a gap."""
    first = before = None
    for moment, _ in series.points:
        if before is None or moment - before > 1.5 * fine_s:
            if first is not None and before is not None:
                yield first, before
            first = moment
        before = moment
    if first is not None and before is not None:
        yield first, before


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
