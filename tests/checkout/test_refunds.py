"""Refunds: in part, whole, several, never more than was captured."""

import pytest

from payments.checkout import lookup, refunds
from payments.checkout.objects import refund_object
from payments.errors import (
    AmountExceedsRefundable,
    InvalidState,
    MerchantBalanceInsufficient,
    NotFound,
)
from tests.checkout import world


@pytest.fixture
def paid(shop, payer) -> str:
    """A payment of 20.00 that succeeded."""
    return world.confirms(payer, world.asks(shop).id).id


def test_a_refund_goes_back_to_the_payer_and_is_told(shop, payer, paid):
    row = world.refunds_of(shop, paid, 5_00, reason="Cold coffee", metadata={"cup": 2})
    shown = refund_object(row)
    assert shown == {
        "object": "refund",
        "id": row.id,
        "status": "succeeded",
        "version": 1,
        "payment": paid,
        "merchant": shop,
        "amount": 5_00,
        "currency": "EUR",
        "fee_returned": 0,
        "reason": "Cold coffee",
        "metadata": {"cup": 2},
        "created_at": shown["created_at"],
    }
    assert (world.events(row.id), world.told(row.id)) == (["refund.succeeded"], [shown])
    assert refund_object(refunds.get(shop, row.id)) == shown
    payment = lookup.get(shop, paid)
    assert (payment.status, payment.amount_refunded, payment.version) == ("succeeded", 5_00, 3)
    assert world.purse(payer) == (85_00, 0)
    assert world.purse(shop, "merchant") == (15_00, 0)
    world.sound()


def test_several_refunds_never_pass_what_was_captured(shop, payer, paid):
    world.refunds_of(shop, paid, 12_00)
    with pytest.raises(AmountExceedsRefundable) as refused:
        world.refunds_of(shop, paid, 8_01)
    assert "800 EUR" in refused.value.detail
    rest = world.refunds_of(shop, paid)  # without an amount: all that is left
    assert rest.amount == 8_00
    for amount in (None, 1):
        with pytest.raises(AmountExceedsRefundable):
            world.refunds_of(shop, paid, amount)
    assert world.purse(payer) == (100_00, 0)
    assert len(refunds.of_merchant(shop, paid, 10, None)) == 2
    world.sound()


def test_only_what_was_captured_is_refundable(shop, payer):
    held = world.confirms(payer, world.asks(shop, capture="manual").id)
    with pytest.raises(InvalidState):
        world.refunds_of(shop, held.id)
    world.captures(shop, held.id, 7_00)
    with pytest.raises(AmountExceedsRefundable):
        world.refunds_of(shop, held.id, 7_01)
    assert world.refunds_of(shop, held.id).amount == 7_00
    world.sound()


def test_a_refund_beyond_the_merchants_balance_is_not_queued(shop, payer, paid):
    world.refunds_of(shop, paid, 15_00)
    world.leaves(shop, 4_00)
    before = world.raw(paid)
    with pytest.raises(MerchantBalanceInsufficient):
        world.refunds_of(shop, paid, 5_00)
    assert world.raw(paid) == before
    assert world.purse(payer) == (95_00, 0)
    assert len(refunds.of_merchant(shop, paid, 10, None)) == 1
    assert world.refunds_of(shop, paid, 1_00).amount == 1_00
    world.sound()


def test_anothers_refund_does_not_exist(shop, payer, paid):
    made = world.refunds_of(shop, paid, 1)
    other = world.merchant("+4915133333333", "Other shop")
    with pytest.raises(NotFound):
        refunds.get(other, made.id)
    assert refunds.of_merchant(other, None, 10, None) == []
    assert refunds.of_merchant(other, paid, 10, None) == []


def test_refunds_are_listed_newest_first_by_payment_and_in_pages(shop, payer, paid):
    second = world.confirms(payer, world.asks(shop).id).id
    made = [world.refunds_of(shop, payment_id, 1).id for payment_id in (paid, second, paid, paid)]
    newest = list(reversed(made))
    assert [row.id for row in refunds.of_merchant(shop, None, 10, None)] == newest
    of_one = [newest[0], newest[1], newest[3]]
    first = refunds.of_merchant(shop, paid, 2, None)
    assert [row.id for row in first] == of_one[:2]
    after = (first[-1].created_at, first[-1].id)
    assert [row.id for row in refunds.of_merchant(shop, paid, 2, after)] == of_one[2:]
    assert [row.id for row in refunds.of_merchant(shop, None, 9, after)] == newest[2:]


class TestWithAFee:
    """2.5 % and 0.30: 0.80 of 20.00."""

    @pytest.fixture
    def app(self, make_app):
        """The service with that fee."""
        return make_app(FEE_BPS="250", FEE_FIXED_MINOR="30")

    def test_a_refund_returns_the_fees_share(self, shop, payer, paid):
        half = world.refunds_of(shop, paid, 10_00)
        assert half.fee_returned == 40
        assert world.purse(payer) == (90_00, 0)
        assert world.purse(shop, "merchant") == (9_60, 0)
        assert world.fees_taken() == 40
        world.sound()

    def test_many_small_refunds_return_what_one_would(self, shop, payer, paid):
        for _ in range(8):
            world.refunds_of(shop, paid, 2_47)
        last = world.refunds_of(shop, paid)
        assert last.amount == 24
        assert lookup.get(shop, paid).fee == 80  # what it was; the refunds say what came back
        assert (world.purse(payer), world.purse(shop, "merchant")) == ((100_00, 0), (0, 0))
        assert world.fees_taken() == 0
        world.sound()

    def test_a_refund_of_what_was_all_fee_needs_no_balance(self, shop, payer):
        tiny = world.confirms(payer, world.asks(shop, 20).id)
        assert world.refunds_of(shop, tiny.id).fee_returned == 20
        assert world.purse(payer) == (100_00, 0)
        world.sound()
