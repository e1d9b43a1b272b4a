"""Deliveries over HTTP: listed, filtered, looked into, sent again."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests import receivers
from tests.merchants import callers
from tests.merchants.callers import Caller
from tests.webhooks import world

DELIVERIES = "/v1/deliveries"


@pytest.fixture
def shop(fast_app) -> str:
    return world.merchant()


@pytest.fixture
def caller(fast_app, shop) -> Caller:
    return callers.with_key(fast_app.test_client(), shop, "webhooks:write")


def test_a_delivery_and_its_attempts(drain, receiver, shop, caller):
    endpoint = world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(500, b"come\x00back"), receivers.answer(200, b"ok"))
    (event,) = world.happen(shop)
    drain.run(5)
    (shown,) = caller.get(DELIVERIES).json["data"]
    delivery = world.delivery()
    assert shown == {
        "object": "delivery",
        "id": delivery.id,
        "status": "delivered",
        "version": 3,
        "event": event,
        "event_type": "payment.succeeded",
        "endpoint": endpoint,
        "attempts": 2,
        "next_attempt_at": None,
        "last_outcome": "success",
        "created_at": shown["created_at"],
        "ended_at": shown["ended_at"],
    }
    assert caller.get(f"{DELIVERIES}/{delivery.id}").json == shown
    second, first = caller.get(f"{DELIVERIES}/{delivery.id}/attempts").json["data"]
    assert first == {
        "object": "attempt",
        "id": first["id"],
        "delivery": delivery.id,
        "number": 1,
        "outcome": "http_5xx",
        "http_status": 500,
        "latency_ms": first["latency_ms"],
        "response": "come�back",
        "detail": None,
        "created_at": first["created_at"],
    }
    assert (second["number"], second["outcome"], second["response"]) == (2, "success", "ok")
    page = caller.get(f"{DELIVERIES}/{delivery.id}/attempts", limit=1).json
    assert page["data"] == [second]
    rest = caller.get(
        f"{DELIVERIES}/{delivery.id}/attempts", limit=1, cursor=page["next_cursor"]
    ).json
    assert rest == {"data": [first], "next_cursor": None}


def test_filters(shop, caller):
    endpoints = [world.endpoint(shop), world.endpoint(shop, status="disabled")]
    events = world.happen(shop, 2)

    def those(**filters) -> set[tuple[str, str]]:
        data = caller.get(DELIVERIES, **filters).json["data"]
        return {(row["endpoint"], row["event"]) for row in data}

    assert len(those()) == 4
    assert those(endpoint=endpoints[0]) == {(endpoints[0], event) for event in events}
    assert those(event=events[1]) == {(endpoint, events[1]) for endpoint in endpoints}
    assert those(status="canceled") == {(endpoints[1], event) for event in events}
    assert those(status="pending", event=events[0], endpoint=endpoints[0]) == {
        (endpoints[0], events[0])
    }
    assert those(status="failed") == set()
    assert caller.get(DELIVERIES, status="lost").status_code == 422


def test_pages(shop, caller):
    world.endpoint(shop)
    for _ in range(5):
        world.happen(shop)
    expected = [d.id for d in reversed(world.deliveries())]
    page = found(caller.get(DELIVERIES, limit=2, status="pending"))
    seen = [row["id"] for row in page["data"]]
    while page["next_cursor"] is not None:
        cursor = page["next_cursor"]
        page = found(caller.get(DELIVERIES, limit=2, status="pending", cursor=cursor))
        seen += [row["id"] for row in page["data"]]
    assert seen == expected


def test_a_resend_over_http(drain, receiver, shop, caller):
    world.endpoint(shop, receiver.url())
    world.happen(shop)
    drain.run(5)
    path = f"{DELIVERIES}/{world.delivery().id}"
    answer = caller.post(f"{path}/resend", key="k-1")
    assert (answer.status_code, answer.json["status"]) == (200, "pending")
    assert answer.json["id"] == world.delivery().id
    assert answer.json["ended_at"] is None
    again = caller.post(f"{path}/resend", key="k-1")
    assert again.json == answer.json
    pending = caller.post(f"{path}/resend")
    assert (pending.status_code, pending.json["code"]) == (409, "invalid_state")
    assert "is pending" in pending.json["detail"]
    drain.run(5)
    assert len(receiver.received()) == 2


@pytest.mark.parametrize("status", ["disabled", "deleted"])
def test_nothing_is_resent_to_an_endpoint_that_takes_nothing(shop, caller, status):
    endpoint = world.endpoint(shop, status="disabled")
    world.happen(shop)
    world.change("webhook_endpoints", endpoint, status=status)
    answer = caller.post(f"{DELIVERIES}/{world.delivery().id}/resend")
    assert (answer.status_code, answer.json["code"]) == (409, "invalid_state")
    assert status in answer.json["detail"]
    assert world.delivery().status == "canceled"


def test_anothers_delivery_does_not_exist(fast_app, shop, caller):
    world.endpoint(shop)
    world.happen(shop)
    rival = callers.with_key(fast_app.test_client(), world.merchant(), "webhooks:write")
    path = f"{DELIVERIES}/{world.delivery().id}"
    for answer in (rival.get(path), rival.get(f"{path}/attempts"), rival.post(f"{path}/resend")):
        assert answer.status_code == 404
    assert found(rival.get(DELIVERIES))["data"] == []


def found(answer: TestResponse) -> dict[str, Any]:
    """The body of an answer that is well."""
    assert answer.status_code == 200 and answer.json is not None
    whole: dict[str, Any] = answer.json
    return whole
