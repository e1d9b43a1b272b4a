"""The drain: what is due is sent, a few at a time, and written down as it ended."""

import time
from datetime import timedelta

import pytest
from standardwebhooks.webhooks import Webhook

from payments import config, db
from payments.webhooks import deliveries, endpoints
from payments.webhooks import drain as drains
from payments.webhooks.drain import Drain
from tests import receivers
from tests.webhooks import world
from tests.webhooks.busy import Busyness, running, wait_until

HANG_S = 4


def test_what_is_due_is_delivered_and_written_down(drain, receiver):
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    (event_id,) = world.happen(shop)
    assert drain.run(5) is True
    (got,) = receiver.received()
    delivery = world.delivery()
    assert got.headers["webhook-id"] == event_id
    assert got.headers["x-delivery-id"] == delivery.id
    assert got.body.decode() == world.events()[0].body
    Webhook(world.SECRET).verify(got.body, dict(got.headers))
    assert (delivery.status, delivery.attempts) == ("delivered", 1)
    assert delivery.last_outcome == "success"
    assert (delivery.lease_token, delivery.lease_until, delivery.next_attempt_at) == (None,) * 3
    assert delivery.ended_at >= delivery.created_at
    (attempt,) = world.attempts()
    assert (attempt.number, attempt.outcome, attempt.http_status) == (1, "success", 200)
    assert world.endpoints()[0].succeeded_at is not None


def test_the_schedule_is_as_configured(drain, receiver):
    """Base 0.2 s, factor 2, 4 attempts: waits of 0.2, 0.4 and 0.8 s, 10 % more or less."""
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(500, b"no"))
    world.happen(shop)
    drain.run(10)
    got = receiver.received()
    assert [one.headers["x-attempt"] for one in got] == ["1", "2", "3", "4"]
    assert {one.headers["x-delivery-id"] for one in got} == {world.delivery().id}
    assert len({one.headers["webhook-id"] for one in got}) == 1
    for wait, (before, after) in zip((0.2, 0.4, 0.8), zip(got, got[1:], strict=False), strict=True):
        assert wait * 0.9 <= after.clock_s - before.clock_s < wait * 1.1 + 2
    delivery = world.delivery()
    assert (delivery.status, delivery.attempts, delivery.tries) == ("failed", 4, 4)
    assert (delivery.last_outcome, delivery.next_attempt_at) == ("http_5xx", None)
    assert [attempt.response for attempt in world.attempts()] == ["no"] * 4


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (receivers.answer(500), "http_5xx"),
        (receivers.answer(404), "http_4xx"),
        (receivers.redirect("http://127.0.0.1:9/"), "http_3xx"),
        (receivers.hang(), "timeout"),
        (receivers.drip_body(0.05), "timeout"),
        (receivers.cut(), "connect"),
    ],
)
def test_what_failed_is_sent_again(drain, receiver, behaviour, outcome):
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", behaviour, receivers.answer())
    world.happen(shop)
    drain.run(10)
    assert [attempt.outcome for attempt in world.attempts()] == [outcome, "success"]
    assert world.delivery().status == "delivered"
    assert len({got.headers["x-delivery-id"] for got in receiver.received()}) == 1


def test_retry_after_is_honoured(drain, receiver):
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(429, retry_after=1), receivers.answer())
    world.happen(shop)
    drain.run(10)
    first, second = receiver.received()
    assert 1 <= second.clock_s - first.clock_s < 1.5
    assert world.delivery().status == "delivered"


def test_a_wait_of_a_day_at_most(drain, receiver):
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(503, retry_after=10**9))
    world.happen(shop)
    drain.run(5)
    wait = world.delivery().next_attempt_at - db.now()
    assert timedelta(hours=23, minutes=59) < wait <= timedelta(hours=24)


def test_410_disables_the_endpoint_and_says_so(drain, receiver):
    shop = world.merchant()
    gone = world.endpoint(shop, receiver.url("/gone"))
    other = world.endpoint(shop, receiver.url("/other"))
    receiver.script("/gone", receivers.gone(), receivers.answer())
    world.happen(shop, 3)
    drain.run(10)
    endpoint = next(row for row in world.endpoints() if row.id == gone)
    assert (endpoint.status, endpoint.disabled_reason) == ("disabled", "gone")
    assert len(receiver.received("/gone")) == 1
    told = [got for got in receiver.received("/other") if b"webhook_endpoint.disabled" in got.body]
    assert len(told) == 1
    by_status = {(d.endpoint_id, d.status) for d in world.deliveries() if d.event_id != told}
    assert by_status == {(gone, "failed"), (gone, "canceled"), (other, "delivered")}


def test_a_410_of_the_url_before_leaves_the_endpoint_as_it_is(fast_app, drain, receiver):
    shop = world.merchant()
    endpoint = world.endpoint(shop, receiver.url("/gone"))
    receiver.script("/gone", receivers.answer(410, after_s=0.4))
    world.happen(shop)
    with running(fast_app, drain):
        receiver.wait_for(1)
        db.in_unit(lambda: endpoints.change(shop, endpoint, {"url": receiver.url("/new")}))
    (row,) = world.endpoints()
    assert (row.status, row.disabled_reason) == ("enabled", None)


def test_what_was_canceled_comes_by_resend_once_the_endpoint_is_enabled(drain, receiver):
    shop = world.merchant()
    endpoint = world.endpoint(shop, receiver.url(), status="disabled")
    world.happen(shop)
    drain.run(5)
    assert receiver.received() == []
    with db.unit_of_work():
        endpoints.change(shop, endpoint, {"status": "enabled"})
        deliveries.resend(shop, world.delivery().id)
    drain.run(5)
    assert world.delivery().status == "delivered"
    assert receiver.received()[0].headers["x-attempt"] == "1"


def test_a_resend_keeps_the_id_and_the_attempts_go_on(drain, receiver):
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", *[receivers.answer(500)] * 5, receivers.answer())
    world.happen(shop)
    drain.run(10)
    assert world.delivery().status == "failed"
    for numbers in (["5", "6"], ["7"]):
        receiver.forget()
        with db.unit_of_work():
            deliveries.resend(shop, world.delivery().id)
        drain.run(10)
        got = receiver.received()
        assert [one.headers["x-attempt"] for one in got] == numbers
        assert {one.headers["x-delivery-id"] for one in got} == {world.delivery().id}
        assert world.delivery().status == "delivered"


def test_five_days_of_failure_disable(drain, receiver):
    shop = world.merchant()
    endpoint = world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(500))
    world.change(
        "webhook_endpoints", endpoint, failures=7, failing_since_at=world.shift(-5 * 86_400 + 5)
    )
    world.happen(shop)
    drain.run(0.3)
    assert world.endpoints()[0].status == "enabled"
    world.change("webhook_endpoints", endpoint, failing_since_at=world.shift(-5 * 86_400))
    drain.run(10)
    assert world.endpoints()[0].disabled_reason == "failing"
    assert world.deliveries()[0].status == "canceled"


def test_after_failures_in_a_row_one_probe_at_a_time_and_not_often(drain, receiver):
    """Four go out together; from the fifth failure on the breaker opens for 0.18 s each time."""
    shop = world.merchant()
    world.endpoint(shop, receiver.url(), proven=True)
    probes = Busyness(0.02, status=500)
    receiver.script("/hook", *[receivers.answer(500)] * 4, probes)
    world.happen(shop, 12)
    drain.run(2)
    assert world.endpoints()[0].failures >= 5
    at = [got.clock_s for got in receiver.received()][4:]
    assert len(at) >= 2
    assert min(after - before for before, after in zip(at, at[1:], strict=False)) >= 0.18
    assert probes.most == 1


def test_a_probe_that_succeeds_closes_the_breaker(drain, receiver):
    shop = world.merchant()
    endpoint = world.endpoint(shop, receiver.url())
    world.change(
        "webhook_endpoints",
        endpoint,
        failures=9,
        failing_since_at=world.shift(-60),
        closed_until=world.shift(0.4),
    )
    world.happen(shop, 3)
    begun = time.monotonic()
    drain.run(10)
    assert time.monotonic() - begun >= 0.35
    row = world.endpoints()[0]
    assert (row.failures, row.failing_since_at, row.closed_until) == (0, None, None)
    assert [d.status for d in world.deliveries()] == ["delivered"] * 3


def test_a_lease_that_ran_out_is_taken_over_and_the_late_result_changes_nothing(
    fast_app, drain, receiver
):
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(200, b"late", after_s=0.6), receivers.answer(500))
    world.happen(shop)
    with running(fast_app, drain, 20):
        receiver.wait_for(1)
        # As after 31 s without a sign of life.
        world.change("deliveries", world.delivery().id, lease_until=world.shift(-0.001))
        receiver.wait_for(2)
        wait_until(lambda: len(world.attempts()) >= 2)
    found = world.attempts()
    assert [(a.number, a.outcome) for a in found[:2]] == [(1, "success"), (2, "http_5xx")]
    assert len({got.headers["x-delivery-id"] for got in receiver.received()}) == 1
    delivery = world.delivery()
    assert delivery.status == "pending"
    assert delivery.tries == len(found) - 1  # the late one is no step of the schedule


def test_what_is_canceled_in_flight_stays_canceled(fast_app, drain, receiver):
    shop = world.merchant()
    endpoint = world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(500, after_s=0.4))
    world.happen(shop)
    with running(fast_app, drain):
        receiver.wait_for(1)
        with db.unit_of_work():
            endpoints.delete(shop, endpoint)
    assert world.delivery().status == "canceled"
    assert [attempt.outcome for attempt in world.attempts()] == ["http_5xx"]


def test_a_slow_answer_outlives_the_run_and_is_written_down(drain, receiver, monkeypatch):
    monkeypatch.setattr(drains, "PAUSE_S", 0.1)  # who stays behind looks more than once
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(after_s=0.6))
    world.happen(shop)
    begun = time.monotonic()
    drain.run(0.1)
    assert time.monotonic() - begun < 0.4
    assert world.delivery().status == "pending"
    wait_until(lambda: world.delivery().status == "delivered")
    assert len(receiver.received()) == 1


def test_a_drain_that_is_told_to_stop_waits_for_what_is_in_flight(fast_app, drain, receiver):
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(after_s=0.4))
    world.happen(shop, 5)
    with running(fast_app, drain):
        receiver.wait_for(1)
    statuses = sorted(d.status for d in world.deliveries())
    assert statuses == ["delivered"] + ["pending"] * 4
    assert all(d.lease_token is None for d in world.deliveries())


def test_one_run_at_a_time_in_a_process(fast_app, drain, receiver):
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(after_s=0.3))
    world.happen(shop)
    with running(fast_app, drain):
        receiver.wait_for(1)
        assert drain.run(5) is False


def test_in_read_only_nothing_is_sent(make_app, receiver):
    with make_app(WEBHOOK_TIMEOUT_SECS="1").app_context():
        shop = world.merchant()
        world.endpoint(shop, receiver.url())
        world.happen(shop)
    with make_app(READ_ONLY="true", WEBHOOK_TIMEOUT_SECS="1").app_context():
        drain = Drain()
        assert config.current().read_only
        assert drain.run(1) is False
        drain.finish()
        assert receiver.received() == []
        assert world.delivery().attempts == 0
