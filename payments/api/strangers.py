"""Calls of operators' routes that no operator made: in the audit trail too, and counted.

Anyone can send a wrong token as often as the rate limit lets them, from many addresses, and the
trail can only grow. So each try is a line of the log, and the trail has one for each address and
minute, which says how many tries there were since the one before. What was sent is written nowhere.
"""

import math
import threading
import time

from flask import Flask

WINDOW_S = 60.0
NETWORKS = 60
"""Lines of one window in one process; all further addresses share one."""
OTHERS = "others"


class Strangers:
    """Tries by address, of this window and of the one before. For many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = -math.inf
        self._tries: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def note(self, network: str, moment_s: float | None = None) -> tuple[str, int] | None:
        """Count a try. Gives what to write down: whose tries, and how many; None: nothing now.

        moment_s: of the monotonic clock.
        """
        moment_s = time.monotonic() if moment_s is None else moment_s
        with self._lock:
            if moment_s - self._began >= WINDOW_S:
                self._before, self._tries, self._began = self._tries, {}, moment_s
            if network not in self._tries and len(self._tries) >= NETWORKS:
                network = OTHERS
            self._tries[network] = self._tries.get(network, 0) + 1
            if self._tries[network] > 1:
                return None
            # The first try of a window was written when it was made.
            return network, max(1, self._before.get(network, 0))


def init_app(app: Flask) -> None:
    """One count for the process."""
    app.extensions["payments_strangers"] = Strangers()


def of(app: Flask) -> Strangers:
    """The app's count."""
    found: Strangers = app.extensions["payments_strangers"]
    return found
