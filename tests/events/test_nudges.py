"""A nudge is a hint: cheap, deduplicated, and nobody suffers where Redis is gone."""

import logging
import time
from datetime import timedelta

import pytest
from rq import Queue
from rq.registry import ScheduledJobRegistry
from rq.serializers import JSONSerializer

from payments import clock
from payments.events import nudges
from tests.redis_server import Redis

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


def jobs(client):
    queue = Queue(nudges.QUEUE, connection=client, serializer=JSONSerializer)
    return queue.get_jobs()


def scheduled(client):
    registry = ScheduledJobRegistry(nudges.QUEUE, connection=client, serializer=JSONSerializer)
    return sorted(registry.get_scheduled_time(id) for id in registry.get_job_ids())


def test_many_nudges_are_one_job_that_carries_nothing(app_context, redis_client):
    assert [nudges.nudge() for _ in range(20)] == [True] * 20
    (job,) = jobs(redis_client)
    assert (job.func_name, job.args, job.kwargs) == ("jobs.drain.drain", [], {})
    assert job.result_ttl == 0
    assert 0 < redis_client.ttl(nudges.FLAG) <= 5


def take_one(client):
    """As a worker does; gives the job's id."""
    queue = Queue(nudges.QUEUE, connection=client, serializer=JSONSerializer)
    return queue.pop_job_id()


def test_after_a_drain_has_begun_a_nudge_is_news_again(app_context, redis_client):
    nudges.nudge()
    begun = take_one(redis_client)
    nudges.clear()
    nudges.nudge()
    (job,) = jobs(redis_client)
    assert job.id != begun


def test_jobs_do_not_pile_up_behind_a_long_drain(app_context, redis_client):
    nudges.nudge()
    take_one(redis_client)
    nudges.clear()
    for _ in range(5):  # the flag runs out in the middle of a run, again and again
        redis_client.delete(nudges.FLAG)
        assert nudges.nudge() is True
    assert len(jobs(redis_client)) == 1


def test_how_long_the_first_job_waits(app_context, redis_client, monkeypatch):
    assert nudges.oldest_wait_s() == 0
    nudges.nudge()
    later = clock.now() + timedelta(seconds=40)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert 39 < (nudges.oldest_wait_s() or 0) < 41
    assert nudges.waiting_jobs() == 1


def test_a_wake_is_scheduled_once_for_a_second_and_never_early(app_context, redis_client):
    moment = clock.now().replace(microsecond=1) + timedelta(seconds=90)
    for microsecond in (1, 500_000, 999_999):
        assert nudges.wake_at(moment.replace(microsecond=microsecond))
    assert scheduled(redis_client) == [moment.replace(microsecond=0) + timedelta(seconds=1)]
    assert nudges.wake_at(moment + timedelta(seconds=5))
    assert len(scheduled(redis_client)) == 2


def test_a_wake_for_a_moment_that_has_passed_is_taken_too(app_context, redis_client):
    assert nudges.wake_at(clock.now() - timedelta(seconds=5))
    assert len(scheduled(redis_client)) == 1


def test_without_redis_this_process_hears_it(make_app):
    with make_app(REDIS_URL="").app_context():
        nudges.clear()
        assert not nudges.heard.is_set()
        assert nudges.nudge() is False
        assert nudges.heard.is_set()
        nudges.clear()
        assert not nudges.heard.is_set()
        assert nudges.wake_at(clock.now()) is False


def test_with_redis_stopped_nothing_is_raised_and_redis_is_left_alone(
    make_app, redis_server: Redis, caplog
):
    with make_app(REDIS_URL=redis_server.url()).app_context():
        assert nudges.nudge() is True
        redis_server.kill()
        with caplog.at_level(logging.WARNING, "payments.events.nudges"):
            assert [nudges.nudge() for _ in range(50)] == [False] * 50
        assert [record.message for record in caplog.records] == [
            "no nudge: Redis is away; the sweep finds what is due"
        ]
        redis_server.start()
        assert nudges.nudge() is False  # still left alone
        nudges.line(redis_server.url())._silent_until = time.monotonic()
        assert nudges.nudge() is True


def test_a_restarted_redis_is_reached_by_a_new_connection_at_once(make_app, redis_server: Redis):
    with make_app(REDIS_URL=redis_server.url()).app_context():
        assert nudges.nudge() is True
        redis_server.stop()
        redis_server.start()
        assert nudges.nudge() is True
        with redis_server.client() as client:
            assert len(jobs(client)) == 1


def test_a_hanging_redis_costs_one_short_wait(make_app, redis_server: Redis):
    with make_app(REDIS_URL=redis_server.url()).app_context():
        assert nudges.nudge() is True
        redis_server.pause()
        begun = time.monotonic()
        assert nudges.nudge() is False
        assert time.monotonic() - begun < 3 * nudges.REDIS_LIMIT_S
        begun = time.monotonic()
        assert [nudges.nudge() for _ in range(1000)] == [False] * 1000
        assert time.monotonic() - begun < nudges.REDIS_LIMIT_S
        redis_server.resume()
