"""What a merchant may do while it waits for approval, and while it is suspended."""

import pytest

from tests.checkout import world
from tests.merchants import callers
from tests.merchants.callers import Caller, refused, told


@pytest.fixture
def payer(app_context) -> str:
    """A customer with 100.00 EUR."""
    return world.customer("+4915112345678", has=100_00)


@pytest.fixture
def payer_caller(client, payer) -> Caller:
    """The same, signed in."""
    return callers.customer(client, payer)


@pytest.fixture
def till(client, shop) -> Caller:
    """The shop, by a key of every scope."""
    return callers.with_key(client, shop)


def suspend(operator: Caller, shop: str) -> None:
    told(operator.post(f"/admin/merchants/{shop}/suspend"))


def test_it_takes_no_new_payment(operator, till, shop):
    suspend(operator, shop)
    before = world.all_events()
    answer = till.post("/v1/payments", {"amount": 1_00, "currency": "EUR"})
    assert refused(answer) == (403, "merchant_suspended")
    assert told(till.get("/v1/payments"))["data"] == []
    assert world.all_events() == before


@pytest.mark.parametrize("capture", ["automatic", "manual"])
def test_what_it_asked_before_can_not_be_paid_until_it_goes_on(
    operator, payer, payer_caller, shop, capture
):
    asked = world.asks(shop, 20_00, capture=capture)
    suspend(operator, shop)
    url = f"/v1/payments/{asked.id}/confirm"
    assert refused(payer_caller.post(url, key="pay-1")) == (403, "merchant_suspended")
    by_code = payer_caller.post("/v1/pay", {"code": asked.code})
    assert refused(by_code) == (403, "merchant_suspended")
    assert world.purse(payer) == (100_00, 0)
    assert world.raw(asked.id).status == "pending"
    told(operator.post(f"/admin/merchants/{shop}/unsuspend"))
    told(payer_caller.post(url, key="pay-1"))  # a refused call is not remembered
    balance, held = world.purse(payer)
    assert balance - held == 80_00
    world.sound()


def test_its_customer_may_still_decline(operator, payer_caller, shop):
    asked = world.asks(shop, 20_00)
    suspend(operator, shop)
    assert told(payer_caller.post(f"/v1/payments/{asked.id}/decline"))["status"] == "declined"


def test_it_may_capture_cancel_and_refund(operator, till, payer, shop):
    held = world.confirms(payer, world.asks(shop, 10_00, capture="manual").id)
    dropped = world.confirms(payer, world.asks(shop, 10_00, capture="manual").id)
    waiting = world.asks(shop, 10_00)
    paid = world.confirms(payer, world.asks(shop, 10_00).id)
    suspend(operator, shop)
    assert told(till.post(f"/v1/payments/{held.id}/capture"))["status"] == "succeeded"
    for each in (dropped, waiting):
        assert told(till.post(f"/v1/payments/{each.id}/cancel"))["status"] == "canceled"
    assert told(till.post("/v1/refunds", {"payment": paid.id}), 201)["amount"] == 10_00
    assert world.purse(payer) == (90_00, 0)
    assert world.purse(shop, "merchant") == (10_00, 0)
    world.sound()


def test_it_still_sees_what_is_its_own(operator, till, shop):
    suspend(operator, shop)
    assert told(till.get("/v1/merchant"))["status"] == "suspended"
    for url in ("/v1/payments", "/v1/refunds", "/v1/balance", "/v1/api_keys"):
        assert till.get(url).status_code == 200, url


def test_a_replay_of_what_it_did_before_is_the_same_answer(operator, till, shop):
    ask = {"amount": 1_00, "currency": "EUR"}
    first = told(till.post("/v1/payments", ask, key="order-1"), 201)
    suspend(operator, shop)
    assert told(till.post("/v1/payments", ask, key="order-1"), 201) == first


def test_one_that_waits_for_approval_takes_no_payment(make_app):
    app = make_app(MERCHANT_AUTO_APPROVE="false")
    with app.app_context():
        client = app.test_client()
        merchant = told(callers.owner(client).post("/v1/merchants", {"name": "New"}), 201)
        till = callers.with_key(client, merchant["id"])
        ask = {"amount": 1_00, "currency": "EUR"}
        assert refused(till.post("/v1/payments", ask, key="order-1")) == (
            403,
            "merchant_not_approved",
        )
        told(callers.operator(client).post(f"/admin/merchants/{merchant['id']}/approve"))
        assert told(till.post("/v1/payments", ask, key="order-1"), 201)["status"] == "pending"
