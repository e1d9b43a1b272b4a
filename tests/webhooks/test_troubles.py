"""What on-call sees of endpoints: those in trouble, how far behind they are, what they answer."""

import pytest

from payments import clock, db, ids
from payments.errors import NotFound
from payments.webhooks import claims, results, troubles
from payments.webhooks.results import Result
from payments.webhooks.sender import Answer
from tests.webhooks import world

pytestmark = pytest.mark.usefixtures("fast_app")


def answered(status: int) -> None:
    """Everything that is due is answered so."""
    with db.unit_of_work():
        made, _place = claims.take(10)
    outcome = "success" if status == 200 else f"http_{status // 100}xx"
    answer = Answer(outcome, clock.now(), 7, http_status=status, response=f"said {status}")
    with db.unit_of_work():
        results.record([Result(one, answer) for one in made])


def test_who_takes_everything_is_in_no_trouble_and_who_fails_stands_first():
    well, ill, idle = world.merchant(), world.merchant(), world.merchant()
    good, bad = world.endpoint(well, proven=True), world.endpoint(ill, proven=True)
    world.endpoint(idle, proven=True)
    world.happen(well)
    answered(200)
    assert troubles.endpoints() == []
    world.happen(ill, 2)
    answered(503)
    world.happen(well)
    first, second = troubles.endpoints()
    assert (first.id, first.failures, first.pending) == (bad, 2, 2)
    assert (second.id, second.failures, second.pending) == (good, 0, 1)
    assert first.failing_since_at is not None and second.failing_since_at is None


def test_what_it_answered_newest_first():
    shop = world.merchant()
    endpoint = world.endpoint(shop, proven=True)
    for status in (200, 503):
        world.happen(shop)
        answered(status)
    told = troubles.answers(troubles.get(endpoint), 10)
    assert [(one.http_status, one.response) for one in told] == [
        (503, "said 503"),
        (200, "said 200"),
    ]
    assert len(troubles.answers(troubles.get(endpoint), 1)) == 1


def test_an_endpoint_that_is_none_is_not_found():
    with pytest.raises(NotFound):
        troubles.get(ids.new("we"))


def test_who_was_disabled_is_shown_with_nothing_waiting_unless_the_merchant_did_it():
    ours, theirs, failing = (world.endpoint(world.merchant(), proven=True) for _ in range(3))
    world.change("webhook_endpoints", ours, status="disabled", disabled_reason="failing")
    world.change("webhook_endpoints", theirs, status="disabled", disabled_reason="merchant")
    world.change("webhook_endpoints", failing, failures=3)
    assert [row.id for row in troubles.endpoints()] == [failing, ours]
