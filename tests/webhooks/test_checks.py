"""Checks over HTTP: asked by an operator, run by the clock's task, told by the row."""

from datetime import timedelta
from functools import partial

import pytest

from payments import clock, ids
from payments.app import periodic_tasks
from payments.db import Sql
from payments.errors import Busy
from payments.operations.clock import Clock
from payments.webhooks import checks, endpoints, probing
from tests.checkout import world
from tests.children import wait_until
from tests.merchants.callers import Caller, operator, refused, told, trail

pytestmark = pytest.mark.usefixtures("fast_app")
AGE = Sql("UPDATE endpoint_checks SET created_at = :at")
LEASE = Sql("UPDATE endpoint_checks SET status = 'running', lease_until = :at")


@pytest.fixture
def ann(fast_app) -> Caller:
    return operator(fast_app.test_client())


@pytest.fixture
def endpoint(fast_app, receiver) -> str:
    shop = world.merchant()
    return world.did(lambda: endpoints.create(shop, receiver.url("/hook"), ["*"], None))[0].id


def asks(caller: Caller, endpoint: str) -> dict:
    return told(caller.post(f"/admin/webhook_endpoints/{endpoint}/check"), 202)


def shown(caller: Caller, check: dict) -> dict:
    return told(caller.get(f"/admin/webhook_checks/{check['id']}"))


def run_all() -> int:
    threads = checks.run_due()
    for thread in threads:
        thread.join()
    return len(threads)


def test_asked_then_run_then_told(fast_app, ann, endpoint, receiver):
    asked = asks(ann, endpoint)
    assert (asked["status"], asked["result"], asked["asked_by"]) == (
        "waiting",
        None,
        "operator:ann",
    )
    assert receiver.received() == []  # not by the web process
    assert run_all() == 1
    done = shown(ann, asked)
    assert (done["status"], done["outcome"], done["version"]) == ("done", "success", 3)
    assert done["result"]["answer"]["status"] == 200
    assert done["ended_at"] is not None
    assert run_all() == 0
    assert [seen.method for seen in receiver.received()] == ["HEAD"]
    (line,) = trail(fast_app, endpoint)
    assert (line.actor, line.action) == ("operator:ann", "webhook_endpoint.check")


def test_the_clock_runs_it(fast_app, settings, ann, endpoint):
    clock = Clock(fast_app.app_context, periodic_tasks(settings))
    clock.start()
    try:
        asked = asks(ann, endpoint)
        wait_until(lambda: shown(ann, asked)["status"] == "done", "the check", 10)
    finally:
        clock.stop()


def test_a_lease_keeps_others_away_until_it_ends(ann, endpoint):
    asked = asks(ann, endpoint)
    world.did(lambda: LEASE.run(at=clock.now() + timedelta(seconds=60)))
    assert run_all() == 0
    checks._room.acquire()
    checks._run(asked["id"], None)  # as if it had been seen due a moment ago
    assert shown(ann, asked)["status"] == "running"
    world.did(lambda: LEASE.run(at=clock.now() - timedelta(seconds=1)))
    assert run_all() == 1
    assert shown(ann, asked)["status"] == "done"


def test_no_more_at_once_than_there_is_room_for(ann, endpoint):
    for _ in range(checks.AT_ONCE + 2):
        asks(ann, endpoint)
    assert run_all() == checks.AT_ONCE
    taken = [checks._room.acquire(blocking=False) for _ in range(checks.AT_ONCE)]
    assert taken == [True] * checks.AT_ONCE
    assert run_all() == 0
    for _ in taken:
        checks._room.release()
    assert run_all() == 2


def test_a_check_that_stumbles_is_done_and_says_so(monkeypatch, ann, endpoint):
    def stumbles(*_given, **_more):
        raise ZeroDivisionError

    monkeypatch.setattr(probing, "probe", stumbles)
    asked = asks(ann, endpoint)
    assert run_all() == 1
    done = shown(ann, asked)
    assert (done["status"], done["outcome"]) == ("done", "lost")


def test_a_database_that_does_not_answer_leaves_it_for_later(monkeypatch, ann, endpoint):
    asked = asks(ann, endpoint)

    def away(*_given, **_more):
        raise Busy

    with monkeypatch.context() as broken:
        broken.setattr(checks.db, "in_unit", away)
        assert run_all() == 1
    assert shown(ann, asked)["status"] == "waiting"
    assert run_all() == 1
    assert shown(ann, asked)["status"] == "done"


def test_a_list_of_one_endpoint_or_of_all(ann, endpoint):
    shop = world.merchant()
    other = world.did(lambda: endpoints.create(shop, "http://127.0.0.1:9/", ["*"], None))[0].id
    made = [asks(ann, which)["id"] for which in (endpoint, other, endpoint, endpoint)]
    url = "/admin/webhook_checks"
    for query, wanted in (({}, made[::-1]), ({"endpoint": endpoint}, [made[3], made[2], made[0]])):
        page = told(ann.get(url, limit=2, **query))
        rest = told(ann.get(url, limit=2, cursor=page["next_cursor"], **query))
        assert [one["id"] for one in page["data"] + rest["data"]] == wanted


def test_what_can_not_be_checked(monkeypatch, ann, endpoint):
    for unknown in (ids.new("we"), endpoint):
        if unknown == endpoint:
            shop = world.did(lambda: Sql("SELECT merchant_id FROM webhook_endpoints").scalar())
            world.did(partial(endpoints.delete, shop, endpoint))
        answer = ann.post(f"/admin/webhook_endpoints/{unknown}/check")
        assert refused(answer) == (404, "not_found")
    assert refused(ann.get(f"/admin/webhook_checks/{ids.new('chk')}")) == (404, "not_found")


def test_where_no_worker_runs_them_they_do_not_pile_up(monkeypatch, ann, endpoint):
    monkeypatch.setattr(checks, "MAX_WAITING", 1)
    asks(ann, endpoint)
    answer = ann.post(f"/admin/webhook_endpoints/{endpoint}/check")
    assert refused(answer) == (409, "invalid_state")


def test_old_ones_are_forgotten(ann, endpoint):
    asks(ann, endpoint)
    assert world.did(checks.prune) == 0
    world.did(lambda: AGE.run(at=clock.now() - checks.KEPT - timedelta(seconds=1)))
    assert world.did(checks.prune) == 1


def toggles(caller: Caller, endpoint: str, status: str) -> dict:
    body = {"status": status, "reason": "they asked for it"}
    return told(caller.post(f"/admin/webhook_endpoints/{endpoint}/toggle", body))


def test_an_operator_disables_an_endpoint_and_enables_it(ann, endpoint):
    off = toggles(ann, endpoint, "disabled")
    assert (off["status"], off["disabled_reason"]) == ("disabled", "operator")
    assert world.events(endpoint) == ["webhook_endpoint.disabled"]
    assert toggles(ann, endpoint, "disabled") == off
    on = toggles(ann, endpoint, "enabled")
    assert (on["status"], on["disabled_reason"], on["version"]) == (
        "enabled",
        None,
        off["version"] + 1,
    )
    lines = told(ann.get("/admin/audit", action="webhook_endpoint.toggle"))["data"][::-1]
    assert [(one["before"]["status"], one["after"]["status"]) for one in lines] == [
        ("enabled", "disabled"),
        ("disabled", "disabled"),
        ("disabled", "enabled"),
    ]
    assert {one["after"]["reason"] for one in lines} == {"they asked for it"}
    assert lines[0]["subject"] == endpoint


def test_an_endpoint_that_is_not_there_is_not_toggled(ann):
    body = {"status": "enabled", "reason": "x"}
    answer = ann.post(f"/admin/webhook_endpoints/{ids.new('we')}/toggle", body)
    assert refused(answer) == (404, "not_found")
