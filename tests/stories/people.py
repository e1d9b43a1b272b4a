"""The service's callers over HTTP: a customer, a merchant's owner with keys, a sister service.

with calling(web.url()) as api:
    customer = sign_in(api, phone, codes_from(sms_log))
    api.call("GET", "/v1/me", Authorization=customer)
"""

import json
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.children import wait_until
from tests.databases import SECRETS
from tests.receivers import Receiver

TIMEOUT_S = 30.0
INTERNAL_SECRET = SECRETS["INTERNAL_API_SECRET"].partition(":")[2]
BUSY = (409, 503)
"""Answers after which a call is repeated with its key: it still runs, or nothing was done."""

Codes = Callable[[str], str]
"""Gives the newest one-time code that was sent to a phone."""


class Api:
    """One caller's connection to the service. Each thread has its own."""

    def __init__(self, base: str) -> None:
        self.base = base
        self._session = requests.Session()
        self._session.trust_env = False

    def send(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> requests.Response:
        """One request. headers: `X_Internal_Secret=...`; key: the Idempotency-Key."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            named["Idempotency-Key"] = key
        return self._session.request(
            method, self.base + path, json=body, headers=named, timeout=TIMEOUT_S
        )

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """One request that must succeed; its JSON."""
        answer = self.send(method, path, body, **more)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


@contextmanager
def calling(base: str) -> Iterator[Api]:
    """A connection, closed at the end."""
    api = Api(base)
    try:
        yield api
    finally:
        api.close()


def codes_from(sms_log: Path) -> Codes:
    """Codes as the console's backend writes them."""

    def sent(phone: str) -> list[str]:
        text = sms_log.read_text() if sms_log.exists() else ""
        return re.findall(rf"^OTP {re.escape(phone)} (\d{{6}})$", text, re.MULTILINE)

    return _next_of(sent)


def codes_at(gateway: Receiver, path: str) -> Codes:
    """Codes as a gateway is sent them."""

    def sent(phone: str) -> list[str]:
        messages = [json.loads(message.body) for message in gateway.received(path)]
        texts = "\n".join(each["text"] for each in messages if each["to"] == phone)
        return re.findall(r"\b\d{6}\b", texts)

    return _next_of(sent)


def _next_of(sent: Callable[[str], list[str]]) -> Codes:
    """Waits for a code that was not given before: messages go out after the answer."""
    given: Counter[str] = Counter()

    def newest(phone: str) -> str:
        wait_until(lambda: len(sent(phone)) > given[phone], "a code to be sent")
        codes = sent(phone)
        given[phone] = len(codes)
        return codes[-1]

    return newest


def new_phone() -> str:
    """A number that nobody else in this run has."""
    return f"+4930{uuid.uuid4().int % 10**8:08d}"


def sign_in(api: Api, phone: str, codes: Codes) -> str:
    """An Authorization header of the phone's customer."""
    challenge = api.call("POST", "/v1/auth/otp", {"phone": phone})
    shown = {"challenge_id": challenge["challenge_id"], "code": codes(phone)}
    return f"Bearer {api.call('POST', '/v1/auth/token', shown)['access_token']}"


def deposit(api: Api, phone: str, amount: int, secret: str = INTERNAL_SECRET) -> None:
    """Money arrives for the phone."""
    facts = {"phone": phone, "amount": amount, "currency": "EUR"}
    facts["external_reference"] = uuid.uuid4().hex
    api.call("POST", "/internal/deposits", facts, key=uuid.uuid4().hex, X_Internal_Secret=secret)


def new_key(api: Api, owner: str, merchant_id: str) -> str:
    """An Authorization header by a new API key of the merchant, made by its owner."""
    wanted = {"name": "till", "scopes": ["*"], "merchant": merchant_id}
    return f"Bearer {api.call('POST', '/v1/api_keys', wanted, Authorization=owner)['secret']}"


def until_settled(
    attempt: Callable[[], requests.Response], within_s: float = 60.0
) -> requests.Response:
    """Send again, with the same key, while the answer is that it still runs or is busy."""
    deadline = time.monotonic() + within_s
    while (answer := attempt()).status_code in BUSY:
        assert time.monotonic() < deadline, f"still {answer.status_code}: {answer.text}"
        time.sleep(0.05)
    return answer
