"""Callers of each kind over HTTP: a customer, a merchant's key, an operator, a sister service."""

import uuid
from datetime import timedelta
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from payments import clock
from payments.customers import sessions
from payments.db import Row, Sql
from payments.merchants import api_keys
from tests.checkout import world
from tests.databases import SECRETS

OWNER_PHONE = "+4915198765432"

_TRAIL = Sql(
    "SELECT actor, action, outcome, before_json, after_json, request_id FROM audit_log"
    " WHERE subject_id = :id ORDER BY created_at, id"
)


class Caller:
    """Somebody with a credential. Each POST is an intent of its own unless a key is given."""

    def __init__(self, client: FlaskClient, **headers: str) -> None:
        self.client = client
        self.headers = headers

    def get(self, url: str, **query: Any) -> TestResponse:
        """A read."""
        return self.client.get(url, headers=self.headers, query_string=query)

    def post(self, url: str, body: Any = None, key: str | None = None) -> TestResponse:
        """An intent, with an Idempotency-Key."""
        headers = self.headers | {"Idempotency-Key": key or uuid.uuid4().hex}
        return self.client.post(url, headers=headers, json={} if body is None else body)

    def patch(self, url: str, body: Any, **query: Any) -> TestResponse:
        """A change."""
        return self.client.patch(url, headers=self.headers, json=body, query_string=query)

    def delete(self, url: str, **query: Any) -> TestResponse:
        """An end."""
        return self.client.delete(url, headers=self.headers, query_string=query)


def bearer(client: FlaskClient, credential: str) -> Caller:
    """Whoever holds this access token or API key."""
    return Caller(client, Authorization=f"Bearer {credential}")


def customer(client: FlaskClient, customer_id: str) -> Caller:
    """The customer, signed in."""
    issued = world.did(lambda: sessions.start(customer_id, "tests"))
    return bearer(client, issued.access_token)


def owner(client: FlaskClient) -> Caller:
    """Who owns the merchants that `world.merchant()` makes, signed in."""
    return customer(client, world.customer(OWNER_PHONE))


def operator(client: FlaskClient) -> Caller:
    """Ann, on call."""
    return Caller(client, **{"X-Admin-Token": SECRETS["ADMIN_TOKEN"].partition(":")[2]})


def service(client: FlaskClient) -> Caller:
    """The taxi service, by its bare secret."""
    return Caller(client, **{"X-Internal-Secret": SECRETS["INTERNAL_API_SECRET"].partition(":")[2]})


def key_row(merchant_id: str, *scopes: str, **more: Any) -> tuple[Row, str]:
    """A key of these scopes, of all without, made by the owner: its row and its secret."""
    given = {"expires_at": None, **more}
    return world.did(lambda: api_keys.create(merchant_id, "tests", list(scopes or ["*"]), **given))


def with_key(client: FlaskClient, merchant_id: str, *scopes: str, **more: Any) -> Caller:
    """The merchant, by a new key of these scopes; of all without."""
    return bearer(client, key_row(merchant_id, *scopes, **more)[1])


def end_key(key_id: str, how: str) -> None:
    """Let the key have ended a second ago: `expired` or `revoked`."""
    column = {"expired": "expires_at", "revoked": "revoked_at"}[how]
    moment = clock.now() - timedelta(seconds=1)
    world.did(
        lambda: Sql(f"UPDATE api_keys SET {column} = :at WHERE id = :id").run(id=key_id, at=moment)
    )


def refused(answer: TestResponse) -> tuple[int, str]:
    """Status and code of an answer that must be a problem."""
    assert answer.mimetype == "application/problem+json", answer.text
    assert answer.json is not None
    return answer.status_code, answer.json["code"]


def detail(answer: TestResponse) -> str:
    """What the problem says."""
    assert answer.json is not None
    return str(answer.json["detail"])


def pointers(answer: TestResponse) -> list[str]:
    """Where the faults of a 422 are."""
    assert refused(answer) == (422, "invalid_request")
    assert answer.json is not None
    return [fault["pointer"] for fault in answer.json["errors"]]


def told(answer: TestResponse, status: int = 200) -> dict[str, Any]:
    """The object of an answer that must be of this status."""
    assert answer.status_code == status, answer.text
    assert isinstance(answer.json, dict)
    return answer.json


def trail(app: Flask, subject_id: str) -> list[Row]:
    """What the audit trail has of this subject, oldest first."""
    with app.app_context():
        return _TRAIL.all(id=subject_id)


def made_by(caller: Caller, *scopes: str, **more: Any) -> dict[str, Any]:
    """A key that the caller makes over HTTP, of these scopes; as it is shown, secret included."""
    body = {"name": "till", "scopes": list(scopes or ["payments:read"]), **more}
    return told(caller.post("/v1/api_keys", body), 201)
