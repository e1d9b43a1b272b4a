"""The schedule and the breaker, by their numbers."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from payments.webhooks import breaker, schedule
from payments.webhooks.breaker import Health
from tests.conftest import MakeApp

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WELL = Health(0, None, None, NOON)

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


@pytest.fixture
def defaults(make_app: MakeApp) -> Iterator[None]:
    with make_app().app_context():
        yield


def test_ten_seconds_then_three_times_as_long_each_time(defaults):
    for failures in range(1, 11):
        planned = 10 * 3 ** (failures - 1)
        waits = [schedule.wait_s(failures, None) for _ in range(50)]
        assert all(wait is not None and 0.9 * planned <= wait <= 1.1 * planned for wait in waits)
        assert len(set(waits)) > 40  # what failed together does not come back together
    assert schedule.wait_s(11, None) is None
    total = sum(10 * 3**n for n in range(10))
    assert 3.3 < total / 86_400 < 3.5  # api.md: about 3.4 days


def test_what_the_receiver_asks_for_is_the_least(defaults):
    assert schedule.wait_s(1, 86_400) == 86_400
    assert 9 <= (schedule.wait_s(1, 1) or 0) <= 11
    assert schedule.wait_s(11, 60) is None


def test_a_schedule_without_a_bound_is_bounded(make_app):
    settings = {"WEBHOOK_BASE_DELAY_SECS": "3600", "WEBHOOK_BACKOFF_FACTOR": "10"}
    with make_app(**settings, WEBHOOK_MAX_ATTEMPTS="30").app_context():
        assert schedule.wait_s(29, None) == schedule.LONGEST_WAIT_S


def test_five_failures_in_a_row_open_the_breaker_for_no_longer_than_a_wait(defaults):
    health = breaker.after(WELL, [False] * 4, NOON)
    assert (health.failures, health.failing_since_at, health.closed_until) == (4, NOON, None)
    health = breaker.after(health, [False], NOON + timedelta(minutes=1))
    assert (health.failures, health.failing_since_at) == (5, NOON)
    assert health.closed_until == NOON + timedelta(minutes=1, seconds=9)
    assert breaker.after(health, [True], NOON) == WELL


def test_results_count_in_the_order_in_which_they_came(defaults):
    assert breaker.after(WELL, [False] * 9 + [True], NOON) == WELL
    assert breaker.after(WELL, [True, False], NOON).failures == 1


def test_a_long_schedule_opens_it_for_a_minute_at_most(make_app):
    with make_app(WEBHOOK_BASE_DELAY_SECS="3600").app_context():
        health = breaker.after(WELL, [False] * 5, NOON)
        assert health.closed_until == NOON + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("health", "came", "news"),
    [
        (WELL, [True], False),
        (WELL, [True, False], True),
        (Health(1, NOON, None, NOON), [True], True),
        (Health(0, None, None, None), [True], True),
        (Health(0, None, None, NOON - timedelta(seconds=11)), [True], True),
    ],
)
def test_only_news_is_written(health, came, news, database_kind):
    assert breaker.is_news(health, came, NOON) is news


def test_five_days_of_failures_are_for_good(database_kind):
    for since, for_good in (
        (None, False),
        (NOON - timedelta(days=4, hours=23), False),
        (NOON - timedelta(days=5), True),
    ):
        assert breaker.has_failed_for_good(Health(9, since, None, None), NOON) is for_good
