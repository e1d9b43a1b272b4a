"""The threads of a web process: a queue in, a list out, and one byte that wakes the loop.

An executor makes a future with its lock for each request, and two callbacks through a second queue,
each with a byte of its own: a tenth of all that a request costs here.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Threads(Generic[T]):
    """So many threads that do the same work. The loop watches `fileno()` for what they finished.

    work: says whether it went well; one that raises is logged, and did not.
    """

    def __init__(self, count: int, work: Callable[[T], bool]) -> None:
        self._work = work
        self._waiting: SimpleQueue[T | None] = SimpleQueue()
        self._done: deque[tuple[T, bool]] = deque()
        self._is_told = False
        self._ear, self._mouth = os.pipe()
        os.set_blocking(self._ear, False)
        self._threads = [
            threading.Thread(target=self._serve, name=f"answers-{n}") for n in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def fileno(self) -> int:
        """Readable while there is something in `finished`."""
        return self._ear

    def put(self, item: T) -> None:
        """Have it done by the next thread that is free."""
        self._waiting.put(item)

    def finished(self) -> Iterator[tuple[T, bool]]:
        """What was done since, and whether it went well. For the loop alone."""
        os.read(self._ear, 1)
        # Before looking: what is done from here on is told anew, though it may be found already.
        self._is_told = False
        while self._done:
            yield self._done.popleft()

    def shutdown(self, *, wait: bool = False) -> None:
        """Let the threads end after what is waiting; the process ends once they have."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _serve(self) -> None:
        while (item := self._waiting.get()) is not None:
            went_well = False
            try:
                went_well = self._work(item)
            except Exception:
                log.exception("a thread met a fault outside of the app")
            self._done.append((item, went_well))
            if not self._is_told:
                self._is_told = True
                os.write(self._mouth, b"\0")
