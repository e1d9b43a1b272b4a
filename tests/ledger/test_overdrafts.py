"""Entries that may take one account below its floor, and what is allowed afterwards."""

import pytest

from payments.db import Sql
from payments.errors import MerchantBalanceInsufficient, WalletFrozen
from payments.ledger import accounts, folding, holds, invariants, overdrafts
from tests.ledger import raw, world

NOTED = Sql("SELECT floor, overdraft FROM accounts WHERE id = :id")

pytestmark = pytest.mark.usefixtures("app_context")


def takes(shop: str, amount: int, limit: int) -> None:
    """A refund by an operator."""
    payer = world.wallet()
    world.did(
        lambda: overdrafts.post(
            "moved", "x_1", {payer: amount, shop: -amount}, account_id=shop, limit=limit
        )
    )


def noted(shop: str) -> tuple[int, int | None]:
    (row,) = NOTED.all(id=shop)
    return row.floor, row.overdraft


@pytest.mark.parametrize("hot", [False, True])
def test_down_to_the_limit_and_no_further(hot: bool) -> None:
    shop = world.shop(has=100, hot=hot)
    with pytest.raises(MerchantBalanceInsufficient):
        takes(shop, 151, 50)
    assert (world.balance(shop), noted(shop)) == (100, (0, None))
    takes(shop, 130, 50)
    assert (world.balance(shop), noted(shop)) == (-30, (0, 30))
    takes(shop, 20, 50)
    assert (world.balance(shop), noted(shop)) == (-50, (0, 50))
    with pytest.raises(MerchantBalanceInsufficient):
        takes(shop, 1, 50)
    world.sound()


def test_what_is_held_is_not_there_to_be_taken() -> None:
    shop = world.shop(has=100)
    world.did(lambda: holds.place(shop, 80, "x_2", None))
    takes(shop, 40, 20)
    assert (world.purse(shop), noted(shop)) == ((60, 80), (0, 20))
    with pytest.raises(MerchantBalanceInsufficient):
        takes(shop, 1, 20)
    world.sound()


def test_without_need_nothing_is_noted_and_a_later_one_forgets() -> None:
    shop = world.shop(has=100)
    takes(shop, 100, 50)
    assert noted(shop) == (0, None)
    takes(shop, 10, 50)
    assert noted(shop) == (0, 10)
    world.moves({world.outside(): -100, shop: 100})
    takes(shop, 10, 50)
    assert noted(shop) == (0, None)


@pytest.mark.parametrize("hot", [False, True])
def test_credits_repay_first(hot: bool) -> None:
    shop, payer = world.shop(has=10, hot=hot), world.wallet(has=100)
    takes(shop, 40, 50)
    world.moves({payer: -20, shop: 20})
    for amount in (1, 20):
        with pytest.raises(MerchantBalanceInsufficient):
            world.moves({shop: -amount, payer: amount})
    world.moves({payer: -20, shop: 20})
    world.moves({shop: -10, payer: 10})
    with pytest.raises(MerchantBalanceInsufficient):
        world.moves({shop: -1, payer: 1})
    folding.fold_all()
    world.sound()


def test_a_frozen_account_stays_frozen() -> None:
    shop = world.shop(has=100)
    world.did(lambda: accounts.freeze(shop))
    with pytest.raises(WalletFrozen):
        takes(shop, 1, 50)


def test_lower_than_an_operator_left_it_is_found(database: str) -> None:
    shop = world.shop(has=10)
    takes(shop, 40, 50)
    assert invariants.check() == []
    raw.execute(database, f"UPDATE accounts SET overdraft = 29 WHERE id = '{shop}'")
    assert [finding.invariant for finding in invariants.check()] == ["balance_is_not_below_floor"]
