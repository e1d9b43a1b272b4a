"""Drains that run meanwhile, and receivers that take a while."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from payments.webhooks.drain import Drain


class Busyness:
    """A behaviour that takes a while, and how many requests it had at once at the most."""

    def __init__(self, seconds: float, status: int = 200) -> None:
        self.seconds = seconds
        self.status = status
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, handler) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        handler.rest(self.seconds)
        with self._lock:
            self.now -= 1
        handler.answer(self.status, b"", {})


@contextmanager
def running(app, drain: Drain, run_s: float = 30) -> Iterator[None]:
    """The drain runs in a thread meanwhile; at the end it is told to stop."""

    def work() -> None:
        with app.app_context():
            drain.run(run_s)

    thread = threading.Thread(target=work, name="drain of a test")
    thread.start()
    try:
        yield
    finally:
        drain.stop()
        thread.join()


def wait_until(condition: Callable[[], object], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
