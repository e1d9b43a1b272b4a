"""`POST /admin/refunds`: any payment, below 0 as far as the merchant's limit allows."""

import json
import threading

import pytest

from payments import ids
from payments.settlement import payouts
from tests.checkout import world
from tests.merchants.callers import Caller, operator, refused, told, trail, with_key

URL = "/admin/refunds"


@pytest.fixture
def ann(client) -> Caller:
    return operator(client)


@pytest.fixture
def shop(app_context) -> str:
    return world.merchant()


@pytest.fixture
def payer(app_context) -> str:
    return world.customer(has=100_00)


@pytest.fixture
def paid(shop, payer) -> str:
    """A payment of 20.00, of which the merchant has 5.00 left."""
    payment = world.confirms(payer, world.asks(shop, 20_00).id)
    world.leaves(shop, 15_00)
    return payment.id


@pytest.fixture(autouse=True)
def sound(app_context):
    yield
    world.sound()


def allows(oncall: Caller, shop: str, limit: int) -> dict:
    body = {"negative_limit": limit, "reason": "a fair one"}
    return told(oncall.post(f"/admin/merchants/{shop}/negative_limit", body))


def refund(oncall: Caller, payment: str, amount: int | None = None, key: str | None = None):
    body = {"payment": payment, "reason": "a wrong order"}
    return oncall.post(URL, body if amount is None else body | {"amount": amount}, key=key)


def test_without_a_limit_it_stops_at_0(ann, shop, payer, paid):
    assert refused(refund(ann, paid, 5_01)) == (402, "merchant_balance_insufficient")
    told(refund(ann, paid, 5_00), 201)
    assert (world.purse(shop, "merchant")[0], world.purse(payer)[0]) == (0, 85_00)


def test_with_one_it_goes_below_0_and_no_further(app, client, ann, shop, payer, paid):
    assert allows(ann, shop, 10_00)["negative_limit"] == 10_00
    assert refused(refund(ann, paid, 15_01)) == (402, "merchant_balance_insufficient")
    shown = told(refund(ann, paid, 15_00, key="k"), 201)
    assert told(refund(ann, paid, 15_00, key="k"), 201) == shown
    assert world.purse(shop, "merchant")[0] == -10_00
    assert world.purse(payer)[0] == 95_00
    merchant = with_key(client, shop)
    (balance,) = told(merchant.get("/v1/balance"))["balances"]
    assert (balance["balance"], balance["available"]) == (-10_00, -10_00)
    assert told(merchant.get(f"/v1/refunds/{shown['id']}")) == shown
    assert world.events(shown["id"]) == ["refund.succeeded"]
    (done,) = trail(app, paid)
    assert (done.actor, done.action, done.outcome) == ("operator:ann", "refund.create", "done")
    assert json.loads(done.before_json) == {"amount_refunded": 0}
    assert json.loads(done.after_json)["amount_refunded"] == 15_00
    outcomes = [
        row["outcome"] for row in told(ann.get("/admin/audit", action="refund.create"))["data"]
    ]
    assert outcomes == ["done", "merchant_balance_insufficient"]


def test_the_merchants_own_refunds_and_payouts_stay_refused_until_it_is_repaid(
    client, ann, shop, payer, paid
):
    other = world.confirms(payer, world.asks(shop, 5_00).id).id
    allows(ann, shop, 20_00)
    told(refund(ann, paid), 201)
    assert world.purse(shop, "merchant")[0] == -10_00
    merchant, body = with_key(client, shop), {"payment": other, "amount": 1}
    assert refused(merchant.post("/v1/refunds", body)) == (402, "merchant_balance_insufficient")
    payout = {"merchant": shop, "amount": 1, "currency": "EUR"}
    assert refused(ann.post("/admin/payouts", payout)) == (402, "merchant_balance_insufficient")
    world.confirms(payer, world.asks(shop, 8_00).id)
    assert refused(merchant.post("/v1/refunds", body)) == (402, "merchant_balance_insufficient")
    world.confirms(payer, world.asks(shop, 3_00).id)
    told(merchant.post("/v1/refunds", {"payment": other, "amount": 1_00}), 201)
    assert world.purse(shop, "merchant")[0] == 0
    assert payouts.proposals.page({}, 10, None) == []


def test_what_may_not_be_refunded(ann, shop, payer, paid):
    waiting = world.asks(shop).id
    assert refused(refund(ann, waiting)) == (409, "invalid_state")
    assert refused(refund(ann, paid, 20_01)) == (422, "amount_exceeds_refundable")
    assert refused(refund(ann, ids.new("pay"))) == (404, "not_found")
    limit = {"negative_limit": 0, "reason": "x"}
    unknown = f"/admin/merchants/{ids.new('mer')}/negative_limit"
    assert refused(ann.post(unknown, limit)) == (404, "not_found")


def test_a_limit_stands_in_the_trail_and_grows_the_version_once(app, ann, shop):
    first = allows(ann, shop, 10_00)
    assert allows(ann, shop, 10_00)["version"] == first["version"]
    assert [row.action for row in trail(app, shop)][-2:] == ["merchant.negative_limit"] * 2


def test_refunds_by_both_at_once_never_deadlock(app, ann, shop, payer):
    allows(ann, shop, 10_00)
    sold = [world.confirms(payer, world.asks(shop, 5_00).id).id for _ in range(8)]
    start, statuses = threading.Barrier(4), []

    def refunds(mine: list[str], by_operator: bool) -> None:
        client = app.test_client()
        with app.app_context():
            caller = operator(client) if by_operator else with_key(client, shop)
        url = URL if by_operator else "/v1/refunds"
        start.wait()
        for payment in mine:
            body = {"payment": payment, "reason": "x"}
            statuses.append(caller.post(url, body).status_code)

    threads = [threading.Thread(target=refunds, args=(sold[n::4], n % 2 == 0)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * 8
    assert world.purse(payer)[0] == 100_00
