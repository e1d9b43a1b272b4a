"""Attempts and ends of deliveries are counted where they are written down, each once."""

import pytest

from payments import clock, db, totals
from payments.webhooks import backlog, claims, deliveries, results, sweep
from payments.webhooks.claims import Claim
from payments.webhooks.results import Result
from payments.webhooks.sender import Answer
from tests.webhooks import world

pytestmark = pytest.mark.usefixtures("app_context")


def objective() -> dict[str, int]:
    """What the objective of delivery is made of, where it is not 0."""
    found = totals.read()
    both = (
        found["payments_webhook_first_attempts_total"]
        | found["payments_webhook_live_attempts_total"]
    )
    return {labels[0]: value for labels, value in both.items() if value}


def counted() -> dict[str, int]:
    """What is not 0, by outcome: attempts as they are named, ends of deliveries."""
    found = totals.read()
    both = found["payments_webhook_attempts_total"] | found["payments_webhook_deliveries_total"]
    return {labels[0]: value for labels, value in both.items() if value}


def leased() -> Claim:
    with db.unit_of_work():
        ((made,), _place) = claims.take(1)
    return made


def ended(claim: Claim, status: int = 200) -> None:
    outcome = "success" if status == 200 else f"http_{status // 100}xx"
    with db.unit_of_work():
        results.record([Result(claim, Answer(outcome, clock.now(), 1, http_status=status))])


@pytest.fixture
def shop() -> str:
    made = world.merchant()
    world.endpoint(made)
    world.happen(made)
    return made


def test_a_result_that_is_written_twice_counts_once(shop):
    claim = leased()
    ended(claim)
    ended(claim)
    assert counted() == {"success": 1, "delivered": 1}


def test_a_failed_attempt_ends_nothing_but_the_last_does(shop):
    ended(leased(), 500)
    assert counted() == {"http_5xx": 1}
    world.change("deliveries", world.delivery().id, tries=50, next_attempt_at=world.shift(-1))
    ended(leased(), 404)
    assert counted() == {"http_5xx": 1, "http_4xx": 1, "failed": 1}


def test_a_resend_lets_no_total_fall(shop):
    ended(leased())
    with db.unit_of_work():
        deliveries.resend(shop, world.delivery().id)
    assert counted() == {"success": 1, "delivered": 1}
    ended(leased())
    assert counted() == {"success": 2, "delivered": 2}


def test_a_late_result_counts_as_an_attempt_and_ends_nothing(shop):
    late = leased()
    world.change("deliveries", world.delivery().id, lease_until=world.shift(-1))
    now = leased()
    ended(late)
    assert counted() == {"success": 1}
    ended(now)
    assert counted() == {"success": 2, "delivered": 1}


def test_what_kills_its_workers_fails_at_the_end_of_its_schedule(shop):
    for _ in range(2):
        leased()
        world.change("deliveries", world.delivery().id, lease_until=world.shift(-1), tries=50)
    with db.unit_of_work():
        assert claims.take(1)[0] == []
    assert counted() == {"failed": 1}


def test_strays_are_counted_by_the_sweep(shop):
    world.change("webhook_endpoints", world.endpoints()[0].id, status="disabled")
    sweep.run()
    assert counted() == {"canceled": 1}


def test_first_attempts_are_on_time_or_late_and_later_ones_neither(shop):
    ended(leased(), 500)
    assert objective() == {"true": 1}
    world.change("deliveries", world.delivery().id, next_attempt_at=world.shift(-1))
    ended(leased())
    world.happen(shop)
    (second,) = (row for row in world.deliveries() if row.status == "pending")
    world.change("deliveries", second.id, created_at=world.shift(-31))
    leased()
    assert objective() == {"true": 1, "false": 1}


def test_only_endpoints_that_live_are_ours_to_answer_for(shop):
    ended(leased(), 500)
    assert "failure" not in objective()
    for ago, status, expected in ((-3600, 500, {"failure": 1}), (-90_000, 500, {"failure": 1})):
        endpoint = world.endpoints()[0].id
        world.change("webhook_endpoints", endpoint, succeeded_at=world.shift(ago))
        world.change("webhook_endpoints", endpoint, failures=0, closed_until=None)
        world.change("deliveries", world.delivery().id, next_attempt_at=world.shift(-1))
        ended(leased(), status)
        assert {"true": 1} | expected == objective()


def test_endpoints_are_counted_by_how_they_are(shop):
    for _ in range(2):
        world.endpoint(shop)
    world.endpoint(shop, status="disabled")
    failing = world.endpoint(shop)
    world.change("webhook_endpoints", failing, failing_since_at=world.shift(-301))
    assert backlog.states() == [(("ok",), 3), (("failing",), 1), (("disabled",), 1)]
