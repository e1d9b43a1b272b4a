"""Without Redis the web process runs the clock: it sends by itself, and ends what it has begun."""

import time
from collections.abc import Iterator

import pytest
import requests

from tests import processes, receivers
from tests.children import wait_until
from tests.merchants import callers
from tests.processes import Web
from tests.webhooks import world
from tests.webhooks.conftest import FAST

pytestmark = pytest.mark.slow

SETTINGS = {**FAST, "REDIS_URL": "", "WEBHOOK_TIMEOUT_SECS": "2"}


@pytest.fixture
def shop(make_app) -> Iterator[str]:
    with make_app(**SETTINGS).app_context():
        yield world.merchant()


@pytest.fixture
def workers() -> int:
    return 2


@pytest.fixture
def web(shop, environ, tmp_path, workers) -> Iterator[Web]:
    with processes.web({**environ, **SETTINGS}, tmp_path, workers=workers) as service:
        yield service


def ping(web: Web, shop: str, endpoint: str) -> None:
    secret = callers.key_row(shop)[1]
    answer = requests.post(
        web.url(f"/v1/webhook_endpoints/{endpoint}/test"),
        json={},
        headers={"Authorization": f"Bearer {secret}"},
        timeout=10,
    )
    assert answer.status_code == 200, answer.text


def test_what_a_request_recorded_is_sent_at_once(web, shop, receiver):
    endpoint = world.endpoint(shop, receiver.url())
    begun = time.monotonic()
    ping(web, shop, endpoint)
    (got,) = receiver.wait_for(1)
    assert got.clock_s - begun < 1.5
    wait_until(lambda: world.delivery().status == "delivered", "the delivery")


def test_what_failed_or_came_from_elsewhere_is_found_by_the_sweep(web, shop, receiver):
    world.endpoint(shop, receiver.url(), proven=True)
    receiver.script("/hook", receivers.answer(500), receivers.answer())
    world.happen(shop, 5)
    wait_until(lambda: {d.status for d in world.deliveries()} == {"delivered"}, "deliveries")
    # Two web processes, two clocks: each delivery was sent once, the one that failed twice.
    assert len(receiver.received()) == 6


@pytest.mark.parametrize("workers", [1])
def test_a_web_process_that_ends_writes_down_what_it_sends(web, shop, receiver):
    endpoint = world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(after_s=1))
    ping(web, shop, endpoint)
    receiver.wait_for(1)
    begun = time.monotonic()
    assert web.terminate(20) == 0
    assert time.monotonic() - begun < 8
    assert world.delivery().status == "delivered"
    assert len(receiver.received()) == 1
