"""The drain: send what is due, a few at a time for each endpoint, until nothing is left or time is.

One loop claims and records, threads make the exchanges, and nothing is sent inside a transaction.
Nothing waits for a slow receiver: an exchange that takes longer than a moment gives its slot to
another, and when the run's time is over, what is still in flight is written down by a thread that
stays behind for it.

Two drains, in one process or in many, share the work by leases. A drain that is killed leaves
leases that run out: then another sends again, and the receiver sees the same X-Delivery-ID.
"""

import contextvars
import logging
import threading
import time
from weakref import WeakKeyDictionary

from payments import db, settings
from payments.db import Store
from payments.errors import Busy, ReadOnly
from payments.events import nudges
from payments.webhooks import claims
from payments.webhooks.claims import Claim
from payments.webhooks.flight import Flight
from payments.webhooks.results import Result
from payments.webhooks.unwritten import PAUSE_S, Unwritten

log = logging.getLogger(__name__)

RUN_S = 30.0
LOOK_S = 0.05
"""How often a drain that waits for answers looks for what has become due meanwhile."""
LINGER_S = 1.5
"""A drain stays for what is due so soon: RQ's schedule knows whole seconds."""


class Drain:
    """One process's drain. It runs again and again; what is in flight may outlive a run.

    ca_file: trusted by TLS instead of the usual list.
    """

    def __init__(self, ca_file: str | None = None) -> None:
        self._flight = Flight(ca_file)
        self._turn = threading.Lock()
        self._stopping = threading.Event()
        self._unwritten = Unwritten()
        self._place = ""
        self._left_behind: list[threading.Thread] = []

    def run(self, run_s: float = RUN_S) -> bool:
        """Send what is due, for at most so many seconds. False when a run is under way here.

        Afterwards a nudge tells of what is still due, or a wake of what will be.
        """
        if settings.is_read_only() or not self._turn.acquire(blocking=False):
            return False
        try:
            nudges.clear()
            try:
                self._loop(time.monotonic() + run_s)
            finally:
                self._leave()
            self._tell_of_the_rest()
        except Busy:
            log.warning("the database did not answer the drain; the sweep goes on", exc_info=True)
        finally:
            self._turn.release()
        return True

    def stop(self) -> None:
        """Claim nothing more: a run ends once what is in flight has ended. From any thread."""
        self._stopping.set()

    def finish(self) -> None:
        """Stop, and return once everything in flight has ended and is written down."""
        self.stop()
        with self._turn:
            for thread in self._left_behind:
                thread.join()
            self._flight.close()

    def _loop(self, ends: float) -> None:
        look_at = 0.0
        while True:
            landed = self._flight.landed(LOOK_S) if self._flight.count else []
            over = time.monotonic() >= ends
            if landed or self._unwritten.has_stuck_due or time.monotonic() >= look_at:
                may_claim = not over and not self._stopping.is_set()
                self._step(landed, self._flight.room() if may_claim else 0)
                look_at = time.monotonic() + LOOK_S
            if over:
                return
            if self._flight.count:
                continue
            if self._unwritten:
                if self._stopping.wait(LOOK_S):
                    self._unwritten.let_go()
                continue
            if self._stopping.is_set() or not self._linger():
                return

    def _step(self, landed: list[Result], room: int) -> None:
        """Write down what has landed and claim for the room there is, in one unit; then launch."""
        self._unwritten.add(landed)
        try:
            if self._unwritten.has_fresh or (room and claims.is_any_ready()):
                claimed, self._place = self._unwritten.write(lambda: self._claim(room))
                for claim in claimed:
                    self._flight.launch(claim)
        except (Busy, ReadOnly):
            log.warning("the database did not answer the drain", exc_info=True)
            self._stopping.wait(PAUSE_S)
        if self._unwritten.has_stuck_due:
            self._unwritten.write_one_by_one()

    def _claim(self, room: int) -> tuple[list[Claim], str]:
        return claims.take(room, self._place) if room else ([], self._place)

    def _linger(self) -> bool:
        """Wait a little for what is due soon. False when nothing is."""
        due_at = claims.next_at()
        if due_at is None:
            return False
        wait_s = (due_at - db.now()).total_seconds()
        if wait_s > LINGER_S:
            return False
        self._stopping.wait(min(max(wait_s, 0.001), LOOK_S))
        return True

    def _leave(self) -> None:
        """Where exchanges are still under way, leave a thread behind that writes them down."""
        self._left_behind = [thread for thread in self._left_behind if thread.is_alive()]
        unwritten, self._unwritten = self._unwritten, Unwritten()
        if not self._flight.count and not unwritten:
            return
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run, args=(self._write_the_rest, unwritten), name="drain-rest"
        )
        self._left_behind.append(thread)
        thread.start()

    def _write_the_rest(self, unwritten: Unwritten) -> None:
        """As long as something is in flight; then tell of what that had held back."""
        while self._flight.count or unwritten:
            unwritten.add(self._flight.landed(PAUSE_S) if self._flight.count else [])
            try:
                if unwritten.has_fresh:
                    unwritten.write(lambda: None)
                if unwritten.has_stuck_due:
                    unwritten.write_one_by_one()
            except (Busy, ReadOnly):
                log.warning("the database did not answer the drain", exc_info=True)
            except Exception:
                log.exception("the end of a drain stumbled; the sweep goes on")
            if unwritten and not self._flight.count and self._stopping.wait(PAUSE_S):
                unwritten.let_go()
        try:
            self._tell_of_the_rest()
        except Exception:
            log.exception("nobody was told what is left to send; the sweep goes on")

    def _tell_of_the_rest(self) -> None:
        """A nudge for what is due, or a wake for what will be."""
        if self._stopping.is_set():
            return
        if claims.is_any_ready():
            if not nudges.nudge():
                nudges.heard.set()  # then this process's clock goes on, if it has one
            return
        due_at = claims.next_at()
        if due_at is not None:
            nudges.wake_at(due_at)


_drains: WeakKeyDictionary[Store, Drain] = WeakKeyDictionary()
_lock = threading.RLock()  # a handler of signals may come in between


def of_process() -> Drain:
    """This process's drain of the present database."""
    with _lock:
        store = db.current_store()
        if store not in _drains:
            _drains[store] = Drain()
        return _drains[store]


def run(run_s: float = RUN_S) -> bool:
    """Send what is due, as `Drain.run` does."""
    return of_process().run(run_s)


def finish() -> None:
    """At the end of a process: stop, and wait for what is in flight."""
    with _lock:
        drain = _drains.pop(db.current_store(), None)
    if drain is not None:
        drain.finish()
