"""Rows of the on-call's dashboard about what happens behind requests: deliveries, money, safety.

What is read from rows is the same in every web process: `max`, never a sum over instances.
"""

from scripts.boards.plan import WINDOW, Limit, Panel, Query, Row, ask, limit_of, watched

NEVER = {"never": ("never", "red")}
YES_NO = {"1": ("writes stopped", "orange"), "0": ("writing", "green")}


def _by(label: str, total: str, chosen: str = "") -> str:
    return f"max by ({label}) (rate({total}{chosen}[{WINDOW}]))"


def age(metric: str) -> str:
    """Seconds since that moment; a scrape's own time may lie before it by a little."""
    return f"clamp_min(time() - max({metric}), 0)"


WEBHOOKS = Row(
    "Webhooks",
    "Webhooks",
    (
        Panel(
            "Attempts by how they ended",
            "A second. A 4xx or 5xx is the merchant's answer; dns, connect and tls never got one.",
            ask(_by("outcome", "payments_webhook_attempts_total"), "{{outcome}}"),
            kind="areas",
            unit="reqps",
            alerts=("WebhookFailureRate", "DeliveryBudgetBurn"),
        ),
        Panel(
            "Deliveries that came to an end",
            "A second. What failed for good can be sent again: scripts/webhooks_requeue.py.",
            ask(_by("outcome", "payments_webhook_deliveries_total"), "{{outcome}}"),
            kind="areas",
            unit="reqps",
        ),
        Panel(
            "First attempts on time",
            "Share that began within 30 s of their event, over five minutes.",
            ask(
                "sum(max by (on_time)"
                ' (rate(payments_webhook_first_attempts_total{on_time="true"}[5m])))'
                " / sum(max by (on_time) (rate(payments_webhook_first_attempts_total[5m])))",
                "on time",
            ),
            unit="percentunit",
            highest=1,
            alerts=("DeliveryBudgetBurn",),
            limits=(Limit(0.99, above=False),),
        ),
        Panel(
            "Endpoints",
            "`failing`: nothing but failures for five minutes.",
            ask("max by (state) (payments_webhook_endpoints)", "{{state}}"),
            decimals=0,
            width=7,
            alerts=("WebhookFailureRate", "WebhookEndpointDown"),
        ),
        Panel(
            "Failing",
            "Endpoints that take nothing. From one on a ticket, from some on it is rather us.",
            ask('max(payments_webhook_endpoints{state="failing"})'),
            kind="stat",
            width=3,
            decimals=0,
            **watched("WebhookEndpointDown", "WebhookFailureRate"),
        ),
        Panel(
            "Deliveries that wait",
            "For their next attempt, or past their time with nothing that holds them back.",
            (
                Query("max(payments_webhook_backlog)", "backlog"),
                Query("max(payments_webhook_overdue)", "overdue"),
            ),
            decimals=0,
            width=8,
            alerts=("WebhookOverdue",),
        ),
        Panel(
            "Overdue",
            "Should be 0: else nobody sends.",
            ask("max(payments_webhook_overdue)"),
            kind="stat",
            width=3,
            decimals=0,
            **watched("WebhookOverdue"),
        ),
        Panel(
            "Workers",
            "That serve RQ's queue.",
            ask("max(payments_rq_workers)"),
            kind="stat",
            width=3,
            decimals=0,
            **watched("WorkersMissing"),
        ),
        Panel(
            "Jobs in RQ's queue",
            "They are hints that something is due. One may wait for a drain to end, half a minute.",
            (
                Query("max(payments_rq_queue_depth)", "jobs"),
                Query("max(payments_rq_oldest_job_seconds)", "seconds that the first has waited"),
            ),
            decimals=0,
            width=8,
            height=6,
            **watched("QueueStuck"),
        ),
        Panel(
            "The clock's heartbeat",
            "Seconds since the last sweep ended.",
            ask(age('payments_clock_last_run_timestamp_seconds{task="sweep"}'), "last sweep"),
            unit="s",
            width=8,
            height=6,
            **watched("ClockSilent"),
        ),
        Panel(
            "Since tasks last ended",
            "Each task of the clock that ran at all. Reconciliation is due four times a day.",
            ask(
                "clamp_min(time()"
                " - (max by (task) (payments_clock_last_run_timestamp_seconds) > 0), 0)",
                "{{task}}",
            ),
            kind="gauges",
            unit="s",
            width=5,
            height=6,
            alerts=("ClockSilent",),
            decimals=0,
        ),
        Panel(
            "Redis",
            "Nothing in it is the truth: without it limits count in each process alone.",
            ask("max(payments_redis_up)"),
            kind="stat",
            width=3,
            height=6,
            texts={"1": ("up", "green"), "0": ("DOWN", "red")},
            **watched("RedisDegraded"),
        ),
    ),
)

MONEY = Row(
    "Reconciliation and settlement",
    "Reconciliation and settlement",
    (
        Panel(
            "Payments by status",
            "That came into it, a second.",
            ask(_by("status", "payments_payments_total"), "{{status}}"),
            unit="suffix:/s",
            width=9,
        ),
        Panel(
            "Captured",
            "Minor units a second, by currency.",
            ask(
                _by("currency", "payments_amount_minor_total", '{status="succeeded"}'),
                "{{currency}}",
            ),
            unit="suffix: minor/s",
            width=8,
        ),
        Panel(
            "Discrepancies",
            "Rows that broke an invariant in the last reconciliation.",
            ask("max(payments_ledger_discrepancies)"),
            kind="stat",
            width=3,
            decimals=0,
            **watched("LedgerDiscrepancy"),
        ),
        Panel(
            "Last reconciliation",
            "How long ago every invariant was looked at.",
            ask(age("payments_reconcile_last_success_timestamp_seconds")),
            kind="stat",
            unit="s",
            width=4,
            texts=NEVER,
            **watched("ReconcileStale"),
        ),
        Panel(
            "Oldest credit that waits to be folded",
            "Of hot accounts. Balances are right all the same; debits get slower.",
            ask("max(payments_unfolded_oldest_seconds)", "oldest"),
            unit="s",
            width=24,
            height=5,
            **watched("UnfoldedOld"),
        ),
    ),
)

BACKUPS = Row(
    "Backups and restore",
    "Backups and restore",
    (
        Panel(
            "Last good backup",
            "How long ago one was made, checked and put where it belongs.",
            ask(age("payments_backup_last_success_timestamp_seconds")),
            kind="stat",
            unit="s",
            width=6,
            height=5,
            texts=NEVER,
            **watched("BackupStale"),
        ),
        Panel(
            "Age of the last good backup",
            "It falls to nothing with each backup.",
            ask(
                "clamp_min(time() - (max(payments_backup_last_success_timestamp_seconds) > 0), 0)",
                "age",
            ),
            unit="s",
            width=18,
            height=5,
            nothing="never",
            **watched("BackupStale"),
        ),
    ),
)

SECRETS = Row(
    "Secrets and key rotation",
    "Secrets and key rotation",
    (
        Panel(
            "Uses of secrets that are rotated out",
            "In an hour, by the list they stand in. Until it is 0 the old one must stay.",
            ask(
                "sum by (secret)"
                ' (increase(payments_old_secret_uses_total{instance=~"$instance"}[1h]))',
                "{{secret}}",
            ),
            kind="gauges",
            width=24,
            height=5,
            decimals=0,
            **watched("OldSecretInUse"),
        ),
    ),
)

READ_ONLY = Row(
    "Read-only",
    "Read-only",
    (
        Panel(
            "Writes",
            "Stopped by an operator or by READ_ONLY=true: refusals by 503 `read_only` are meant.",
            ask("max(payments_read_only)"),
            kind="stat",
            width=6,
            height=5,
            alerts=("ReadOnly", "ReadOnlyLeftOn"),
            limits=(limit_of("ReadOnly"),),
            texts=YES_NO,
        ),
        Panel(
            "Writes stopped",
            "1 while they are.",
            ask("max(payments_read_only)", "read-only"),
            kind="areas",
            width=18,
            height=5,
            highest=1,
            decimals=0,
            alerts=("ReadOnly", "ReadOnlyLeftOn"),
        ),
    ),
)

ALARM = Row(
    "The alarm itself",
    "The alarm itself",
    (
        Panel(
            "Watchdog",
            "Always fires: where it is silent, look at Prometheus's rules.",
            ask('max(ALERTS{alertname="Watchdog",alertstate="firing"}) or vector(0)'),
            kind="stat",
            width=6,
            height=5,
            alerts=("Watchdog",),
            limits=(Limit(1, above=False),),
            texts={"1": ("fires", "green"), "0": ("SILENT", "red")},
        ),
        Panel(
            "How long a scrape takes",
            "Seconds, the slowest of all web servers.",
            ask('max(scrape_duration_seconds{job="payments"})', "scrape"),
            unit="s",
            width=9,
            height=5,
            alerts=("MetricsAbsent",),
        ),
        Panel(
            "Samples of a scrape",
            "None while the server answers: the metrics' token is not ours.",
            ask('sum(scrape_samples_scraped{job="payments"})', "samples"),
            width=9,
            height=5,
            decimals=0,
            alerts=("MetricsAbsent",),
        ),
    ),
)
