"""An operator at the console, and a small world to look at and to act on."""

import html
import re
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from payments import audit, config, db, ids, origin
from payments.db import Sql
from payments.webhooks import endpoints
from tests import databases
from tests.checkout import world as rooms
from tests.webhooks import world as hooks

ANN = "ann-console-" + "0123456789abcdef" * 2
BOB = "bob-console-" + "0123456789abcdef" * 2
SETTINGS = {"ADMIN_TOKEN": f"ann:{ANN},bob:{BOB}", "RATE_LIMIT_PER_MINUTE": "1000000"}
PHONE, OWNER = "+4915112345678", "+4915112345600"
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
COOKIE = "payments-console"

_ATTEMPT = Sql(
    "INSERT INTO attempts (id, delivery_id, number, outcome, http_status, latency_ms, response,"
    " detail, created_at) VALUES (:id, :delivery, 1, 'http_5xx', 503, 41, :response, NULL, :now)"
)


@dataclass
class World:
    """A shop whose endpoint fails with a hostile answer, and a payment that was partly refunded.

    failed: its deliveries, all of them failed. request_id: of the request that paid and refunded.
    """

    merchant: str
    endpoint: str
    customer: str
    payment: str
    refund: str
    failed: list[str] = field(default_factory=list)
    attempts: list[str] = field(default_factory=list)
    request_id: str = ""


def world(phone: str = PHONE, owner: str = OWNER) -> World:
    """Made in the present app's database."""
    shop = rooms.merchant(owner, f"Shop {HOSTILE}")
    customer = rooms.customer(phone, has=100_00)
    row, _ = rooms.did(lambda: endpoints.create(shop, "https://shop.example/hook", ["*"], None))
    request_id = ids.new("rid")
    with origin.acting(customer, request_id):
        payment = rooms.asks(shop, 20_00, customer_phone=phone, reference="order-17")
        rooms.confirms(customer, payment.id)
        refund = rooms.refunds_of(shop, payment.id, 5_00)
    made = World(shop, row.id, customer, payment.id, refund.id, request_id=request_id)
    made.failed = fail(made)
    return made


def fail(made: World) -> list[str]:
    """Every delivery of the endpoint has failed after one attempt; their ids."""
    found = [row.id for row in hooks.deliveries() if row.endpoint_id == made.endpoint]
    for delivery in found:
        attempt = ids.new("att")
        with db.unit_of_work():
            _ATTEMPT.run(id=attempt, delivery=delivery, response=HOSTILE)
        made.attempts.append(attempt)
        hooks.change(
            "deliveries", delivery, status="failed", attempts=1, next_attempt_at=None,
            last_outcome="http_5xx", ended_at=hooks.shift(0),
        )  # fmt: skip
    hooks.change(
        "webhook_endpoints", made.endpoint, status="enabled", disabled_reason=None, failures=7,
        failing_since_at=hooks.shift(-900), closed_until=hooks.shift(60),
    )  # fmt: skip
    return found


class Desk:
    """A browser without a window: it keeps cookies, and sends forms as the pages make them."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.client: FlaskClient = app.test_client()
        self.token = ""

    def sign_in(self, token: str = ANN, **more: Any) -> TestResponse:
        """By the form."""
        answer = self.client.post("/admin/console/sign_in", data={"token": token}, **more)
        if answer.status_code == 303:
            self.token = form_token(self.get("/admin/console/read_only"))
        return answer

    def get(self, path: str, **more: Any) -> TestResponse:
        """A page."""
        return self.client.get(path, **more)

    def sends(self, path: str, intent: str | None = None, **fields: str) -> TestResponse:
        """A form of a page, with its token."""
        whole = {"form_token": self.token, "intent": intent or ids.new("x"), **fields}
        return self.client.post(path, data=whole)

    def does(self, path: str, intent: str | None = None, **fields: str) -> str:
        """The same, and what the next page says of it."""
        answer = self.sends(path, intent, **fields)
        assert answer.status_code == 303, answer.text
        page = self.get(answer.headers["Location"])
        assert page.status_code == 200, page.text
        return said(page)

    def cookie(self) -> str:
        """What the browser keeps."""
        found = self.client.get_cookie(COOKIE, path="/admin")
        assert found is not None
        return found.value

    def with_cookie(self, value: str) -> FlaskClient:
        """Another browser that has got hold of a cookie."""
        made = self.app.test_client()
        made.set_cookie(COOKIE, value, path="/admin")
        return made

    def trail(self, **filters: str) -> list[dict[str, Any]]:
        """The audit trail, newest first."""
        with self.app.app_context():
            return [audit.record_object(row) for row in audit.page(filters, 100, None)]


def form_token(page: TestResponse) -> str:
    """The token in the page's forms."""
    found = re.search(r'name="form_token" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def said(page: TestResponse) -> str:
    """What the page says was done."""
    found = re.search(r'<p class="note good" role="status">([^<]*)</p>', page.text)
    assert found is not None, page.text
    return html.unescape(found[1])


def shown(page: TestResponse) -> str:
    """The page's text as a person reads it, spaces joined."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.text)).split())


def another_app(stack: ExitStack, app: Flask, folder: Path, **more: str) -> Flask:
    """A service with other settings on the same database."""
    with app.app_context():
        now = config.current()
    environ = databases.environ_for(now.db_url.replace("+psycopg", ""), folder, **SETTINGS)
    if now.redis_url is not None:
        environ["REDIS_URL"] = now.redis_url
    settings = databases.settings_for({**environ, **more}, folder)
    return stack.enter_context(databases.app_for(settings))
