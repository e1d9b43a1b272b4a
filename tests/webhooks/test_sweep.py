"""The sweep finds what no nudge tells of, and sends it where no worker would."""

import threading

from payments import db, ids
from payments.events import nudges
from payments.webhooks import drain as drains
from payments.webhooks import endpoints, sweep
from tests.children import wait_until
from tests.redis_server import Redis
from tests.webhooks import world
from tests.webhooks.conftest import FAST

QUEUE = f"rq:queue:{nudges.QUEUE}"


def test_what_is_due_is_told_of(fast_app, redis_client):
    shop = world.merchant()
    world.endpoint(shop)
    sweep.run()
    assert redis_client.llen(QUEUE) == 0
    world.happen(shop)
    redis_client.flushdb()  # the nudge is lost
    sweep.run()
    assert redis_client.llen(QUEUE) == 1
    assert world.delivery().attempts == 0


def test_a_dead_workers_delivery_is_told_of_once_its_lease_has_run_out(fast_app, redis_client):
    shop = world.merchant()
    world.endpoint(shop)
    world.happen(shop)
    id = world.delivery().id
    world.change("deliveries", id, lease_until=world.shift(30), lease_token=ids.new("lease"))
    redis_client.flushdb()
    sweep.run()
    assert redis_client.llen(QUEUE) == 0
    world.change("deliveries", id, lease_until=world.shift(-0.001))
    sweep.run()
    assert redis_client.llen(QUEUE) == 1


def test_without_redis_it_sends_by_itself(make_app, receiver):
    with make_app(**FAST, REDIS_URL="").app_context():
        shop = world.merchant()
        world.endpoint(shop, receiver.url())
        world.happen(shop)
        sweep.run()
        assert world.delivery().status == "delivered"
        drains.finish()


def test_with_redis_away_it_sends_by_itself_and_goes_on_at_once(
    make_app, receiver, redis_server: Redis, monkeypatch
):
    monkeypatch.setattr(sweep, "RUN_S", 0.2)
    with make_app(**FAST, REDIS_URL=redis_server.url()).app_context():
        shop = world.merchant()
        world.endpoint(shop, receiver.url())
        redis_server.kill()
        world.happen(shop, 300)
        nudges.heard.clear()
        sweep.run()
        assert "delivered" in {d.status for d in world.deliveries()}
        # More is due, and this process's clock need not wait; who is full of it says so at its end.
        wait_until(nudges.heard.is_set, "word of what is left")
        for _ in range(200):
            sweep.run()
            if {d.status for d in world.deliveries()} == {"delivered"}:
                break
        assert {d.status for d in world.deliveries()} == {"delivered"}
        drains.finish()


def test_strays_are_canceled(fast_app):
    """An event recorded while its endpoint is being disabled does not see that."""
    shop = world.merchant()
    stray, kept = world.endpoint(shop), world.endpoint(shop)
    world.happen(shop)
    world.change("webhook_endpoints", stray, status="disabled")
    sweep.run()
    by_endpoint = {d.endpoint_id: d for d in world.deliveries()}
    assert (by_endpoint[stray].status, by_endpoint[kept].status) == ("canceled", "pending")
    assert by_endpoint[stray].ended_at is not None


def test_two_sweeps_at_once_send_each_delivery_once(make_app, receiver):
    app = make_app(**FAST, REDIS_URL="")
    with app.app_context():
        shop = world.merchant()
        world.endpoint(shop, receiver.url(), proven=True)
        world.happen(shop, 20)

        def one() -> None:
            with app.app_context():
                sweep.run()

        threads = [threading.Thread(target=one) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {d.status for d in world.deliveries()} == {"delivered"}
        assert len(receiver.received()) == 20
        drains.finish()


def test_a_long_backlog_of_a_disabled_endpoint_is_canceled_in_small_units(fast_app, monkeypatch):
    monkeypatch.setattr(endpoints, "CANCELED_AT_ONCE", 2)
    monkeypatch.setattr(sweep, "CANCELED_AT_ONCE", 2)
    shop = world.merchant()
    endpoint = world.endpoint(shop)
    world.happen(shop, 7)
    db.in_unit(lambda: endpoints.disable(endpoint, "operator"))
    # Two of the seven, and the one that tells of it.
    assert [one.status for one in world.deliveries()].count("canceled") == 3
    monkeypatch.setattr(sweep, "CANCELED_IN_ALL", 4)
    sweep.run()
    assert [one.status for one in world.deliveries()].count("canceled") == 7
    sweep.run()
    assert {one.status for one in world.deliveries()} == {"canceled"}
