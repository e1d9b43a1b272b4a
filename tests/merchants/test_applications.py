"""A customer applies, an operator approves, suspends and lets go on; merchant and trail say so."""

import json

import pytest
from flask import Flask

from payments.db import Sql
from payments.errors import NotFound
from payments.ledger import accounts
from payments.merchants import applications
from tests.checkout import world
from tests.merchants import callers
from tests.merchants.callers import Caller, detail, pointers, refused, told, trail

EVENTS = Sql("SELECT merchant_id, type, body, request_id FROM events WHERE object_id = :id")


@pytest.fixture
def app(make_app) -> Flask:
    """The service where an operator approves."""
    return make_app(MERCHANT_AUTO_APPROVE="false")


@pytest.fixture
def applied(owner: Caller) -> str:
    """The id of a merchant whose application waits."""
    return str(told(owner.post("/v1/merchants", {"name": "Corner shop"}), 201)["id"])


def steps(operator: Caller, merchant_id: str, *actions: str) -> list[dict]:
    return [told(operator.post(f"/admin/merchants/{merchant_id}/{each}")) for each in actions]


def test_an_application_waits(owner):
    merchant = told(owner.post("/v1/merchants", {"name": "Corner shop"}), 201)
    assert merchant.pop("id").startswith("mer_")
    assert merchant.pop("created_at").endswith("Z")
    assert merchant == {
        "object": "merchant",
        "status": "pending",
        "version": 1,
        "name": "Corner shop",
    }
    assert world.all_events() == 0


def test_where_approval_is_automatic_it_is_approved_and_told(make_app):
    app = make_app(MERCHANT_AUTO_APPROVE="true")
    with app.app_context():
        merchant = told(
            callers.owner(app.test_client()).post("/v1/merchants", {"name": "Kiosk"}), 201
        )
        assert merchant["status"] == "approved"
        assert world.told(merchant["id"]) == [merchant]
        assert world.events(merchant["id"]) == ["merchant.approved"]


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": 7}, {"name": "Shop", "owner": "me"}])
def test_an_application_has_a_name_and_nothing_else(owner, body):
    (pointer,) = pointers(owner.post("/v1/merchants", body))
    assert pointer in ("/name", "/owner")


def test_an_application_sent_twice_with_one_key_is_one(owner):
    first, again = (owner.post("/v1/merchants", {"name": "Kiosk"}, key="k-1") for _ in range(2))
    assert told(first, 201) == told(again, 201)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(told(owner.get("/v1/merchants"))["data"]) == 1


def test_an_operator_takes_it_through_its_statuses(operator, applied):
    shown = steps(operator, applied, "approve", "suspend", "unsuspend")
    assert [(merchant["status"], merchant["version"]) for merchant in shown] == [
        ("approved", 2),
        ("suspended", 3),
        ("approved", 4),
    ]
    assert world.events(applied) == ["merchant.approved", "merchant.suspended", "merchant.approved"]
    assert world.told(applied) == shown


def test_its_events_are_the_merchants_and_bear_the_request(app, operator, applied):
    answer = operator.post(f"/admin/merchants/{applied}/approve")
    (event,) = EVENTS.all(id=applied)
    assert (event.merchant_id, event.request_id) == (applied, answer.headers["X-Request-ID"])
    assert json.loads(event.body)["request_id"] == answer.headers["X-Request-ID"]


def test_each_step_stands_in_the_trail_with_before_and_after(app, operator, applied):
    answers = [
        operator.post(f"/admin/merchants/{applied}/{action}")
        for action in ("approve", "suspend", "unsuspend")
    ]
    lines = trail(app, applied)
    assert [(line.actor, line.action, line.outcome) for line in lines] == [
        ("operator:ann", "merchant.approve", "done"),
        ("operator:ann", "merchant.suspend", "done"),
        ("operator:ann", "merchant.unsuspend", "done"),
    ]
    statuses = [
        (json.loads(line.before_json)["status"], json.loads(line.after_json)["status"])
        for line in lines
    ]
    assert statuses == [
        ("pending", "approved"),
        ("approved", "suspended"),
        ("suspended", "approved"),
    ]
    assert [line.request_id for line in lines] == [a.headers["X-Request-ID"] for a in answers]


POSSIBLE = {"pending": {"approve"}, "approved": {"suspend"}, "suspended": {"unsuspend"}}
WAYS = {"pending": (), "approved": ("approve",), "suspended": ("approve", "suspend")}


@pytest.mark.parametrize("status", POSSIBLE)
def test_a_step_that_does_not_fit_is_refused_says_so_and_stands_in_the_trail(
    app, operator, applied, status
):
    steps(operator, applied, *WAYS[status])
    told_before = world.all_events()
    for action in {"approve", "suspend", "unsuspend"} - POSSIBLE[status]:
        answer = operator.post(f"/admin/merchants/{applied}/{action}")
        assert refused(answer) == (409, "invalid_state")
        assert status in detail(answer)
        last = trail(app, applied)[-1]
        assert (last.actor, last.action) == ("operator:ann", f"merchant.{action}")
        assert (last.outcome, last.after_json) == ("invalid_state", None)
        assert last.request_id == answer.headers["X-Request-ID"]
    assert applications.get(applied).status == status
    assert world.all_events() == told_before


def test_a_step_sent_twice_with_one_key_is_one_step_and_one_line(app, operator, applied):
    url = f"/admin/merchants/{applied}/approve"
    first, again = operator.post(url, key="k-1"), operator.post(url, key="k-1")
    assert told(first) == told(again)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(trail(app, applied)) == 1


def test_a_merchant_that_is_not_there_is_404_and_stands_in_the_trail(app, operator):
    unknown = "mer_" + "0" * 32
    assert refused(operator.post(f"/admin/merchants/{unknown}/approve")) == (404, "not_found")
    assert [line.outcome for line in trail(app, unknown)] == ["not_found"]


@pytest.mark.parametrize("token", [None, "", "wrong", "ann", "é"])
def test_a_wrong_token_changes_nothing(app, client, applied, token):
    caller = Caller(client, **({} if token is None else {"X-Admin-Token": token}))
    answer = caller.post(f"/admin/merchants/{applied}/approve")
    assert refused(answer) == (401, "unauthenticated")
    assert applications.get(applied).status == "pending"
    (line,) = trail(app, applied)
    assert (line.actor, line.outcome) == ("address:127.0.0.1", "unauthenticated")


def test_nobody_but_an_operator_approves(client, owner, applied):
    for caller in (owner, callers.with_key(client, applied), callers.service(client)):
        answer = caller.post(f"/admin/merchants/{applied}/approve")
        assert refused(answer) == (403, "forbidden")
    assert applications.get(applied).status == "pending"


def test_its_owner_sees_the_one_merchant(owner, applied):
    assert told(owner.get("/v1/merchant"))["id"] == applied
    assert told(owner.get("/v1/merchant", merchant=applied))["id"] == applied


def test_an_owner_of_several_says_which(owner, applied):
    other = told(owner.post("/v1/merchants", {"name": "Kiosk"}), 201)["id"]
    assert pointers(owner.get("/v1/merchant")) == ["/merchant"]
    assert pointers(owner.patch("/v1/merchant", {"name": "Which?"})) == ["/merchant"]
    for merchant_id in (applied, other):
        assert told(owner.get("/v1/merchant", merchant=merchant_id))["id"] == merchant_id
    changed = told(owner.patch("/v1/merchant", {"name": "Stall"}, merchant=other))
    assert (changed["name"], changed["version"]) == ("Stall", 2)
    assert applications.get(applied).name == "Corner shop"


def test_who_owns_none_is_told_so(stranger, applied):
    assert refused(stranger.get("/v1/merchant")) == (404, "not_found")
    assert refused(stranger.patch("/v1/merchant", {"name": "Mine"})) == (404, "not_found")


def test_a_key_shows_its_merchant_whatever_its_scopes(client, applied):
    caller = callers.with_key(client, applied, "payments:read")
    assert told(caller.get("/v1/merchant"))["id"] == applied
    assert told(caller.get("/v1/merchant", merchant=applied))["id"] == applied


def test_anothers_merchant_is_404_and_the_same_404_as_none(client, owner, stranger, applied):
    theirs = told(stranger.post("/v1/merchants", {"name": "Theirs"}), 201)["id"]
    by_key = callers.with_key(client, applied)
    for merchant_id in (theirs, "mer_" + "0" * 32):
        answers = [
            owner.get("/v1/merchant", merchant=merchant_id),
            owner.patch("/v1/merchant", {"name": "Taken"}, merchant=merchant_id),
            owner.get(f"/v1/merchants/{merchant_id}"),
            by_key.get("/v1/merchant", merchant=merchant_id),
            by_key.get(f"/v1/merchants/{merchant_id}"),
        ]
        assert [refused(answer) for answer in answers] == [(404, "not_found")] * 5
        assert len({detail(answer) for answer in answers}) == 1
    assert applications.get(theirs).name == "Theirs"


def test_a_key_changes_no_merchant(client, applied):
    answer = callers.with_key(client, applied).patch("/v1/merchant", {"name": "Taken"})
    assert refused(answer) == (403, "forbidden")
    assert applications.get(applied).name == "Corner shop"


@pytest.mark.parametrize("field", ["return_hosts", "status", "hot", "negative_limit", "owner_id"])
def test_what_is_not_in_the_contract_is_an_unknown_field(owner, applied, field):
    assert pointers(owner.patch("/v1/merchant", {field: ["example.org"]})) == [f"/{field}"]
    assert applications.get(applied).version == 1


def test_a_change_of_nothing_is_no_version(owner, applied):
    for body in ({}, {"name": None}, {"name": "Corner shop"}):
        assert told(owner.patch("/v1/merchant", body))["version"] == 1


def test_merchants_are_listed_newest_first_each_to_its_owner(owner, stranger):
    ids = [told(owner.post("/v1/merchants", {"name": n}), 201)["id"] for n in ("A", "B", "C")]
    first = told(owner.get("/v1/merchants", limit=2))
    rest = told(owner.get("/v1/merchants", limit=2, cursor=first["next_cursor"]))
    assert [row["id"] for row in first["data"] + rest["data"]] == ids[::-1]
    assert rest["next_cursor"] is None
    assert told(stranger.get("/v1/merchants"))["data"] == []
    assert told(owner.get(f"/v1/merchants/{ids[0]}"))["name"] == "A"


def test_an_account_is_opened_once_and_collects_where_the_merchant_is_hot(app, shop):
    def account(currency: str):
        return accounts.get(world.did(lambda: applications.account_of(shop, currency)))

    assert account("EUR") == account("EUR")
    assert (account("EUR").owner_id, account("EUR").kind) == (shop, "merchant")
    world.did(lambda: applications.mark_hot(shop, True))
    collects = Sql("SELECT currency, collects FROM accounts WHERE owner_id = :id ORDER BY currency")
    account("USD")
    assert [(row.currency, bool(row.collects)) for row in collects.all(id=shop)] == [
        ("EUR", True),
        ("USD", True),
    ]


def test_a_merchant_that_is_not_there_is_not_found(app_context):
    unknown = "mer_" + "0" * 32
    for step in (
        lambda: applications.get(unknown),
        lambda: applications.rename(unknown, "Kiosk"),
        lambda: applications.mark_hot(unknown, True),
        lambda: applications.require_open(unknown),
    ):
        with pytest.raises(NotFound):
            world.did(step)
