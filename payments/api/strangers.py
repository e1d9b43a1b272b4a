"""Calls of operators' routes that no operator made: in the audit trail too, and counted.

Anyone can send a wrong token as often as the rate limit lets them, from many addresses, and the
trail can only grow. So each try is a line of the log, and the trail has one for each address and
minute, which says how many tries there were since the one before. What was sent is written nowhere.
"""

import logging
import math
import threading
import time

import flask
from flask import Flask

from payments import audit, db, settings
from payments.api import limits
from payments.api.requests import ApiRequest
from payments.errors import PaymentsError

log = logging.getLogger(__name__)

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


def write_down(
    request: ApiRequest,
    refusal: PaymentsError,
    action: str,
    subject: str | None,
    *,
    in_read_only: bool,
) -> None:
    """A line of the log and, where none of its window has one, of the audit trail."""
    caller = request.caller
    who = caller.scope if caller else f"address:{limits.network(request.client_address)}"
    log.warning("not an operator", extra={"actor": who, "code": refusal.code})
    if settings.is_read_only() and not in_read_only:
        return
    noted = of(flask.current_app).note(who)
    if noted is None:
        return
    actor, tries = noted
    db.in_unit(
        lambda: audit.record(
            actor, action, subject,
            outcome=refusal.code, after={"tries": tries}, request_id=request.request_id,
        ),
        in_read_only=in_read_only,
    )  # fmt: skip
