"""One intent, one effect: whatever comes again, at once, or with other words."""

import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from payments import clock, db
from payments.api import idempotency
from payments.api.idempotency import Intent
from payments.db import Sql, Unit
from tests.api import echo
from tests.api.conftest import ADMIN

KEYS = Sql("SELECT count(*) AS n FROM idempotency_keys")


def keys(app: Flask) -> int:
    with app.app_context():
        return int(KEYS.scalar())


def make(client: FlaskClient, key: str | None = "k-17", path="/admin/things", **body):
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(path, json={"amount": 5, **body}, headers=headers)


def test_a_repeated_call_has_one_effect_and_one_answer(echo_app, operator):
    first, again = make(operator), make(operator)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.data == first.data
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert echo.effects(echo_app) == 1


def test_the_key_may_be_quoted_or_bare(echo_app, operator):
    make(operator, "a \\ b")
    assert make(operator, '"a \\\\ b"').headers["Idempotent-Replayed"] == "true"
    assert echo.effects(echo_app) == 1


def test_spacing_order_and_escapes_of_the_json_do_not_matter(echo_app, operator):
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    one = operator.post("/admin/things", data=b'{"amount":5,"name":"\\u00e9"}', headers=headers)
    two = operator.post(
        "/admin/things", data='{ "name": "é",\n "amount": 5 }'.encode(), headers=headers
    )
    assert (one.status_code, two.data) == (201, one.data)
    assert echo.effects(echo_app) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/admin/things", {"amount": 6}),
        ("/admin/things", {"amount": 5, "note": "x"}),
        ("/admin/things/pay_" + "0" * 32 + "/end", {}),
    ],
)
def test_another_body_or_path_under_the_same_key_is_refused(echo_app, operator, path, body):
    make(operator)
    reused = operator.post(path, json=body, headers={"Idempotency-Key": "k-17"})
    assert (reused.status_code, reused.json["code"]) == (422, "idempotency_key_reused")
    assert echo.effects(echo_app) == 1
    assert make(operator).headers["Idempotent-Replayed"] == "true"


def test_true_and_1_are_different_bodies():
    first = idempotency.fingerprint("POST", "/v1/x", "", {"a": True})
    assert first != idempotency.fingerprint("POST", "/v1/x", "", {"a": 1})
    assert first != idempotency.fingerprint("POST", "/v1/x", "b=1", {"a": True})


@pytest.mark.parametrize("key", ["", " ", '""', '"open', "é", "x" * 256, "tab\there", '"a"b"'])
def test_what_is_no_key_is_refused(echo_app, operator, key):
    answer = operator.post(
        "/admin/things",
        json={"amount": 5},
        headers={"Idempotency-Key": key.encode().decode("latin-1")},
    )
    assert (answer.status_code, answer.json["code"]) == (400, "idempotency_key_invalid")
    assert echo.effects(echo_app) == 0


def test_the_longest_key_is_taken(echo_app, operator):
    assert make(operator, "~" * 255).status_code == 201


def test_a_call_that_moves_money_needs_a_key(echo_app, operator):
    answer = make(operator, None)
    assert (answer.status_code, answer.json["code"]) == (400, "idempotency_key_required")
    assert echo.effects(echo_app) == 0


def test_elsewhere_the_key_is_optional(echo_app, echo_client):
    answers = [make(echo_client, None, "/v1/things") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert echo.effects(echo_app) == 2
    assert keys(echo_app) == 0


def test_a_refused_call_leaves_no_key_and_may_be_tried_again(echo_app, operator):
    refused = make(operator, name="refuse")
    assert (refused.status_code, refused.json["code"]) == (409, "invalid_state")
    assert (keys(echo_app), echo.effects(echo_app)) == (0, 0)
    assert make(operator).status_code == 201


def test_a_secret_is_shown_once_and_kept_nowhere(echo_app, echo_client):
    first = make(echo_client, path="/v1/things")
    again = make(echo_client, path="/v1/things")
    assert first.json["secret"] == "whsec_once"
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json == first.json | {"secret": None}
    assert again.headers["Idempotent-Secrets-Omitted"] == "secret"
    assert "Idempotent-Secrets-Omitted" not in first.headers
    with echo_app.app_context():
        kept = Sql("SELECT body FROM idempotency_keys").scalar()
    assert "whsec_once" not in kept


def test_without_a_caller_the_key_belongs_to_the_address(echo_app, echo_client):
    first = make(echo_client, path="/v1/things")
    other = echo_client.post(
        "/v1/things",
        json={"amount": 5},
        headers={"Idempotency-Key": "k-17"},
        environ_overrides={"REMOTE_ADDR": "198.51.100.7"},
    )
    assert other.json["id"] != first.json["id"]


def test_two_operators_have_keys_of_their_own(make_app):
    app = make_app(ADMIN_TOKEN="ann:" + "a" * 40 + ",bob:" + "b" * 40)
    app.register_blueprint(echo.blueprint())
    client = app.test_client()
    answers = [
        client.post("/admin/things", json={"amount": 5},
                    headers={"Idempotency-Key": "k", "X-Admin-Token": token})
        for token in ("a" * 40, "b" * 40)
    ]  # fmt: skip
    assert answers[0].json["id"] != answers[1].json["id"]


def test_a_rotated_credential_is_the_same_intent(make_app):
    app = make_app(ADMIN_TOKEN="ann:" + "a" * 40 + ",ann:" + "b" * 40)
    app.register_blueprint(echo.blueprint())
    client = app.test_client()
    answers = [
        client.post("/admin/things", json={"amount": 5},
                    headers={"Idempotency-Key": "k", "X-Admin-Token": token})
        for token in ("a" * 40, "b" * 40)
    ]  # fmt: skip
    assert answers[0].data == answers[1].data
    assert echo.effects(app) == 1


def test_what_must_come_first_comes_before_the_unit_and_not_on_a_replay(echo_app, operator):
    path = "/admin/things/pay_" + "0" * 32 + "/end"
    for _ in range(2):
        answer = operator.post(path, json={}, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json["code"]) == (401, "key_revoked")
    assert echo.effects(echo_app, "thing.try") == 2  # committed, though both calls were refused
    assert echo.effects(echo_app, "thing.ended") == 0
    assert echo.effects(echo_app, "thing.consequence") == 2
    assert echo.effects(echo_app, "thing.end") == 2  # the audit of refused calls
    with echo_app.app_context(), db.unit_of_work():
        db.unit()
        _store_an_answer(echo_app, path)
    replayed = operator.post(path, json={}, headers={"Idempotency-Key": "k"})
    assert replayed.json == {"id": "x", "amount": 1, "secret": None}
    assert echo.effects(echo_app, "thing.try") == 2


def _store_an_answer(app: Flask, path: str) -> None:
    Sql(
        "INSERT INTO idempotency_keys (scope, key, fingerprint, status, body, created_at)"
        " VALUES ('operator:ann', 'k', :fingerprint, 200, :body, :now)"
    ).run(
        fingerprint=idempotency.fingerprint("POST", path, "", {}),
        body='{"id":"x","amount":1,"secret":null}',
    )


def test_a_call_that_is_still_running_is_waited_for_then_409(app):
    """On Postgres at most 1 s; SQLite has one writer, whose lock is waited for longer."""
    gate = echo.Gate()
    app.register_blueprint(echo.blueprint(gate))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(make, app.test_client(use_cookies=False), "k-17", "/v1/things")
        assert gate.reached.wait(10)
        if app.extensions["payments"].is_sqlite:
            threading.Timer(0.5, gate.go_on.set).start()
            again = make(app.test_client(), path="/v1/things")
            assert again.headers["Idempotent-Replayed"] == "true"
        else:
            begun = time.monotonic()
            again = make(app.test_client(), path="/v1/things")
            waited = time.monotonic() - begun
            gate.go_on.set()
            assert (again.status_code, again.json["code"]) == (409, "request_in_progress")
            assert again.headers["Retry-After"] == "1"
            assert 0.9 < waited < 1.9
        done = first.result(10)
    assert done.status_code == 202
    again = make(app.test_client(), path="/v1/things")
    assert again.json == done.json | {"secret": None}
    assert echo.effects(app) == 1


def test_who_waited_takes_over_when_the_first_is_refused(app):
    gate = echo.Gate()
    app.register_blueprint(echo.blueprint(gate))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(make, app.test_client(), "k", "/v1/things", name="refuse")
        assert gate.reached.wait(10)
        second = pool.submit(make, app.test_client(), "k", "/v1/things")
        time.sleep(0.2)
        gate.go_on.set()
        assert first.result(10).status_code == 409
        assert second.result(10).status_code == 202
    assert echo.effects(app) == 1


def test_fifty_at_once_make_one_thing_and_fifty_equal_answers(make_app):
    app = make_app(RATE_LIMIT_PER_MINUTE="100000")
    app.register_blueprint(echo.blueprint(lambda: time.sleep(0.05)))
    start = threading.Barrier(50)

    def persist(_number: int):
        client = app.test_client()
        start.wait(20)
        for _ in range(100):
            answer = client.post(
                "/admin/things", json={"amount": 5}, headers={"Idempotency-Key": "k", **ADMIN}
            )
            if answer.status_code not in (409, 503):
                return answer.status_code, answer.data, answer.headers.get("Idempotent-Replayed")
            assert answer.json["code"] in ("request_in_progress", "busy")
            time.sleep(0.05)
        raise AssertionError("never answered")

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(persist, range(50)))
    assert len({(status, body) for status, body, _ in answers}) == 1
    assert answers[0][0] == 201
    assert Counter(replayed for _, _, replayed in answers) == {None: 1, "true": 49}
    assert echo.effects(app) == 1


def test_keys_are_kept_seven_days(app, app_context, monkeypatch):
    intent = Intent("cus_1", "k", "f")
    assert idempotency.once(intent, lambda: ({"a": 1}, 200)).replayed is False
    with db.unit_of_work():
        assert idempotency.prune() == 0
    assert idempotency.once(intent, lambda: ({"a": 2}, 200)).text == '{"a":1}'
    later = clock.now() + timedelta(days=7, minutes=1)
    with db.unit_of_work() as unit:
        _at(unit, later)
        assert idempotency.prune(limit=1) == 1
    assert json.loads(idempotency.once(intent, lambda: ({"a": 3}, 200)).text) == {"a": 3}


def _at(unit: Unit, moment) -> None:
    assert unit.now < moment
    unit._now = moment
