"""Rows of the on-call's dashboard about requests: objectives, errors, latency, refusals."""

from scripts.alert_rules import BURNS
from scripts.boards.plan import (
    HTTP,
    WINDOW,
    Limit,
    Panel,
    Query,
    Row,
    ask,
    budget,
    limit_of,
    objectives,
    watched,
)

BURN_ALERTS = {name: f"{name.capitalize()}BudgetBurn" for name in objectives()}
UP = {"1": ("up", "green"), "0": ("DOWN", "red")}
FIRING = 'ALERTS{alertstate="firing"}'
SEVERITIES = "alertname, severity"


def _kept(name: str) -> Panel:
    slo = objectives()[name]
    return Panel(
        f"{name.capitalize()} ≥ {slo['objective']:g} %",
        f"The share of the last 3 days for which {slo['says']}.",
        ask(f"1 - payments:{name}:bad_ratio_259200"),
        kind="stat",
        unit="percentunit",
        width=3,
        height=5,
        alerts=(BURN_ALERTS[name],),
        limits=(Limit(round(slo["objective"] / 100, 6), above=False),),
        nothing="no traffic",
        lowest=None,
        decimals=2,
    )


def left(name: str) -> str:
    """The share of 30 days' budget that is not used up. Minutes without traffic use nothing."""
    bad = f"avg_over_time((payments:{name}:bad_ratio_300 >= 0)[30d:1m])"
    return f"1 - {bad} / {budget(name):g}"


OBJECTIVES = Row(
    "Objectives",
    "On-call runbook",
    (
        *(_kept(name) for name in objectives()),
        Panel(
            "Budget left of 30 days",
            "How much of what may go wrong in 30 days has not gone wrong yet. Each five minutes"
            " with traffic count the same.",
            tuple(Query(left(name), name) for name in objectives()),
            kind="gauges",
            unit="percentunit",
            width=6,
            height=5,
            limits=(Limit(0.25, above=False),),
            highest=1,
            decimals=0,
        ),
        Panel(
            "Firing alerts",
            "Watchdog always fires: where it is missing, the alarm itself is broken.",
            ask(f"max by ({SEVERITIES}) ({FIRING})", "{{severity}}: {{alertname}}"),
            kind="table",
            width=6,
            height=5,
            alerts=("Watchdog",),
        ),
        Panel(
            "How fast budgets burn",
            "Over the last hour; 1 lasts for 30 days. From 14.4 on somebody is woken.",
            tuple(
                Query(f"payments:{name}:bad_ratio_3600 / {budget(name):g}", name)
                for name in objectives()
            ),
            width=12,
            height=7,
            alerts=tuple(BURN_ALERTS.values()),
            limits=(Limit(BURNS[0].times, says="page"),),
        ),
        Panel(
            "Alerts over time",
            "How many fire, by whom they are for.",
            ask(f"sum by (severity) ({FIRING})", "{{severity}}"),
            kind="areas",
            width=12,
            height=7,
        ),
    ),
)

ERRORS = Row(
    "Uptime and errors",
    "Uptime and errors",
    (
        Panel(
            "Web servers",
            "Whether each answers at all.",
            ask('min(up{job="payments-live",instance=~"$instance"})'),
            kind="stat",
            width=6,
            height=4,
            limits=(limit_of("ServiceDown"),),
            alerts=("ServiceDown",),
            texts=UP,
        ),
        Panel(
            "Release",
            "The versions that answer; two while a deploy is under way.",
            ask("count by (version) (payments_build_info)", "{{version}}"),
            kind="stat",
            width=6,
            height=4,
            alerts=("MetricsAbsent",),
            shows="name",
        ),
        Panel(
            "Requests a second",
            "All that were answered.",
            ask(f"sum(rate(http_requests_total{{{HTTP}}}[{WINDOW}]))"),
            kind="stat",
            unit="reqps",
            width=6,
            height=4,
            decimals=1,
        ),
        Panel(
            "Faults in an hour",
            "Answers of 5xx. With writes stopped, 503 is meant.",
            ask(f'sum(increase(http_requests_total{{status=~"5..",{HTTP}}}[1h]))'),
            kind="stat",
            width=6,
            height=4,
            decimals=0,
        ),
        Panel(
            "Share of faults",
            "5xx of all answers, over five minutes.",
            ask(
                'sum(rate(http_requests_total{status=~"5.."}[5m]))'
                " / sum(rate(http_requests_total[5m]))",
                "5xx",
            ),
            unit="percentunit",
            width=12,
            height=8,
            **watched("HighErrorRate"),
        ),
        Panel(
            "Faults by route",
            "Where 5xx come from, a second.",
            ask(
                "sum by (method, route, status)"
                f' (rate(http_requests_total{{status=~"5..",{HTTP}}}[{WINDOW}])) > 0',
                "{{status}} {{method}} {{route}}",
            ),
            unit="reqps",
            width=12,
            height=8,
            alerts=("HighErrorRate",),
            nothing="no faults",
        ),
        Panel(
            "Requests by route",
            "The eight that are asked most, a second.",
            ask(
                f"sum by (method, route) (rate(http_requests_total{{{HTTP}}}[{WINDOW}]))"
                " and on (method, route) topk(8, sum by (method, route)"
                f" (increase(http_requests_total{{{HTTP}}}[$__range] @ end())))",
                "{{method}} {{route}}",
            ),
            unit="reqps",
            width=12,
            height=8,
        ),
        Panel(
            "Requests by status",
            "A second. 401, 402 and 409 are callers' own; 429 is a limit; 5xx are faults of ours.",
            ask(
                f"sum by (status) (rate(http_requests_total{{{HTTP}}}[{WINDOW}]))",
                "{{status}}",
            ),
            kind="areas",
            unit="reqps",
            width=12,
            height=8,
        ),
    ),
)


def _quantile(share: float, by: str = "", window: str = f"[{WINDOW}]") -> str:
    grouped = f"le, {by}" if by else "le"
    buckets = f"http_request_duration_seconds_bucket{{{HTTP}}}"
    return f"histogram_quantile({share}, sum by ({grouped}) (rate({buckets}{window})))"


def _slowest(share: float, name: str, alert: str) -> Panel:
    """Which routes are drawn is judged once, over all the time that is shown: lines stay whole."""
    by = "method, route"
    chosen = f"topk(5, {_quantile(share, by, '[$__range] @ end()')} > 0)"
    return Panel(
        f"{name} by route",
        f"The five slowest: so long took {share:.0%} of their requests at most.",
        ask(f"{_quantile(share, by)} and on ({by}) {chosen}", "{{method}} {{route}}"),
        unit="s",
        width=8,
        height=9,
        **watched(alert),
    )


LATENCY = Row(
    "Latency",
    "Latency",
    (
        Panel(
            "All requests",
            "Half, 95 % and 99 % of all took at most so long.",
            tuple(
                Query(_quantile(share), name)
                for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
            ),
            unit="s",
            height=9,
            **watched("HighLatencyP95", "HighLatencyP99"),
        ),
        _slowest(0.95, "p95", "HighLatencyP95"),
        _slowest(0.99, "p99", "HighLatencyP99"),
        Panel(
            "Slower than half a second",
            "Share of all requests, over five minutes; one in twenty is what was promised at most.",
            ask("payments:latency:bad_ratio_300", "slower than 0.5 s"),
            unit="percentunit",
            width=8,
            height=6,
            alerts=("LatencyBudgetBurn",),
            limits=(Limit(budget("latency")),),
        ),
        Panel(
            "The database's least answer",
            "How long it takes for the smallest question, a connection included.",
            ask("max(payments_database_answer_seconds)", "answer"),
            unit="s",
            width=12,
            height=6,
            **watched("DatabaseSlow"),
        ),
        Panel(
            "Database",
            "Whether it answered the last scrape.",
            ask("min(payments_database_up)"),
            kind="stat",
            width=4,
            height=6,
            alerts=("DatabaseSlow",),
            limits=(Limit(1, above=False),),
            texts=UP,
        ),
    ),
)


def _codes(metric: str, window: str = WINDOW, outcomes: str = "") -> str:
    chosen = f'{{instance=~"$instance"{outcomes}}}'
    return f"sum by (outcome) (rate(payments_otp_{metric}_total{chosen}[{window}]))"


LIMITS = Row(
    "Rate limits and brute force",
    "Rate limits and brute force",
    (
        Panel(
            "Refused for being too many (429)",
            "A second, by the limit: `address` has no credentials, `caller` has.",
            ask(
                "sum by (scope)"
                f' (rate(payments_rate_limited_total{{instance=~"$instance"}}[{WINDOW}]))',
                "{{scope}}",
            ),
            unit="reqps",
            width=7,
            alerts=("RateLimitedSurge", "OtpVelocity"),
        ),
        Panel(
            "Share refused",
            "Of all requests, over five minutes; limits of one-time codes left out.",
            ask(
                'sum(rate(payments_rate_limited_total{scope=~"address|caller"}[5m]))'
                " / sum(rate(http_requests_total[5m]))",
                "429",
            ),
            unit="percentunit",
            width=5,
            **watched("RateLimitedSurge"),
        ),
        Panel(
            "Codes asked for",
            "A second, by what came of it.",
            ask(_codes("requests"), "{{outcome}}"),
            kind="areas",
            unit="reqps",
            width=4,
        ),
        Panel(
            "Codes tried",
            "A second, by what came of it.",
            ask(_codes("verifications"), "{{outcome}}"),
            kind="areas",
            unit="reqps",
            width=4,
        ),
        Panel(
            "Guesses in 10 minutes",
            "Wrong tries, those that a limit refused included.",
            ask(
                'sum(increase(payments_otp_verifications_total{outcome=~"wrong|limited"}[10m]))',
                "guesses",
            ),
            width=4,
            decimals=0,
            **watched("OtpVelocity"),
        ),
    ),
)
