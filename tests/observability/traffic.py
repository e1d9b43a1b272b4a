"""People who use the service for a while: they pay, refund, mistype, come too often.

with trading(stack) as town:
    town.for_a_while(20)
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import requests

from tests.observability.stack import Stack
from tests.receivers import answer
from tests.stories import people
from tests.stories.people import Api

CUSTOMERS = 5
FUNDS = 20_000_00
SETTINGS = {
    "RATE_LIMIT_PER_MINUTE": "400",
    "TRUSTED_PROXIES": "1",
    "FEE_BPS": "150",
    "WEBHOOK_BASE_DELAY_SECS": "2",
    "WEBHOOK_MAX_ATTEMPTS": "4",
    "WEBHOOK_WORKER_POLL_SECS": "1",
}
"""For the service under this load: limits that one can reach, retries that come soon."""


@dataclass
class Town:
    """Two shops, their customers, and who bothers them. pause_s: between what each does."""

    stack: Stack
    shops: list[str] = field(default_factory=list)
    customers: list[str] = field(default_factory=list)
    paid: list[str] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    pause_s: float = 0.6
    over: threading.Event = field(default_factory=threading.Event)

    def open(self) -> None:
        """Make the people. One shop's server is sound, slow and broken at three addresses."""
        codes = people.codes_from(self.stack.sms_log)
        receiver = self.stack.receiver
        receiver.script("/slow", answer(after_s=0.3))
        receiver.script("/flaky", *[answer(), answer(503)] * 400)
        receiver.script("/broken", answer(500))
        with people.calling(self.stack.web.url()) as api:
            owner = people.sign_in(api, people.new_phone(), codes)
            for name, paths in (("Corner", ("/hook", "/broken")), ("Café", ("/slow", "/flaky"))):
                shop = api.call("POST", "/v1/merchants", {"name": name}, Authorization=owner)
                self.shops.append(people.new_key(api, owner, shop["id"]))
                for path in paths:
                    wanted = {"url": receiver.url(path), "events": ["*"]}
                    api.call("POST", "/v1/webhook_endpoints", wanted, Authorization=self.shops[-1])
            for _ in range(CUSTOMERS):
                phone = people.new_phone()
                people.deposit(api, phone, FUNDS)
                self.customers.append(people.sign_in(api, phone, codes))

    def begin(self) -> list[threading.Thread]:
        """Everybody starts; they go on until `over`."""
        callers: list[Callable[[Api, Random], None]] = [
            *(self._pays(customer) for customer in self.customers),
            self._mistypes,
        ]
        threads = [
            threading.Thread(target=self._goes_on, args=(caller, number))
            for number, caller in enumerate(callers)
        ]
        for thread in threads:
            thread.start()
        return threads

    def too_many(self, count: int = 500) -> None:
        """Somebody without credentials asks more often than anyone may."""
        with people.calling(self.stack.web.url()) as api:
            for _ in range(count):
                api.send("GET", "/v1/me", X_Forwarded_For="203.0.113.7")

    def guesses(self) -> None:
        """Somebody tries codes that are wrong."""
        with people.calling(self.stack.web.url()) as api:
            asked = api.call("POST", "/v1/auth/otp", {"phone": people.new_phone()})
            for guess in ("000000", "111111", "123456"):
                shown = {"challenge_id": asked["challenge_id"], "code": guess}
                api.send("POST", "/v1/auth/token", shown)

    def operator(self, path: str, **body: Any) -> None:
        """An operator's call, which must succeed."""
        with people.calling(self.stack.web.url()) as api:
            api.call("POST", f"/admin/{path}", body, X_Admin_Token=self.stack.operator)

    def _goes_on(self, caller: Callable[[Api, Random], None], seed: int) -> None:
        draw = Random(seed)  # the same mixture in each run
        with people.calling(self.stack.web.url()) as api:
            while not self.over.is_set():
                try:
                    caller(api, draw)
                except requests.ConnectionError:
                    time.sleep(0.2)  # the web server is just being started anew
                except BaseException as fault:
                    self.faults.append(fault)
                    return
                self.over.wait(self.pause_s * (0.5 + draw.random()))

    def _pays(self, customer: str) -> Callable[[Api, Random], None]:
        """A customer who is asked for something, and most often pays it."""

        def pays(api: Api, draw: Random) -> None:
            shop = draw.choice(self.shops)
            amount = draw.choice((90, 2_50, 4_20, 12_00, 80_00))
            manual = draw.random() < 0.2
            asked = {"amount": amount, "currency": "EUR"}
            asked |= {"capture": "manual"} if manual else {}
            made = _send(api, "/v1/payments", asked, shop)
            if made.status_code != 201:
                return
            payment = f"/v1/payments/{made.json()['id']}"
            what = draw.random()
            if what < 0.08:
                _send(api, f"{payment}/decline", {}, customer)
            elif what < 0.14:
                _send(api, f"{payment}/cancel", {}, shop)
            elif _send(api, f"{payment}/confirm", {}, customer).status_code == 200:
                if manual:
                    _send(api, f"{payment}/capture", {"amount": amount // 2 + 1}, shop)
                self._regrets(api, draw, shop, made.json()["id"])

        return pays

    def _regrets(self, api: Api, draw: Random, shop: str, payment: str) -> None:
        if draw.random() < 0.25:
            _send(api, "/v1/refunds", {"payment": payment, "amount": 50}, shop)
        api.send("GET", f"/v1/payments/{payment}", Authorization=shop)
        api.send("GET", "/v1/balance", Authorization=shop)

    def _mistypes(self, api: Api, draw: Random) -> None:
        """Calls that are refused, and ones that only look."""
        customer = draw.choice(self.customers)
        what = draw.randrange(5)
        if what == 0:
            api.send("GET", "/v1/payments/pay_none", Authorization=self.shops[0])
        elif what == 1:
            api.send("GET", "/v1/me", Authorization="Bearer of-nothing")
        elif what == 2:
            api.send("GET", "/v1/no-such-thing", Authorization=customer)
        elif what == 3:
            _send(api, "/v1/payments", {"amount": "much", "currency": "EUR"}, self.shops[1])
        else:
            api.send("GET", "/v1/wallets", Authorization=customer)


def _send(api: Api, path: str, body: dict[str, Any], caller: str) -> requests.Response:
    return api.send("POST", path, body, key=uuid.uuid4().hex, Authorization=caller)


@contextmanager
def trading(stack: Stack, pause_s: float = 0.6) -> Iterator[Town]:
    """Everybody uses the service until the end. Raises what went wrong for one of them."""
    town = Town(stack, pause_s=pause_s)
    town.open()
    threads = town.begin()
    try:
        yield town
    finally:
        town.over.set()
        for thread in threads:
            thread.join()
    if town.faults:
        raise BaseExceptionGroup("the town's faults", town.faults)


def an_eventful_day(stack: Stack, seconds: float) -> None:
    """All that on-call may meet, within so many seconds: 60 at least."""
    hour = seconds / 12
    with trading(stack) as town:
        stack.look_after()
        town.over.wait(hour)
        town.too_many()
        town.over.wait(hour)
        for _ in range(8):
            town.guesses()
        town.over.wait(hour)
        town.operator("config/read_only", on=True, reason="the database moves")
        town.over.wait(hour / 2)
        town.operator("config/read_only", on=False, reason="it has moved")
        town.over.wait(hour)
        stack.worker.close()
        town.over.wait(4.5 * hour)
        stack.restart_worker()
        town.over.wait(1.5 * hour)
