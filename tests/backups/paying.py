"""Clients who pay without a pause, and a list of every payment that was acknowledged to them."""

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import requests

from payments import clock
from tests.stories import people
from tests.stories.people import Api

FUNDS = 1_000_000_00
AMOUNT = 1_00
PAUSE_S = 0.05


@dataclass(frozen=True)
class Acknowledged:
    """A payment whose success a client was told. at: when it had been told. version: as shown."""

    id: str
    at: datetime
    version: int


@dataclass
class Shop:
    """A shop and one customer. Both are known from the service's own answers."""

    phone: str
    merchant: str
    key: str
    customer: str


def open_shop(base: str, codes: people.Codes, environ: dict[str, str]) -> Shop:
    """A shop that an operator approved, and a customer with money."""
    secret = environ["INTERNAL_API_SECRET"].partition(":")[2]
    operator = environ["ADMIN_TOKEN"].partition(":")[2]
    phone = people.new_phone()
    with people.calling(base) as api:
        owner = people.sign_in(api, people.new_phone(), codes)
        shop = api.call("POST", "/v1/merchants", {"name": "Corner"}, Authorization=owner)
        api.call("POST", f"/admin/merchants/{shop['id']}/approve", {}, X_Admin_Token=operator)
        people.deposit(api, phone, FUNDS, secret)
        key = people.new_key(api, owner, shop["id"])
        return Shop(phone, shop["id"], key, people.sign_in(api, phone, codes))


def pay(api: Api, shop: Shop) -> Acknowledged:
    """One payment, asked for and paid. Raises requests' errors, or Refused for another answer."""
    body = {"amount": AMOUNT, "currency": "EUR"}
    asked = _sent(api, "/v1/payments", body, shop.key)
    paid = _sent(api, f"/v1/payments/{asked['id']}/confirm", {}, shop.customer)
    return Acknowledged(str(paid["id"]), clock.now(), int(paid["version"]))


class Refused(Exception):
    """The service answered, and not with success."""


def _sent(api: Api, path: str, body: dict[str, Any], caller: str) -> dict[str, Any]:
    answer = api.send("POST", path, body, key=uuid.uuid4().hex, Authorization=caller)
    if answer.status_code not in (200, 201):
        raise Refused(f"{path}: {answer.status_code} {answer.text}")
    return dict(answer.json())


@dataclass
class Load:
    """So many clients of one shop, from `begin` to `end`; what fails is tried anew, as new."""

    base: str
    shop: Shop
    clients: int
    acknowledged: list[Acknowledged] = field(default_factory=list)
    failed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self) -> None:
        """Start all of them."""
        self._threads = [threading.Thread(target=self._client) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Let each finish what it is at."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _client(self) -> None:
        with people.calling(self.base) as api:
            while not self._over.is_set():
                try:
                    told = pay(api, self.shop)
                except (requests.RequestException, Refused):
                    with self._lock:
                        self.failed += 1
                    time.sleep(PAUSE_S)
                    continue
                with self._lock:
                    self.acknowledged.append(told)


def until_paid(attempt: Callable[[], Acknowledged], within_s: float = 30.0) -> Acknowledged:
    """Try again until a payment succeeds. Raises TimeoutError with the last refusal."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return attempt()
        except (requests.RequestException, Refused) as fault:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no payment succeeds: {fault}") from fault
            time.sleep(PAUSE_S)
