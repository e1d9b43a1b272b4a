"""Each line of the runbook that was given to us, and what shows that it works here.

A line's check is a test that exists elsewhere, by its name, or a function of this file. Where the
given text says `apps/payments/scripts/...` ours are `scripts/...`.
"""

import ast
import json
import re
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from scripts import alert_rules, runbook
from tests.children import ROOT
from tests.live import runbook as entries

RUNBOOK = (ROOT / alert_rules.RUNBOOK).read_text()
Check = Callable[[], None]


def section(title: str) -> Check:
    """Our runbook has that section."""

    def check() -> None:
        assert re.search(rf"^##? {re.escape(title)}$", RUNBOOK, re.M)

    return check


def the_objectives_are_these() -> None:
    assert set(tomllib.loads((alert_rules.FOLDER / "slos.toml").read_text())) == {
        "uptime", "errors", "latency", "delivery",
    }  # fmt: skip


def the_rules_are_there() -> None:
    assert alert_rules.RULES == ROOT / "ops/observability/prometheus/alerts.yml"
    assert alert_rules.RULES.exists()


def logs_are_looked_at() -> None:
    typed = [block.text for block in entries.typed("HighErrorRate", "Look")]
    assert any('"ERROR"' in text and "WEB_LOG" in text for text in typed)


def secrets_stand_in_env() -> None:
    example = (ROOT / ".env.example").read_text()
    for name in ("JWT_SECRET", "INTERNAL_API_SECRET", "ADMIN_TOKEN"):
        assert re.search(rf"^{name}=", example, re.M)
        assert f"`{name}`" in RUNBOOK


def rotation_is_for_both_reasons() -> None:
    assert "Rotate periodically and on membership changes" in RUNBOOK


def dashboards_are_there() -> None:
    for name in ("payments.json", "superapp_overview.json"):
        assert panels(name), name


def panels(name: str) -> list[dict[str, Any]]:
    """The panels of one of the dashboards."""
    board = json.loads((alert_rules.FOLDER / "grafana" / "dashboards" / name).read_text())
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def panel_asks(*parts: str) -> Check:
    """A panel of the on-call's dashboard has a query with all of these."""

    def check() -> None:
        asked = [query["expr"] for each in panels("payments.json") for query in each["targets"]]
        assert any(all(part in expr for part in parts) for expr in asked), parts

    return check


def all_of(*checks: Check) -> Check:
    """One check of several."""

    def check() -> None:
        for each in checks:
            each()

    return check


def has_alerts(*names: str) -> Check:
    """These alerts have their entries; `tests/live` makes the fault of each."""

    def check() -> None:
        assert set(names) <= set(runbook.alert_names()) & set(entries.entries())

    return check


def incident_document_says(*words: str) -> Check:
    """The template asks for that."""

    def check() -> None:
        assert "`ops/incidents/TEMPLATE.md`" in RUNBOOK
        text = (ROOT / "ops" / "incidents" / "TEMPLATE.md").read_text().lower()
        assert [word for word in words if word not in text] == []

    return check


LIVE = "tests/live/test_traffic.py"
HEALTH = "tests/api/test_health.py"
CONFIG = "tests/api/test_admin_config.py"
METRICS = "tests/api/test_metrics.py"
REQUEUE = "tests/scripts/test_webhooks_requeue.py"
RECONCILE = "tests/scripts/test_reconcile.py"
SETTLEMENT = "tests/scripts/test_settlement_report.py"

LINES = 48
"""Of the given text, empty ones not counted."""
GIVEN: dict[str, str | Check] = {
    "Payments On-Call Runbook": section("On-call runbook"),
    "Overview": section("Overview"),
    "- Critical SLOs: uptime, 5xx ratio, request latency (p95), webhook delivery success.": (
        the_objectives_are_these
    ),
    "- Dashboards: Grafana dashboards `payments.json` and `superapp_overview.json`.": (
        dashboards_are_there
    ),
    "- Alerts: see `ops/observability/prometheus/alerts.yml`.": the_rules_are_there,
    "Uptime and Errors": section("Uptime and errors"),
    "- Check `http_requests_total` 5xx ratio panel and `ServiceDown`/`HighErrorRate` alerts.": (
        all_of(
            panel_asks("http_requests_total", "5.."),
            has_alerts("ServiceDown", "HighErrorRate"),
        )
    ),
    "- Health endpoint: `GET /health` on the Payments API.": f"{HEALTH}::test_all_well",
    "- Logs: container logs for the API; look for exceptions around payment flows.": (
        logs_are_looked_at
    ),
    "Latency": section("Latency"),
    "- Watch `http_request_duration_seconds` p95/99 panels.": all_of(
        panel_asks("http_request_duration_seconds", "0.95"),
        panel_asks("http_request_duration_seconds", "0.99"),
    ),
    "- Investigate spikes by endpoint (labels include method and route path template).": (
        f"{METRICS}::test_requests_are_counted_by_template_never_by_path"
    ),
    "Rate Limits / Brute Force": section("Rate limits and brute force"),
    "- Monitor 429 counts and OTP velocity.": f"{LIVE}::test_traffic",
    "- Adjust runtime via Admin API (requires `X-Admin-Token`):": (
        f"{CONFIG}::test_a_change_is_in_force_in_every_process_within_two_seconds"
    ),
    "  `POST /admin/config/rate_limit` with"
    ' `{ "per_minute": 120, "auth_boost": 2, "exempt_otp": true }`.': (
        f"{CONFIG}::test_the_runbooks_body_as_it_stands"
    ),
    "- In emergencies, raise limits temporarily and revert after incident.": (
        f"{CONFIG}::test_an_overlay_reverts_by_itself_and_delete_takes_it_away"
    ),
    "Webhooks": section("Webhooks"),
    "- Delivery metrics: `payments_webhook_deliveries_total` and"
    " `payments_webhook_attempts_total`.": f"{METRICS}::test_deliveries_count_where_they_end",
    "- If failures accumulate:": f"{LIVE}::test_traffic",
    "  - Verify target endpoints (TLS, DNS, firewalls).": (
        "tests/webhooks/test_checks.py::test_asked_then_run_then_told"
    ),
    "  - Requeue failed deliveries: `apps/payments/scripts/webhooks_requeue.py`"
    " (filters by endpoint optional).": f"{REQUEUE}::test_filters_limit_and_rate",
    "  - Consider increasing backoff base via env `WEBHOOK_BASE_DELAY_SECS` or poller"
    " `WEBHOOK_WORKER_POLL_SECS`.": (
        "tests/webhooks/test_schedule.py::test_ten_seconds_then_three_times_as_long_each_time"
    ),
    "- Idempotency: receivers should dedupe using `X-Delivery-ID` header.": (
        f"{REQUEUE}::test_what_failed_is_sent_again_under_its_old_id"
    ),
    "Reconciliation / Settlement": section("Reconciliation and settlement"),
    "- Verify ledger invariants and balances:": (
        f"{RECONCILE}::test_a_sound_ledger_is_fine_and_the_run_is_noted"
    ),
    "  - Dry run: `DB_URL=... python apps/payments/scripts/reconcile.py`": (
        f"{RECONCILE}::test_a_dry_run_names_what_is_wrong_and_changes_nothing"
    ),
    "  - Fix balances (if approved):"
    " `DB_URL=... python apps/payments/scripts/reconcile.py --fix-balances`": (
        f"{RECONCILE}::test_the_runbooks_command_repairs_without_a_terminal"
    ),
    "- Generate merchant settlement CSV:": (
        f"{SETTLEMENT}::test_two_months_that_meet_lose_nothing_and_double_nothing"
    ),
    "  `DB_URL=... python apps/payments/scripts/settlement_report.py"
    " --from 2025-09-01T00:00:00Z --to 2025-09-30T23:59:59Z > settlement.csv`": (
        f"{SETTLEMENT}::test_the_runbooks_command_as_it_stands"
    ),
    "Backups & Restore": section("Backups and restore"),
    "- On-demand backup: see `ops/backups/README.md`.": (
        "tests/backups/test_readme.py::test_its_commands_work_as_typed"
    ),
    "- Restore procedure:": (
        "tests/backups/test_drill.py::test_both_ways_bring_back_what_was_acknowledged"
    ),
    "  1) Stop API writes.": (
        f"{CONFIG}::test_read_only_stops_every_process_at_once_and_lets_operators_go_on"
    ),
    "  2) Restore Postgres via `pg_restore`.": (
        "tests/backups/test_restore.py::test_all_of_it_comes_back"
    ),
    "  3) Restore Redis snapshot if required.": (
        "tests/backups/test_restore.py::test_redis_gets_its_snapshot_back_where_that_is_asked_for"
    ),
    "  4) Run `reconcile.py` and sanity checks before resuming traffic.": (
        "tests/backups/test_after_restore.py::"
        "test_the_script_names_the_window_and_what_to_look_through"
    ),
    "Secrets & Key Rotation": section("Secrets and key rotation"),
    "- Rotate periodically and on membership changes.": rotation_is_for_both_reasons,
    "- Payments secrets in `.env`: `JWT_SECRET`, `INTERNAL_API_SECRET`, `ADMIN_TOKEN`.": (
        secrets_stand_in_env
    ),
    "  - Rotate and restart API.": (
        "tests/api/test_callers.py::"
        "test_a_rotation_refuses_nobody_and_the_old_secret_s_use_is_noted"
    ),
    "  - Ensure verticals update to the new `PAYMENTS_INTERNAL_SECRET` to match"
    " `INTERNAL_API_SECRET`.": (
        "tests/transfers/test_service_names.py::test_a_rotation_under_one_name_refuses_nobody"
    ),
    "- Merchant API keys: create new, migrate clients, then revoke old keys.": (
        "tests/merchants/test_api_keys.py::test_a_revocation_ahead_lets_the_key_work_until_then"
    ),
    "- See `ops/secrets/ROTATION.md` for detailed steps.": (
        "tests/stories/test_rotation.py::test_three_restarts_refuse_nobody"
    ),
    "Incident Communication": section("Incident communication"),
    "- Page the on-call via Alertmanager routing.": (
        "tests/observability/test_alertmanager.py::test_each_alert_goes_where_its_severity_says"
    ),
    "- Capture timelines, customer impact, and mitigation in the incident doc.": (
        incident_document_says("## timeline", "## impact", "## mitigation")
    ),
    "- Open a follow-up issue for root cause and prevention actions.": (
        incident_document_says("## follow-up", "root cause", "prevents")
    ),
}
"""Line -> what shows it. Alerts themselves are shown live, each by its name."""


def exists(named: str) -> None:
    """A test of that name is there, and nothing keeps it from being collected."""
    path, _, name = named.partition("::")
    assert re.fullmatch(r"tests/(\w+/)*test_\w+\.py", path), path
    tree = ast.parse((ROOT / path).read_text())
    (found,) = [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    assert name.startswith("test_")
    marks = " ".join(ast.unparse(each) for each in found.decorator_list)
    assert "skip" not in marks and "xfail" not in marks


@pytest.mark.parametrize("line", GIVEN)
def test_a_given_line_works(line):
    check = GIVEN[line]
    if isinstance(check, str):
        exists(check)
    else:
        check()


def test_no_line_is_left_out():
    assert len(GIVEN) == LINES
