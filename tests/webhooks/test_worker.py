"""Real workers on a real Redis: killed, flushed, cut off. Each event arrives, by the same id."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis as redis_library
from rq import Worker

from payments.events import nudges
from tests import processes, receivers
from tests.children import Child, wait_until
from tests.conftest import MakeApp
from tests.receivers import Received, Receiver
from tests.redis_server import Redis
from tests.webhooks import world

pytestmark = pytest.mark.slow

SETTINGS = {
    "WEBHOOK_BASE_DELAY_SECS": "0.5",
    "WEBHOOK_BACKOFF_FACTOR": "2",
    "WEBHOOK_MAX_ATTEMPTS": "6",
    "WEBHOOK_TIMEOUT_SECS": "2",
    "WEBHOOK_WORKER_POLL_SECS": "1",
    "LOG_LEVEL": "INFO",
}
LEASE_S = 2 + 30


class House:
    """The app in this process, and workers on the same database and Redis."""

    def __init__(self, environ: dict[str, str], folder: Path, stack: ExitStack) -> None:
        self._environ, self._folder, self._stack = environ, folder, stack

    def worker(self, **more: str) -> Child:
        """Start one more; it takes jobs when this returns."""
        started = processes.worker({**self._environ, **more}, self._folder)
        return self._stack.enter_context(started)


@pytest.fixture
def house(
    environ: dict[str, str], make_app: MakeApp, redis_server: Redis, tmp_path: Path
) -> Iterator[House]:
    settings = {**SETTINGS, "REDIS_URL": redis_server.url()}
    with make_app(**settings).app_context(), ExitStack() as stack:
        yield House({**environ, **settings}, tmp_path, stack)


@pytest.fixture
def shop(house: House) -> str:
    return world.merchant()


def ids_of(got: list[Received]) -> set[str]:
    return {one.headers["x-delivery-id"] for one in got}


def all_delivered() -> bool:
    found = world.deliveries()
    return bool(found) and all(d.status == "delivered" for d in found)


def waited(condition: Callable[[], object], what: str, timeout_s: float = 20) -> float:
    """Wait for it; how long that took."""
    begun = time.monotonic()
    wait_until(condition, what, timeout_s)
    return time.monotonic() - begun


def test_a_nudge_brings_an_event_at_once(house, shop, receiver):
    house.worker(WEBHOOK_WORKER_POLL_SECS="300")
    world.endpoint(shop, receiver.url())
    late = []
    for number in range(1, 21):
        begun = time.monotonic()
        world.happen(shop)
        late.append(receiver.wait_for(number)[-1].clock_s - begun)
    assert sorted(late)[10] < 0.5
    wait_until(all_delivered, "deliveries")
    assert len(receiver.received()) == 20


def test_a_retry_is_woken_at_its_time_by_the_schedule_alone(house, shop, receiver):
    """The sweep would come in five minutes: it is RQ's scheduled job that wakes the drain."""
    house.worker(WEBHOOK_WORKER_POLL_SECS="300", WEBHOOK_BASE_DELAY_SECS="4")
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(500), receivers.answer())
    world.happen(shop)
    first, second = receiver.wait_for(2)
    assert 3.6 <= second.clock_s - first.clock_s < 4.4 + 2.5


def test_a_worker_killed_while_it_sends_is_taken_over_within_its_lease_and_a_sweep(
    house, shop, receiver
):
    killed, _other = house.worker(), house.worker()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.hang(1.5), receivers.answer())
    with only(killed, _other):
        world.happen(shop)
        receiver.wait_for(1)
        killed.kill()
    begun = time.monotonic()
    took_s = waited(all_delivered, "the takeover", LEASE_S + 20)
    assert took_s < 60 + 1
    assert time.monotonic() - begun > 20  # not before the lease had run out
    got = receiver.received()
    assert [one.headers["x-attempt"] for one in got] == ["1", "2"]
    assert [(a.number, a.outcome) for a in world.attempts()] == [(1, "lost"), (2, "success")]
    assert ids_of(got) == {world.delivery().id}
    assert got[0].body == got[1].body


@contextmanager
def only(one: Child, other: Child) -> Iterator[None]:
    """The other one is held still meanwhile: this one takes the job."""
    other.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        other.signal(signal.SIGCONT)


def test_a_flushed_redis_costs_a_sweep_and_no_event(house, shop, receiver, redis_server):
    worker = house.worker()
    world.endpoint(shop, receiver.url(), proven=True)
    receiver.script("/hook", receivers.answer(500), receivers.answer())
    worker.kill()  # one that is only held still would be handed the job by Redis all the same
    world.happen(shop, 20)
    with redis_server.client() as client:
        assert client.llen(f"rq:queue:{nudges.QUEUE}") == 1
    redis_server.flush()
    worker = house.worker()
    assert waited(all_delivered, "all events", 30) < 25  # the killed clock's lease, and a sweep
    redis_server.flush()  # with the worker idle, its registration gone
    world.happen(shop, 5)
    assert waited(all_delivered, "all events") < 10
    assert ids_of(receiver.received()) == {d.id for d in world.deliveries()}
    assert worker.is_alive()


def known(server: Redis) -> dict[str, str]:
    """The state of each worker that RQ, and so its dashboard, knows of, by name."""
    with server.client() as client:
        return {one.name: one.get_state() for one in Worker.all(connection=client)}


def test_an_idle_worker_is_listed_again_soon_after_a_flush_until_it_ends(house, redis_server):
    first, second = house.worker(), house.worker()
    wait_until(lambda: sorted(known(redis_server).values()) == ["idle", "idle"], "two workers")
    listed = known(redis_server)
    redis_server.flush()
    assert waited(lambda: known(redis_server) == listed, "both again") < 5
    with redis_server.client() as client:
        for key in client.smembers("rq:workers"):
            assert {b"birth", b"pid", b"queues", b"last_heartbeat"} <= set(client.hkeys(key))
            assert 0 < client.ttl(key) <= 30 + 60
        assert client.smembers(f"rq:workers:{nudges.QUEUE}") == client.smembers("rq:workers")
    assert first.terminate(10) == 0
    time.sleep(3)
    assert len(known(redis_server)) == 1
    with redis_server.client() as client:  # what RQ's heartbeat writes into an empty Redis
        (key,) = client.smembers("rq:workers")
        client.hdel(key, "birth", "pid")
    wait_until(lambda: client_has(redis_server, key, "pid"), "its facts", 5)
    assert second.is_alive()


def client_has(server: Redis, key: bytes, field: str) -> bool:
    with server.client() as client:
        return client.hexists(key, field)


def test_while_redis_is_away_the_workers_clock_sends(house, shop, receiver, redis_server):
    worker = house.worker()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(500), receivers.answer())
    redis_server.kill()
    begun = time.monotonic()
    world.happen(shop, 3)
    assert time.monotonic() - begun < 1  # who records notices nothing
    assert waited(all_delivered, "events without Redis") < 10
    time.sleep(8)  # long enough for each wait of RQ and of its client to have grown
    world.happen(shop, 3)
    assert waited(all_delivered, "events without Redis") < 10
    redis_server.start()
    wait_until(lambda: is_registered(redis_server, worker), "the worker's return", 30)
    time.sleep(nudges.QUIET_S)
    begun = time.monotonic()
    world.happen(shop)
    assert waited(all_delivered, "an event afterwards") < 5
    assert worker.is_alive()
    assert ids_of(receiver.received()) == {d.id for d in world.deliveries()}
    assert len(receiver.received()) == 8  # seven events, one of them twice


def is_registered(server: Redis, worker: Child) -> bool:
    """Whether the worker is there again: its heart beats, whatever RQ last said of its state."""
    try:
        with server.client() as client:
            return any(
                client.hget(key, "last_heartbeat") for key in client.scan_iter("rq:worker:*")
            )
    except redis_library.ConnectionError:
        return False


def test_redis_that_hangs_is_as_good_as_away(house, shop, receiver, redis_server):
    house.worker()
    world.endpoint(shop, receiver.url())
    redis_server.pause()
    begun = time.monotonic()
    world.happen(shop)
    assert time.monotonic() - begun < 1
    assert waited(all_delivered, "an event without Redis") < 10
    redis_server.resume()


def test_sigterm_lets_what_is_in_flight_end(house, shop, receiver):
    worker = house.worker()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(after_s=1))
    world.happen(shop, 3)
    receiver.wait_for(1)
    assert worker.terminate(15) == 0
    found = world.deliveries()
    assert sorted(d.status for d in found) == ["delivered", "pending", "pending"]
    assert all(d.lease_token is None for d in found)
    assert len(receiver.received()) == 1


def test_an_idle_worker_stops_at_once_with_and_without_redis(house, shop, redis_server):
    first, second = house.worker(), house.worker()
    assert first.terminate(5) == 0
    redis_server.kill()
    time.sleep(2)
    assert second.terminate(10) == 0


def test_a_worker_waits_for_a_redis_that_is_not_there_yet(
    house, shop, receiver: Receiver, redis_server, environ, tmp_path
):
    world.endpoint(shop, receiver.url())
    redis_server.kill()
    given = {**environ, **SETTINGS, "REDIS_URL": redis_server.url()}
    with Child(
        processes.WORKER,
        log=tmp_path / "early.log",
        environ=processes.service_environ(given, tmp_path),
    ) as worker:
        world.happen(shop)
        assert waited(all_delivered, "an event without Redis") < 20
        redis_server.start()
        wait_until(lambda: is_registered(redis_server, worker), "the worker", 20)
        assert worker.terminate(10) == 0


def test_without_a_redis_there_is_no_worker(environ, tmp_path):
    given = processes.service_environ({**environ, "REDIS_URL": ""}, tmp_path)
    with Child(processes.WORKER, log=tmp_path / "none.log", environ=given) as worker:
        assert worker.wait(20) == 3
        assert "REDIS_URL is not set" in worker.log()
