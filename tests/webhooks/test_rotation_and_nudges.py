"""Two secrets while one rotates; nudges, which are hints and never the truth."""

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from payments import db, sealing
from payments.events import nudges
from payments.webhooks import endpoints, signing
from tests import receivers
from tests.webhooks import world
from tests.webhooks.busy import running, wait_until


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
        # At the latest when what was still in flight has ended: it may have held back the rest.
        queue = f"rq:queue:{nudges.QUEUE}"
        wait_until(lambda: redis_client.llen(queue) == 1)

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
