"""When a delivery that failed is tried again."""

import random

from payments import config

LONGEST_WAIT_S = 30 * 86_400.0
"""A bound for settings that multiply without one."""
JITTER = 0.1


def wait_s(failures: int, retry_after_s: float | None) -> float | None:
    """Seconds until the next attempt after so many failures of this schedule; None: no more.

    WEBHOOK_BASE_DELAY_SECS times WEBHOOK_BACKOFF_FACTOR to the power of n = 0, 1, ..., 10 % more or
    less, so that deliveries that failed together do not come back together. Never before what the
    receiver asked for by `Retry-After`.
    """
    settings = config.current()
    if failures >= settings.webhook_max_attempts:
        return None
    planned = settings.webhook_base_delay_secs * settings.webhook_backoff_factor ** (failures - 1)
    planned *= random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
    return max(min(planned, LONGEST_WAIT_S), retry_after_s or 0)


def shortest_wait_s() -> float:
    """No schedule waits less than this between two attempts."""
    return config.current().webhook_base_delay_secs * (1 - JITTER)
