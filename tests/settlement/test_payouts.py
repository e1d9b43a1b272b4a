"""Payouts: proposed by one, approved by another, paid once, and heard of by the merchant."""

import threading
from functools import partial

import pytest
import sqlalchemy as sa

from payments import ids
from payments.clock import parse_rfc3339
from payments.db import Sql
from payments.merchants import applications
from payments.settlement import report
from payments.settlement.periods import Period
from tests.checkout import world
from tests.merchants.callers import Caller, refused, told, with_key
from tests.settlement.operators import SETTINGS, named, steps

URL = "/admin/payouts"
ENTRIES = Sql("SELECT count(*) FROM entries WHERE kind = 'payout'")


@pytest.fixture
def app(make_app):
    return make_app(**SETTINGS)


@pytest.fixture
def shop(app_context) -> str:
    """It has sold for 50.00 EUR."""
    payer, shop = world.customer(has=100_00), world.merchant()
    world.confirms(payer, world.asks(shop, 50_00).id)
    return shop


@pytest.fixture
def ann(client) -> Caller:
    return named(client, "ann")


@pytest.fixture
def bob(client) -> Caller:
    return named(client, "bob")


@pytest.fixture(autouse=True)
def sound(app_context):
    yield
    world.sound()


def proposed(by: Caller, shop: str, amount: int = 30_00, **more) -> dict:
    return told(by.post(URL, {"merchant": shop, "amount": amount, "currency": "EUR", **more}), 202)


def balance(shop: str) -> int:
    return world.purse(shop, "merchant")[0]


def test_one_proposes_another_approves_and_the_money_leaves(client, ann, bob, shop):
    payout = proposed(ann, shop, reference="July")
    assert (payout["status"], payout["proposed_by"], payout["paid_at"]) == (
        "proposed",
        "operator:ann",
        None,
    )
    assert balance(shop) == 50_00
    paid = told(bob.post(f"{URL}/{payout['id']}/approve"))
    assert (paid["status"], paid["decided_by"], paid["version"]) == ("approved", "operator:bob", 2)
    assert paid["paid_at"] is not None
    assert balance(shop) == 20_00
    assert world.purse("system", "external:payout")[0] == 30_00
    assert told(ann.get(f"{URL}/{payout['id']}")) == paid
    assert steps(ann, payout["id"]) == [
        ("operator:ann", "payout.propose", "done"),
        ("operator:bob", "payout.approve", "done"),
    ]


def test_the_merchant_sees_it_and_hears_of_it(client, ann, bob, shop):
    payout = proposed(ann, shop, reference="July")
    told(bob.post(f"{URL}/{payout['id']}/approve"))
    merchant = with_key(client, shop, "settlements:read")
    (shown,) = told(merchant.get("/v1/payouts", reference="July"))["data"]
    assert shown == told(merchant.get(f"/v1/payouts/{payout['id']}"))
    assert not {"proposed_by", "decided_by", "decision_reason"} & set(shown)
    assert world.events(payout["id"]) == ["payout.created", "payout.paid"]
    created, paid = world.told(payout["id"])
    assert (created["status"], created["version"]) == ("proposed", 1)
    assert paid == shown
    assert told(merchant.get("/v1/payouts", status="rejected"))["data"] == []
    rival = with_key(client, world.merchant(name="Rival"), "settlements:read")
    assert refused(rival.get(f"/v1/payouts/{payout['id']}")) == (404, "not_found")
    assert told(rival.get("/v1/payouts"))["data"] == []
    narrow = with_key(client, shop, "payments:read")
    assert refused(narrow.get("/v1/payouts")) == (403, "scope_missing")


def test_it_stands_in_its_column_of_the_settlement(ann, bob, shop):
    payout = proposed(ann, shop)
    paid = told(bob.post(f"{URL}/{payout['id']}/approve"))
    moment = parse_rfc3339(paid["paid_at"])
    whole = Period(moment.replace(year=moment.year - 1), moment.replace(year=9999), moment)
    (row,) = report.of_merchant(whole, shop)
    assert (row.payouts, row.adjustments, row.closing) == (30_00, 0, 20_00)


def test_who_proposed_it_may_not_approve_it(ann, bob, shop):
    payout = proposed(ann, shop)
    for _ in range(2):
        answer = ann.post(f"{URL}/{payout['id']}/approve")
        assert refused(answer) == (403, "second_operator_needed")
    assert balance(shop) == 50_00
    assert steps(ann, payout["id"])[1] == (
        "operator:ann",
        "payout.approve",
        "second_operator_needed",
    )
    told(bob.post(f"{URL}/{payout['id']}/approve"))


def test_the_database_refuses_it_as_well(database, ann, shop):
    payout = proposed(ann, shop)
    engine = sa.create_engine(database, poolclass=sa.NullPool)
    with engine.begin() as connection, pytest.raises(sa.exc.IntegrityError):
        connection.exec_driver_sql(
            "UPDATE payouts SET status = 'approved', decided_by = proposed_by"
            f" WHERE id = '{payout['id']}'"
        )
    engine.dispose()


def test_it_is_decided_once(ann, bob, shop):
    payout = proposed(ann, shop)
    first = bob.post(f"{URL}/{payout['id']}/approve", key="k")
    again = bob.post(f"{URL}/{payout['id']}/approve", key="k")
    assert (told(again), again.headers["Idempotent-Replayed"]) == (told(first), "true")
    for step, body in (("approve", {}), ("reject", {"reason": "late"})):
        answer = bob.post(f"{URL}/{payout['id']}/{step}", body)
        assert refused(answer) == (409, "invalid_state")
    assert ENTRIES.scalar() == 1
    assert balance(shop) == 20_00


def test_two_who_approve_at_once_pay_once(app, ann, shop):
    payout = proposed(ann, shop)
    start, statuses = threading.Barrier(3), []

    def approves() -> None:
        caller = named(app.test_client(), "bob")
        start.wait()
        statuses.append(caller.post(f"{URL}/{payout['id']}/approve").status_code)

    threads = [threading.Thread(target=approves) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 409, 409]
    assert balance(shop) == 20_00


def test_a_rejected_one_is_never_paid(ann, bob, shop):
    payout = proposed(ann, shop)
    done = told(ann.post(f"{URL}/{payout['id']}/reject", {"reason": "wrong amount"}))
    assert (done["status"], done["decision_reason"]) == ("rejected", "wrong amount")
    assert refused(bob.post(f"{URL}/{payout['id']}/approve")) == (409, "invalid_state")
    assert balance(shop) == 50_00
    assert steps(ann, payout["id"])[1] == ("operator:ann", "payout.reject", "done")


@pytest.mark.parametrize("amount", [50_01, 10**15])
def test_more_than_is_available_is_not_proposed(ann, shop, amount):
    body = {"merchant": shop, "amount": amount, "currency": "EUR"}
    assert refused(ann.post(URL, body)) == (402, "merchant_balance_insufficient")
    other = {**body, "amount": 1, "currency": "USD"}
    assert refused(ann.post(URL, other)) == (402, "merchant_balance_insufficient")
    assert told(ann.get(URL))["data"] == []


def test_what_left_meanwhile_is_not_paid_and_may_be_tried_again(ann, bob, shop):
    payout = proposed(ann, shop, 50_00)
    world.leaves(shop, 1)
    key = "once more"
    answer = bob.post(f"{URL}/{payout['id']}/approve", key=key)
    assert refused(answer) == (402, "merchant_balance_insufficient")
    assert told(ann.get(f"{URL}/{payout['id']}"))["status"] == "proposed"
    assert world.events(payout["id"]) == ["payout.created"]
    payer = world.customer(has=5_00)
    world.confirms(payer, world.asks(shop, 5_00).id)
    assert told(bob.post(f"{URL}/{payout['id']}/approve", key=key))["status"] == "approved"
    assert steps(ann, payout["id"])[1][2] == "merchant_balance_insufficient"


def test_a_suspended_merchant_is_paid_nothing(ann, bob, shop):
    payout = proposed(ann, shop)
    world.suspend(shop)
    assert refused(bob.post(f"{URL}/{payout['id']}/approve")) == (403, "merchant_suspended")
    body = {"merchant": shop, "amount": 1, "currency": "EUR"}
    assert refused(ann.post(URL, body)) == (403, "merchant_suspended")
    world.did(lambda: applications.unsuspend(shop))
    told(bob.post(f"{URL}/{payout['id']}/approve"))


def test_a_merchant_that_waits_is_paid_nothing(app, ann, shop):
    world.did(lambda: Sql("UPDATE merchants SET status = 'pending' WHERE id = :id").run(id=shop))
    body = {"merchant": shop, "amount": 1, "currency": "EUR"}
    assert refused(ann.post(URL, body)) == (403, "merchant_not_approved")
    unknown = {**body, "merchant": ids.new("mer")}
    assert refused(ann.post(URL, unknown)) == (404, "not_found")


def test_a_hot_merchant_is_paid_from_what_lies_beside_its_account_too(ann, bob, shop):
    world.did(lambda: applications.mark_hot(shop, True))
    payer = world.customer(has=10_00)
    world.confirms(payer, world.asks(shop, 10_00).id)
    payout = proposed(ann, shop, 60_00)
    told(bob.post(f"{URL}/{payout['id']}/approve"))
    assert balance(shop) == 0


def test_one_that_is_not_there(ann):
    gone = f"{URL}/{ids.new('out')}"
    assert refused(ann.get(gone)) == (404, "not_found")
    assert refused(ann.post(f"{gone}/approve")) == (404, "not_found")


def test_a_list_with_filters_and_pages(ann, bob, shop):
    other = world.merchant(name="Other")
    payer = world.customer(has=10_00)
    world.confirms(payer, world.asks(other, 10_00).id)
    made = [proposed(ann, shop, n, reference=f"r{n}") for n in (1, 2, 3)] + [
        proposed(ann, other, 4)
    ]
    told(bob.post(f"{URL}/{made[1]['id']}/approve"))
    page = told(ann.get(URL, limit=3))
    rest = told(ann.get(URL, limit=3, cursor=page["next_cursor"]))
    assert [one["id"] for one in page["data"] + rest["data"]] == [one["id"] for one in made[::-1]]
    assert [one["id"] for one in told(ann.get(URL, status="approved"))["data"]] == [made[1]["id"]]
    assert [one["id"] for one in told(ann.get(URL, merchant=other))["data"]] == [made[3]["id"]]
    assert [one["id"] for one in told(ann.get(URL, reference="r3"))["data"]] == [made[2]["id"]]


def test_the_invariants_see_a_payment_by_hand_that_nobody_approved(database, ann, bob, shop):
    payout = proposed(ann, shop)
    told(bob.post(f"{URL}/{payout['id']}/approve"))
    names = {
        "UPDATE payouts SET amount = amount + 1": {"moved_by_hand_is_what_was_approved"},
        "UPDATE payouts SET status = 'rejected'": {
            "payout_posted_once",
            "moved_by_hand_is_what_was_approved",
        },
        "UPDATE payouts SET debit_account_id = credit_account_id": {
            "payout_accounts_fit",
            "moved_by_hand_is_what_was_approved",
        },
    }
    (was,) = Sql("SELECT amount, status, debit_account_id FROM payouts").all()
    mend = Sql("UPDATE payouts SET amount = :amount, status = :status, debit_account_id = :debit")
    for change, broken in names.items():
        world.did(Sql(change).run)
        assert {finding.invariant for finding in world.invariants.check()} == broken
        world.did(
            partial(mend.run, amount=was.amount, status=was.status, debit=was.debit_account_id)
        )
