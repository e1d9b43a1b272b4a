"""A worker whose lease is the delivery's no more: its attempt is recorded and changes nothing."""

from collections.abc import Callable

import pytest

from payments import clock, db
from payments.webhooks import claims, deliveries, endpoints, results
from payments.webhooks.claims import Claim
from payments.webhooks.results import Result
from payments.webhooks.sender import Answer
from tests.webhooks import world

pytestmark = pytest.mark.usefixtures("fast_app")


def claim() -> Claim:
    """Lease the one delivery that is due."""
    with db.unit_of_work():
        (made,), _place = claims.take(10)
    return made


def come_back(made: Claim, status: int = 410) -> None:
    """The worker writes down how its attempt ended."""
    family = status // 100
    outcome = "success" if family == 2 else f"http_{family}xx"
    with db.unit_of_work():
        results.record([Result(made, Answer(outcome, clock.now(), 1, http_status=status))])


def run_out() -> None:
    """As after a lease's time without a sign of life."""
    world.change("deliveries", world.delivery().id, lease_until=world.shift(-0.001))


def taken_over(shop: str, endpoint: str) -> None:
    run_out()
    claim()


def canceled(shop: str, endpoint: str) -> None:
    with db.unit_of_work():
        endpoints.change(shop, endpoint, {"status": "disabled"})
    with db.unit_of_work():
        endpoints.change(shop, endpoint, {"status": "enabled"})


def resent(shop: str, endpoint: str) -> None:
    canceled(shop, endpoint)
    with db.unit_of_work():
        deliveries.resend(shop, world.deliveries()[0].id)


@pytest.mark.parametrize("meanwhile", [taken_over, canceled, resent])
@pytest.mark.parametrize("status", [410, 500, 200])
def test_what_comes_back_after_its_lease_says_nothing_of_the_endpoint(
    meanwhile: Callable[[str, str], None], status
):
    shop = world.merchant()
    endpoint = world.endpoint(shop, events="payment.succeeded")
    world.happen(shop)
    late = claim()
    meanwhile(shop, endpoint)
    delivery, known = world.delivery(), world.endpoints()
    come_back(late, status)
    assert world.endpoints() == known
    assert known[0].status == "enabled"
    assert world.delivery() == delivery
    assert (late.parcel.attempt, status) in [(a.number, a.http_status) for a in world.attempts()]


def test_of_results_that_come_together_those_count_whose_lease_stands():
    """Two answers of 410 come late, two timeouts in time: the streak is two, none is disabled."""
    shop = world.merchant()
    endpoint = world.endpoint(shop, proven=True)
    quiet = world.endpoint(shop, proven=True)
    world.happen(shop, 4)
    with db.unit_of_work():
        made, _place = claims.take(10)
    of_one = [one for one in made if one.endpoint_id == endpoint]
    assert len(of_one) == 4
    for lost in of_one[:2]:
        world.change("deliveries", lost.parcel.delivery_id, lease_token="another's")
    answers = {one.parcel.delivery_id: Answer("timeout", clock.now(), 1) for one in of_one[2:]}
    answers |= {
        one.parcel.delivery_id: Answer("http_4xx", clock.now(), 1, http_status=410)
        for one in of_one[:2]
    }
    well = Answer("success", clock.now(), 1, http_status=200)
    with db.unit_of_work():
        results.record([Result(one, answers.get(one.parcel.delivery_id, well)) for one in made])
    by_id = {row.id: row for row in world.endpoints()}
    assert (by_id[endpoint].status, by_id[endpoint].failures) == ("enabled", 2)
    assert (by_id[quiet].status, by_id[quiet].failures) == ("enabled", 0)
    statuses = {row.id: row.status for row in world.deliveries()}
    assert {statuses[lost.parcel.delivery_id] for lost in of_one} == {"pending"}
    assert [*statuses.values()].count("delivered") == 4
    assert len(world.attempts()) == 8
