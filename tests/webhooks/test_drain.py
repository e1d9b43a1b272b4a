"""The drain: what is due is sent, a few at a time, and written down as it ended."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from payments import config, db, sealing
from payments.events import nudges
from payments.webhooks import deliveries, endpoints, signing
from payments.webhooks.drain import Drain
from tests import receivers
from tests.receivers import Received, Receiver
from tests.webhooks import world
from tests.webhooks.conftest import FAST

HANG_S = 4


class Busyness:
    """A behaviour that takes a while, and how many requests it had at once at the most."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, handler) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        handler.rest(self.seconds)
        with self._lock:
            self.now -= 1
        handler.answer(200, b"", {})


@contextmanager
def running(app, drain: Drain, run_s: float = 30) -> Iterator[None]:
    """The drain runs in a thread meanwhile; at the end it is told to stop."""

    def work() -> None:
        with app.app_context():
            drain.run(run_s)

    thread = threading.Thread(target=work, name="drain of a test")
    thread.start()
    try:
        yield
    finally:
        drain.stop()
        thread.join()


def wait_until(condition: Callable[[], object], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
        assert wait * 0.9 <= after.clock_s - before.clock_s < wait * 1.1 + 0.35
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


def test_after_failures_in_a_row_one_probe_at_a_time(fast_app, drain, receiver):
    shop = world.merchant()
    world.endpoint(shop, receiver.url(), proven=True)
    slow = Busyness(0.02)

    def fail(handler):
        slow.now += 1
        slow.most = max(slow.most, slow.now)
        handler.rest(slow.seconds)
        slow.now -= 1
        handler.answer(500, b"", {})

    receiver.script("/hook", *[receivers.answer(500)] * 8, fail)
    world.happen(shop, 12)
    drain.run(0.1)
    row = world.endpoints()[0]
    assert row.failures >= 5
    # At most the cap was under way when the fifth failed; from then on the breaker was open.
    assert len(receiver.received()) <= 8
    assert 0 < (row.closed_until - row.failing_since_at).total_seconds() < 0.5
    drain.run(1)
    assert slow.most == 1


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


@pytest.mark.parametrize(("proven", "most"), [(True, 4), (False, 1)])
def test_few_are_in_flight_to_one_endpoint(drain, receiver, proven, most):
    shop = world.merchant()
    endpoint = world.endpoint(shop, receiver.url(), proven=proven)
    busy = Busyness(0.3)
    receiver.script("/hook", busy)
    world.happen(shop, 9 if proven else 2)
    if not proven:
        world.change("webhook_endpoints", endpoint, failures=1)
    drain.run(0.2)
    wait_until(lambda: busy.now == 0)
    assert busy.most == most


def test_the_cap_holds_over_all_workers(fast_app, receiver):
    shop = world.merchant()
    world.endpoint(shop, receiver.url(), proven=True)
    busy = Busyness(0.05)
    receiver.script("/hook", busy)
    world.happen(shop, 40)
    with fast_app.app_context():
        drains = [Drain() for _ in range(3)]
    threads = [threading.Thread(target=lambda d=drain: _run_in(fast_app, d)) for drain in drains]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for drain in drains:
        drain.finish()
    assert busy.most == 4
    got = [one.headers["x-delivery-id"] for one in receiver.received()]
    assert sorted(got) == sorted(d.id for d in world.deliveries())
    assert {d.status for d in world.deliveries()} == {"delivered"}


def _run_in(app, drain: Drain) -> None:
    with app.app_context():
        drain.run(10)


def test_six_endpoints_that_hang_make_no_other_late(make_app, receiver):
    """All six had answered well until now, so each gets the full cap: more than the slots."""
    app = make_app(**FAST | {"WEBHOOK_TIMEOUT_SECS": str(HANG_S)})
    with app.app_context():
        shop, others = world.merchant(), world.merchant()
        for number in range(6):
            world.endpoint(shop, receiver.url(f"/hang/{number}"), proven=True)
            receiver.script(f"/hang/{number}", receivers.hang())
        for number in range(3):
            world.endpoint(others, receiver.url(f"/good/{number}"), proven=True)
        world.happen(shop, 10)
        begun: dict[str, float] = {}
        drain = Drain()
        with running(app, drain):
            receiver.wait_for(6)
            for _ in range(15):
                (event_id,) = world.happen(others)
                begun[event_id] = time.monotonic()
                time.sleep(0.1)
            wait_until(lambda: len(good_ones(receiver)) == 45)
        drain.finish()
    assert len([got for got in receiver.received() if "hang" in got.path]) >= 24
    late = sorted(got.clock_s - begun[got.headers["webhook-id"]] for got in good_ones(receiver))
    assert late[len(late) // 2] < 0.5
    assert late[-1] < HANG_S / 2  # none waited for another's deadline


def good_ones(receiver: Receiver) -> list[Received]:
    return [got for got in receiver.received() if got.path.startswith("/good")]


def test_what_becomes_due_while_another_hangs_is_sent_at_once(fast_app, drain, receiver):
    shop, other = world.merchant(), world.merchant()
    world.endpoint(shop, receiver.url("/hang"))
    receiver.script("/hang", receivers.hang())
    world.endpoint(other, receiver.url("/good"))
    world.happen(shop)
    with running(fast_app, drain):
        receiver.wait_for(1, "/hang")
        begun = time.monotonic()
        world.happen(other)
        (got,) = receiver.wait_for(1, "/good")
        assert got.clock_s - begun < 0.5


def test_an_endpoints_backlog_does_not_hide_anothers_only_delivery(drain, receiver):
    shop, other = world.merchant(), world.merchant()
    world.endpoint(shop, receiver.url("/much"), proven=True)
    world.endpoint(shop, receiver.url("/more"), proven=True)
    world.happen(shop, 50)
    world.endpoint(other, receiver.url("/little"), proven=True)
    world.happen(other)
    drain.run(20)
    order = [got.path for got in receiver.received()]
    assert len(order) == 101
    assert order.index("/little") < 20


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


def test_a_slow_answer_outlives_the_run_and_is_written_down(drain, receiver):
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
    app = make_app(READ_ONLY="true", WEBHOOK_TIMEOUT_SECS="1")
    with app.app_context():
        shop = world.merchant()
        world.endpoint(shop, receiver.url())
        world.happen(shop)
        drain = Drain()
        assert config.current().read_only
        assert drain.run(1) is False
        drain.finish()
        assert receiver.received() == []
        assert world.delivery().attempts == 0


class TestSecrets:
    def test_during_a_rotation_both_sign(self, drain, receiver):
        shop = world.merchant()
        endpoint = world.endpoint(shop, receiver.url())
        with db.unit_of_work():
            _row, new = endpoints.rotate_secret(shop, endpoint)
        world.happen(shop)
        drain.run(5)
        (got,) = receiver.received()
        for secret in (new, world.SECRET):
            Webhook(secret).verify(got.body, dict(got.headers))

    def test_after_the_overlap_the_new_one_alone(self, drain, receiver):
        shop = world.merchant()
        endpoint = world.endpoint(shop, receiver.url())
        with db.unit_of_work():
            _row, new = endpoints.rotate_secret(shop, endpoint)
        world.change("webhook_endpoints", endpoint, old_secret_until=world.shift(0))
        world.happen(shop)
        drain.run(5)
        (got,) = receiver.received()
        Webhook(new).verify(got.body, dict(got.headers))
        with pytest.raises(WebhookVerificationError):
            Webhook(world.SECRET).verify(got.body, dict(got.headers))

    def test_one_that_no_key_fits_stops_its_own_endpoint_alone(self, drain, receiver):
        shop = world.merchant()
        sealed = world.endpoint(shop, receiver.url("/sealed"))
        world.endpoint(shop, receiver.url("/good"))
        world.change("webhook_endpoints", sealed, secret_sealed="not sealed by us")
        world.happen(shop)
        drain.run(0.5)
        assert [got.path for got in receiver.received()] == ["/good"]
        blocked = [attempt for attempt in world.attempts() if attempt.outcome == "blocked"]
        assert "secret can't be read" in blocked[0].detail

    def test_at_rest_they_are_sealed(self, fast_app):
        shop = world.merchant()
        with db.unit_of_work():
            row, secret = endpoints.create(shop, "https://shop.example/", ["*"], None)
        stored = world.endpoints()[0].secret_sealed
        assert secret not in stored and signing.key_of(secret).hex() not in stored
        assert sealing.unseal(stored) == secret


class TestNudges:
    def test_what_is_left_is_told_of(self, drain, receiver, redis_client):
        shop = world.merchant()
        world.endpoint(shop, receiver.url())
        world.happen(shop, 200)
        redis_client.flushdb()
        drain.run(0.1)
        assert {d.status for d in world.deliveries()} == {"pending", "delivered"}
        assert redis_client.llen(f"rq:queue:{nudges.QUEUE}") == 1

    def test_what_will_be_due_is_scheduled(self, drain, receiver, redis_client):
        shop = world.merchant()
        world.endpoint(shop, receiver.url())
        receiver.script("/hook", receivers.answer(429, retry_after=60))
        world.happen(shop)
        redis_client.flushdb()
        drain.run(5)
        assert redis_client.llen(f"rq:queue:{nudges.QUEUE}") == 0
        ((_id, due),) = redis_client.zrange(f"rq:scheduled:{nudges.QUEUE}", 0, -1, withscores=True)
        next_at = world.delivery().next_attempt_at.timestamp()
        assert next_at <= due < next_at + 1.001

    def test_a_nudge_during_the_run_is_news(self, fast_app, drain, receiver, redis_client):
        shop = world.merchant()
        world.endpoint(shop, receiver.url())
        receiver.script("/hook", receivers.answer(after_s=0.3))
        world.happen(shop)
        redis_client.flushdb()
        redis_client.set(nudges.FLAG, 1)
        with running(fast_app, drain):
            receiver.wait_for(1)
            assert redis_client.get(nudges.FLAG) is None
            assert nudges.nudge() is True
            assert redis_client.llen(f"rq:queue:{nudges.QUEUE}") == 1
