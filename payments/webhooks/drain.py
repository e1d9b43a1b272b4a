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
from payments.webhooks import claims, results
from payments.webhooks.claims import Claim
from payments.webhooks.flight import Flight
from payments.webhooks.results import Result

log = logging.getLogger(__name__)

RUN_S = 30.0
LOOK_S = 0.05
"""How often a drain that waits for answers looks for what has become due meanwhile."""
LINGER_S = 1.5
"""A drain stays for what is due so soon: RQ's schedule knows whole seconds."""
PAUSE_S = 0.5
"""After the database did not answer."""


class Drain:
    """One process's drain. It runs again and again; what is in flight may outlive a run.

    ca_file: trusted by TLS instead of the usual list.
    """

    def __init__(self, ca_file: str | None = None) -> None:
        self._flight = Flight(ca_file)
        self._turn = threading.Lock()
        self._stopping = threading.Event()
        self._unwritten: list[Result] = []
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
            if landed or self._unwritten or time.monotonic() >= look_at:
                may_claim = not over and not self._stopping.is_set()
                self._step(landed, self._flight.room() if may_claim else 0)
                look_at = time.monotonic() + LOOK_S
            if over:
                return
            if self._flight.count or self._unwritten:
                continue
            if self._stopping.is_set() or not self._linger():
                return

    def _step(self, landed: list[Result], room: int) -> None:
        """Write down what has landed and claim for the room there is, in one unit; then launch."""
        self._unwritten += landed
        written = list(self._unwritten)
        try:
            if not written and not (room and claims.is_any_ready()):
                return
            claimed, self._place = db.in_unit(lambda: self._write_and_claim(written, room))
        except (Busy, ReadOnly):
            self._wait_for_the_database()
            return
        except Exception:
            self._unwritten.clear()
            _salvage(written)
            raise
        self._unwritten.clear()
        for claim in claimed:
            self._flight.launch(claim)

    def _write_and_claim(self, written: list[Result], room: int) -> tuple[list[Claim], str]:
        results.record(written)
        return claims.take(room, self._place) if room else ([], self._place)

    def _wait_for_the_database(self) -> None:
        """Results are kept; in the worst case their leases run out, and they are sent again."""
        log.warning("the database did not answer the drain", exc_info=True)
        if self._stopping.wait(PAUSE_S):
            self._unwritten.clear()

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
        unwritten, self._unwritten = self._unwritten, []
        if not self._flight.count and not unwritten:
            return
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run, args=(self._write_the_rest, unwritten), name="drain-rest"
        )
        self._left_behind.append(thread)
        thread.start()

    def _write_the_rest(self, unwritten: list[Result]) -> None:
        """As long as something is in flight; then tell of what that had held back."""
        told = False
        while not told:
            unwritten += self._flight.landed(PAUSE_S) if self._flight.count else []
            try:
                if unwritten:
                    written = list(unwritten)
                    db.in_unit(lambda: results.record(written))  # noqa: B023 (run at once)
                    unwritten = []
                if not self._flight.count:
                    self._tell_of_the_rest()
                    told = True
            except (Busy, ReadOnly):
                log.warning("the database did not answer the drain", exc_info=True)
                if self._stopping.wait(PAUSE_S):
                    return
            except Exception:
                log.exception("the end of a drain stumbled; the sweep goes on")
                _salvage(unwritten)
                unwritten, told = [], not self._flight.count

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


def _salvage(unwritten: list[Result]) -> None:
    """Write results one by one, so that one that can't be written takes no other with it."""
    for result in unwritten:
        try:
            db.in_unit(lambda: results.record([result]))  # noqa: B023 (run at once)
        except Exception:
            log.exception(
                "a result can't be written; its lease will run out",
                extra={"delivery_id": result.claim.parcel.delivery_id},
            )


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
