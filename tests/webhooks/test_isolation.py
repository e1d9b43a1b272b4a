"""One endpoint never delays another: caps, slots, and who is sent to first."""

import threading
import time

import pytest

from payments.webhooks import flight
from payments.webhooks.drain import Drain
from tests import receivers
from tests.receivers import Received, Receiver
from tests.webhooks import world
from tests.webhooks.busy import Busyness, running, wait_until
from tests.webhooks.conftest import FAST

HANG_S = 4


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


@pytest.mark.parametrize("hanging", [6, 12])
def test_endpoints_that_hang_make_no_other_late(make_app, receiver, hanging):
    """All had answered well until now, so each gets the full cap: twelve take all the slots."""
    app = make_app(**FAST | {"WEBHOOK_TIMEOUT_SECS": str(HANG_S)})
    with app.app_context():
        shop, others = world.merchant(), world.merchant()
        for number in range(hanging):
            world.endpoint(shop, receiver.url(f"/hang/{number}"), proven=True)
            receiver.script(f"/hang/{number}", receivers.hang())
        for number in range(3):
            world.endpoint(others, receiver.url(f"/good/{number}"), proven=True)
        world.happen(shop, 10)
        begun: dict[str, float] = {}
        drain = Drain()
        with running(app, drain):
            receiver.wait_for(hanging)
            for _ in range(15):
                (event_id,) = world.happen(others)
                begun[event_id] = time.monotonic()
                time.sleep(0.1)
            wait_until(lambda: len(good_ones(receiver)) == 45)
        drain.finish()
    assert len([got for got in receiver.received() if "hang" in got.path]) >= 4 * hanging
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


@pytest.mark.parametrize("count", [flight.SLOTS, 2 * flight.SLOTS + 6])
def test_more_endpoints_than_slots_each_have_their_turn(drain, receiver, count):
    for number in range(count):
        shop = world.merchant()
        world.endpoint(shop, receiver.url(f"/{number}"), proven=True)
        world.happen(shop, 3)
    drain.run(20)
    order = [got.path for got in receiver.received()]
    assert len(order) == count * 3
    # The last one had its first turn before as many as there are slots had had all of theirs.
    thirds = [index for index, path in enumerate(order) if order[: index + 1].count(path) == 3]
    firsts = [order.index(f"/{number}") for number in range(count)]
    assert max(firsts) < sorted(thirds)[flight.SLOTS - 1]
