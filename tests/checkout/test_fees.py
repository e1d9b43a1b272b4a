"""The fee's arithmetic, against exact fractions."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from payments.checkout import fees
from payments.checkout.fees import Terms
from payments.money import MAX_AMOUNT

AMOUNTS = st.one_of(st.integers(1, 10_000), st.integers(1, MAX_AMOUNT))
TERMS = st.builds(Terms, bps=st.integers(0, 10_000), fixed=st.one_of(st.integers(0, 50), AMOUNTS))


@given(AMOUNTS, TERMS)
def test_a_fee_is_the_exact_one_rounded_half_even_and_at_most_what_is_captured(captured, terms):
    exact = Fraction(captured * terms.bps, 10_000) + terms.fixed
    assert fees.on(captured, terms) == min(captured, round(exact))  # Python rounds half to even


@given(AMOUNTS, AMOUNTS, TERMS)
def test_a_part_never_costs_more_than_the_whole(one, other, terms):
    assert fees.on(min(one, other), terms) <= fees.on(max(one, other), terms)


def test_halves_go_to_the_even_neighbour():
    assert [fees.on(amount, Terms(5_000, 0)) for amount in (1, 3, 5, 7)] == [0, 2, 2, 4]
    assert fees.on(1, Terms(5_000, 1)) == 1  # 1.5 would round to 2: more than was captured
    assert fees.on(1_000, Terms(250, 30)) == 55


def test_the_terms_are_those_of_the_settings(make_app):
    with make_app(FEE_BPS="250", FEE_FIXED_MINOR="30").app_context():
        assert fees.current_terms() == Terms(250, 30)


@st.composite
def refunds(draw):
    """A captured amount, its fee, and what is refunded of it, one after the other."""
    captured = draw(AMOUNTS)
    fee = draw(st.integers(0, captured))
    parts, left = [], captured
    for _ in range(draw(st.integers(1, 8))):
        if left:
            parts.append(draw(st.integers(1, left)))
            left -= parts[-1]
    return captured, fee, parts


@given(refunds())
def test_each_refund_returns_the_exact_share_so_far_less_what_went_back_before(case):
    captured, fee, parts = case
    refunded = returned = 0
    for part in parts:
        refunded += part
        now = fees.returned(fee, captured, refunded)
        assert now == round(Fraction(fee * refunded, captured))
        # Never more of the fee than of the money: the merchant's side of a refund is a debit.
        assert 0 <= now - returned <= part
        returned = now
    if refunded == captured:
        assert returned == fee
