"""How many merchants one customer may own, and whose rate budget those have that wait."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from payments.errors import LimitExceeded
from payments.merchants import applications
from tests.checkout import world
from tests.merchants import callers
from tests.merchants.callers import detail, refused, told, with_key


@pytest.fixture
def waiting(make_app):
    """The service where an operator approves, with a rate budget of 6; its context is pushed."""
    app = make_app(
        MERCHANT_AUTO_APPROVE="false", RATE_LIMIT_PER_MINUTE="6", RATE_LIMIT_AUTH_BOOST="1"
    )
    with app.app_context():
        yield app


@pytest.fixture
def roomy(make_app):
    """The same without a rate limit that would be met."""
    app = make_app(MERCHANT_AUTO_APPROVE="false", RATE_LIMIT_PER_MINUTE="10000")
    with app.app_context():
        yield app


def test_five_applications_wait_at_a_time(roomy):
    owner = callers.owner(roomy.test_client())
    made = [told(owner.post("/v1/merchants", {"name": "Kiosk"}), 201) for _ in range(5)]
    answer = owner.post("/v1/merchants", {"name": "Kiosk"})
    assert refused(answer) == (403, "limit_exceeded")
    assert "Apply again once one of them is approved" in detail(answer)
    other = callers.customer(roomy.test_client(), world.customer("+4915155555555"))
    told(other.post("/v1/merchants", {"name": "Kiosk"}), 201)
    world.did(lambda: applications.approve(made[0]["id"]))
    told(owner.post("/v1/merchants", {"name": "Kiosk"}), 201)
    assert refused(owner.post("/v1/merchants", {"name": "Kiosk"})) == (403, "limit_exceeded")


def test_a_customer_owns_twenty_in_all_suspended_ones_too(app_context):
    made = [world.merchant(callers.OWNER_PHONE) for _ in range(20)]
    world.suspend(made[0])
    with pytest.raises(LimitExceeded, match=r"most that one customer may.* PATCH /v1/merchant"):
        world.merchant(callers.OWNER_PHONE)
    assert len(applications.owned_by(world.customer(callers.OWNER_PHONE))) == 20
    world.merchant("+4915155555555")


def test_what_was_made_by_a_key_is_answered_again_beyond_the_limit(roomy):
    owner = callers.owner(roomy.test_client())
    first, *_ = [
        told(owner.post("/v1/merchants", {"name": "Kiosk"}, key=f"k-{n}"), 201) for n in range(5)
    ]
    assert told(owner.post("/v1/merchants", {"name": "Kiosk"}, key="k-0"), 201) == first


def test_applications_at_once_pass_no_limit(roomy):
    headers = callers.owner(roomy.test_client()).headers

    def apply(number: int) -> int:
        caller = callers.Caller(roomy.test_client(), **headers)
        return caller.post("/v1/merchants", {"name": f"Kiosk {number}"}).status_code

    with ThreadPoolExecutor(10) as pool:
        assert Counter(pool.map(apply, range(10))) == {201: 5, 403: 5}


def test_merchants_that_wait_use_their_owners_budget_together(waiting):
    client = waiting.test_client()
    shops = [with_key(client, world.applied(callers.OWNER_PHONE)) for _ in range(2)]
    owner = callers.owner(client)
    for caller in (*shops, owner, *shops, owner):
        told(caller.get("/v1/merchants" if caller is owner else "/v1/merchant"))
    for caller in (*shops, owner):
        assert refused(caller.get("/v1/merchant")) == (429, "rate_limited")


def test_an_approved_merchant_has_a_budget_of_its_own_and_keeps_it_when_suspended(waiting):
    client = waiting.test_client()
    shop_id = world.merchant(callers.OWNER_PHONE)
    shop, owner = with_key(client, shop_id), callers.owner(client)
    for _ in range(3):
        told(shop.get("/v1/merchant"))
    world.suspend(shop_id)
    for _ in range(6):
        told(owner.get("/v1/merchant"))
    for _ in range(3):
        told(shop.get("/v1/merchant"))
    for caller in (shop, owner):
        assert refused(caller.get("/v1/merchant")) == (429, "rate_limited")


def test_whose_budget_it_uses_changes_nothing_of_whose_intents_they_are(waiting):
    """The scope of idempotency keys is the merchant, before and after it is approved."""
    client = waiting.test_client()
    shop_id = world.applied(callers.OWNER_PHONE)
    manager = with_key(client, shop_id, "*")
    body = {"name": "till", "scopes": ["payments:read"]}
    first = told(manager.post("/v1/api_keys", body, key="k-1"), 201)
    world.did(lambda: applications.approve(shop_id))
    again = told(manager.post("/v1/api_keys", body, key="k-1"), 201)
    assert again == first | {"secret": None}
