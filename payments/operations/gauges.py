"""How the service itself is: jobs that must have run, read-only, the queue, the build."""

import time
from datetime import datetime

from payments import VERSION, config, db, settings, successes
from payments.db import Sql
from payments.events import nudges
from payments.gauges import Reading, gauge

_RAN = Sql("SELECT name, last_run_at FROM periodic_tasks ORDER BY name")


@gauge("payments_build_info", "The release that answers.", "version", asks_database=False)
def build() -> Reading:
    """1, by version."""
    return [((VERSION,), 1)]


@gauge("payments_database_answer_seconds", "How long the database took for the least question.")
def database_answer() -> Reading:
    """Seconds, a connection of the pool included."""
    began = time.perf_counter()
    db.now()
    return time.perf_counter() - began


@gauge("payments_read_only", "Whether writes are stopped.")
def read_only() -> Reading:
    """1 while they are, by an operator or by the environment."""
    return int(settings.is_read_only())


@gauge("payments_clock_last_run_timestamp_seconds", "When a task of the clock last ended.", "task")
def clock() -> Reading:
    """Unix seconds; 0 for a task that never ran."""
    return [((row.name,), _unix(row.last_run_at)) for row in _RAN.all()]


@gauge("payments_ledger_discrepancies", "Rows that broke an invariant in the last reconciliation.")
def discrepancies() -> Reading:
    """0 as well while none has run: the time of the last one says that."""
    row = successes.last(successes.RECONCILE)
    return 0 if row is None else int(row.findings)


@gauge(
    "payments_reconcile_last_success_timestamp_seconds",
    "When all invariants were last looked at; 0: never.",
)
def reconciled() -> Reading:
    """Unix seconds."""
    return _last(successes.RECONCILE)


@gauge(
    "payments_backup_last_success_timestamp_seconds",
    "When a backup was last made, checked and put where it belongs; 0: never.",
)
def backed_up() -> Reading:
    """Unix seconds."""
    return _last(successes.BACKUP)


def _last(job: str) -> float:
    row = successes.last(job)
    return 0.0 if row is None else _unix(row.succeeded_at)


def _unix(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.timestamp()


@gauge("payments_redis_up", "Whether Redis answers.", asks_database=False)
def redis_up() -> Reading:
    """Nothing where none is configured: nobody misses it there."""
    if config.current().redis_url is None:
        return []
    return int(nudges.waiting_jobs() is not None)


@gauge("payments_rq_queue_depth", "Jobs that wait in RQ's queue.", "queue", asks_database=False)
def queue_depth() -> Reading:
    """Nothing while Redis does not answer."""
    depth = nudges.waiting_jobs()
    return [] if depth is None else [((nudges.QUEUE,), depth)]


@gauge(
    "payments_rq_oldest_job_seconds",
    "How long the first job of RQ's queue has waited.",
    "queue",
    asks_database=False,
)
def oldest_job() -> Reading:
    """0 for an empty queue; nothing while Redis does not answer."""
    waits_s = nudges.oldest_wait_s()
    return [] if waits_s is None else [((nudges.QUEUE,), waits_s)]


@gauge("payments_rq_workers", "Workers of RQ's queue that live.", "queue", asks_database=False)
def workers() -> Reading:
    """Nothing while Redis does not answer."""
    living = nudges.living_workers()
    return [] if living is None else [((nudges.QUEUE,), living)]
