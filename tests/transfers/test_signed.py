"""Signed requests that move money: each counts once, and only as it was signed."""

import hashlib
import hmac
import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.checkout import world
from tests.merchants.callers import refused, told
from tests.transfers import people
from tests.transfers.people import ANN, BOB, FOOD, TAXI

URL = "/internal/deposits"
FACTS = {"phone": ANN, "amount": 50_00, "currency": "EUR", "external_reference": "bank-17"}
SIGNED_ONLY = people.SETTINGS | {"INTERNAL_REQUIRE_HMAC": "true"}


@pytest.fixture
def app(make_app) -> Flask:
    """The service that takes signed requests alone."""
    return make_app(**SIGNED_ONLY)


def signed(
    method: str, target: str, body: bytes = b"", key: str = "", secret: str = TAXI, skew_s: int = 0
) -> dict[str, str]:
    """The headers of a signed request, by api.md and without any code of the service."""
    timestamp, nonce = str(int(time.time()) + skew_s), secrets.token_urlsafe(24)
    digest = hashlib.sha256(body).hexdigest()
    text = "\n".join((timestamp, nonce, method, target, key, digest))
    headers = {
        "X-Internal-Timestamp": timestamp,
        "X-Internal-Nonce": nonce,
        "X-Internal-Signature": hmac.new(secret.encode(), text.encode(), "sha256").hexdigest(),
        "Content-Type": "application/json",
    }
    return headers | ({"Idempotency-Key": key} if key else {})


def deposit(app: Flask, headers: dict[str, str], facts: dict[str, Any] = FACTS) -> TestResponse:
    return app.test_client().post(URL, data=json.dumps(facts).encode(), headers=headers)


def headers_for(facts: dict[str, Any] = FACTS, key: str = "k-1", **more: Any) -> dict[str, str]:
    return signed("POST", URL, json.dumps(facts).encode(), key, **more)


def test_a_copied_request_moves_nothing(app_context, app):
    headers = headers_for()
    made = told(deposit(app, headers), 201)
    assert refused(deposit(app, headers)) == (401, "replayed_request")
    assert (people.purse(ANN), people.entries(made["id"])) == (50_00, 1)
    world.sound()


def test_a_retry_signs_anew_with_the_same_key(app_context, app):
    first = told(deposit(app, headers_for()), 201)
    again = deposit(app, headers_for())
    assert told(again, 201) == first
    assert again.headers["Idempotent-Replayed"] == "true"
    assert people.purse(ANN) == 50_00


@pytest.mark.parametrize(
    "other",
    [{"amount": 5_000_00}, {"phone": BOB}, {"currency": "USD"}, {"external_reference": "x"}],
)
def test_another_body_than_was_signed_is_refused(app_context, app, other):
    headers = headers_for()
    assert refused(deposit(app, headers, FACTS | other)) == (401, "unauthenticated")
    assert people.rows().customers == 0
    told(deposit(app, headers), 201)  # and the nonce was not used up


def test_another_key_than_was_signed_is_refused(app_context, app):
    """Else whoever copies a request could make a second intent of it."""
    headers = headers_for()
    for key in ("k-2", '"k-1"'):
        answer = deposit(app, headers | {"Idempotency-Key": key})
        assert refused(answer) == (401, "unauthenticated")
    without = {name: value for name, value in headers.items() if name != "Idempotency-Key"}
    assert refused(deposit(app, without)) == (401, "unauthenticated")
    assert people.rows().deposits == 0


def test_another_path_or_query_than_was_signed_is_refused(app_context, app):
    for phone in (ANN, BOB):
        world.customer(phone, has=10_00)
    target = f"/internal/wallets?phone=%2B{ANN[1:]}"
    headers = signed("GET", target)
    for asked in (
        f"/internal/wallets?phone=%2B{BOB[1:]}",
        f"{target}&limit=5",
        "/internal/deposits",
    ):
        answer = app.test_client().get(asked, headers=headers)
        assert refused(answer) == (401, "unauthenticated")
    found = told(app.test_client().get(target, headers=headers))
    assert [wallet["balance"] for wallet in found["data"]] == [10_00]


def test_a_signature_is_not_good_for_another_call_of_the_same_body(app_context, app):
    facts = {"from_phone": ANN, "to_phone": BOB, "amount": 1_00, "currency": "EUR"}
    world.customer(ANN, has=10_00)
    body = json.dumps(facts).encode()
    answer = app.test_client().post(
        "/internal/transfers", data=body, headers=signed("POST", URL, body, "k-1")
    )
    assert refused(answer) == (401, "unauthenticated")
    assert people.purse(ANN) == 10_00


@pytest.mark.parametrize(("skew_s", "status"), [(-310, 401), (-290, 201), (290, 201), (310, 401)])
def test_a_timestamp_is_good_for_300_s_either_way(app_context, app, skew_s, status):
    assert deposit(app, headers_for(skew_s=skew_s)).status_code == status
    assert people.rows().deposits == (1 if status == 201 else 0)


def test_the_bare_secret_is_refused_alone_and_beside_a_signature(app_context, app):
    bare = people.service(app).post(URL, FACTS)
    assert refused(bare) == (401, "unauthenticated")
    forged = headers_for(secret="guessed-" * 5) | {"X-Internal-Secret": TAXI}
    assert refused(deposit(app, forged)) == (401, "unauthenticated")
    assert people.rows().deposits == 0
    assert told(deposit(app, headers_for()), 201)["amount"] == 50_00


@pytest.mark.parametrize("order", [(TAXI, FOOD), (FOOD, TAXI)])
def test_while_the_secret_is_rotated_both_verify_and_are_one_service(make_app, order):
    """api.md: rotation is three restarts, none of which refuses a caller."""
    secrets_of_taxi = ",".join(f"taxi:{secret}" for secret in order)
    app = make_app(**SIGNED_ONLY | {"INTERNAL_API_SECRET": secrets_of_taxi})
    with app.app_context():
        by_old = told(deposit(app, headers_for(secret=TAXI)), 201)
        by_new = deposit(app, headers_for(secret=FOOD))
        assert told(by_new, 201) == by_old
        assert by_new.headers["Idempotent-Replayed"] == "true"
        other_key = deposit(app, headers_for(secret=FOOD, key="k-2"))
        assert told(other_key, 200) == by_old  # the reference is the service's, too
        assert people.purse(ANN) == 50_00


def test_a_secret_that_is_gone_signs_nothing(make_app):
    app = make_app(**SIGNED_ONLY | {"INTERNAL_API_SECRET": f"taxi:{FOOD}"})
    with app.app_context():
        assert refused(deposit(app, headers_for(secret=TAXI))) == (401, "unauthenticated")
        assert people.rows().deposits == 0


def test_each_service_signs_for_itself(app_context, app):
    by_taxi = told(deposit(app, headers_for(secret=TAXI)), 201)
    by_food = told(deposit(app, headers_for(secret=FOOD)), 201)  # the same key and reference
    assert by_taxi["id"] != by_food["id"]
    assert (people.outside("taxi"), people.outside("food")) == (-50_00, -50_00)
    target = f"{URL}/{by_taxi['id']}"
    answer = app.test_client().get(target, headers=signed("GET", target, secret=FOOD))
    assert refused(answer) == (404, "not_found")
    world.sound()


def test_twenty_copies_at_once_are_one_deposit(postgres_app):
    headers = headers_for()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: deposit(postgres_app, headers), range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] + [401] * 19
    assert people.purse(ANN) == 50_00
    world.sound()


def test_twenty_retries_at_once_with_keys_of_their_own_are_one_deposit(postgres_app):
    with ThreadPoolExecutor(20) as pool:
        calls = [
            pool.submit(deposit, postgres_app, headers_for(key=f"k-{number}"))
            for number in range(20)
        ]
        answers = [call.result() for call in calls]
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({told(answer, answer.status_code)["id"] for answer in answers}) == 1
    assert (people.purse(ANN), people.rows().deposits) == (50_00, 1)
    world.sound()
