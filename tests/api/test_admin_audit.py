"""`GET /admin/audit`: each call, who, what, before and after; refused ones and strangers too."""

from datetime import timedelta
from functools import partial

import pytest

from payments import audit, clock
from payments.api.strangers import NETWORKS, OTHERS, WINDOW_S, Strangers
from payments.db import Sql
from tests.checkout import world
from tests.merchants.callers import Caller, customer, operator, refused, told

URL = "/admin/audit"
CONFIG = "/admin/config/rate_limit"


@pytest.fixture
def ann(client) -> Caller:
    return operator(client)


def trail(caller: Caller, **query) -> list[dict]:
    return told(caller.get(URL, **query))["data"]


def test_a_change_with_who_what_before_and_after(ann):
    answer = ann.post(CONFIG, {"per_minute": 500})
    (line,) = trail(ann)
    told_of = {name: line[name] for name in ("object", "actor", "action", "outcome", "request_id")}
    assert told_of == {
        "object": "audit_record",
        "actor": "operator:ann",
        "action": "rate_limit.change",
        "outcome": "done",
        "request_id": answer.headers["X-Request-ID"],
    }
    assert (line["before"]["source"], line["after"]["per_minute"]) == ("environment", 500)


def test_a_refused_call_with_its_subject(app, ann):
    with app.app_context():
        shop = world.merchant()
    assert refused(ann.post(f"/admin/merchants/{shop}/approve"))[0] == 409
    (line,) = trail(ann, subject=shop)
    assert (line["action"], line["outcome"]) == ("merchant.approve", "invalid_state")
    assert (line["before"], line["after"]) == (None, None)


def test_filters_that_must_all_hold_and_pages(app, ann):
    with app.app_context():
        for name in ("ann", "bob"):
            for action in ("x.one", "x.two"):
                world.did(partial(audit.record, f"operator:{name}", action, f"{action}:{name}"))
    assert len(trail(ann)) == 4
    assert len(trail(ann, actor="operator:bob")) == 2
    assert len(trail(ann, action="x.one")) == 2
    (line,) = trail(ann, actor="operator:bob", action="x.two", subject="x.two:bob")
    at = clock.parse_rfc3339(line["created_at"])
    assert line in trail(ann, **{"from": line["created_at"]})
    assert line in trail(ann, to=line["created_at"])
    before, after = at - timedelta(microseconds=1), at + timedelta(microseconds=1)
    assert line not in trail(ann, to=clock.to_rfc3339(before))
    assert line not in trail(ann, **{"from": clock.to_rfc3339(after)})
    first = told(ann.get(URL, limit=3))
    rest = told(ann.get(URL, limit=3, cursor=first["next_cursor"]))
    assert [row["subject"] for row in first["data"] + rest["data"]] == [
        row["subject"] for row in trail(ann)
    ]
    assert rest["next_cursor"] is None
    other = ann.get(URL, limit=3, actor="operator:bob", cursor=first["next_cursor"])
    assert refused(other) == (422, "invalid_cursor")


def test_wrong_tokens_are_counted_and_never_written_down(app, client, ann):
    wrong = Caller(client, **{"X-Admin-Token": "guess-0123456789"})
    for _ in range(3):
        assert refused(wrong.post(CONFIG, {"per_minute": 9})) == (401, "unauthenticated")
    assert refused(wrong.get(URL)) == (401, "unauthenticated")
    (line,) = trail(ann)
    assert (line["actor"], line["action"]) == ("address:127.0.0.1", "rate_limit.change")
    assert (line["outcome"], line["after"]) == ("unauthenticated", {"tries": 1})
    with app.app_context():
        assert "guess" not in str(Sql("SELECT * FROM audit_log").all())


def test_a_read_with_a_wrong_token_is_counted_as_well(client, ann):
    refused(client.get(URL, headers={"X-Admin-Token": "guess"}))
    (line,) = trail(ann)
    assert (line["action"], line["outcome"]) == ("GET /admin/audit", "unauthenticated")


def test_a_known_caller_of_another_kind_by_its_name(app, client, ann):
    with app.app_context():
        bob = world.customer()
        from_bob = customer(client, bob)
    assert refused(from_bob.post(CONFIG, {"per_minute": 9})) == (403, "forbidden")
    (line,) = trail(ann)
    assert (line["actor"], line["outcome"]) == (bob, "forbidden")


def test_nothing_is_written_while_writes_are_stopped(app, client, ann):
    told(ann.post("/admin/config/read_only", {"on": True, "reason": "restoring"}))
    refused(client.get(URL, headers={"X-Admin-Token": "guess"}))
    assert [line["action"] for line in trail(ann)] == ["read_only.on"]
    refused(client.post(CONFIG, json={}, headers={"X-Admin-Token": "guess"}))
    assert trail(ann)[0]["outcome"] == "unauthenticated"


def test_one_line_for_each_address_and_window():
    strangers = Strangers()
    assert strangers.note("a", 0.0) == ("a", 1)
    assert [strangers.note("a", 1.0), strangers.note("a", 2.0)] == [None, None]
    assert strangers.note("b", 3.0) == ("b", 1)
    assert strangers.note("a", WINDOW_S) == ("a", 3)  # two of the window before, and this one
    assert strangers.note("a", 3 * WINDOW_S) == ("a", 1)


def test_many_addresses_share_one_line():
    strangers = Strangers()
    told_of = [strangers.note(f"address {n}", 0.0) for n in range(NETWORKS + 50)]
    assert [one for one in told_of if one][-1] == (OTHERS, 1)
    assert len([one for one in told_of if one]) == NETWORKS + 1
    assert strangers.note("address 0", WINDOW_S) == ("address 0", 1)
    assert strangers.note("address 0", WINDOW_S) is None
