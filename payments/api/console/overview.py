"""The first page: what is promised and how it stands, and what needs a hand now."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, Response, request

from payments import clock, config, gauges
from payments.api.console import door, objectives, pages
from payments.api.console.objectives import Objective, Unanswered
from payments.errors import Busy, NotFound
from payments.operations import health

bp = Blueprint("console", __name__, template_folder="../templates")

_TEMPLATES = Path(__file__).parents[1] / "templates" / "console"
_STYLE, _RQ_STYLE = ((_TEMPLATES / name).read_text() for name in ("style.css", "rq.css"))
DAY_S = 86_400.0
RUNBOOK = "ops/RUNBOOK.md"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that can be well or not. state: `good`, `warn`, `bad`, or nothing to judge.

    entry: of the runbook, where it is not well.
    """

    name: str
    value: str
    state: str
    hint: str
    entry: str = ""
    url: str = ""


@door.page(bp, "/admin/")
def overview() -> Response:
    """SLOs and budgets, and the gauges that alerts look at, read now."""
    promises, trouble = _promises()
    return pages.render(
        "overview.html",
        promises=promises,
        trouble=trouble,
        promised=objectives.promised(),
        facts=_facts(),
    )


@door.page(bp, "/admin/console/style.css", open=True)
def style() -> Response:
    """The one file that the pages load."""
    return _style(_STYLE)


@door.page(bp, "/admin/console/rq.css", open=True)
def rq_style() -> Response:
    """What rq-dashboard's pages load besides their own."""
    return _style(_RQ_STYLE)


@door.page(bp, "/admin/console/<path:rest>")
def nowhere(rest: str) -> Response:
    """What is no page is told so on one."""
    raise NotFound("There is no such page.")


def _style(text: str) -> Response:
    response = Response(text, mimetype="text/css")
    response.headers["Cache-Control"] = "public, no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response


def _promises() -> tuple[list[Objective], str | None]:
    url = config.current().prometheus_url
    if url is None:
        return [], None
    try:
        return objectives.read(url), None
    except Unanswered as failure:
        return [], str(failure)


def _facts() -> list[Fact]:
    made = (_health, _webhooks, _ledger, _backup, _clock, _queue)
    found: list[Fact] = []
    for make in made:
        try:
            found += make()
        except Busy:
            found.append(
                Fact("Database", "does not answer", "bad", "The rest is unknown.", "databaseslow")
            )
            break
    return found


def _health() -> list[Fact]:
    found = health.check(config.current())
    wrong = [f"{name}: {what}" for name, what in found.checks.items() if what != "ok"]
    states = {"ok": "good", "degraded": "warn", "unavailable": "bad"}
    # Without Redis by choice nothing is amiss: the web process does it all.
    state = "" if found.checks["redis"] == "not configured" else states[found.status]
    hint = ", ".join(wrong) or "database and Redis answer"
    return [Fact("Health", found.status, state, hint, "redisdegraded")]


def _webhooks() -> list[Fact]:
    backlog, overdue = _number("payments_webhook_backlog"), _number("payments_webhook_overdue")
    states = _labelled("payments_webhook_endpoints")
    failing, disabled = int(states.get("failing", 0)), int(states.get("disabled", 0))
    url = "/admin/console/webhooks"
    return [
        Fact("Backlog", f"{backlog:.0f}", "", "deliveries that wait for their time", url=url),
        Fact("Overdue", f"{overdue:.0f}", _bad(overdue > 0), "should be 0", "webhookoverdue", url),
        Fact(
            "Endpoints failing",
            str(failing),
            "warn" if failing else "good",
            f"for five minutes or more; {disabled} disabled",
            "webhookendpointdown",
            url,
        ),
    ]


def _ledger() -> list[Fact]:
    broken = _number("payments_ledger_discrepancies")
    seen_s = _age_s("payments_reconcile_last_success_timestamp_seconds")
    unfolded_s = _number("payments_unfolded_oldest_seconds")
    return [
        Fact(
            "Ledger",
            "sound" if not broken else f"{broken:.0f} rows broken",
            _bad(broken > 0),
            "by the last reconciliation",
            "ledgerdiscrepancy",
        ),
        _since("Reconciled", seen_s, DAY_S, "every invariant", "reconcilestale"),
        Fact(
            "Unfolded",
            pages.lasting(unfolded_s),
            "warn" if unfolded_s > 60 else "good",
            "the oldest credit of a hot account",
            "unfoldedold",
        ),
    ]


def _backup() -> list[Fact]:
    made_s = _age_s("payments_backup_last_success_timestamp_seconds")
    limit_s = 26 * 3600.0
    return [_since("Backup", made_s, limit_s, "made, checked and put away", "backupstale")]


def _clock() -> list[Fact]:
    ran = _labelled("payments_clock_last_run_timestamp_seconds").get("sweep", 0.0)
    swept_s = clock.now().timestamp() - ran if ran else None
    return [_since("Clock", swept_s, 60.0, "the last sweep", "clocksilent")]


def _queue() -> list[Fact]:
    if config.current().redis_url is None:
        return []
    depth = _labelled("payments_rq_queue_depth")
    workers = _labelled("payments_rq_workers")
    if not depth or not workers:
        return [Fact("Queue", "unknown", "warn", "Redis does not answer", "redisdegraded")]
    waiting, living = sum(depth.values()), sum(workers.values())
    return [
        Fact("Queue", f"{waiting:.0f}", "", "jobs that wait", "queuestuck", "/admin/rq/"),
        Fact("Workers", f"{living:.0f}", _bad(living == 0), "that live", "workersmissing"),
    ]


def _since(name: str, age_s: float | None, limit_s: float, hint: str, entry: str) -> Fact:
    if age_s is None:
        return Fact(name, "never", "warn", hint, entry)
    return Fact(
        name, f"{pages.lasting(age_s)} ago", "warn" if age_s > limit_s else "good", hint, entry
    )


def _bad(is_bad: bool) -> str:
    return "bad" if is_bad else "good"


def _number(name: str) -> float:
    found = _read(name)()
    return found if isinstance(found, (int, float)) else 0.0


def _labelled(name: str) -> dict[str, float]:
    found = _read(name)()
    return {} if isinstance(found, (int, float)) else {labels[0]: value for labels, value in found}


def _age_s(name: str) -> float | None:
    """Seconds since the moment that the gauge tells; None for never."""
    moment = _number(name)
    return clock.now().timestamp() - moment if moment else None


def _read(name: str) -> Callable[[], gauges.Reading]:
    return gauges.GAUGES[name].read
