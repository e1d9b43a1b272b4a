"""An endpoint's health: what it may have in flight, and when it is left alone.

Kept in columns of the endpoint, so that it holds over all workers. After some failures in a row
the breaker opens: nothing is sent for a while, then one probe, and its success closes it. It stays
open no longer than the shortest wait of the schedule, so that a delivery's own next attempt is
never late by it; what it holds back is the crowd behind.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from payments.webhooks import schedule

CAP = 4
"""In flight at once to an endpoint that answers well."""
CAP_UNPROVEN = 1
"""To one that failed last, or has not answered well of late: it costs one slot while it hangs."""
PROVEN_FOR = timedelta(minutes=1)
OPENS_AFTER = 5
LONGEST_OPEN_S = 60.0
FAILING_FOR = timedelta(days=5)
"""Failures alone for so long disable the endpoint."""
LIVES_FOR = timedelta(days=1)
NOTED_EVERY = timedelta(seconds=10)
"""How often a success is written down for an endpoint that is known to be well."""


@dataclass(frozen=True, slots=True)
class Health:
    """failures: in a row, over all deliveries. The rest are moments, or None."""

    failures: int
    failing_since_at: datetime | None
    closed_until: datetime | None
    succeeded_at: datetime | None


def is_live(health: Health, moment: datetime) -> bool:
    """Whether the endpoint took something within a day: what fails there now may be our fault."""
    return health.succeeded_at is not None and health.succeeded_at > moment - LIVES_FOR


def is_news(health: Health, successes: Iterable[bool], moment: datetime) -> bool:
    """Whether these results change what is known, so that the row must be read and written."""
    if not all(successes) or health.failures:
        return True
    return health.succeeded_at is None or health.succeeded_at < moment - NOTED_EVERY


def after(health: Health, successes: Iterable[bool], moment: datetime) -> Health:
    """The health after these results, in the order in which they came."""
    for success in successes:
        if success:
            health = Health(0, None, None, moment)
            continue
        failures = health.failures + 1
        open_s = min(schedule.shortest_wait_s(), LONGEST_OPEN_S)
        health = Health(
            failures,
            health.failing_since_at or moment,
            moment + timedelta(seconds=open_s) if failures >= OPENS_AFTER else None,
            health.succeeded_at,
        )
    return health


def has_failed_for_good(health: Health, moment: datetime) -> bool:
    """Whether it has only failed for five days."""
    since = health.failing_since_at
    return since is not None and since <= moment - FAILING_FOR
