"""Endpoints over HTTP: made, shown, changed, rotated, tested, deleted."""

import base64
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from payments import clock, db, ids, sealing
from payments.db import Sql
from payments.errors import MerchantNotApproved
from payments.webhooks import endpoints, targets
from tests.merchants import callers
from tests.merchants.callers import Caller
from tests.webhooks import world

ENDPOINTS = "/v1/webhook_endpoints"
URL = "http://127.0.0.1:9/hook"


@pytest.fixture
def shop(app_context) -> str:
    return world.merchant()


@pytest.fixture
def caller(client, shop) -> Caller:
    return callers.with_key(client, shop, "webhooks:write")


@pytest.fixture
def rival(client, app_context) -> Caller:
    return callers.with_key(client, world.merchant(), "webhooks:write")


def make(caller: Caller, key: str | None = None, **more):
    answer = caller.post(ENDPOINTS, {"url": URL, "events": ["*"], **more}, key)
    assert answer.status_code == 201, answer.json
    return answer.json


def test_an_endpoint_is_made_with_a_secret_that_is_shown_once(caller):
    made = make(caller, events=["refund.succeeded", "payment.created"], description="Till 1")
    secret = made.pop("secret")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert made == {
        "object": "webhook_endpoint",
        "id": made["id"],
        "status": "enabled",
        "version": 1,
        "url": URL,
        "events": ["refund.succeeded", "payment.created"],
        "description": "Till 1",
        "disabled_reason": None,
        "old_secret_until": None,
        "created_at": made["created_at"],
    }
    assert caller.get(f"{ENDPOINTS}/{made['id']}").json == made
    assert caller.get(ENDPOINTS).json == {"data": [made], "next_cursor": None}


def test_a_retry_makes_one_and_shows_no_secret_again(caller):
    first = make(caller, key="k-1")
    again = caller.post(ENDPOINTS, {"url": URL, "events": ["*"]}, "k-1")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json == first | {"secret": None}
    assert len(caller.get(ENDPOINTS).json["data"]) == 1


def test_in_production_a_private_address_is_refused_when_saved_and_when_changed(make_app):
    app = make_app(WEBHOOK_ALLOW_PRIVATE_TARGETS="false")
    body = {"url": "https://1.1.1.1/hook", "events": ["*"]}
    with app.app_context(), app.test_client() as client:
        caller = callers.with_key(client, world.merchant(), "webhooks:write")
        assert caller.post(ENDPOINTS, body, "k-1").status_code == 201
        private = {"url": "https://10.0.0.1/hook", "events": ["*"]}
        refused = caller.post(ENDPOINTS, private, "k-2")
        assert callers.refused(refused) == (422, "invalid_request")
        assert callers.pointers(refused) == ["/url"]
        assert "10.0.0.1" not in refused.text
        path = f"{ENDPOINTS}/{world.endpoints()[0].id}"
        changed = caller.patch(path, {"url": private["url"]})
        assert callers.pointers(changed) == ["/url"]


@pytest.fixture
def asked(monkeypatch) -> Iterator[list[str]]:
    """The names under `.example` that the resolver was asked for; it knows none in time."""
    names: list[str] = []
    over = threading.Event()
    real = socket.getaddrinfo

    def look(host, *rest, **more):
        if not str(host).endswith(".example"):
            return real(host, *rest, **more)
        names.append(host)
        over.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look)
    monkeypatch.setattr(targets, "SAVE_LIMIT_S", 0.05)
    monkeypatch.setattr(targets, "_saves", targets.Saves())
    yield names
    over.set()


def test_no_name_is_looked_up_for_a_call_that_is_refused_anyway(make_app, asked):
    body = {"url": "https://shop.example/hook", "events": ["*"]}
    app = make_app(WEBHOOK_ALLOW_PRIVATE_TARGETS="false")
    with app.app_context(), app.test_client() as client:
        shop, full, new = world.merchant(), world.merchant(), world.merchant()
        theirs = world.endpoint(shop)
        for _ in range(endpoints.MAX_ENDPOINTS):
            world.endpoint(full)
        world.change("merchants", new, status="pending")
        caller, crowded, early = (
            callers.with_key(client, one, "webhooks:write") for one in (shop, full, new)
        )
        assert callers.refused(crowded.post(ENDPOINTS, body)) == (403, "limit_exceeded")
        assert callers.refused(early.post(ENDPOINTS, body)) == (403, "merchant_not_approved")
        change = {"url": body["url"]}
        for nowhere in (theirs, ids.new("we")):
            answer = crowded.patch(f"{ENDPOINTS}/{nowhere}", change)
            assert callers.refused(answer) == (404, "not_found")
        assert asked == []
        for answer in (
            caller.post(ENDPOINTS, body),
            caller.patch(f"{ENDPOINTS}/{theirs}", change),  # its turn is still taken
        ):
            assert callers.refused(answer) == (503, "busy")
            assert answer.headers["Retry-After"] == "5"
        assert asked == ["shop.example"]
        world.change("merchants", new, status="suspended")
        assert early.post(ENDPOINTS, body | {"url": "https://1.1.1.1/"}).status_code == 201


def test_a_merchant_that_is_no_longer_approved_when_the_unit_begins_gets_none(shop):
    world.change("merchants", shop, status="pending")
    with pytest.raises(MerchantNotApproved), db.unit_of_work():
        endpoints.create(shop, URL, ["*"], None)
    assert world.endpoints() == []


@pytest.mark.parametrize(
    "events", [[], ["payment.exploded"], ["payment.*"], ["*", "nonsense"], ["PING"], "*"]
)
def test_types_that_are_none_are_refused(caller, events):
    answer = caller.post(ENDPOINTS, {"url": URL, "events": events})
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"].startswith("/events")


def test_every_among_others_is_every(caller):
    assert make(caller, events=["payment.created", "*"])["events"] == ["*"]
    twice = make(caller, events=["payment.created", "payment.created"])
    assert twice["events"] == ["payment.created"]


def test_a_merchant_has_at_most_16(caller, rival):
    for _ in range(16):
        made = make(caller)
    answer = caller.post(ENDPOINTS, {"url": URL, "events": ["*"]})
    assert (answer.status_code, answer.json["code"]) == (403, "limit_exceeded")
    make(rival)
    assert caller.delete(f"{ENDPOINTS}/{made['id']}").status_code == 200
    make(caller)


def test_at_once_too_a_merchant_has_at_most_16(app, shop):
    for _ in range(14):
        world.endpoint(shop)
    outcomes: list[str] = []

    def one() -> None:
        with app.app_context():
            try:
                db.in_unit(lambda: endpoints.create(shop, URL, ["*"], None))
                outcomes.append("made")
            except endpoints.LimitExceeded:
                outcomes.append("refused")

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made"] * 2 + ["refused"] * 4


def test_pages_newest_first(caller):
    made = [make(caller)["id"] for _ in range(3)]
    page = caller.get(ENDPOINTS, limit=2).json
    assert [row["id"] for row in page["data"]] == [made[2], made[1]]
    rest = caller.get(ENDPOINTS, limit=2, cursor=page["next_cursor"]).json
    assert [row["id"] for row in rest["data"]] == [made[0]]


def test_a_change_leaves_the_rest(caller):
    made = make(caller, description="Till 1")
    path = f"{ENDPOINTS}/{made['id']}"
    changed = caller.patch(path, {"events": ["ping"]}).json
    assert changed == {k: v for k, v in made.items() if k != "secret"} | {
        "events": ["ping"],
        "version": 2,
    }
    changed = caller.patch(path, {"url": URL + "/2", "description": None}).json
    assert (changed["url"], changed["description"]) == (URL + "/2", None)
    assert caller.patch(path, {"url": None, "events": None, "status": None}).json == changed
    assert caller.patch(path, {}).json == changed


def test_disabled_by_the_merchant_and_enabled_again(caller, shop):
    made = make(caller)
    path = f"{ENDPOINTS}/{made['id']}"
    world.happen(shop)
    disabled = caller.patch(path, {"status": "disabled", "description": "paused"}).json
    assert (disabled["status"], disabled["disabled_reason"]) == ("disabled", "merchant")
    assert disabled["description"] == "paused"
    assert {d.status for d in world.deliveries()} == {"canceled"}
    assert [event.type for event in world.events()][-1] == "webhook_endpoint.disabled"
    assert caller.patch(path, {"status": "disabled"}).json == disabled
    world.change("webhook_endpoints", made["id"], failures=9, failing_since_at=world.shift(0))
    enabled = caller.patch(path, {"status": "enabled"}).json
    assert (enabled["status"], enabled["disabled_reason"]) == ("enabled", None)
    row = world.endpoints()[0]
    assert (row.failures, row.failing_since_at, row.closed_until) == (0, None, None)
    world.happen(shop)
    assert [d.status for d in world.deliveries()][-1] == "pending"


def test_a_deleted_one_is_gone(caller, shop):
    made = make(caller)
    path = f"{ENDPOINTS}/{made['id']}"
    world.happen(shop)
    deleted = caller.delete(path)
    assert (deleted.status_code, deleted.json["status"]) == (200, "deleted")
    assert world.delivery().status == "canceled"
    assert caller.get(ENDPOINTS).json["data"] == []
    world.happen(shop)
    assert len(world.deliveries()) == 1
    for answer in (
        caller.get(path),
        caller.patch(path, {"status": "enabled"}),
        caller.delete(path),
        caller.post(f"{path}/rotate_secret"),
        caller.post(f"{path}/test"),
    ):
        assert answer.status_code == 404


def test_a_rotated_secret_overlaps_for_24_hours(caller):
    made = make(caller)
    rotated = caller.post(f"{ENDPOINTS}/{made['id']}/rotate_secret", key="k-1")
    assert rotated.status_code == 200
    assert rotated.json["secret"] != made["secret"]
    until = clock.parse_rfc3339(rotated.json["old_secret_until"])
    assert abs(until - db.now() - timedelta(hours=24)) < timedelta(minutes=1)
    row = world.endpoints()[0]
    assert sealing.unseal(row.secret_sealed) == rotated.json["secret"]
    assert sealing.unseal(row.old_secret_sealed) == made["secret"]
    again = caller.post(f"{ENDPOINTS}/{made['id']}/rotate_secret", key="k-1")
    assert again.json == rotated.json | {"secret": None}


def test_a_test_sends_a_ping_to_that_endpoint_alone(caller, shop):
    made, other = make(caller, events=["payment.created"]), make(caller)
    answer = caller.post(f"{ENDPOINTS}/{made['id']}/test")
    assert answer.status_code == 200
    assert answer.json["event_type"] == "ping"
    assert (answer.json["endpoint"], answer.json["status"]) == (made["id"], "pending")
    assert [d.endpoint_id for d in world.deliveries()] == [made["id"]]
    caller.patch(f"{ENDPOINTS}/{other['id']}", {"status": "disabled"})
    refused = caller.post(f"{ENDPOINTS}/{other['id']}/test")
    assert (refused.status_code, refused.json["code"]) == (409, "invalid_state")


def test_anothers_endpoint_does_not_exist(caller, rival):
    path = f"{ENDPOINTS}/{make(caller)['id']}"
    for answer in (
        rival.get(path),
        rival.patch(path, {"description": "mine"}),
        rival.delete(path),
        rival.post(f"{path}/rotate_secret"),
        rival.post(f"{path}/test"),
    ):
        assert answer.status_code == 404
    assert world.endpoints()[0].version == 1


def test_a_disable_that_finds_it_disabled_does_nothing(shop):
    endpoint = world.endpoint(shop, status="disabled")
    with db.unit_of_work():
        assert endpoints.disable(endpoint, "operator") is None
    assert world.events() == []


def test_no_list_of_the_merchant_shows_a_secret(caller, shop):
    made = make(caller)
    caller.post(f"{ENDPOINTS}/{made['id']}/test")
    caller.patch(f"{ENDPOINTS}/{made['id']}", {"status": "disabled"})
    bodies = Sql("SELECT body FROM events").all()
    assert bodies and all("whsec_" not in row.body for row in bodies)
    for path in (ENDPOINTS, "/v1/deliveries"):
        assert "whsec_" not in caller.get(path).text
