"""A true run over HTTP, narrated: a customer pays a merchant, and the merchant hears of it.

Needs the service running (`make run` in another terminal). Reads the secrets it made for itself in
instance/dev.env and the one-time code in instance/sms.log, as a developer would.
"""

import argparse
import json
import sys
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import requests
from standardwebhooks import Webhook, WebhookVerificationError

import _root
from payments import db
from payments.app import create_app
from payments.config import ConfigError, load_settings
from payments.ledger import invariants

FINE, FAILED, NOT_RUN = 0, 1, 3
WAIT_S = 15
TIMEOUT_S = 10


class DemoError(Exception):
    """A step did not come out as it should; the message says which and how."""


class Api:
    """The service as its callers see it: HTTP, JSON, and a clear end at the first refusal."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._session = requests.Session()
        self._session.trust_env = False

    def call(
        self, method: str, path: str, body: Any = None, *, key: bool = False, **headers: str
    ) -> Any:
        """One call; `key` sends a fresh Idempotency-Key. Raises DemoError for a refusal."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            sent["Idempotency-Key"] = str(uuid.uuid4())
        answer = self._session.request(
            method, self._base + path, json=body, headers=sent, timeout=TIMEOUT_S
        )
        if answer.status_code >= 400:
            raise DemoError(f"{method} {path} answered {answer.status_code}: {answer.text}")
        print(f"   {method} {path} -> {answer.status_code}")
        return answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.text


class Receiver:
    """The merchant's own server: takes webhooks and verifies each before it believes it."""

    def __init__(self) -> None:
        self.secret: str | None = None
        self.events: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self._news = Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(204 if receiver.take(dict(self.headers), body) else 400)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Quiet: the demo tells the story."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/webhooks"

    def __enter__(self) -> "Receiver":
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, headers: dict[str, str], body: bytes) -> bool:
        """Verify by the Standard Webhooks library and keep the event."""
        try:
            Webhook(self.secret or "").verify(body, {k.lower(): v for k, v in headers.items()})
        except (WebhookVerificationError, RuntimeError) as error:
            self.refused.append(str(error))
            return False
        self.events.append(json.loads(body))
        self._news.set()
        return True

    def wait_for(self, kind: str) -> dict[str, Any]:
        """The first event of that type. Raises DemoError when none came in time."""
        deadline = time.monotonic() + WAIT_S
        while True:
            for event in self.events:
                if event["type"] == kind:
                    return event
            self._news.clear()
            if not self._news.wait(max(0.0, deadline - time.monotonic())):
                refused = f" ({len(self.refused)} failed verification)" if self.refused else ""
                raise DemoError(f"no {kind} webhook within {WAIT_S} s{refused}")


def wait_for_service(api: Api) -> None:
    """Return once it answers: `make run` may just be starting. Raises requests.ConnectionError."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            api.call("GET", "/health")
            return
        except requests.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def say(text: str) -> None:
    """One line of the story."""
    print(f"\n== {text}")


def code_for(log: Path, phone: str) -> str:
    """The newest code sent to the phone. The message is sent after the answer, so wait a little."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        lines = log.read_text().splitlines() if log.exists() else []
        for line in reversed(lines):
            if line.startswith(f"OTP {phone} "):
                return line.split()[-1]
        time.sleep(0.1)
    raise DemoError(f"no code for the phone came into {log}")


def sign_in(api: Api, log: Path, phone: str) -> str:
    """Phone and code in, the value of an Authorization header out."""
    challenge = api.call("POST", "/v1/auth/otp", {"phone": phone})
    tokens = api.call(
        "POST",
        "/v1/auth/token",
        {"challenge_id": challenge["challenge_id"], "code": code_for(log, phone)},
    )
    return f"Bearer {tokens['access_token']}"


def fresh_phone() -> str:
    """A number of Berlin's range that this run alone uses."""
    return f"+4930{uuid.uuid4().int % 10**7:07d}"


def run(api: Api, log: Path, secret: str, currency: str) -> None:
    """The whole story. Raises DemoError where it does not come out."""
    say("A shop owner signs in by phone and code, and registers the shop")
    owner = sign_in(api, log, fresh_phone())
    merchant = api.call("POST", "/v1/merchants", {"name": "Corner Café"}, Authorization=owner)
    print(f"   {merchant['id']} is {merchant['status']}")
    made = api.call(
        "POST",
        "/v1/api_keys",
        {"name": "demo", "scopes": ["*"], "merchant": merchant["id"]},
        Authorization=owner,
    )
    shop = f"Bearer {made['secret']}"

    with Receiver() as receiver:
        say(f"The shop asks for signed webhooks at {receiver.url}")
        endpoint = api.call(
            "POST",
            "/v1/webhook_endpoints",
            {"url": receiver.url, "events": ["*"]},
            Authorization=shop,
        )
        receiver.secret = endpoint["secret"]

        say("A customer signs in; 50.00 arrives from outside, by a sister service")
        phone = fresh_phone()
        customer = sign_in(api, log, phone)
        deposit = {
            "phone": phone,
            "amount": 50_00,
            "currency": currency,
            "external_reference": f"bank-{uuid.uuid4()}",
        }
        api.call("POST", "/internal/deposits", deposit, key=True, X_Internal_Secret=secret)

        say("The shop asks for 20.00; the customer pays")
        asked = {"amount": 20_00, "currency": currency, "description": "Two breakfasts"}
        payment = api.call("POST", "/v1/payments", asked, key=True, Authorization=shop)
        path = f"/v1/payments/{payment['id']}/confirm"
        paid = api.call("POST", path, {}, key=True, Authorization=customer)
        print(f"   {paid['id']} is {paid['status']}")

        say("The shop hears of it, and verifies the signature")
        heard = receiver.wait_for("payment.succeeded")
        if heard["data"]["object"]["id"] != payment["id"]:
            raise DemoError("the webhook speaks of another payment")
        print(f"   {heard['type']} for {heard['data']['object']['id']}, signature good")

        say("The shop gives 5.00 back")
        part = {"payment": payment["id"], "amount": 5_00, "reason": "Cold coffee"}
        api.call("POST", "/v1/refunds", part, key=True, Authorization=shop)
        receiver.wait_for("refund.succeeded")
        print("   refund.succeeded heard, signature good")

    say("The customer's statement")
    wallet = api.call("GET", "/v1/wallets", Authorization=customer)["data"][0]
    statement = api.call("GET", f"/v1/wallets/{wallet['id']}/statement", Authorization=customer)
    for line in statement["data"]:
        print(f"   {line['created_at']}  {line['amount']:>8}  balance {line['balance']:>8}")
    expect("the customer's balance", wallet["balance"], 35_00)

    say("The merchant's balance")
    balance = api.call("GET", "/v1/balance", Authorization=shop)
    print("   " + json.dumps(balance))


def expect(what: str, found: object, wanted: object) -> None:
    """Raise DemoError unless it came out as it must."""
    if found != wanted:
        raise DemoError(f"{what} is {found}, not {wanted}")


def check_invariants() -> None:
    """Run the ledger's whole list on the service's database. Raises DemoError on a finding."""
    app = create_app()
    with app.app_context():
        found = invariants.check()
        count = len(invariants.INVARIANTS)
        db.current_store().dispose()
    if found:
        raise DemoError(f"{len(found)} invariants broken: {found[0]}")
    print(f"   {count} invariants hold")


def main(argv: list[str] | None = None) -> int:
    """Exit 0: all came out. 1: a step did not. 3: the service or its settings are not there."""
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    try:
        settings = load_settings()
    except ConfigError as error:
        print(f"The settings can't be used:\n{error}", file=sys.stderr)
        return NOT_RUN
    if settings.is_production:
        print("The demo moves made-up money: it runs in development only.", file=sys.stderr)
        return NOT_RUN
    api = Api(f"http://127.0.0.1:{settings.port}")
    try:
        say("Is the service there?")
        wait_for_service(api)
        run(
            api,
            settings.instance_dir / "sms.log",
            settings.internal_api_secret[0].secret,
            settings.default_currency,
        )
        say("The ledger's invariants")
        check_invariants()
    except requests.ConnectionError:
        print(
            f"Nothing answers on port {settings.port}: start `make run` first, and this with the"
            " same PORT, DB_URL and INSTANCE_DIR.",
            file=sys.stderr,
        )
        return NOT_RUN
    except (DemoError, requests.RequestException) as error:
        print(f"\nThe demo stopped: {error}", file=sys.stderr)
        return FAILED
    print("\nAll came out as it must.")
    return FINE


if __name__ == "__main__":
    sys.exit(main())
