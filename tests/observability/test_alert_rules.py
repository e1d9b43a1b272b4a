"""Each alert fires where it should, stays silent where it should not, by promtool's own clock."""

import json
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from payments import app, gauges, totals
from scripts import alert_rules

Cases = dict[str, tuple[dict[str, str], dict[str, str], str]]

# By alert: series (promtool's notation, one value a minute) that fire it, series that must not, and
# the minute that both are looked at.
HTTP = 'http_requests_total{status="%s",method="GET",route="/x",instance="a"}'
LATENCY = 'http_request_duration_seconds_%s,method="GET",route="/x",instance="a"}'
UP = 'up{job="payments-live",instance="a"}'
NIGHT = {HTTP % 200: "0+1x400", HTTP % 500: "0x100 1x300"}
"""Few requests, and one of them failed."""


def http(good: str, bad: str) -> dict[str, str]:
    return {HTTP % 200: good, HTTP % 500: bad}


def gauge(name: str, value: str, labels: str = 'instance="a"') -> dict[str, str]:
    return {f"{name}{{{labels}}}": value}


def took(fast: str, slow: str) -> dict[str, str]:
    """Requests under 0.1 s, and requests of between 1 and 5 s."""
    return {
        LATENCY % 'bucket{le="0.1"': fast,
        LATENCY % 'bucket{le="0.5"': fast,
        LATENCY % 'bucket{le="1.0"': fast,
        LATENCY % 'bucket{le="5.0"': slow,
        LATENCY % 'bucket{le="+Inf"': slow,
        LATENCY % 'count{a="b"': slow,
    }


def endpoints(ok: int, failing: int) -> dict[str, str]:
    return gauge("payments_webhook_endpoints", f"{ok}x60", 'state="ok"') | gauge(
        "payments_webhook_endpoints", f"{failing}x60", 'state="failing"'
    )


def ages(name: str, at_s: int) -> dict[str, str]:
    """A moment that stays while time goes on from 0."""
    return gauge(name, f"{at_s}x3000")


def counts(name: str, labels: str, each_minute: float) -> dict[str, str]:
    return gauge(name, f"0+{each_minute}x60", labels)


def burning(slo: str, times: float, steps: int) -> dict[str, str]:
    """Series in which the objective's budget burns so many times as fast as it lasts."""
    facts = tomllib.loads((alert_rules.FOLDER / "slos.toml").read_text())[slo]
    bad = times * (100 - facts["objective"]) / 100

    def grows(each_step: float) -> str:
        return f"0+{each_step:.6f}x{steps}"

    if slo == "uptime":  # of a thousand servers
        return {UP: f"{1 - bad:.6f}x{steps}"}
    if slo == "errors":
        return {HTTP % 200: grows(1000 * (1 - bad)), HTTP % 500: grows(1000 * bad)}
    if slo == "latency":
        return took(grows(1000 * (1 - bad)), grows(1000))
    first, live = "payments_webhook_first_attempts_total", "payments_webhook_live_attempts_total"
    return {
        f'{first}{{on_time="true",instance="a"}}': grows(1000 * (1 - bad)),
        f'{first}{{on_time="false",instance="a"}}': grows(1000 * bad),
        f'{live}{{outcome="success",instance="a"}}': grows(1000 * (1 - bad)),
        f'{live}{{outcome="failure",instance="a"}}': grows(1000 * bad),
    }


CASES: Cases = {
    "ServiceDown": ({UP: "1x5 0x20"}, {UP: "1x20"}, "10m"),
    "MetricsAbsent": (
        {UP: "1x30"},
        {UP: "1x30"} | gauge("payments_build_info", "1x30", 'instance="a"'),
        "20m",
    ),
    "HighErrorRate": (http("0+100x60", "0+10x60"), NIGHT, "20m"),
    "HighLatencyP95": (took("0+80x60", "0+100x60"), took("0+99x60", "0+100x60"), "20m"),
    "HighLatencyP99": (took("0+95x60", "0+100x60"), took("0+100x60", "0+100x60"), "20m"),
    "WebhookFailureRate": (endpoints(5, 3), endpoints(0, 1), "10m"),
    "WebhookEndpointDown": (endpoints(9, 1), endpoints(9, 0), "20m"),
    "WebhookOverdue": (
        gauge("payments_webhook_overdue", "3x30"),
        gauge("payments_webhook_overdue", "0x30"),
        "10m",
    ),
    "OtpVelocity": (
        counts("payments_otp_verifications_total", 'outcome="wrong"', 20),
        counts("payments_otp_verifications_total", 'outcome="success"', 90),
        "20m",
    ),
    "RateLimitedSurge": (
        counts("payments_rate_limited_total", 'scope="address"', 50) | http("0+100x60", "0x60"),
        counts("payments_rate_limited_total", 'scope="address"', 5) | http("0+100x60", "0x60"),
        "20m",
    ),
    "LedgerDiscrepancy": (
        gauge("payments_ledger_discrepancies", "1x10"),
        gauge("payments_ledger_discrepancies", "0x10"),
        "5m",
    ),
    "ReconcileStale": (
        ages("payments_reconcile_last_success_timestamp_seconds", 60),
        ages("payments_reconcile_last_success_timestamp_seconds", 36_000),
        "26h",
    ),
    "BackupStale": (
        ages("payments_backup_last_success_timestamp_seconds", 60),
        ages("payments_backup_last_success_timestamp_seconds", 36_000),
        "27h",
    ),
    "UnfoldedOld": (
        gauge("payments_unfolded_oldest_seconds", "61x30"),
        gauge("payments_unfolded_oldest_seconds", "3x30"),
        "10m",
    ),
    "QueueStuck": (
        gauge("payments_rq_oldest_job_seconds", "0+60x30", 'queue="payments"'),
        gauge("payments_rq_oldest_job_seconds", "35x30", 'queue="payments"'),
        "12m",
    ),
    "WorkersMissing": (
        gauge("payments_rq_workers", "1x3 0x20", 'queue="payments"'),
        gauge("payments_rq_workers", "1x30", 'queue="payments"'),
        "10m",
    ),
    "ClockSilent": (
        {'payments_clock_last_run_timestamp_seconds{task="sweep"}': "5x60"},
        {'payments_clock_last_run_timestamp_seconds{task="sweep"}': "5x60"}
        | gauge("payments_read_only", "1x60"),
        "10m",
    ),
    "RedisDegraded": (
        gauge("payments_redis_up", "0x30"),
        gauge("payments_redis_up", "1x30"),
        "10m",
    ),
    "DatabaseSlow": (
        gauge("payments_database_answer_seconds", "0.4x30"),
        gauge("payments_database_answer_seconds", "0.01x30")
        | gauge("payments_database_up", "1x30"),
        "10m",
    ),
    "OldSecretInUse": (
        counts("payments_old_secret_uses_total", 'secret="JWT_SECRET"', 1),
        counts("payments_old_secret_uses_total", 'secret="JWT_SECRET"', 0),
        "10m",
    ),
    "ReadOnly": (gauge("payments_read_only", "1x5"), gauge("payments_read_only", "0x5"), "2m"),
    "ReadOnlyLeftOn": (
        gauge("payments_read_only", "1x90"),
        gauge("payments_read_only", "1x30 0x60"),
        "80m",
    ),
    "UptimeBudgetBurn": ({UP: "1x60 0x60"}, {UP: "1x200"}, "90m"),
    "ErrorsBudgetBurn": (http("0+100x200", "0+20x200"), NIGHT, "90m"),
    "LatencyBudgetBurn": (took("0+10x200", "0+100x200"), took("0+99x200", "0+100x200"), "90m"),
    "DeliveryBudgetBurn": (
        {
            'payments_webhook_first_attempts_total{on_time="true",instance="a"}': "0+10x200",
            'payments_webhook_first_attempts_total{on_time="false",instance="a"}': "0+10x200",
            'payments_webhook_live_attempts_total{outcome="success",instance="a"}': "0+20x200",
            'payments_webhook_live_attempts_total{outcome="failure",instance="a"}': "0x200",
        },
        {
            'payments_webhook_first_attempts_total{on_time="true",instance="a"}': "0+10x200",
            'payments_webhook_first_attempts_total{on_time="false",instance="a"}': "0x200",
            'payments_webhook_live_attempts_total{outcome="success",instance="a"}': "0+20x200",
            'payments_webhook_live_attempts_total{outcome="failure",instance="a"}': "0x60 1x140",
        },
        "90m",
    ),
    "Watchdog": ({UP: "1x5"}, {}, "2m"),
}
ALWAYS = {"Watchdog"}


@cache
def alerts() -> list[dict[str, Any]]:
    made = alert_rules.rules()
    return [rule for group in made["groups"] for rule in group["rules"] if "alert" in rule]


def fires(name: str, series: dict[str, str], at: str, folder: Path) -> bool:
    """Whether the alert fires at that time."""
    return bool(_told(name, series, at, folder, "10m" if at.endswith("h") else "1m"))


def firing(name: str, series: dict[str, str], at: str, folder: Path, every: str) -> set[str]:
    """Which burn rates of the alert fire at that time. every: between a series' values."""
    return set(re.findall(r'burn="([\d.]+)"', _told(name, series, at, folder, every)))


def _told(name: str, series: dict[str, str], at: str, folder: Path, every: str) -> str:
    """What promtool says, asked as if the alert did not fire; nothing where it does not."""
    test = {
        "rule_files": [str(alert_rules.RULES)],
        # In any order, else; and what was recorded a step before is too old where steps are long.
        "group_eval_order": ["objectives", "burn rates", "alerts"],
        "evaluation_interval": every,
        "tests": [
            {
                "interval": every,
                "input_series": [{"series": key, "values": text} for key, text in series.items()],
                "alert_rule_test": [{"eval_time": at, "alertname": name, "exp_alerts": []}],
            }
        ],
    }
    path = folder / "test.yml"
    path.write_text(json.dumps(test))  # which is YAML as well
    told = subprocess.run(
        ["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
    said = told.stdout + told.stderr
    if told.returncode == 0:
        return ""
    assert f"alertname: {name}," in said, said
    return said


def test_the_rules_are_what_the_objectives_make(tmp_path):
    assert alert_rules.main(["--check"]) == alert_rules.FINE
    other = tmp_path / "alerts.yml"
    assert alert_rules.main(["--check", "--out", str(other)]) == alert_rules.FOUND
    assert alert_rules.main(["--speed", "60", "--out", str(other)]) == alert_rules.FINE
    for path in (alert_rules.RULES, other):
        subprocess.run(["promtool", "check", "rules", str(path)], check=True, capture_output=True)
    assert "[5s]" in other.read_text() and "[300s]" not in other.read_text()


def test_every_alert_has_a_case():
    assert {rule["alert"] for rule in alerts()} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_and_stays_silent(name, tmp_path):
    loud, silent, at = CASES[name]
    assert fires(name, loud, at, tmp_path)
    assert fires(name, silent, at, tmp_path) is (name in ALWAYS)


def test_every_alert_says_for_whom_and_where_to_read_on():
    for rule in alerts():
        assert rule["labels"]["severity"] in {"page", "ticket", "info"}
        notes = rule["annotations"]
        assert notes["summary"].endswith(".")
        assert notes["runbook_url"] == f"{alert_rules.RUNBOOK}#{rule['alert'].lower()}"
        assert notes["dashboard_url"] == f"/d/{notes['dashboard']}"


def test_rules_ask_for_metrics_that_there_are():
    assert app.GAUGES
    known = {*gauges.GAUGES, gauges.DATABASE_UP, *totals.TOTALS}
    text = alert_rules.RULES.read_text()
    slos = tomllib.loads((alert_rules.FOLDER / "slos.toml").read_text())
    asked = {
        word
        for word in text.replace("(", " ").replace("{", " ").replace("[", " ").split()
        if word.startswith("payments_")
    }
    process_counters = {
        "payments_rate_limited_total",
        "payments_otp_verifications_total",
        "payments_old_secret_uses_total",
    }
    assert {name.strip(")") for name in asked} - known - process_counters == set()
    assert set(slos) == {"uptime", "errors", "latency", "delivery"}


def test_a_page_can_link_to_where_runbook_and_dashboards_are_read(tmp_path):
    there, grafana = "https://wiki.example/payments/runbook", "https://grafana.example/"
    rules = str(tmp_path / "rules.yml")
    assert alert_rules.main(["--runbook", there, "--grafana", grafana, "--out", rules]) == 0
    made = yaml.safe_load((tmp_path / "rules.yml").read_text())
    notes = [
        rule["annotations"]
        for group in made["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    links = [each["runbook_url"] for each in notes]
    assert f"{there}#servicedown" in links
    assert all(link.startswith(f"{there}#") for link in links)
    assert {each["dashboard_url"] for each in notes} == {"https://grafana.example/d/payments"}


@pytest.mark.parametrize(
    ("ok", "failing", "pages"),
    [(6, 3, True), (4, 2, True), (7, 3, False), (5, 2, False), (100, 5, True), (100, 4, False)],
)
def test_five_endpoints_or_a_third_of_them_page(ok, failing, pages, tmp_path):
    assert fires("WebhookFailureRate", endpoints(ok, failing), "10m", tmp_path) is pages


@pytest.mark.parametrize("slo", ["uptime", "errors", "latency", "delivery"])
@pytest.mark.parametrize("burn", alert_rules.BURNS, ids=lambda burn: f"{burn.times:g}")
def test_each_burn_rate_fires_by_itself(slo, burn, tmp_path):
    """A budget that burns a fifth faster than that: it fires, and none that is for faster ones."""
    every_s = burn.short_s // 5
    steps = (burn.long_s + burn.for_s) // every_s + 5
    title, at = f"{slo.capitalize()}BudgetBurn", f"{steps * every_s}s"

    def found(times: float) -> set[str]:
        return firing(title, burning(slo, times, steps), at, tmp_path, every=f"{every_s}s")

    faster = {f"{each.times:g}" for each in alert_rules.BURNS if each.times > burn.times}
    loud = found(burn.times * 1.2)
    assert f"{burn.times:g}" in loud and not loud & faster
    assert f"{burn.times:g}" not in found(burn.times * 0.8)
