"""Creating, confirming, declining, capturing and canceling, beyond the status table."""

from datetime import timedelta

import pytest

from payments import db
from payments.checkout import codes, lookup, payments
from payments.errors import (
    AmountChanged,
    AmountExceedsAuthorized,
    InsufficientFunds,
    InvalidState,
    MerchantSuspended,
    NotFound,
    WalletFrozen,
)
from payments.ledger import accounts
from tests.checkout import world

PHONE = "+4915112345678"


def test_a_new_payment_waits_and_is_told(shop):
    row = world.asks(
        shop,
        20_00,
        customer_phone=PHONE,
        capture="manual",
        reference="order 7",
        description="Two coffees\nto go",
        metadata={"table": 7, "note": "ünïcode 💶", "vip": True},
        expires_in_s=60,
    )
    shown = world.shown(row)
    assert row.expires_at - row.created_at == timedelta(seconds=60)
    assert shown == {
        "object": "payment",
        "id": row.id,
        "status": "pending",
        "version": 1,
        "amount": 20_00,
        "currency": "EUR",
        "amount_captured": 0,
        "amount_refunded": 0,
        "fee": 0,
        "capture": "manual",
        "merchant": shop,
        "customer": None,
        "customer_phone": PHONE,
        "reference": "order 7",
        "description": "Two coffees\nto go",
        "metadata": {"table": 7, "note": "ünïcode 💶", "vip": True},
        "code": row.code,
        "created_at": shown["created_at"],
        "expires_at": shown["expires_at"],
        "capture_before": None,
    }
    assert codes.parse(row.code) == row.code
    assert world.events(row.id) == ["payment.created"]
    assert world.told(row.id) == [shown]
    assert world.shown(lookup.get(shop, row.id)) == shown


def test_a_suspended_merchant_asks_nobody(shop):
    world.suspend(shop)
    with pytest.raises(MerchantSuspended):
        world.asks(shop)
    assert lookup.of_merchant(shop, {}, 10, None) == []


def test_a_suspended_merchant_is_not_paid_but_may_capture_cancel_and_refund(shop, payer):
    waits = world.asks(shop).id
    held, kept = (world.asks(shop, capture="manual").id for _ in range(2))
    paid = world.asks(shop).id
    for payment_id in (held, kept, paid):
        world.confirms(payer, payment_id)
    world.suspend(shop)
    before = world.purse(payer)
    with pytest.raises(MerchantSuspended):
        world.confirms(payer, waits)
    assert (world.purse(payer), world.events(waits)) == (before, ["payment.created"])
    assert world.captures(shop, held).status == "succeeded"
    assert world.cancels(shop, kept).status == "canceled"
    assert world.cancels(shop, waits).status == "canceled"
    assert world.refunds_of(shop, paid).status == "succeeded"
    world.sound()


def test_a_confirm_moves_the_money_and_names_the_payer(shop, payer):
    paid = world.confirms(payer, world.asks(shop).id)
    assert (paid.status, paid.version, paid.customer_id) == ("succeeded", 2, payer)
    assert (paid.amount_captured, paid.amount_refunded) == (20_00, 0)
    assert world.purse(payer) == (80_00, 0)
    assert world.purse(shop, "merchant") == (20_00, 0)
    assert world.raw(paid.id).paid_at is not None
    world.sound()


def test_an_owner_may_pay_the_own_merchant(shop):
    owner = world.customer("+4915198765432", has=50_00)
    world.confirms(owner, world.asks(shop).id)
    assert world.purse(owner) == (30_00, 0)
    assert world.purse(shop, "merchant") == (20_00, 0)
    world.sound()


@pytest.mark.parametrize("capture", ["automatic", "manual"])
def test_a_payment_beyond_the_wallet_changes_nothing(shop, payer, capture):
    asked = world.asks(shop, 100_01, capture=capture)
    with pytest.raises(InsufficientFunds) as refused:
        world.confirms(payer, asked.id)
    assert "10000 EUR" in refused.value.detail  # the payer owns the wallet, so may read it
    assert world.raw(asked.id).status == "pending"
    assert world.events(asked.id) == ["payment.created"]
    assert world.purse(payer) == (100_00, 0)
    world.sound()


def test_what_is_held_cannot_be_spent_again(shop, payer):
    world.confirms(payer, world.asks(shop, 60_00, capture="manual").id)
    with pytest.raises(InsufficientFunds) as refused:
        world.confirms(payer, world.asks(shop, 60_00).id)
    assert "4000 EUR" in refused.value.detail


def test_without_a_wallet_in_the_currency_nothing_is_available(shop, payer):
    asked = world.asks(shop, 5, currency="USD")
    with pytest.raises(InsufficientFunds) as refused:
        world.confirms(payer, asked.id)
    assert "0 USD" in refused.value.detail
    assert world.raw(asked.id).status == "pending"
    assert accounts.find(payer, "customer", "USD") is None


@pytest.mark.parametrize("capture", ["automatic", "manual"])
def test_a_frozen_wallet_pays_nothing(shop, payer, capture):
    asked = world.asks(shop, capture=capture)
    world.freeze(payer)
    with pytest.raises(WalletFrozen):
        world.confirms(payer, asked.id)
    assert world.raw(asked.id).status == "pending"
    assert world.purse(payer) == (100_00, 0)


def test_a_frozen_wallet_has_its_holds_taken_and_released_and_is_refunded(shop, payer):
    taken, released = (world.asks(shop, capture="manual").id for _ in range(2))
    for payment_id in (taken, released):
        world.confirms(payer, payment_id)
    world.freeze(payer)
    world.captures(shop, taken)
    world.cancels(shop, released)
    world.refunds_of(shop, taken, 5_00)
    assert world.purse(payer) == (85_00, 0)
    world.sound()


def test_a_payment_that_asks_one_customer_does_not_exist_for_others(shop, payer, stranger):
    asked = world.asks(shop, customer_phone=PHONE)
    for step in (
        lambda: lookup.get_for_customer(stranger, asked.id),
        lambda: lookup.by_code(stranger, asked.code),
        lambda: world.confirms(stranger, asked.id),
        lambda: world.declines(stranger, asked.id),
        lambda: world.did(lambda: payments.pay(asked.code, stranger, None)),
    ):
        with pytest.raises(NotFound):
            step()
    assert lookup.get_for_customer(payer, asked.id).id == asked.id
    assert world.confirms(payer, asked.id).status == "succeeded"
    with pytest.raises(NotFound):
        lookup.get_for_customer(stranger, asked.id)
    with pytest.raises(NotFound):
        world.confirms(stranger, asked.id)


def test_a_phone_that_is_asked_before_its_first_sign_in_pays_later(shop):
    asked = world.asks(shop, 5_00, customer_phone="+4915122222222")
    late = world.customer("+4915122222222", has=5_00)
    assert world.confirms(late, asked.id).customer_id == late


def test_whoever_holds_the_id_may_pay_once(shop, payer, stranger):
    asked = world.asks(shop)
    assert lookup.get_for_customer(stranger, asked.id).id == asked.id
    world.confirms(payer, asked.id)
    with pytest.raises(InvalidState):
        world.confirms(stranger, asked.id)


@pytest.mark.parametrize(
    "step",
    [
        lambda other, id: world.captures(other, id),
        lambda other, id: world.cancels(other, id),
        lambda other, id: world.refunds_of(other, id),
        lambda other, id: lookup.get(other, id),
    ],
    ids=["capture", "cancel", "refund", "get"],
)
def test_another_merchants_payment_does_not_exist(shop, payer, step):
    other = world.merchant("+4915133333333", "Other shop")
    held = world.asks(shop, capture="manual").id
    world.confirms(payer, held)
    row = world.raw(held)
    with pytest.raises(NotFound):
        step(other, held)
    assert world.raw(held) == row


def test_what_nobody_created_is_not_found(shop, payer):
    nothing = "pay_" + "0" * 32
    for step in (
        lambda: world.confirms(payer, nothing),
        lambda: world.declines(payer, nothing),
        lambda: world.captures(shop, nothing),
        lambda: world.cancels(shop, nothing),
        lambda: world.refunds_of(shop, nothing),
        lambda: world.did(lambda: payments.pay(codes.new(), payer, None)),
    ):
        with pytest.raises(NotFound):
            step()


def test_paying_by_code_only_what_was_seen(shop, payer):
    asked = world.asks(shop)
    with pytest.raises(AmountChanged):
        world.did(lambda: payments.pay(asked.code, payer, 19_99))
    assert world.raw(asked.id).status == "pending"
    paid = world.did(lambda: payments.pay(asked.code, payer, 20_00))
    assert (paid.id, paid.status) == (asked.id, "succeeded")


def test_an_authorization_may_be_captured_for_seven_days(shop, payer):
    held = world.confirms(payer, world.asks(shop, capture="manual").id)
    assert held.capture_before - held.created_at >= timedelta(days=7)
    assert held.capture_before - db.now() <= timedelta(days=7)
    assert world.hold(held.id).expires_at == held.capture_before
    assert world.purse(payer) == (100_00, 20_00)
    assert world.purse(shop, "merchant") == (0, 0)


def test_a_capture_of_a_part_releases_the_rest(shop, payer):
    held = world.confirms(payer, world.asks(shop, capture="manual").id)
    taken = world.captures(shop, held.id, 7_00)
    assert (taken.status, taken.amount, taken.amount_captured) == ("succeeded", 20_00, 7_00)
    assert world.purse(payer) == (93_00, 0)
    assert world.purse(shop, "merchant") == (7_00, 0)
    with pytest.raises(InvalidState):
        world.captures(shop, held.id, 1)
    world.sound()


def test_no_more_is_captured_than_was_authorized(shop, payer):
    held = world.confirms(payer, world.asks(shop, capture="manual").id)
    with pytest.raises(AmountExceedsAuthorized) as refused:
        world.captures(shop, held.id, 20_01)
    assert "2000 EUR" in refused.value.detail
    assert world.raw(held.id).status == "authorized"
    waits = world.asks(shop, capture="manual")
    with pytest.raises(InvalidState):  # whatever the amount, it is not authorized
        world.captures(shop, waits.id, 20_01)


class TestWithAFee:
    """2.5 % and 0.30."""

    @pytest.fixture
    def app(self, make_app):
        """The service with that fee."""
        return make_app(FEE_BPS="250", FEE_FIXED_MINOR="30")

    def test_the_fee_is_taken_from_what_the_merchant_gets(self, shop, payer):
        asked = world.asks(shop)
        assert asked.fee == 0
        paid = world.confirms(payer, asked.id)
        assert paid.fee == 80
        assert world.purse(payer) == (80_00, 0)
        assert world.purse(shop, "merchant") == (19_20, 0)
        assert world.fees_taken() == 80
        world.sound()

    def test_the_fee_is_on_what_is_captured(self, shop, payer):
        held = world.confirms(payer, world.asks(shop, capture="manual").id)
        assert held.fee == 0
        assert world.captures(shop, held.id, 7_00).fee == 48  # 17.5 is even at 18, and 30
        assert world.fees_taken() == 48
        world.sound()

    def test_a_payment_below_the_fixed_part_is_all_fee(self, shop, payer):
        paid = world.confirms(payer, world.asks(shop, 20).id)
        assert paid.fee == 20
        assert (world.purse(shop, "merchant"), world.fees_taken()) == ((0, 0), 20)
        world.sound()

    def test_the_terms_are_those_of_the_creation(self, shop, payer, make_app):
        held = world.confirms(payer, world.asks(shop, capture="manual").id)
        asked = world.asks(shop)
        with make_app(FEE_BPS="9999", FEE_FIXED_MINOR="1").app_context():
            assert world.captures(shop, held.id).fee == 80
            assert world.confirms(payer, asked.id).fee == 80
        world.sound()
