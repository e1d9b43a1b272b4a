"""The service as processes: gunicorn and the worker, started as the Procfile does, on real sockets.

    with web(environ, tmp_path) as service, worker(environ, tmp_path) as drain:
        requests.get(service.url("/health"))
        drain.kill()

Both are `Child`: `terminate`, `kill`, `signal`, `log`. The environment is what the test gives and
nothing else: neither this machine's variables nor a `.env` of the developer reach it.
"""

import http.client
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import redis

from payments.config import VARIABLES
from tests.children import Child, children_of, plain_environ

READY_WITHIN_S = 30.0
GUNICORN = (sys.executable, "-m", "gunicorn", "-c", "ops/gunicorn.conf.py")
WORKER = (sys.executable, "-m", "jobs.worker")


def service_environ(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The whole environment of a process of the service; folder: its HOME.

    A variable set to nothing counts as not set, and wins over a `.env` in the root.
    """
    unset = dict.fromkeys([*VARIABLES, "DATABASE_URL", "DYNO"], "")
    return {**unset, **plain_environ(folder), "LOG_FORMAT": "json", **environ}


class Web(Child):
    """Gunicorn with the service, on a free loopback port."""

    def __init__(
        self, environ: Mapping[str, str], folder: Path, workers: int, options: Sequence[str]
    ) -> None:
        # The socket is bound here and handed over: no other process can take the port in between.
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            self.port = int(listener.getsockname()[1])
            given = service_environ(environ, folder)
            super().__init__(
                [*GUNICORN, "--bind", f"fd://{listener.fileno()}", *options, "wsgi:app"],
                log=folder / f"web-{self.port}.log",
                environ={**given, "WEB_CONCURRENCY": str(workers), "PORT": str(self.port)},
                pass_fds=[listener.fileno()],
            )
        try:
            self.wait_ready(self._lives, READY_WITHIN_S)
        except BaseException:
            self.close()
            raise

    def url(self, path: str = "") -> str:
        """An address of the service."""
        return f"http://127.0.0.1:{self.port}{path}"

    def workers(self) -> list[int]:
        """The ids of gunicorn's processes that serve."""
        return children_of(self.pid)

    def _lives(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health/live")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Worker(Child):
    """`python -m jobs.worker`, or another RQ worker by `command`."""

    def __init__(
        self, environ: Mapping[str, str], folder: Path, command: Sequence[str] = WORKER
    ) -> None:
        self._redis_url = environ["REDIS_URL"]
        super().__init__(
            command,
            log=folder / f"worker-{os.urandom(4).hex()}.log",
            environ=service_environ(environ, folder),
        )
        try:
            self.wait_ready(self._is_registered, READY_WITHIN_S)
        except BaseException:
            self.close()
            raise

    def _is_registered(self) -> bool:
        """Whether RQ knows it: from then on it takes jobs."""
        with redis.Redis.from_url(self._redis_url, decode_responses=True) as client:
            names = client.smembers("rq:workers")
            return any(client.hget(name, "pid") == str(self.pid) for name in names)


def web(
    environ: Mapping[str, str], folder: Path, *, workers: int = 2, options: Sequence[str] = ()
) -> Web:
    """Start gunicorn with so many processes; it answers when this returns. options: gunicorn's.

    Raises ChildError with its log when it does not start.
    """
    return Web(environ, folder, workers, options)


def worker(environ: Mapping[str, str], folder: Path) -> Worker:
    """Start the worker; it takes jobs when this returns. Raises ChildError with its log."""
    return Worker(environ, folder)
