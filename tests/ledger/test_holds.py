"""Holds: set aside, captured in whole or part, with splits, released, expired."""

from datetime import UTC, datetime
from functools import partial

import pytest

from payments.db import unit_of_work
from payments.errors import (
    InsufficientFunds,
    InvalidState,
    MerchantBalanceInsufficient,
    NotFound,
    PaymentsError,
    WalletFrozen,
)
from payments.ledger import accounts, holds
from tests.ledger import world

pytestmark = pytest.mark.usefixtures("app_context")

LATER = datetime(2030, 1, 1, tzinfo=UTC)


def place(account: str, amount: int, *, reveal: bool = False) -> str:
    """A hold for `x_1`, as one unit."""
    return world.did(lambda: holds.place(account, amount, "x_1", LATER, reveal=reveal))


def capture(hold: str, lines: dict[str, int]) -> str:
    """Capture it, as one unit; gives the entry's id."""
    return world.did(lambda: holds.capture(hold, "moved", lines)).entry_id


def test_a_hold_sets_aside_and_leaves_the_balance() -> None:
    payer = world.wallet("cus_1", 50_00)
    with unit_of_work() as unit:
        hold_id = holds.place(payer, 30_00, "x_1", LATER)
        made = unit.now
    row = world.account(payer)
    assert (row.balance, row.held, row.available) == (50_00, 30_00, 20_00)
    hold = holds.get(hold_id)
    assert hold is not None
    assert hold._asdict() == {
        "id": hold_id,
        "account_id": payer,
        "subject_id": "x_1",
        "amount": 30_00,
        "captured": 0,
        "status": "held",
        "version": 1,
        "created_at": made,
        "expires_at": LATER,
        "ended_at": None,
    }
    assert holds.get("hld_none") is None
    world.sound()


def test_what_is_held_is_not_spent_and_not_held_again() -> None:
    payer, merchant = world.wallet("cus_1", 50_00), world.shop()
    place(payer, 30_00)
    with pytest.raises(InsufficientFunds, match="has 2000 EUR.* needs 2001"):
        world.moves({payer: -20_01, merchant: 20_01}, reveal=True)
    with pytest.raises(InsufficientFunds, match="has 2000 EUR.* needs 2001"):
        place(payer, 20_01, reveal=True)
    with pytest.raises(InsufficientFunds) as hidden:
        place(payer, 20_01)
    assert "2000" not in str(hidden.value)
    place(payer, 15_00)
    world.moves({payer: -5_00, merchant: 5_00})
    assert world.account(payer).available == 0
    world.sound()


def test_a_capture_takes_a_part_and_gives_the_rest_free() -> None:
    payer, merchant = world.wallet("cus_1", 50_00), world.shop()
    hold_id = place(payer, 30_00)
    with unit_of_work() as unit:
        posted = holds.capture(hold_id, "moved", {payer: -12_00, merchant: 12_00})
        ended = unit.now
    assert posted.created_at == ended
    assert world.purse(payer) == (38_00, 0)
    hold = holds.get(hold_id)
    assert hold is not None
    assert (hold.status, hold.captured, hold.version) == ("captured", 12_00, 2)
    assert hold.ended_at == ended
    world.sound()


def test_a_capture_may_be_split() -> None:
    payer, driver = world.wallet("cus_1", 50_00), world.wallet("cus_2")
    platform, fees = world.shop(hot=True), world.fees()
    capture(place(payer, 50_00), {payer: -50_00, driver: 40_00, platform: 9_00, fees: 1_00})
    assert [world.balance(each) for each in (payer, driver, platform, fees)] == [
        0,
        40_00,
        9_00,
        1_00,
    ]
    world.sound()


@pytest.mark.parametrize("taken", [0, 50_00 + 1, -1])
def test_a_capture_takes_something_and_no_more_than_is_held(taken: int) -> None:
    payer, merchant = world.wallet("cus_1", 90_00), world.shop("mer_1", 1)
    hold_id = place(payer, 50_00)
    with pytest.raises(ValueError, match="no more than it holds"):
        capture(hold_id, {payer: -taken, merchant: taken})
    assert world.purse(payer) == (90_00, 50_00)
    world.sound()


def test_a_freeze_stops_new_holds_and_not_the_end_of_old_ones() -> None:
    payer, merchant = world.wallet("cus_1", 50_00), world.shop()
    first, second, third = (place(payer, 10_00) for _ in range(3))
    world.did(lambda: accounts.freeze(payer))
    with pytest.raises(WalletFrozen):
        place(payer, 1)
    capture(first, {payer: -10_00, merchant: 10_00})
    capture(second, {payer: -1_00, merchant: 1_00})
    world.did(lambda: holds.release(third))
    assert world.purse(payer) == (39_00, 0)
    world.sound()


@pytest.mark.parametrize("status", ["released", "expired"])
def test_a_release_gives_all_of_it_back(status: str) -> None:
    payer = world.wallet("cus_1", 50_00)
    hold_id = place(payer, 30_00)
    with unit_of_work() as unit:
        holds.release(hold_id, status=status)
        ended = unit.now
    hold = holds.get(hold_id)
    assert hold is not None
    assert (hold.status, hold.captured, hold.ended_at) == (status, 0, ended)
    assert world.purse(payer) == (50_00, 0)
    world.sound()


def test_a_hold_ends_once() -> None:
    payer, merchant = world.wallet("cus_1", 50_00), world.shop()
    captured, released = place(payer, 10_00), place(payer, 10_00)
    capture(captured, {payer: -10_00, merchant: 10_00})
    world.did(lambda: holds.release(released))
    for hold_id, status in ((captured, "captured"), (released, "released")):
        with pytest.raises(InvalidState, match=status):
            capture(hold_id, {payer: -1, merchant: 1})
        with pytest.raises(InvalidState, match=status):
            world.did(partial(holds.release, hold_id))
    assert world.purse(payer) == (40_00, 0)
    world.sound()


def test_what_is_not_there_can_not_be_held_captured_or_released() -> None:
    merchant = world.shop()
    with pytest.raises(NotFound):
        place("wal_none", 1)
    with pytest.raises(NotFound):
        capture("hld_none", {merchant: 1})
    with pytest.raises(NotFound):
        world.did(lambda: holds.release("hld_none"))


@pytest.mark.parametrize("amount", [0, -5])
def test_a_hold_is_on_something(amount: int) -> None:
    payer = world.wallet("cus_1", 50_00)
    with pytest.raises(ValueError, match="positive"):
        place(payer, amount)


def test_a_capture_that_is_refused_and_caught_leaves_the_hold_as_it_was() -> None:
    payer, poor = world.wallet("cus_1", 50_00), world.shop()
    merchant = world.shop("mer_2")
    hold_id = place(payer, 30_00)

    def work() -> None:
        lines = {payer: -30_00, poor: -1, merchant: 30_01}
        with pytest.raises(MerchantBalanceInsufficient):
            holds.capture(hold_id, "moved", lines)
        with pytest.raises(PaymentsError):
            holds.place(payer, 20_01, "x_2", None)

    world.did(work)
    hold = holds.get(hold_id)
    assert hold is not None
    assert hold.status == "held"
    assert world.purse(payer) == (50_00, 30_00)
    world.sound()


def test_a_hold_on_a_hot_merchant_finds_what_lies_beside_it() -> None:
    payer, merchant = world.wallet("cus_1"), world.shop("mer_1", 40, hot=True)
    world.shop("mer_1", 10)
    hold_id = place(merchant, 50)
    with pytest.raises(MerchantBalanceInsufficient):
        place(merchant, 1)
    assert world.purse(merchant) == (50, 50)
    world.shop("mer_1", 7)
    capture(hold_id, {merchant: -20, payer: 20})
    assert world.purse(merchant) == (37, 0)
    world.moves({merchant: -37, payer: 37})
    world.sound()


def test_a_hold_on_an_account_without_a_floor_is_used_up_too() -> None:
    payer, outside = world.wallet("cus_1"), world.outside()
    hold_id = place(outside, 50)
    capture(hold_id, {outside: -20, payer: 20})
    assert (world.purse(outside), world.purse(payer)) == ((-20, 0), (20, 0))
    world.sound()
