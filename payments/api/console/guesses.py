"""Wrong tokens at the form, by address: who guesses has to wait, however many others guess too."""

import threading
import time
from collections import OrderedDict

WINDOW_S = 60.0
ADDRESSES = 10_000
"""Addresses that are remembered, in about 1 MiB; who guessed the longest ago is forgotten first."""


class Guesses:
    """Wrong tries of each address within a minute of its first. For many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def note(self, address: str, moment_s: float | None = None) -> None:
        """Count one. moment_s: of the monotonic clock."""
        moment_s = time.monotonic() if moment_s is None else moment_s
        with self._lock:
            began, tries = self._found.pop(address, (moment_s, 0))
            if moment_s - began >= WINDOW_S:
                began, tries = moment_s, 0
            self._found[address] = (began, tries + 1)
            while len(self._found) > ADDRESSES:
                self._found.popitem(last=False)

    def tries(self, address: str, moment_s: float | None = None) -> tuple[int, float]:
        """How many there were within its present minute, and the seconds that it still has."""
        moment_s = time.monotonic() if moment_s is None else moment_s
        with self._lock:
            began, tries = self._found.get(address, (moment_s, 0))
            left_s = began + WINDOW_S - moment_s
            return (tries, left_s) if tries and left_s > 0 else (0, 0.0)
