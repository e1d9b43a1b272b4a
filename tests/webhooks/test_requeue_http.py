"""`POST /admin/deliveries/requeue`: what the script does, by an operator over HTTP."""

from datetime import timedelta

import pytest

from payments import db
from payments.clock import parse_rfc3339, to_rfc3339
from payments.db import Sql
from tests.merchants.callers import Caller, operator, pointers, refused, told
from tests.webhooks import world

URL = "/admin/deliveries/requeue"
FAIL = Sql(
    "UPDATE deliveries SET status = 'failed', attempts = 11, tries = 11, next_attempt_at = NULL,"
    " last_outcome = 'timeout', ended_at = :now"
)
TRAIL = Sql(
    "SELECT actor, outcome, subject_id FROM audit_log WHERE action = 'deliveries.requeue'"
    " ORDER BY id"
)


@pytest.fixture
def ann(client) -> Caller:
    return operator(client)


@pytest.fixture
def hook(app_context) -> str:
    """An endpoint to which three deliveries have failed."""
    merchant = world.merchant()
    made = world.endpoint(merchant)
    world.happen(merchant, 3)
    db.in_unit(lambda: FAIL.run())
    return made


def statuses() -> list[str]:
    return sorted(row.status for row in world.deliveries())


def test_all_that_has_failed_is_due_again(app, ann, hook):
    shown = told(ann.post(URL))
    assert (shown["matched"], shown["requeued"], shown["unsendable"]) == (3, 3, 0)
    assert shown["groups"] == [
        {
            "endpoint": hook,
            "endpoint_status": "enabled",
            "age": "under an hour",
            "last_outcome": "timeout",
            "deliveries": 3,
        }
    ]
    due = sorted(row.next_attempt_at for row in world.deliveries())
    assert [shown["first_at"], shown["last_at"]] == [to_rfc3339(due[0]), to_rfc3339(due[-1])]
    assert due[-1] - due[0] == timedelta(seconds=0.2)
    assert statuses() == ["pending"] * 3
    assert [tuple(row) for row in TRAIL.all()] == [("operator:ann", "done", None)]


def test_a_limit_leaves_the_rest_for_another_call(ann, hook):
    body = {"endpoint": hook, "limit": 2, "rate": 1}
    shown = told(ann.post(URL, body))
    assert (shown["matched"], shown["requeued"]) == (3, 2)
    spread = parse_rfc3339(shown["last_at"]) - parse_rfc3339(shown["first_at"])
    assert spread == timedelta(seconds=1)
    assert statuses() == ["failed", "pending", "pending"]
    assert told(ann.post(URL, body))["requeued"] == 1
    assert [row.subject_id for row in TRAIL.all()] == [hook, hook]


def test_a_dry_run_changes_nothing(ann, hook):
    before = world.deliveries()
    shown = told(ann.post(URL, {"dry_run": True}))
    assert (shown["matched"], shown["requeued"], shown["first_at"]) == (3, 0, None)
    assert world.deliveries() == before


def test_a_repeat_under_its_key_is_one_requeue(ann, hook):
    first = told(ann.post(URL, {"limit": 1}, key="one"))
    assert told(ann.post(URL, {"limit": 1}, key="one")) == first
    assert statuses() == ["failed", "failed", "pending"]


def test_filters_by_type_time_and_status(ann, hook):
    later = to_rfc3339(db.now() + timedelta(hours=1))
    for body in ({"event_type": "ping"}, {"since": later}, {"status": "canceled"}):
        assert told(ann.post(URL, body))["matched"] == 0, body
    assert told(ann.post(URL, {"until": later, "event_type": "payment.succeeded"}))["matched"] == 3


@pytest.mark.parametrize(
    "body",
    [
        {"status": "pending"},
        {"limit": 0},
        {"limit": 1_001},
        {"rate": 0},
        {"since": "2025-09-01T00:00:00"},
        {"endpoint": "we_1"},
        {"event_type": "payment"},
    ],
)
def test_what_is_no_choice_is_refused_and_that_stands_in_the_trail(ann, hook, body):
    assert pointers(ann.post(URL, body)) == [f"/{name}" for name in body]
    assert statuses() == ["failed"] * 3
    assert [(row.actor, row.outcome) for row in TRAIL.all()] == [
        ("operator:ann", "invalid_request")
    ]


def test_only_operators_may(client, hook):
    assert refused(Caller(client).post(URL)) == (401, "unauthenticated")
