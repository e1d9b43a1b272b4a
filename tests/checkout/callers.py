"""Callers over HTTP: a customer with an access token, a merchant with an API key."""

import uuid
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from payments.customers import sessions
from payments.merchants import api_keys
from tests.checkout import world


class Caller:
    """Somebody with a credential. Each POST is an intent of its own unless a key is given."""

    def __init__(self, client: FlaskClient, id: str, credential: str) -> None:
        self.client = client
        self.id = id
        self.headers = {"Authorization": f"Bearer {credential}"}

    def get(self, url: str, **query: Any) -> TestResponse:
        """A read."""
        return self.client.get(url, headers=self.headers, query_string=query)

    def post(self, url: str, body: Any = None, key: str | None = None) -> TestResponse:
        """An intent, with an Idempotency-Key."""
        headers = self.headers | {"Idempotency-Key": key or uuid.uuid4().hex}
        return self.client.post(url, headers=headers, json={} if body is None else body)


def signed_in(client: FlaskClient, customer_id: str) -> Caller:
    """The customer, with a session."""
    issued = world.did(lambda: sessions.start(customer_id, "tests"))
    return Caller(client, customer_id, issued.access_token)


def with_key(client: FlaskClient, merchant_id: str, *scopes: str) -> Caller:
    """The merchant, with a key of these scopes; of all without."""
    _row, secret = world.did(
        lambda: api_keys.create(merchant_id, "tests", list(scopes or ["*"]), None)
    )
    return Caller(client, merchant_id, secret)


def refused(answer: TestResponse) -> tuple[int, str]:
    """Status and code of an answer that must be a problem."""
    assert answer.mimetype == "application/problem+json", answer.text
    assert answer.json is not None
    return answer.status_code, answer.json["code"]


def told(answer: TestResponse, status: int = 200) -> dict[str, Any]:
    """The object of an answer that must be of this status."""
    assert answer.status_code == status, answer.text
    assert isinstance(answer.json, dict)
    return answer.json
