"""Exchanges under way in this process: started here, and collected as they end."""

import logging
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from payments import clock, config
from payments.webhooks.claims import Claim
from payments.webhooks.results import Result
from payments.webhooks.sender import Answer, Sender

log = logging.getLogger(__name__)

SLOTS = 32
"""Exchanges at once that have not proven slow. More would only wait for each other."""
PATIENCE_S = 0.05
"""From then on an exchange is slow, and its slot is another's."""
THREADS = 128
"""Exchanges at once, slow ones included."""
TOGETHER_S = 0.003
"""How long a result waits for others, to be written down with them."""


class Flight:
    """The threads of one process that make exchanges, and its kept connections.

    ca_file: trusted by TLS instead of the usual list.
    """

    def __init__(self, ca_file: str | None = None) -> None:
        settings = config.current()
        self._sender = Sender(
            timeout_s=settings.webhook_timeout_secs,
            allow_private=settings.webhook_allow_private_targets,
            ca_file=ca_file,
        )
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="exchange")
        self._landed: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._begun: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """Exchanges begun and not yet collected."""
        return len(self._begun)

    def room(self) -> int:
        """How many more may begin now."""
        with self._lock:
            old = time.monotonic() - PATIENCE_S
            young = sum(begun > old for begun in self._begun.values())
            return max(0, min(SLOTS - young, THREADS - len(self._begun)))

    def launch(self, claim: Claim) -> None:
        """Begin an exchange."""
        with self._lock:
            self._begun[_key(claim)] = time.monotonic()
        self._pool.submit(self._exchange, claim)

    def landed(self, wait_s: float) -> list[Result]:
        """What has ended; where nothing has yet, waits for the first, at most so long.

        After the first a moment more, for those that end together: they are written together.
        """
        found: list[Result] = []
        until = time.monotonic() + wait_s
        try:
            while len(found) < self.count and (left := until - time.monotonic()) > 0:
                found.append(self._landed.get(timeout=left))
                if len(found) == 1:
                    until = time.monotonic() + TOGETHER_S
        except queue.Empty:
            pass  # that was all, for now
        with self._lock:
            for result in found:
                del self._begun[_key(result.claim)]
        return found

    def close(self) -> None:
        """End the threads, once their exchanges have ended, and close the kept connections."""
        self._pool.shutdown()
        self._sender.close()

    def _exchange(self, claim: Claim) -> None:
        try:
            answer = self._sender.send(claim.parcel)
        except Exception as fault:
            log.exception("an attempt failed here", extra={"delivery_id": claim.parcel.delivery_id})
            detail = f"the attempt failed on our side: {type(fault).__name__}"
            answer = Answer("connect", clock.now(), 0, detail=detail)
        self._landed.put(Result(claim, answer))


def _key(claim: Claim) -> tuple[str, str]:
    return claim.parcel.delivery_id, claim.token
