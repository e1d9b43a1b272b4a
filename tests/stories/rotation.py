"""Servers that are replaced under load, and everybody who calls them meanwhile.

Callers come through a balancer, as a host has one: a server that goes gets no new requests and ends
those that it has.
"""

import hashlib
import hmac
import json
import secrets
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.children import wait_until
from tests.processes import Web

TIMEOUT_S = 30.0
DRAINED_WITHIN_S = 30.0
PAUSE_S = 0.3


class Balancer:
    """Gives each request to one server after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._servers: list[Web] = []
        self._open: Counter[int] = Counter()
        self._turn = 0

    def replace(self, old: list[Web], new: list[Web]) -> None:
        """Send to the new ones from now on; returns when the old ones have nothing left."""
        with self._lock:
            self._servers = [one for one in self._servers if one not in old] + new
        ports = [one.port for one in old]
        wait_until(
            lambda: not any(self._open[port] for port in ports),
            "requests under way to end",
            DRAINED_WITHIN_S,
        )

    @contextmanager
    def server(self) -> Iterator[Web]:
        """The next one, for a request."""
        with self._lock:
            self._turn += 1
            chosen = self._servers[self._turn % len(self._servers)]
            self._open[chosen.port] += 1
        try:
            yield chosen
        finally:
            with self._lock:
                self._open[chosen.port] -= 1

    def each(self) -> list[Web]:
        """Every server that is sent to."""
        return list(self._servers)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """One request on a connection of its own. headers: `X_Internal_Secret=...`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if method == "POST":
            named.setdefault("Idempotency-Key", uuid.uuid4().hex)
        data = None if body is None else json.dumps(body).encode()
        named |= {"Content-Type": "application/json"} if data else {}
        with self.server() as chosen, requests.Session() as session:
            session.trust_env = False
            return session.request(
                method, chosen.url(path), data=data, headers=named, timeout=TIMEOUT_S
            )

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """One request that must succeed; its JSON, or its text."""
        answer = self.send(method, path, body, **headers)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        is_json = answer.headers["Content-Type"].startswith("application/json")
        return answer.json() if is_json else answer.text


def signed(secret: str, method: str, path: str, key: str, body: Any) -> dict[str, str]:
    """The headers of a sister service that signs."""
    timestamp, nonce = str(int(time.time())), secrets.token_urlsafe(24)
    digest = hashlib.sha256(json.dumps(body).encode()).hexdigest()
    text = f"{timestamp}\n{nonce}\n{method}\n{path}\n{key}\n{digest}"
    return {
        "X_Internal_Timestamp": timestamp,
        "X_Internal_Nonce": nonce,
        "X_Internal_Signature": hmac.new(secret.encode(), text.encode(), "sha256").hexdigest(),
        "Idempotency_Key": key,
    }


@dataclass
class Load:
    """Callers that call without a pause until the end. done: calls that went well, by caller."""

    callers: dict[str, Callable[[], None]]
    done: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The callers' threads."""
        threads = [
            threading.Thread(target=self._repeat, args=(name, call))
            for name, call in self.callers.items()
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()

    def each_calls(self, times: int = 2) -> None:
        """Return when each caller has got what it wanted so many times from here on."""
        before = dict(self.done)
        with suppress(TimeoutError):  # faults say more
            wait_until(
                lambda: (
                    self.faults
                    or all(self.done[name] - before.get(name, 0) >= times for name in self.callers)
                ),
                "each caller to go on",
                60,
            )
        assert self.faults == []
        assert all(self.done[name] - before.get(name, 0) >= times for name in self.callers)

    def _repeat(self, name: str, call: Callable[[], None]) -> None:
        while not self._stopped.wait(PAUSE_S):
            try:
                call()
            except Exception as fault:  # whatever it is, it was a call that failed
                self.faults.append(f"{name}: {fault!r}")
            self.done[name] += 1
