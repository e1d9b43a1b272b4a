"""A lease that ran out or was taken away: what its worker says late, and what its loss costs."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from payments import clock, db, ids
from payments.webhooks import claims, deliveries, endpoints, requeue, results
from payments.webhooks.claims import Claim
from payments.webhooks.requeue import Wanted
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
        world.change("deliveries", lost.parcel.delivery_id, lease_token=ids.new("lease"))
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


def lose() -> None:
    """The worker of the one delivery dies, and its lease runs out."""
    world.change("deliveries", world.delivery().id, next_attempt_at=world.shift(-0.001))
    claim()
    run_out()


def look() -> list[Claim]:
    """What another drain finds to send."""
    with db.unit_of_work():
        return claims.take(10)[0]


def owed() -> None:
    shop = world.merchant()
    world.endpoint(shop)
    world.happen(shop)


def test_the_first_loss_is_taken_over_at_once_and_is_no_step_of_the_schedule():
    owed()
    before = db.now()
    first = claim()
    run_out()
    second = claim()
    assert (first.parcel.attempt, second.parcel.attempt) == (1, 2)
    assert first.parcel.delivery_id == second.parcel.delivery_id
    assert second.tries == 0
    (lost,) = world.attempts()
    assert (lost.number, lost.outcome, lost.http_status, lost.response) == (1, "lost", None, None)
    assert (lost.latency_ms, "whether it was sent is not known" in lost.detail) == (0, True)
    assert abs(lost.created_at - before) < timedelta(seconds=2)
    assert ids.is_id("att", lost.id)
    come_back(second, 200)
    assert (world.delivery().status, world.delivery().attempts) == ("delivered", 2)


def test_further_losses_in_a_row_wait_by_the_schedule_and_fail_at_its_end(caplog):
    """Base 0.2 s, factor 2, 4 tries: the first loss, then waits of 0.2, 0.4 and 0.8 s."""
    owed()
    lose()
    lose()
    for tries, wait_s in ((1, 0.2), (2, 0.4), (3, 0.8)):
        begun = db.now()
        assert look() == []
        delivery = world.delivery()
        assert (delivery.status, delivery.tries) == ("pending", tries)
        assert (delivery.lease_token, delivery.last_outcome) == (None, "lost")
        waits = (delivery.next_attempt_at - begun).total_seconds()
        assert wait_s * 0.9 <= waits < wait_s * 1.1 + 1
        lose()
    assert look() == []
    delivery = world.delivery()
    assert (delivery.status, delivery.tries, delivery.attempts) == ("failed", 4, 5)
    assert (delivery.lease_token, delivery.next_attempt_at) == (None, None)
    assert delivery.ended_at is not None
    assert [(a.number, a.outcome) for a in world.attempts()] == [(n, "lost") for n in range(1, 6)]
    told = [record for record in caplog.records if "ran out" in record.message]
    assert {record.delivery_id for record in told} == {delivery.id}
    assert world.endpoints()[0].failures == 0  # it is no fault of the receiver's


def test_after_an_answer_a_loss_is_the_first_again():
    owed()
    lose()
    come_back(claim(), 500)
    world.change("webhook_endpoints", world.endpoints()[0].id, closed_until=None)
    lose()
    (again,) = look()
    assert (again.parcel.attempt, again.tries) == (4, 1)


def by_resend(delivery: Any) -> None:
    deliveries.resend(delivery.merchant_id, delivery.id)


def by_requeue(delivery: Any) -> None:
    requeue.make_due(Wanted(), [delivery.id], db.unit().now)


@pytest.mark.parametrize("revive", [by_resend, by_requeue])
def test_what_was_lost_and_is_sent_again_begins_anew(revive: Callable[[Any], None]):
    owed()
    lose()
    lose()
    for _ in range(3):
        assert look() == []
        lose()
    assert look() == []
    delivery = world.delivery()
    assert delivery.status == "failed"
    with db.unit_of_work():
        revive(delivery)
    lose()
    (again,) = look()
    assert (again.parcel.attempt, again.tries) == (7, 0)


def test_who_comes_back_after_the_loss_was_written_down_tells_how_it_was():
    owed()
    late = claim()
    run_out()
    claim()
    come_back(late, 200)
    (told,) = world.attempts()
    assert (told.number, told.outcome, told.http_status, told.detail) == (1, "success", 200, None)
    come_back(late, 500)
    assert world.attempts() == [told]
    assert world.delivery().status == "pending"


@pytest.mark.parametrize("database_kind", ["postgres"], indirect=True)
def test_what_is_being_written_down_is_not_lost(database):
    """Only Postgres: SQLite has one writer."""
    owed()
    made = claim()
    run_out()
    url = make_url(database)
    with psycopg.connect(host=str(url.query["host"]), user=url.username, dbname=url.database) as it:
        it.execute("SELECT 1 FROM deliveries FOR NO KEY UPDATE")
        assert look() == []
    assert world.attempts() == []
    come_back(made, 200)
    assert world.delivery().status == "delivered"
