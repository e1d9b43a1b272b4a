"""The worker: RQ's simple worker, and beside it the clock. `python -m jobs.worker`.

The simple worker runs jobs in this very process, where the app is loaded and connections to
receivers stay open; a job here is a drain, which bounds itself. RQ's scheduler is called by a
thread of ours instead of running as a child, which would outlive a killed worker and hold its lock.
"""

import logging
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

import redis
from rq import Queue, SimpleWorker, worker_registration
from rq.scheduler import RQScheduler
from rq.serializers import JSONSerializer

from jobs.house import worker_app
from payments import config
from payments.app import periodic_tasks
from payments.config import ConfigError
from payments.events import nudges
from payments.operations.clock import Clock
from payments.webhooks import drain

FINE, NOT_RUN = 0, 3
AGAIN_S = 1.0
SCHEDULE_S = 0.5
PRESENCE_S = 2.0
"""How often the worker looks whether Redis still knows it."""
REDIS_CONNECT_S = 5.0
WORKER_TTL_S = 30
"""RQ waits for a job in calls of half of this: so soon it sees that its Redis is another's now."""
CONNECTION: dict[str, Any] = {
    "socket_connect_timeout": REDIS_CONNECT_S,
    "socket_keepalive": True,
}

log = logging.getLogger(__name__)


class Worker(SimpleWorker):
    """RQ's worker; asked to stop, it has the drain end soon, not at the end of its time.

    RQ says once, at its birth, that it is there, and then only that its heart beats: where Redis
    came back empty, no list would show a worker that works. This one says it again.
    """

    # While Redis is away RQ waits longer and longer; it must be there when Redis comes back.
    max_connection_wait_time = 1.0
    stop_asked = threading.Event()

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._registering = threading.Lock()
        self._is_there = False

    def register_birth(self) -> None:
        """From now on it is in the list."""
        super().register_birth()
        self._is_there = True

    def register_death(self) -> None:
        """From now on it is not, and nothing puts it there again."""
        with self._registering:
            self._is_there = False
        super().register_death()

    def register_again(self, connection: redis.Redis) -> None:
        """Put it back into the list where Redis has lost it. From any thread.

        Raises RedisError.
        """
        with self._registering:
            if not self._is_there or self._is_known(connection):
                return
            log.warning("Redis had forgotten this worker")
            with connection.pipeline() as pipeline:
                told = {**self.serialize(), "state": self.get_state()}
                pipeline.hset(self.key, mapping=told)
                worker_registration.register(self, pipeline)
                pipeline.expire(self.key, self.worker_ttl + 60)
                pipeline.execute()

    def _is_known(self, connection: redis.Redis) -> bool:
        """Both in the list and with its facts: a heartbeat alone writes a part of them."""
        with connection.pipeline() as pipeline:
            pipeline.sismember(self.redis_workers_keys, self.key)
            pipeline.hexists(self.key, "birth")
            return all(pipeline.execute())

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """A handler of SIGTERM and SIGINT."""
        self.stop_asked.set()
        drain.of_process().stop()
        super().request_stop(signum, frame)


class Schedule(threading.Thread):
    """Moves RQ jobs whose time has come into the queue, whichever worker holds the lock for it.

    worker: whom it keeps in RQ's list meanwhile, since that one waits for jobs.
    """

    def __init__(self, url: str) -> None:
        super().__init__(name="schedule", daemon=True)
        self.worker: Worker | None = None
        self._redis = redis.Redis.from_url(url, socket_timeout=REDIS_CONNECT_S, **CONNECTION)
        self._scheduler = RQScheduler(
            [nudges.QUEUE],
            connection=self._redis,
            serializer=JSONSerializer,
            logging_level="WARNING",
        )
        self._stopping = threading.Event()

    def run(self) -> None:
        """Until stopped; Redis being away is waited for."""
        renewed = seen = 0.0
        while not self._stopping.wait(SCHEDULE_S):
            try:
                if time.monotonic() - renewed >= self._scheduler.interval:
                    self._scheduler.acquire_locks()
                    renewed = time.monotonic()
                self._scheduler.enqueue_scheduled_jobs()
                if self.worker is not None and time.monotonic() - seen >= PRESENCE_S:
                    self.worker.register_again(self._redis)
                    seen = time.monotonic()
            except redis.RedisError as fault:
                log.warning("Redis is away from the schedule", extra={"error": str(fault)})
            except Exception:
                log.exception("the schedule stumbled; it goes on")

    def stop(self) -> None:
        """Give the lock back, so that another worker need not wait for it to run out."""
        self._stopping.set()
        self.join()
        try:
            self._scheduler.release_locks()
        except redis.RedisError:
            log.warning("the scheduler's lock stays until it runs out")
        self._redis.close()


def _end(signum: int, frame: FrameType | None) -> None:
    """A handler for the time in which RQ's own do not stand yet: nothing is in hand then."""
    Worker.stop_asked.set()
    sys.exit(FINE)


def work(url: str, schedule: Schedule) -> None:
    """Work until asked to stop, through the times that Redis is away."""
    while not Worker.stop_asked.is_set():
        connection = redis.Redis.from_url(url, **CONNECTION)
        try:
            queue = Queue(nudges.QUEUE, connection=connection, serializer=JSONSerializer)
            worker = Worker(
                [queue], connection=connection, serializer=JSONSerializer, worker_ttl=WORKER_TTL_S
            )
            worker.log_result_lifespan = False
            schedule.worker = worker
            worker.work(logging_level="WARNING")
        except (redis.RedisError, OSError) as fault:
            log.warning("Redis is away; the worker waits", extra={"error": str(fault)})
        finally:
            connection.close()
        Worker.stop_asked.wait(AGAIN_S)


def main() -> int:
    """Exit 0: stopped when asked. 3: the settings can't be used, or name no Redis."""
    try:
        app = worker_app()
    except ConfigError as error:
        sys.stderr.write(f"The settings can't be used:\n{error}\n")
        return NOT_RUN
    with app.app_context():
        url = config.current().redis_url
        if url is None:
            sys.stderr.write("REDIS_URL is not set: the web process runs the clock by itself.\n")
            return NOT_RUN
        clock, schedule = Clock(app.app_context, periodic_tasks(config.current())), Schedule(url)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)
        clock.start()
        schedule.start()
        try:
            work(url, schedule)
        finally:
            clock.stop()
            schedule.stop()
            drain.finish()
    return FINE


if __name__ == "__main__":
    sys.exit(main())
