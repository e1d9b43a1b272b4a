"""Operators, owners and keys that act on one merchant at the same time, on Postgres."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from payments import db
from payments.merchants import api_keys
from payments.origin import Merchant
from tests import databases
from tests.checkout import world
from tests.merchants import callers
from tests.merchants.callers import refused, told, trail

CALLERS = 8


@pytest.fixture
def app(postgres: str, redis_url: str, tmp_path: Path) -> Iterator[Flask]:
    """The service on Postgres, where an operator approves; its context is pushed."""
    environ = databases.environ_for(
        postgres, tmp_path, REDIS_URL=redis_url, MERCHANT_AUTO_APPROVE="false"
    )
    with databases.app_for(databases.settings_for(environ, tmp_path)) as made, made.app_context():
        yield made


def at_once(app: Flask, url: str) -> list[TestResponse]:
    """So many operators post this at the same time."""

    def post(_number: int) -> TestResponse:
        return callers.operator(app.test_client()).post(url)

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(post, range(CALLERS)))


def test_of_many_operators_at_once_one_approves(app):
    applied = world.applied(callers.OWNER_PHONE)
    answers = at_once(app, f"/admin/merchants/{applied}/approve")
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: CALLERS - 1}
    assert world.events(applied) == ["merchant.approved"]
    outcomes = Counter(line.outcome for line in trail(app, applied))
    assert outcomes == {"done": 1, "invalid_state": CALLERS - 1}
    assert told(callers.owner(app.test_client()).get("/v1/merchant"))["version"] == 2


def test_a_key_is_revoked_once_however_many_ask(app):
    shop = world.merchant()
    key, _secret = callers.key_row(shop)

    owner = callers.owner(app.test_client())

    def end(_number: int) -> TestResponse:
        caller = callers.Caller(app.test_client(), **owner.headers)
        return caller.delete(f"/v1/api_keys/{key.id}")

    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(end, range(CALLERS)))
    # Each says when its own transaction began: an end that lies nearer replaces a later one.
    versions = [told(answer)["version"] for answer in answers]
    assert {told(answer)["status"] for answer in answers} == {"revoked"}
    revocations = [line for line in trail(app, key.id) if line.action == "api_key.revoke"]
    assert len(revocations) == max(versions) - 1


def test_a_key_that_is_being_revoked_makes_no_other(app):
    shop = world.merchant()
    maker, secret = callers.key_row(shop)
    body = {"name": "more", "scopes": ["*"]}
    caller = callers.bearer(app.test_client(), secret)
    told(caller.get("/v1/merchant"))  # its use is noted: that would wait for the row as well
    with ThreadPoolExecutor(1) as elsewhere:
        with db.unit_of_work():
            api_keys.revoke(shop, maker.id, also_made=True)
            # It is let in, since nothing is committed yet; then it waits for its maker's row.
            answer = elsewhere.submit(caller.post, "/v1/api_keys", body)
            with pytest.raises(TimeoutError):
                answer.result(timeout=0.5)
        assert refused(answer.result()) == (401, "key_revoked")
    assert [row.id for row in api_keys.of_merchant(shop, 10, None)] == [maker.id]


def test_a_key_that_is_made_while_its_makers_maker_is_revoked_ends_as_well(app):
    """The revocation waits for the row of the key between them, and then looks again."""
    shop = world.merchant()
    first, _secret = callers.key_row(shop)
    child, _secret = callers.key_row(shop, by=Merchant(shop, first.id, frozenset("*")))
    owner = callers.owner(app.test_client())
    with ThreadPoolExecutor(1) as elsewhere:
        with db.unit_of_work():
            by_child = Merchant(shop, child.id, frozenset("*"))
            late, secret = api_keys.create(shop, "late", ["*"], None, by=by_child)
            answer = elsewhere.submit(owner.delete, f"/v1/api_keys/{first.id}", made="revoke")
            with pytest.raises(TimeoutError):
                answer.result(timeout=0.5)
        assert told(answer.result())["status"] == "revoked"
    assert api_keys.get(shop, late.id).revoked_at is not None
    caller = callers.bearer(app.test_client(), secret)
    assert refused(caller.get("/v1/merchant")) == (401, "key_revoked")
