"""On-call makes failed deliveries due again: the same ids, a new schedule, spread over time."""

import json
from datetime import timedelta

import pytest

from payments import db, origin
from payments.db import Sql
from payments.events import nudges
from payments.webhooks import requeue
from payments.webhooks.requeue import Wanted
from tests.webhooks import world

pytestmark = pytest.mark.usefixtures("app_context")

AUDIT = Sql("SELECT actor, subject_id, before_json, after_json FROM audit_log ORDER BY id")


def failed(endpoint: str, count: int = 1, status: str = "failed", **more) -> list[str]:
    """So many deliveries to its merchant's only endpoint that have ended so; their ids in order."""
    merchant = [row.merchant_id for row in world.endpoints() if row.id == endpoint][0]
    known = {row.id for row in world.deliveries()}
    made = []
    for _ in range(count):
        world.happen(merchant)
        (new,) = [row.id for row in world.deliveries() if row.id not in known]
        known.add(new)
        values = {"attempts": 11, "tries": 11, "last_outcome": "http_5xx", "next_attempt_at": None}
        world.change("deliveries", new, status=status, ended_at=db.now(), **(values | more))
        made.append(new)
    return made


def endpoint(**more) -> str:
    return world.endpoint(world.merchant(), **more)


def row(delivery: str):
    (found,) = [each for each in world.deliveries() if each.id == delivery]
    return found


def chosen(wanted: Wanted, limit: int = 100, after=None) -> list[str]:
    return [each.id for each in requeue.choose(wanted, limit, after)]


def makes_due(wanted: Wanted, ids: list[str], **more) -> requeue.Requeued:
    return db.in_unit(lambda: requeue.make_due(wanted, ids, db.unit().now, **more))


def test_it_keeps_its_id_and_its_count_and_has_a_full_new_schedule():
    (delivery,) = failed(endpoint())
    before = row(delivery)
    assert makes_due(Wanted(), [delivery]).count == 1
    after = row(delivery)
    assert (after.id, after.event_id, after.attempts) == (delivery, before.event_id, 11)
    assert (after.status, after.tries, after.ended_at) == ("pending", 0, None)
    assert (after.lease_until, after.lease_token) == (None, None)
    assert after.next_attempt_at <= db.now()
    assert after.version == before.version + 1


def test_first_attempts_are_spread_by_the_rate():
    ids = failed(endpoint(), 5)
    begin = db.now()
    made = db.in_unit(lambda: requeue.make_due(Wanted(), ids, begin, rate=2, place=3))
    due = [row(each).next_attempt_at for each in ids]
    assert due == [begin + timedelta(seconds=0.5 * (3 + n)) for n in range(5)]
    assert made == requeue.Requeued(5, due[0], due[-1])


def test_the_oldest_come_first_and_a_choice_goes_on_where_one_ended():
    ids = failed(endpoint(), 5)
    first = requeue.choose(Wanted(), 2)
    assert [each.id for each in first] == ids[:2]
    assert chosen(Wanted(), after=(first[-1].created_at, first[-1].id)) == ids[2:]


def test_only_what_is_wanted_is_chosen():
    one, two = endpoint(), endpoint()
    (first,), (second,) = failed(one), failed(two)
    (canceled,), (delivered,) = failed(one, status="canceled"), failed(one, status="delivered")
    world.happen(world.merchant(), type="refund.succeeded")
    assert chosen(Wanted()) == [first, second]
    assert chosen(Wanted(endpoint=two)) == [second]
    assert chosen(Wanted("canceled")) == [canceled]
    assert chosen(Wanted("delivered")) == [delivered]
    assert chosen(Wanted(event_type="payment.succeeded")) == [first, second]
    assert chosen(Wanted(event_type="refund.succeeded")) == []
    edge = row(second).created_at
    assert chosen(Wanted(since=edge)) == [second]
    assert chosen(Wanted(until=edge - timedelta(microseconds=1))) == [first]
    assert chosen(Wanted(until=edge, since=edge, endpoint=two)) == [second]


@pytest.mark.parametrize("status", ["disabled", "deleted"])
def test_an_endpoint_that_is_not_enabled_keeps_what_it_has(status):
    hook = endpoint()
    (delivery,) = failed(hook)
    world.change("webhook_endpoints", hook, status=status)
    assert chosen(Wanted()) == []
    assert makes_due(Wanted(), [delivery]).count == 0  # disabled since it was chosen
    assert row(delivery).status == "failed"
    found = requeue.preview(Wanted())
    assert (found.matched, found.unsendable) == (1, 1)


def test_what_has_moved_on_since_is_passed_over():
    first, second = failed(endpoint(), 2)
    assert makes_due(Wanted(), [first]).count == 1
    before = row(first)
    made = makes_due(Wanted(), [first, second])
    assert (made.count, made.first_at) == (1, row(second).next_attempt_at)
    assert row(first) == before
    assert makes_due(Wanted(), [first, second]) == requeue.Requeued(0, None, None)


def test_a_preview_counts_by_endpoint_age_and_last_answer():
    one, two = endpoint(), endpoint()
    failed(one, 2)
    failed(one, last_outcome="timeout")
    failed(one, last_outcome=None)
    failed(two, created_at=db.now() - timedelta(hours=3))
    failed(two, created_at=db.now() - timedelta(days=3))
    failed(two, created_at=db.now() - timedelta(days=30))
    failed(two, status="canceled")
    world.change("webhook_endpoints", two, status="disabled")
    found = requeue.preview(Wanted())
    assert (found.matched, found.unsendable) == (7, 3)
    told = [tuple(group.values()) for group in found.groups]
    assert told[0] == (one, "enabled", "under an hour", "http_5xx", 2)
    assert set(told[1:]) == {
        (one, "enabled", "under an hour", "timeout", 1),
        (one, "enabled", "under an hour", None, 1),
        (two, "disabled", "under a day", "http_5xx", 1),
        (two, "disabled", "under a week", "http_5xx", 1),
        (two, "disabled", "older", "http_5xx", 1),
    }
    assert requeue.preview(Wanted(endpoint=one, event_type="payment.succeeded")).matched == 4


def test_a_preview_of_nothing_is_empty():
    assert requeue.preview(Wanted()) == requeue.Preview(0, 0, [])


def test_the_trail_says_who_asked_for_what(monkeypatch):
    nudged = []
    monkeypatch.setattr(nudges, "nudge", lambda: nudged.append(1))
    hook = endpoint()
    ids = failed(hook, 2)
    since = row(ids[0]).created_at
    nudged.clear()
    with origin.acting("operator:ann", "rid_1"):
        made = makes_due(Wanted(endpoint=hook, since=since), ids, rate=5)
        makes_due(Wanted(), [])
    assert nudged == [1]
    line, nothing = AUDIT.all()
    assert (line.actor, line.subject_id) == ("operator:ann", hook)
    asked, did = json.loads(line.before_json), json.loads(line.after_json)
    assert (asked["status"], asked["endpoint"]) == ("failed", hook)
    assert asked["since"].endswith("Z")
    assert (did["requeued"], did["rate"]) == (2, 5)
    assert did["last_at"] > did["first_at"]
    assert json.loads(nothing.after_json)["requeued"] == 0
    assert made.count == 2
