"""An event is written with what is owed for it, or not at all."""

import json
import re

import pytest

from payments import clock, db, origin
from payments.events import nudges, outbox
from tests.webhooks import world

pytestmark = pytest.mark.usefixtures("app_context")


def record(merchant_id, type="payment.succeeded", **more):
    return outbox.record(
        type,
        merchant_id=merchant_id,
        object_id="pay_1",
        snapshot={"object": "payment", "name": "Käse\u0000 %s :now 🧀", "amount": 2000},
        **more,
    )


def test_the_body_is_as_the_contract_says():
    shop = world.merchant()
    with db.unit_of_work() as unit, origin.acting("cus_1", "rid_7"):
        event_id = record(shop)
    (event,) = world.events()
    assert json.loads(event.body) == {
        "id": event_id,
        "object": "event",
        "type": "payment.succeeded",
        "api_version": "v1",
        "created_at": clock.to_rfc3339(unit.now),
        "request_id": "rid_7",
        "data": {"object": {"object": "payment", "name": "Käse\u0000 %s :now 🧀", "amount": 2000}},
    }
    assert (event.id, event.type, event.merchant_id) == (event_id, "payment.succeeded", shop)
    assert (event.object_id, event.request_id, event.created_at) == ("pay_1", "rid_7", unit.now)


def test_each_endpoint_that_wants_the_type_is_owed_a_delivery():
    shop, other = world.merchant(), world.merchant()
    every = world.endpoint(shop)
    this = world.endpoint(shop, events="refund.succeeded,payment.succeeded")
    world.endpoint(shop, events="payment.created,refund.succeeded")
    world.endpoint(shop, status="deleted")
    world.endpoint(other)
    (event_id,) = world.happen(shop)
    found = world.deliveries()
    assert [(d.endpoint_id, d.event_id, d.status) for d in found] == [
        (every, event_id, "pending"),
        (this, event_id, "pending"),
    ]
    for delivery in found:
        assert delivery.next_attempt_at == delivery.created_at == world.events()[0].created_at
        assert (delivery.attempts, delivery.tries, delivery.version) == (0, 0, 1)
        assert delivery.ended_at is None and delivery.merchant_id == shop


def test_a_disabled_endpoint_is_owed_a_canceled_delivery():
    shop = world.merchant()
    world.endpoint(shop, status="disabled")
    world.happen(shop)
    delivery = world.delivery()
    assert (delivery.status, delivery.next_attempt_at) == ("canceled", None)
    assert delivery.ended_at == delivery.created_at


def test_ids_of_deliveries_are_uuids_of_version_7_in_order_of_time():
    shop = world.merchant()
    for _ in range(8):
        world.endpoint(shop)
    world.happen(shop, 3)
    found = world.deliveries()
    assert len({d.id for d in found}) == 24
    for delivery in found:
        assert re.fullmatch(r"dlv_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", delivery.id)
        assert delivery.id[4:16] == delivery.event_id[4:16]


def test_an_event_of_nobody_is_kept_and_told_to_nobody():
    world.endpoint(world.merchant())
    world.happen(None)
    assert [event.merchant_id for event in world.events()] == [None]
    assert world.deliveries() == []


def test_an_event_for_one_endpoint_goes_to_that_one_whatever_it_subscribed_to():
    shop = world.merchant()
    only = world.endpoint(shop, events="refund.succeeded")
    world.endpoint(shop)
    with db.unit_of_work():
        record(shop, "ping", only_endpoint=only)
    assert world.delivery().endpoint_id == only


def test_an_event_is_rolled_back_with_what_made_it():
    shop = world.merchant()
    world.endpoint(shop)
    with pytest.raises(ZeroDivisionError), db.unit_of_work():
        record(shop)
        raise ZeroDivisionError
    assert world.events() == [] == world.deliveries()


def test_a_unit_nudges_once_and_only_for_what_is_pending(redis_client):
    shop = world.merchant()
    world.happen(shop)
    world.endpoint(shop, status="disabled")
    world.happen(shop)
    assert redis_client.exists(nudges.FLAG) == 0
    world.endpoint(shop)
    with db.unit_of_work() as unit:
        record(shop)
        record(shop)
        assert redis_client.exists(nudges.FLAG) == 0
    assert unit.effects == [nudges.nudge]
    assert redis_client.llen(f"rq:queue:{nudges.QUEUE}") == 1


def test_it_travels_with_the_commit(database_kind, monkeypatch):
    shop = world.merchant()
    world.endpoint(shop)
    driver = db.current_store().driver
    trips = []

    def counted(connection, statements, *, commit=False):
        trips.append((len(statements), commit))
        return batch(connection, statements, commit=commit)

    batch = driver.batch
    monkeypatch.setattr(driver, "batch", counted)
    with db.unit_of_work() as unit:
        assert unit.now
        trips.clear()
        record(shop)
        assert trips == []
    assert trips == [(3 if database_kind == "sqlite" else 1, True)]
    assert len(world.deliveries()) == 1


def test_a_type_that_this_release_does_not_know_is_refused():
    with db.unit_of_work(), pytest.raises(ValueError, match="not among the types"):
        record(None, "payment.exploded")
    assert world.events() == []
