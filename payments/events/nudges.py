"""The hint that something is due: an RQ job that carries nothing, and never the truth.

The rows in `deliveries` say what is due. Without Redis, or with it gone, nothing is lost: the sweep
finds it. So nothing here raises, and nothing here takes long: after a failure Redis is left alone
for a few seconds.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.serializers import JSONSerializer
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from payments import clock, config

log = logging.getLogger(__name__)

QUEUE = "payments"
"""The RQ queue of the service's own jobs."""
DRAIN_JOB = "jobs.drain.drain"
"""By its name: no room imports the jobs."""
DRAIN_LIMIT_S = 180
"""RQ ends a drain that runs longer; it ends by itself long before (`webhooks.drain`)."""
FLAG = "drain:nudged"
FLAG_S = 5
WAKE_FLAG = "drain:wake:"
REDIS_LIMIT_S = 0.2
QUIET_S = 5.0

N = TypeVar("N", int, float)

heard = threading.Event()
"""Set by a nudge where there is no Redis: the clock of this very process waits for it."""


class Line:
    """The connection to one Redis. After a failure it is silent for `QUIET_S`."""

    def __init__(self, url: str) -> None:
        # One more try on a connection that broke (Redis was restarted); none when it hangs.
        self.redis = redis.Redis.from_url(
            url,
            socket_timeout=REDIS_LIMIT_S,
            socket_connect_timeout=REDIS_LIMIT_S,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        )
        self.queue = Queue(QUEUE, connection=self.redis, serializer=JSONSerializer)
        self._silent_until = 0.0

    def say(self, message: Callable[["Line"], object]) -> bool:
        """Send it. False when Redis did not take it, or is being left alone."""
        if time.monotonic() < self._silent_until:
            return False
        try:
            message(self)
        except (redis.RedisError, OSError) as fault:
            self._silent_until = time.monotonic() + QUIET_S
            log.warning(
                "no nudge: Redis is away; the sweep finds what is due",
                extra={"error": type(fault).__name__},
            )
            return False
        return True


@lru_cache(maxsize=8)
def line(url: str) -> Line:
    """This process's line to that Redis."""
    return Line(url)


def nudge() -> bool:
    """Say that something may be due. False when no worker will hear it.

    One job for many nudges: the flag stands until a drain begins, which clears it before it looks,
    so that a nudge from then on brings a job of its own. Where one waits already, that is the job:
    it begins later than this, and will see what is due. (The queue holds nothing but drains; should
    the one that waits be lost, the sweep finds what it was for.)
    """
    url = config.current().redis_url
    if url is None:
        heard.set()
        return False
    return line(url).say(_nudge)


def _nudge(to: Line) -> None:
    if to.redis.set(FLAG, 1, nx=True, ex=FLAG_S) and not to.queue.count:
        to.queue.enqueue(DRAIN_JOB, result_ttl=0, job_timeout=DRAIN_LIMIT_S)


def clear() -> None:
    """What a drain does first: from now on a nudge is news again."""
    heard.clear()
    url = config.current().redis_url
    if url is not None:
        line(url).say(lambda to: to.redis.delete(FLAG))


def wake_at(moment: datetime) -> bool:
    """Have a drain run at that moment, aware; to the second, never before. False without Redis.

    One wake for each second, however many ask for it.
    """
    url = config.current().redis_url
    if url is None:
        return False
    second = math.ceil(clock.aware(moment).timestamp())
    due = clock.EPOCH + timedelta(seconds=second)
    keep_s = max(1, second - int(clock.now().timestamp()))

    def wake(to: Line) -> None:
        if to.redis.set(f"{WAKE_FLAG}{second}", 1, nx=True, ex=keep_s):
            to.queue.enqueue_at(due, DRAIN_JOB, result_ttl=0, job_timeout=DRAIN_LIMIT_S)

    return line(url).say(wake)


def waiting_jobs() -> int | None:
    """How many jobs wait in the queue; None without a Redis that answers."""
    return _asked(lambda to: to.queue.count)


def oldest_wait_s() -> float | None:
    """Seconds that the first job of the queue has waited, 0 for an empty one; None as above."""
    return _asked(_first_waits_s)


def _first_waits_s(to: Line) -> float:
    since = [job.enqueued_at for job in to.queue.get_jobs(0, 1)]
    waits = [clock.now() - clock.aware(moment) for moment in since if moment is not None]
    return max([0.0, *(wait.total_seconds() for wait in waits)])


def living_workers() -> int | None:
    """How many workers serve the queue and have said so lately; None as above."""
    return _asked(_count_workers)


def _count_workers(to: Line) -> int:
    # RQ's set keeps the names of the dead; the key of each goes when it has been silent.
    names: Any = to.redis.smembers(WORKERS_BY_QUEUE_KEY % QUEUE)
    living: Any = to.redis.exists(*names) if names else 0
    return int(living)


def _asked(question: Callable[[Line], N]) -> N | None:
    url = config.current().redis_url
    answers: list[N] = []
    if url is None or not line(url).say(lambda to: answers.append(question(to))):
        return None
    return answers[0]
