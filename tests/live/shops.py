"""Callers of a stack: a shop with endpoints that take webhooks, money that arrives, a crowd."""

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import requests

from tests.live.stack import Stack
from tests.stories import people

CONNECTED_WITHIN_S = 15.0


@dataclass(frozen=True)
class Shop:
    """A merchant with an API key and so many endpoints, each at a path of the stack's receiver."""

    stack: Stack
    key: str
    endpoints: Sequence[str]

    def ping(self, *endpoints: str) -> None:
        """An event for each of these endpoints, else for all."""
        with people.calling(self.stack.url()) as api:
            for endpoint in endpoints or self.endpoints:
                path = f"/v1/webhook_endpoints/{endpoint}/test"
                api.call("POST", path, {}, Authorization=self.key)


def path_of(number: int) -> str:
    """Where the endpoint of that number is sent to."""
    return f"/hook-{number}"


def open_shop(stack: Stack, endpoints: int) -> Shop:
    """By the API alone, as anybody would."""
    codes = people.codes_from(stack.sms_log)
    with people.calling(stack.url()) as api:
        owner = people.sign_in(api, people.new_phone(), codes)
        made = api.call("POST", "/v1/merchants", {"name": "Corner"}, Authorization=owner)
        key = people.new_key(api, owner, made["id"])
        ids = []
        for number in range(endpoints):
            wanted = {"url": stack.receiver.url(path_of(number)), "events": ["ping"]}
            ids.append(api.call("POST", "/v1/webhook_endpoints", wanted, Authorization=key)["id"])
    return Shop(stack, key, ids)


def deposit(stack: Stack) -> None:
    """Money arrives from outside, for somebody."""
    with people.calling(stack.url()) as api:
        people.deposit(api, people.new_phone(), 10_00)


def address() -> str:
    """A caller's address that nobody had before, or hardly anybody."""
    number = uuid.uuid4().int
    return f"10.{number % 256}.{number // 256 % 256}.{number // 65536 % 254 + 1}"


Call = Callable[[requests.Session, int], object]
"""One call of a crowd, by the number of the call."""


@contextmanager
def crowd(size: int, call: Call, pause_s: float = 0.0) -> Iterator[None]:
    """So many callers at once, each again and again until the block ends."""
    over = threading.Event()

    def caller(first: int) -> None:
        with requests.Session() as session:
            session.trust_env = False
            number = first
            while not over.wait(pause_s):
                number += size
                try:
                    call(session, number)
                except requests.RequestException:
                    over.wait(0.2)  # the server is being started again

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(size)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def get(stack: Stack, path: str, **headers: str) -> Call:
    """A call that reads, each time from another address."""

    def call(session: requests.Session, _number: int) -> None:
        given = {"X-Forwarded-For": address(), **headers}
        session.get(stack.url(path), headers=given, timeout=CONNECTED_WITHIN_S)

    return call
