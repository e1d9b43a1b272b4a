"""Who watches the watchers: when each alert fired and cleared, and what reached whom.

    with watching(stack) as watch:
        watch.fault("WorkersMissing", "the worker ended and was not started again")
        watch.fires("WorkersMissing")     # in Prometheus, and at Alertmanager's receiver
        watch.mend("WorkersMissing")      # types what the runbook says, and waits until it clears

A thread asks Prometheus several times a second, so that times are right while a test does
something else.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import requests

from scripts import alert_rules
from tests.children import wait_until
from tests.live import runbook
from tests.live.stack import Stack
from tests.observability.test_alert_rules import alerts

LOOK_S = 0.3
WITHIN_S = 90.0
PRINTS_WITHIN_S = 20.0
SEVERITIES = {rule["alert"]: rule["labels"]["severity"] for rule in reversed(alerts())}
"""By alert; of a burn rate the fastest, which is the one that a test can see."""
FASTEST = f"{alert_rules.BURNS[0].times:g}"
ALWAYS = "Watchdog"
"""The one whose fault is its silence."""
PATHS = {"page": "/page", "ticket": "/ticket"}


@dataclass
class Times:
    """One alert's fault, and when it was made and its mending begun, by the monotonic clock.

    fired_s: from the fault until it fired; cleared_s: from the first mending command on.
    """

    fault: str
    began: float
    fired_s: float | None = None
    mended: float | None = None
    cleared_s: float | None = None


class Watch:
    """The alerts of one stack. times: by alert."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.times: dict[str, Times] = {}
        self._firing: set[str] = set()
        self._first: dict[str, float] = {}
        self._silent: dict[str, float] = {}
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch")
        self._http = requests.Session()
        self._http.trust_env = False

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End looking."""
        self._over.set()
        self._thread.join()
        self._http.close()

    def fault(self, alert: str, what: str) -> None:
        """Say that the alert's fault is made now; before, it must be silent."""
        assert alert not in self.times, f"{alert} has had its fault"
        # It may still fire for another fault: a server that was down shows its metrics last.
        if alert != ALWAYS:
            self._wait(lambda: not self.is_firing(alert), f"{alert} to be silent before its fault")
        self._say(f"{alert}: {what}")
        with self._lock:
            self._first.pop(alert, None)
        self.times[alert] = Times(what, time.monotonic())

    def is_firing(self, alert: str) -> bool:
        """In Prometheus, when it was looked at last."""
        with self._lock:
            return alert in self._firing

    def fires(self, alert: str) -> None:
        """Wait until it fires and has reached whom it should; then look as the runbook does."""
        times = self.times[alert]
        self._wait(lambda: self.is_firing(alert), f"{alert} to fire")
        self._say(f"{alert} fires")
        with self._lock:
            times.fired_s = self._first[alert] - times.began
        path = PATHS.get(SEVERITIES[alert])
        if path is None:
            self._wait(
                lambda: alert in self.stack.alertmanager.states(), f"{alert} at Alertmanager"
            )
            assert not self.arrived(alert), f"{alert} is for nobody, and somebody got it"
        else:
            self._wait(lambda: "firing" in self.arrived(alert), f"{alert} at {path}")
        self.types(alert, "Look")

    def looked(self, alert: str) -> None:
        """As `fires`, of one that fires and is silenced by its cause."""
        times = self.times[alert]
        with self._lock:
            times.fired_s = self._first[alert] - times.began
        self.types(alert, "Look")

    def mend(self, alert: str, *others: str, resolves: bool = True) -> None:
        """Type what mends it; wait until it clears, and the others with it.

        others: alerts of the same fault, which the runbook mends by the same commands. resolves:
        whether the receiver must hear that it is over; not where another alert silences it.
        """
        self.mend_only(alert, *others)
        for each in (alert, *others):
            self.clears(each, resolves)

    def mend_only(self, alert: str, *others: str) -> None:
        """As `mend`, without waiting."""
        for other in others:
            assert runbook.typed(other, "Mend") == runbook.typed(alert, "Mend"), other
        assert runbook.typed(alert, "Mend"), f"nothing mends {alert}"
        for each in (alert, *others):
            self.times[each].mended = time.monotonic()
        self.types(alert, "Mend")

    def falls_silent(self, alert: str, is_heard: Callable[[], bool]) -> None:
        """Of the one that always fires: nobody has heard it for a while. Mend that."""
        times = self.times[alert]
        times.fired_s = time.monotonic() - times.began
        self.types(alert, "Look")
        mended = time.monotonic()
        self.types(alert, "Mend")
        wait_until(is_heard, f"{alert} to be heard again", WITHIN_S)
        times.cleared_s = time.monotonic() - mended
        self.types(alert, "Mended")

    def clears(self, alert: str, resolves: bool = True) -> None:
        """Wait until it does not fire any more; then see that it is mended, as the runbook does."""
        times = self.times[alert]
        assert times.mended is not None
        self._wait(lambda: not self.is_firing(alert), f"{alert} to clear")
        with self._lock:
            times.cleared_s = max(0.0, self._silent[alert] - times.mended)
        self._say(f"{alert} cleared")
        if resolves and SEVERITIES[alert] in PATHS:
            self._wait(lambda: self.arrived(alert)[-1:] == ["resolved"], f"{alert} to resolve")
        self.types(alert, "Mended")

    def types(self, alert: str, part: str) -> None:
        """Type each block of that part of the entry; what it prints must be what stands there."""
        for block in runbook.typed(alert, part):
            self.type(block, f"{alert}, {part}", once=part == "Mend")

    def type(self, block: runbook.Typed, where: str, once: bool = False) -> None:
        """Type a block; what it prints must be what stands there, at once or within seconds."""
        deadline = time.monotonic() + (0 if once else PRINTS_WITHIN_S)
        while True:
            told = self.stack.type(block)
            if block.matches(told):
                break
            said = f"{where}: {block.text}should print\n{block.printed}\nand printed\n{told}"
            assert time.monotonic() < deadline, said
            time.sleep(LOOK_S)
        self._say(f"typed of {where}: {block.text.splitlines()[0][:60]}")

    def arrived(self, alert: str) -> list[str]:
        """What Alertmanager's receivers were told of the alert, in order: `firing`, `resolved`."""
        told = []
        for path in PATHS.values():
            for message in self.stack.receiver.received(path):
                told += [
                    each["status"]
                    for each in json.loads(message.body)["alerts"]
                    if each["labels"]["alertname"] == alert and _is_fastest(each["labels"])
                ]
        return told

    def _wait(self, condition: Callable[[], object], what: str) -> None:
        wait_until(condition, what, WITHIN_S)

    def _say(self, what: str) -> None:
        """For who reads what a test that failed has printed."""
        sys.stdout.write(f"{time.monotonic() - self._began:6.1f} s  {what}\n")

    def _look(self) -> None:
        while not self._over.wait(LOOK_S):
            try:
                answer = self._http.get(self.stack.prometheus.url("/api/v1/alerts"), timeout=10)
                found = answer.json()["data"]["alerts"]
            except (requests.RequestException, ValueError, KeyError):
                continue  # it is being started again
            now = time.monotonic()
            firing = {
                one["labels"]["alertname"]
                for one in found
                if one["state"] == "firing" and _is_fastest(one["labels"])
            }
            with self._lock:
                for name in firing:
                    self._first.setdefault(name, now)
                for name in self._firing - firing:
                    self._silent[name] = now
                self._firing = firing


def _is_fastest(labels: Mapping[str, str]) -> bool:
    """Of burn rates only the fastest is watched: the others' windows are hours, even when short."""
    return labels.get("burn", FASTEST) == FASTEST


@contextmanager
def watching(stack: Stack) -> Iterator[Watch]:
    """A watch over the stack, ended with the block."""
    watch = Watch(stack)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()
