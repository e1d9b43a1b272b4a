"""Signed requests of sister services: what counts, and that it counts once."""

import hashlib
import hmac
import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient

from payments import db
from payments.api import guards, signatures
from payments.api.bodies import Amount, Body
from payments.api.routing import route
from payments.db import Sql
from payments.origin import SisterService
from tests.databases import SECRETS

SECRET = SECRETS["INTERNAL_API_SECRET"].partition(":")[2]
OTHER = "tests-second-9876543210fedcba9876543210fedcba"
NONCES = Sql("SELECT service, nonce, expires_at FROM internal_nonces")
AGE = Sql("UPDATE internal_nonces SET expires_at = :at")


class Fare(Body):
    """What is sent."""

    amount: Amount


class Who(Body):
    """What is answered."""

    service: str
    amount: int


def blueprint() -> Blueprint:
    """One route of each kind that only sister services may call."""
    bp = Blueprint("signed", __name__)

    @route(bp, "/internal/fares", method="POST", caller=guards.service, body=Fare, answer=Who,
           summary="Take a fare")  # fmt: skip
    def fares(caller: SisterService, body: Fare) -> dict:
        return {"service": caller.name, "amount": body.amount}

    @route(bp, "/internal/fares/<code>", caller=guards.service, answer=Who, summary="Show a fare")
    def fare(caller: SisterService, code: str) -> dict:
        return {"service": caller.name, "amount": len(code)}

    return bp


def by_hand(secret: str, method: str, target: str, key: str, body: bytes, **other: str) -> dict:
    """The headers of a signed request, without any code of the service."""
    timestamp = other.get("timestamp", str(int(time.time())))
    nonce = other.get("nonce", secrets.token_urlsafe(24))
    digest = hashlib.sha256(body).hexdigest()
    text = f"{timestamp}\n{nonce}\n{method}\n{target}\n{key}\n{digest}"
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    headers = {
        "X-Internal-Timestamp": timestamp,
        "X-Internal-Nonce": nonce,
        "X-Internal-Signature": signature,
        "Content-Type": "application/json",
    }
    return headers | ({"Idempotency-Key": key} if key else {})


@pytest.fixture
def app(app: Flask) -> Flask:
    app.register_blueprint(blueprint())
    return app


FARE = b'{"amount": 7}'


def send(client: FlaskClient, secret: str = SECRET, body: bytes = FARE, key: str = "", **other):
    headers = by_hand(secret, "POST", "/internal/fares", key, body, **other)
    return client.post("/internal/fares", data=body, headers=headers)


def nonces(app: Flask) -> list:
    with app.app_context():
        return NONCES.all()


def refusal(answer) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


def test_a_signed_request_is_the_services_whose_secret_it_was(app, client):
    answer = send(client)
    assert (answer.status_code, answer.json) == (200, {"service": "taxi", "amount": 7})
    assert [row.service for row in nonces(app)] == ["taxi"]


@pytest.mark.parametrize("vector", signatures.VECTORS, ids=lambda vector: vector.target)
def test_the_vectors_are_what_a_hand_computes(vector):
    headers = by_hand(
        vector.secret,
        vector.method,
        vector.target,
        vector.idempotency_key,
        vector.body.encode(),
        timestamp=vector.timestamp,
        nonce=vector.nonce,
    )
    assert headers["X-Internal-Signature"] == vector.signature
    text = signatures.text_to_sign(
        timestamp=vector.timestamp,
        nonce=vector.nonce,
        method=vector.method,
        target=vector.target,
        idempotency_key=vector.idempotency_key,
        body=vector.body.encode(),
    )
    assert signatures.sign(vector.secret, text) == vector.signature


def test_the_path_and_query_count_as_they_were_sent(client):
    # Signed as the bytes on the wire: another spelling of the same path is another text.
    for target in ("/internal/fares/a%2Bb%c3%a4", "/internal/fares/a+b"):
        answer = client.get(target, headers=by_hand(SECRET, "GET", target, "", b""))
        assert answer.status_code == 200
    signed = by_hand(SECRET, "GET", "/internal/fares/a%2bb", "", b"")
    assert refusal(client.get("/internal/fares/a%2Bb", headers=signed)) == (401, "unauthenticated")


def test_a_proxy_may_send_the_whole_url(client):
    headers = by_hand(SECRET, "GET", "/internal/fares/x", "", b"")
    absolute = {"RAW_URI": "http://localhost/internal/fares/x"}
    answer = client.get("/internal/fares/x", headers=headers, environ_overrides=absolute)
    assert answer.status_code == 200


def test_a_nonce_counts_once(app, client):
    nonce = secrets.token_urlsafe(12)
    assert len(nonce) == 16
    assert send(client, nonce=nonce).status_code == 200
    assert refusal(send(client, nonce=nonce)) == (401, "replayed_request")
    assert len(nonces(app)) == 1


def test_a_nonce_is_taken_even_when_the_request_is_refused(client):
    nonce = secrets.token_urlsafe(24)
    assert send(client, body=b'{"amount": 0}', nonce=nonce).status_code == 422
    assert refusal(send(client, nonce=nonce)) == (401, "replayed_request")


def test_a_nonce_counts_again_after_ten_minutes(app, client):
    nonce = secrets.token_urlsafe(24)
    send(client, nonce=nonce)
    with app.app_context(), db.unit_of_work() as unit:
        (row,) = NONCES.all()
        kept = row.expires_at - unit.now
        assert timedelta(minutes=9, seconds=50) < kept <= timedelta(minutes=10)
        AGE.run(at=unit.now - timedelta(microseconds=1))
    assert send(client, nonce=nonce).status_code == 200


def test_old_nonces_are_forgotten_and_live_ones_kept(app, client):
    send(client)
    with app.app_context(), db.unit_of_work() as unit:
        AGE.run(at=unit.now - timedelta(seconds=1))
    send(client, nonce="a-nonce-that-lives-on")
    with app.app_context():
        db.in_unit(signatures.prune)
    assert [row.nonce for row in nonces(app)] == ["a-nonce-that-lives-on"]


def test_of_many_copies_at_once_one_counts(app):
    headers = by_hand(SECRET, "POST", "/internal/fares", "", FARE)

    def copy(_number: int) -> int:
        return app.test_client().post("/internal/fares", data=FARE, headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(copy, range(8)))
    assert statuses == [200] + [401] * 7


@pytest.mark.parametrize("skew_s", [-310, 310])
def test_a_timestamp_far_from_our_clock_is_refused_and_takes_no_nonce(app, client, skew_s):
    answer = send(client, timestamp=str(int(time.time()) + skew_s))
    assert refusal(answer) == (401, "unauthenticated")
    assert "300 s" in answer.json["detail"]
    assert nonces(app) == []


@pytest.mark.parametrize("skew_s", [-290, 290])
def test_a_clock_may_be_a_little_off(client, skew_s):
    assert send(client, timestamp=str(int(time.time()) + skew_s)).status_code == 200


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Internal-Timestamp", None),
        ("X-Internal-Timestamp", "2026-01-01T00:00:00Z"),
        ("X-Internal-Timestamp", "-5"),
        ("X-Internal-Timestamp", "9" * 400),
        ("X-Internal-Nonce", None),
        ("X-Internal-Nonce", "fifteen-letters"),
        ("X-Internal-Nonce", "x" * 65),
        ("X-Internal-Nonce", "no spaces, no commas"),
        ("X-Internal-Signature", ""),
        ("X-Internal-Signature", "0" * 64),
        ("X-Internal-Signature", "sha256=" + "0" * 64),
        ("Idempotency-Key", "another"),
    ],
)
def test_a_header_that_is_missing_or_wrong_is_refused(app, client, header, value):
    headers = by_hand(SECRET, "POST", "/internal/fares", "", FARE)
    headers.pop(header, None)
    if value is not None:
        headers[header] = value
    answer = client.post("/internal/fares", data=FARE, headers=headers)
    assert refusal(answer) == (401, "unauthenticated")
    assert nonces(app) == []


def test_the_signature_is_lower_case(client):
    headers = by_hand(SECRET, "POST", "/internal/fares", "", FARE)
    headers["X-Internal-Signature"] = headers["X-Internal-Signature"].upper()
    answer = client.post("/internal/fares", data=FARE, headers=headers)
    assert refusal(answer) == (401, "unauthenticated")


def test_another_body_method_or_key_is_not_what_was_signed(client):
    signed = by_hand(SECRET, "POST", "/internal/fares", "k-1", FARE)
    other_body = client.post("/internal/fares", data=b'{"amount": 8}', headers=signed)
    other_key = client.post(
        "/internal/fares", data=FARE, headers=signed | {"Idempotency-Key": "k-2"}
    )
    as_put = by_hand(SECRET, "PUT", "/internal/fares", "k-1", FARE)
    other_method = client.post("/internal/fares", data=FARE, headers=as_put)
    assert [refusal(answer) for answer in (other_body, other_key, other_method)] == [
        (401, "unauthenticated")
    ] * 3
    assert client.post("/internal/fares", data=FARE, headers=signed).status_code == 200


def test_a_secret_that_is_not_ours_signs_nothing(client):
    assert refusal(send(client, secret=OTHER)) == (401, "unauthenticated")


def test_every_secret_of_the_list_verifies_by_its_name(make_app):
    app = make_app(INTERNAL_API_SECRET=f"taxi:{SECRET},food:{OTHER}")
    app.register_blueprint(blueprint())
    answers = [send(app.test_client(), secret=secret) for secret in (SECRET, OTHER)]
    assert [answer.json["service"] for answer in answers] == ["taxi", "food"]


def test_two_services_may_use_the_same_nonce(make_app):
    app = make_app(INTERNAL_API_SECRET=f"taxi:{SECRET},food:{OTHER}")
    app.register_blueprint(blueprint())
    nonce = secrets.token_urlsafe(24)
    for secret in (SECRET, OTHER):
        assert send(app.test_client(), secret=secret, nonce=nonce).status_code == 200


def test_a_body_over_the_limit_is_not_hashed(app, client):
    answer = send(client, body=json.dumps({"amount": 1, "x": "y" * 65536}).encode())
    assert refusal(answer) == (413, "body_too_large")
    assert nonces(app) == []


def test_a_body_of_unsaid_length_is_read_up_to_the_limit(client):
    body = b" " * 70_000
    headers = by_hand(SECRET, "POST", "/internal/fares", "", body)
    unsaid = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
    answer = client.post("/internal/fares", data=body, headers=headers, environ_overrides=unsaid)
    assert refusal(answer) == (413, "body_too_large")


def test_where_signing_is_required_the_bare_secret_is_refused(make_app):
    app = make_app(INTERNAL_REQUIRE_HMAC="true")
    app.register_blueprint(blueprint())
    client = app.test_client()
    bare = client.post("/internal/fares", json={"amount": 7}, headers={"X-Internal-Secret": SECRET})
    assert refusal(bare) == (401, "unauthenticated")
    assert send(client).status_code == 200


def test_the_bare_secret_beside_a_wrong_signature_does_not_help(client):
    headers = by_hand(OTHER, "POST", "/internal/fares", "", FARE) | {"X-Internal-Secret": SECRET}
    answer = client.post("/internal/fares", data=FARE, headers=headers)
    assert refusal(answer) == (401, "unauthenticated")


def test_read_only_serves_signed_reads_and_writes_no_nonce(app, client, make_app):
    target = "/internal/fares/x"
    seen = by_hand(SECRET, "GET", target, "", b"")
    assert client.get(target, headers=seen).status_code == 200
    quiet = make_app(READ_ONLY="true")
    quiet.register_blueprint(blueprint())
    reader = quiet.test_client()
    fresh = by_hand(SECRET, "GET", target, "", b"")
    stale = by_hand(SECRET, "GET", target, "", b"", timestamp=str(int(time.time()) - 310))
    assert reader.get(target, headers=fresh).status_code == 200
    assert refusal(reader.get(target, headers=seen)) == (401, "replayed_request")
    assert refusal(reader.get(target, headers=stale)) == (401, "unauthenticated")
    assert refusal(send(reader)) == (503, "read_only")
    assert len(nonces(app)) == 1
