"""Settings that operators change at run time: in every process, reverting by themselves."""

import json
import time

import pytest

from payments import db
from payments.checkout import fees
from payments.db import Sql
from payments.operations import read_only
from tests.children import wait_until
from tests.merchants.callers import Caller, operator

RUNBOOK = '{ "per_minute": 120, "auth_boost": 2, "exempt_otp": true }'
URL = "/admin/config/rate_limit"
ADDRESS = {"REMOTE_ADDR": "203.0.113.9"}
TRAIL = Sql("SELECT actor, action, outcome, before_json, after_json FROM audit_log ORDER BY id")


@pytest.fixture
def ann(client) -> Caller:
    return operator(client)


@pytest.fixture
def other(app, make_app):
    """Another process of the service: it shares the database, and nothing else."""
    return make_app().test_client()


def told(answer, status=200) -> dict:
    assert answer.status_code == status, answer.text
    return answer.json


def policy(client) -> str | None:
    """The limit for an address, as any answer states it."""
    return client.get("/v1/nothing", environ_base=ADDRESS).headers.get("RateLimit-Policy")


def test_the_runbooks_body_as_it_stands(client, ann):
    answer = client.post(URL, data=RUNBOOK, headers=ann.headers, content_type="application/json")
    assert {k: told(answer)[k] for k in ("per_minute", "auth_boost", "exempt_otp")} == {
        "per_minute": 120,
        "auth_boost": 2,
        "exempt_otp": True,
    }
    assert (answer.json["source"], answer.json["version"]) == ("permanent", 1)
    assert answer.json["updated_by"].startswith("operator:")


def test_a_change_is_in_force_in_every_process_within_two_seconds(client, ann, other):
    before = policy(other)
    told(ann.post(URL, {"per_minute": 7777}))
    begun = time.monotonic()
    assert policy(client) == '"minute";q=7777;w=60'
    wait_until(lambda: policy(other) == '"minute";q=7777;w=60', "the other process", 2)
    assert time.monotonic() - begun < 2
    assert before != policy(other)


def test_a_change_hands_nobody_a_fresh_window(client, ann):
    def left() -> str:
        answer = client.get("/v1/nothing", environ_base=ADDRESS)
        return str(answer.headers["RateLimit"]).partition(";t=")[0]

    told(ann.post(URL, {"per_minute": 100}))
    assert [left() for _ in range(3)] == [f'"minute";r={n}' for n in (99, 98, 97)]
    told(ann.post(URL, {"per_minute": 50}))
    assert left() == '"minute";r=46'
    told(ann.post(URL, {"per_minute": 4}))
    assert client.get("/v1/nothing", environ_base=ADDRESS).status_code == 429
    told(ann.post(URL, {"per_minute": 100}))
    assert left().startswith('"minute";r=9')


def test_an_overlay_reverts_by_itself_and_delete_takes_it_away(client, ann):
    base = told(ann.get(URL))["per_minute"]
    told(ann.post(URL, {"per_minute": 500}))
    shown = told(ann.post(URL, {"per_minute": 900, "expires_in": 1}))
    assert (shown["per_minute"], shown["source"]) == (900, "overlay")
    assert shown["expires_at"] is not None
    wait_until(lambda: told(ann.get(URL))["per_minute"] == 500, "the overlay's end", 3)
    assert told(ann.get(URL))["source"] == "permanent"
    told(ann.post(URL, {"auth_boost": 9, "expires_in": 600}))
    shown = told(ann.delete(URL))
    assert (shown["per_minute"], shown["source"]) == (500, "permanent")
    shown = told(ann.delete(URL))
    assert (shown["per_minute"], shown["source"], shown["expires_at"]) == (
        base,
        "environment",
        None,
    )


def test_a_change_for_good_takes_an_overlay_away_and_leaves_other_fields(ann):
    told(ann.post(URL, {"auth_boost": 5}))
    told(ann.post(URL, {"per_minute": 900, "expires_in": 600}))
    shown = told(ann.post(URL, {"per_minute": 300}))
    assert (shown["per_minute"], shown["auth_boost"], shown["source"]) == (300, 5, "permanent")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"expires_in": 60},
        {"per_minute": 0},
        {"per_minute": 1.5},
        {"per_minute": True},
        {"auth_boost": 101},
        {"exempt_otp": "yes"},
        {"per_minute": 5, "expires_in": 0},
        {"per_minute": 5, "burst": 1},
    ],
)
def test_what_is_no_change_is_refused_and_changes_nothing(ann, body):
    before = told(ann.get(URL))
    answer = ann.post(URL, body)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_request")
    assert told(ann.get(URL)) == before


def test_codes_outside_the_budget_stay_inside_their_own_limits(client, ann):
    told(ann.post(URL, {"exempt_otp": True}))
    told(ann.post("/admin/config/otp", {"per_phone_hour": 2}))
    answers = [client.post("/v1/auth/otp", json={"phone": "+4915112345678"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert all("RateLimit" not in answer.headers for answer in answers)
    assert int(answers[2].headers["Retry-After"]) > 60
    told(ann.delete("/admin/config/otp"))
    assert client.post("/v1/auth/otp", json={"phone": "+4915112345678"}).status_code == 202


def test_fees_are_those_of_now(app, ann):
    told(ann.post("/admin/config/fees", {"bps": 250}))
    with app.app_context():
        assert fees.current_terms().bps == 250


def test_every_change_stands_in_the_trail_refused_ones_too(app, ann, client):
    told(ann.post(URL, {"per_minute": 500}))
    ann.post(URL, {"per_minute": 0})
    client.post(URL, json={"per_minute": 9}, headers={"X-Admin-Token": "wrong"})
    with app.app_context():
        done, refused, unknown = TRAIL.all()
    assert (done.action, done.outcome) == ("rate_limit.change", "done")
    assert json.loads(done.after_json)["per_minute"] == 500
    assert json.loads(done.before_json)["source"] == "environment"
    assert (refused.action, refused.outcome) == ("rate_limit.change", "invalid_request")
    assert (unknown.action, unknown.outcome) == ("rate_limit.change", "unauthenticated")
    assert unknown.actor.startswith("address:")


READ_ONLY = "/admin/config/read_only"


def test_read_only_stops_every_process_at_once_and_lets_operators_go_on(app, client, ann, other):
    assert policy(other) is not None  # it has read the rows just now, and knows it as off
    shown = told(ann.post(READ_ONLY, {"on": True, "reason": "restoring"}))
    assert (shown["on"], shown["reason"], shown["still_writing"]) == (True, "restoring", [])
    for process in (other, client):
        answer = process.post("/v1/auth/otp", json={"phone": "+4915112345678"})
        assert (answer.status_code, answer.json["code"]) == (503, "read_only")
        assert process.get("/health/live").status_code == 200
    told(ann.post(URL, {"per_minute": 4000}))
    assert told(ann.get(READ_ONLY))["since"] == shown["since"]
    assert told(ann.post(READ_ONLY, {"on": False, "reason": "restored"}))["on"] is False
    assert client.post("/v1/auth/otp", json={"phone": "+4915112345678"}).status_code == 202
    with app.app_context():
        assert [row.action for row in TRAIL.all()] == [
            "read_only.on",
            "rate_limit.change",
            "read_only.off",
        ]


def test_a_repeat_under_its_key_is_one_switch(app, ann):
    first = ann.post(READ_ONLY, {"on": True, "reason": "restoring"}, key="one")
    again = ann.post(READ_ONLY, {"on": True, "reason": "restoring"}, key="one")
    assert (again.json, again.headers["Idempotent-Replayed"]) == (first.json, "true")
    assert first.json["version"] == 1


def test_what_began_before_the_switch_is_waited_for_and_named(app, database_kind):
    if database_kind == "sqlite":  # one writer: the switch itself has waited
        return
    with app.app_context():
        store = db.current_store()
        older = db.Unit(store, writes=True)
        assert older.now
        try:
            db.in_unit(lambda: read_only.switch(True, "tests"), in_read_only=True)
            begun = time.monotonic()
            (name,) = read_only.wait_until_quiet(0.3)
            assert time.monotonic() - begun >= 0.3
            assert name.startswith("payments ")
            assert "@" in name
            older.commit()
        finally:
            older.rollback()
            older.close()
        with db.snapshot():
            assert read_only.wait_until_quiet(0.3) == []
