"""What rq-dashboard's views read with: a Redis that can only be read, and jobs that are only JSON.

RQ tidies up as it reads: a job whose row is gone is taken from its queue, a worker from its set, an
execution from its registry. Here a command that isn't known to only read never leaves the process.
Their own way to load jobs would unpickle whatever lies there; ours shows what is no JSON as such.
"""

import binascii
import zlib
from collections.abc import Sequence
from typing import Any

import redis
from redis.client import Pipeline
from rq import Queue, Worker, registry
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

READING = frozenset(
    ("PING", "EXISTS", "TYPE", "TTL", "GET", "HGET", "HGETALL", "HMGET", "LLEN", "LRANGE")
    + ("SCARD", "SMEMBERS", "SISMEMBER", "ZCARD", "ZCOUNT", "ZRANGE", "ZSCORE", "XRANGE")
    + ("XREVRANGE",)
)
"""The commands that reach Redis."""
UNREADABLE = "(not JSON, so not shown)"
REGISTRIES: dict[str, Any] = {
    "started": registry.StartedJobRegistry,
    "deferred": registry.DeferredJobRegistry,
    "finished": registry.FinishedJobRegistry,
    "failed": registry.FailedJobRegistry,
    "scheduled": registry.ScheduledJobRegistry,
    "canceled": registry.CanceledJobRegistry,
}
"""Beside `queued`, which is the queue itself."""
MOST_JOBS = 2_000
"""Pages of jobs begin among the first so many."""


class LookingRedis(redis.Redis):
    """A client that reads. Whatever else it is told, it answers that nothing was changed."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """The answer, where the command only reads; else 0, and nothing was sent."""
        return super().execute_command(*args, **options) if _reads(args) else 0

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Commands that are sent together, by the same rule."""
        return LookingPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )


class LookingPipeline(Pipeline):
    """Commands sent together. One that would change something is a PING, to keep its place."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Put it among them."""
        if _reads(args):
            return super().execute_command(*args, **options)
        return super().execute_command("PING")


def _reads(command: Sequence[Any]) -> bool:
    return str(command[0]).upper() in READING


class Json(JSONSerializer):
    """Reads JSON, and says so of what is none."""

    @staticmethod
    def loads(s: bytes, *args: Any, **options: Any) -> Any:
        """The value, or `UNREADABLE`."""
        try:
            return JSONSerializer.loads(s, *args, **options)
        except (ValueError, RecursionError):
            return UNREADABLE


class JsonJob(Job):
    """A job, read as JSON, of which as much is shown as can be read."""

    @classmethod
    def fetch(cls, *args: Any, **options: Any) -> Any:
        """The job. Raises NoSuchJobError, also where the row is no job's."""
        try:
            return super().fetch(*args, **options | {"serializer": Json})
        except (ValueError, TypeError, AttributeError):
            raise NoSuchJobError("no job's row") from None

    def latest_result(self, *args: Any, **options: Any) -> Any:
        """The result of its last run, or None; None as well where it can't be read."""
        try:
            return super().latest_result(*args, **options)
        except (ValueError, TypeError, KeyError, AttributeError, zlib.error, binascii.Error):
            return None

    def get_call_string(self) -> str:
        """What it calls."""
        try:
            return str(super().get_call_string())
        except (DeserializationError, ValueError, TypeError, AttributeError):
            return UNREADABLE


class JsonWorker(Worker):
    """A worker whose jobs are JSON."""

    @classmethod
    def all(cls, *args: Any, **options: Any) -> Any:
        """Those that are registered."""
        return super().all(*args, **options | {"serializer": Json, "job_class": JsonJob})

    def get_current_job(self) -> Any:
        """What it works at; None as well where that job is gone."""
        execution = self.execution
        try:
            return None if execution is None else self.job_class.fetch(
                execution.job_id, connection=self.connection
            )  # fmt: skip
        except NoSuchJobError:
            return None


class JsonQueue(Queue):
    """A queue whose jobs are JSON."""

    job_class = JsonJob

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"serializer": Json})


def page_of_jobs(
    name: str, kind: str, offset: int, per_page: int, order: str, connection: redis.Redis
) -> tuple[int, list[JsonJob]]:
    """The jobs of one page, at most `per_page`, and how many there are, at most `MOST_JOBS`.

    Their own function lengthens the pages of a registry with each page. A job whose row is gone is
    left out, and stays where it is.
    """
    queue: Any = JsonQueue(name, connection=connection)
    whole = queue if kind == "queued" else REGISTRIES[kind](name, connection=connection)
    total: int = queue.count if kind == "queued" else whole.get_job_count(cleanup=False)
    first, beyond = offset, offset + per_page
    if order == "dsc":
        first, beyond = max(0, total - beyond), max(0, total - offset)
    found: list[str] = []
    if kind == "queued" and beyond > first:
        found = queue.get_job_ids(first, beyond - first)
    elif beyond > first:
        found = whole.get_job_ids(first, beyond - 1, cleanup=False)
    if order == "dsc":
        found.reverse()
    jobs = (queue.fetch_job(job_id) for job_id in found)
    return min(total, MOST_JOBS), [job for job in jobs if job is not None]
