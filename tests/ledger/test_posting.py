"""Posting: what moves, what is refused, and where a credit goes."""

from functools import partial
from types import MappingProxyType

import pytest

from payments import origin
from payments.db import Sql, unit_of_work
from payments.errors import (
    InsufficientFunds,
    MerchantBalanceInsufficient,
    PaymentsError,
    WalletFrozen,
)
from payments.ledger import accounts, folding, posting
from tests.ledger import world

pytestmark = pytest.mark.usefixtures("app_context")

ENTRIES = Sql("SELECT * FROM entries ORDER BY id")
POSTINGS = Sql("SELECT account_id, amount, created_at FROM postings ORDER BY id")


def test_a_payment_moves_money_and_the_fee() -> None:
    payer, merchant, fees = world.wallet("cus_1", 50_00), world.shop(), world.fees()
    with origin.acting("cus_1", "rid_1"):
        posted = world.moves({payer: -20_00, merchant: 19_50, fees: 50}, "moved", "x_7")
    entry = ENTRIES.all()[-1]
    assert (entry.id, entry.kind, entry.subject_id) == (posted.entry_id, "moved", "x_7")
    assert (entry.caller, entry.request_id) == ("cus_1", "rid_1")
    lines = POSTINGS.all()[2:]
    assert {line.account_id: line.amount for line in lines} == {
        payer: -20_00,
        merchant: 19_50,
        fees: 50,
    }
    assert {entry.created_at, *(line.created_at for line in lines)} == {posted.created_at}
    assert [world.balance(each) for each in (payer, merchant, fees)] == [30_00, 19_50, 50]
    world.sound()


def test_an_entry_bears_the_units_time() -> None:
    payer, merchant = world.wallet("cus_1", 50_00), world.shop()
    with unit_of_work() as unit:
        posted = posting.post("moved", "x_1", {payer: -1, merchant: 1})
    assert posted.created_at == unit.now == ENTRIES.all()[-1].created_at


def test_lines_of_nothing_are_dropped() -> None:
    payer, merchant, fees = world.wallet("cus_1", 10), world.shop(), world.fees()
    world.moves(MappingProxyType({payer: -10, merchant: 10, fees: 0}))
    assert [line.account_id for line in POSTINGS.all()[2:]] == [payer, merchant]
    world.sound()


@pytest.mark.parametrize(
    "lines", [{}, {"a": 0, "b": 0}, {"a": 5}, {"a": 5, "b": 0}, {"a": 5, "b": -4}]
)
def test_lines_that_are_no_entry_are_refused(lines: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="sum to 0"):
        world.moves(lines)
    assert ENTRIES.all() == []


def test_an_unknown_account_is_refused() -> None:
    payer = world.wallet("cus_1", 10)
    for unknown in ("wal_none", "'; DROP TABLE accounts; --", 'a","b'):
        with pytest.raises(ValueError, match="known accounts"):
            world.moves({payer: -1, unknown: 1})
    assert world.purse(payer) == (10, 0)
    world.sound()


def test_each_currency_sums_to_nothing() -> None:
    euros, dollars = world.wallet("cus_1", 10), world.wallet("cus_1", 10, "USD")
    sink, till = world.shop("mer_1"), world.shop("mer_1", 0, "USD")
    for lines in (
        {euros: -5, dollars: 5},
        {euros: -5, sink: 4, dollars: -4, till: 5},
    ):
        with pytest.raises(ValueError, match="each currency"):
            world.moves(lines)
    world.moves({euros: -5, sink: 5, dollars: -4, till: 4})
    assert [world.balance(each) for each in (euros, sink, dollars, till)] == [5, 5, 6, 4]
    world.sound()


def test_what_is_not_there_is_not_paid_and_nothing_is_left_behind() -> None:
    payer, merchant = world.wallet("cus_1", 10_00), world.shop()
    with pytest.raises(InsufficientFunds, match="has 1000 EUR minor units.* needs 1001"):
        world.moves({payer: -10_01, merchant: 10_01}, reveal=True)
    with pytest.raises(InsufficientFunds) as hidden:
        world.moves({payer: -10_01, merchant: 10_01})
    assert "1000" not in str(hidden.value)
    assert len(ENTRIES.all()) == 1  # the one that brought the money
    world.moves({payer: -10_00, merchant: 10_00})
    assert world.purse(payer) == (0, 0)
    world.sound()


def test_a_refusal_that_is_caught_leaves_nothing_in_the_unit_either() -> None:
    """A room may catch it, write down that it failed, and commit."""
    payer, merchant, other = world.wallet("cus_1", 10), world.shop(), world.wallet("cus_2")

    def work() -> list[type]:
        refused: list[type] = []
        for lines in (
            {payer: -5, merchant: -1, other: 6},  # the payer is fine, the merchant is not
            {payer: -11, merchant: 11},
            {payer: -5, other: 5},
        ):
            try:
                posting.post("moved", "x_1", lines)
            except PaymentsError as refusal:
                refused.append(type(refusal))
        return refused

    assert world.did(work) == [MerchantBalanceInsufficient, InsufficientFunds]
    assert [world.balance(each) for each in (payer, merchant, other)] == [5, 0, 5]
    assert len(ENTRIES.all()) == 2
    world.sound()


def test_the_refusal_is_the_first_accounts_in_the_order_of_locks() -> None:
    payer, merchant, outside = world.wallet("cus_1", 1), world.shop(), world.outside()
    with pytest.raises(InsufficientFunds):
        world.moves({outside: 4, merchant: -2, payer: -2})
    with pytest.raises(MerchantBalanceInsufficient, match="does not cover"):
        world.moves({outside: 3, merchant: -2, payer: -1})


def test_a_floor_above_or_below_nothing_is_kept() -> None:
    agent = world.did(lambda: accounts.open_account("agt_1", "agent", "EUR", floor=-50))
    saver = world.did(lambda: accounts.open_account("cus_9", "customer", "EUR", floor=20))
    outside = world.outside()
    world.moves({agent: -50, outside: 50})
    with pytest.raises(InsufficientFunds, match="has 0 EUR"):
        world.moves({agent: -1, outside: 1}, reveal=True)
    world.moves({outside: -30, saver: 30})
    assert world.account(saver).available == 10
    with pytest.raises(InsufficientFunds, match="has 10 EUR"):
        world.moves({saver: -11, outside: 11}, reveal=True)
    world.sound()


def test_a_frozen_account_receives_and_starts_no_debit() -> None:
    payer, merchant = world.wallet("cus_1", 10_00), world.shop("mer_1", 5)
    for frozen in (payer, merchant):
        assert world.did(partial(accounts.freeze, frozen)) is True
    for lines in ({payer: -1, merchant: 1}, {payer: -99_00, merchant: 99_00}):
        with pytest.raises(WalletFrozen):
            world.moves(lines)
    with pytest.raises(WalletFrozen):
        world.moves({merchant: -1, payer: 1})
    world.wallet("cus_1", 5_00)
    world.shop("mer_1", 1)
    assert (world.balance(payer), world.balance(merchant)) == (15_00, 6)
    world.did(lambda: accounts.unfreeze(payer))
    world.moves({payer: -1, merchant: 1})
    world.sound()


def test_a_hot_merchant_collects_aside_and_a_refund_finds_it_there(database_kind: str) -> None:
    payer, merchant = world.wallet("cus_1", 50_00), world.shop("mer_1", 1_00)
    world.did(lambda: accounts.mark_hot(merchant, True))
    world.moves({payer: -20_00, merchant: 20_00})
    world.moves({payer: -10_00, merchant: 10_00})
    assert world.beside(merchant) == ([20_00, 10_00] if database_kind == "postgres" else [])
    assert world.purse(merchant) == (31_00, 0)
    with pytest.raises(MerchantBalanceInsufficient):
        world.moves({merchant: -31_01, payer: 31_01})
    world.sound()
    world.moves({merchant: -25_00, payer: 25_00})
    assert (world.balance(merchant), world.beside(merchant)) == (6_00, [])
    world.sound()


def test_accounts_without_a_floor_lie_aside_whichever_way(database_kind: str) -> None:
    payer, fees, outside = world.wallet("cus_1", 100), world.fees(), world.outside()
    world.moves({payer: -30, fees: 30})
    world.moves({fees: -50, payer: 50})  # no floor: nothing is checked
    if database_kind == "postgres":
        assert (world.beside(fees), world.stored(fees)) == ([30, -50], 0)
        assert (world.beside(outside), world.stored(outside)) == ([-100], 0)
    assert (world.balance(fees), world.balance(outside)) == (-20, -100)
    world.sound()
    folding.fold_all()
    assert (world.stored(fees), world.stored(outside)) == (-20, -100)
    world.sound()


def test_nothing_is_posted_outside_a_unit() -> None:
    payer, merchant = world.wallet("cus_1", 10), world.shop()
    with pytest.raises(RuntimeError, match="unit of work"):
        posting.post("moved", "x_1", {payer: -1, merchant: 1})
