"""Two or three units at once on Postgres, step by step: who waits, and what each then sees."""

from functools import partial

import pytest

from payments.errors import (
    InsufficientFunds,
    InvalidState,
    MerchantBalanceInsufficient,
    WalletFrozen,
)
from payments.ledger import accounts, folding, holds, posting
from tests.ledger import world
from tests.ledger.sessions import Open, in_turn

pytestmark = pytest.mark.usefixtures("postgres_app")


def post(lines: dict[str, int]) -> partial[posting.Posted]:
    """A step that moves money."""
    return partial(posting.post, "moved", "x_1", lines)


def test_opposite_transfers_wait_in_line_and_not_for_each_other(session: Open) -> None:
    one, two = sorted([world.wallet("cus_1", 100), world.wallet("cus_2", 100)])
    holder, there, back = session(), session(), session()
    holder.does(post({two: -1, one: 1}))
    back.starts(
        post({two: -10, one: 10})
    )  # in the order of its lines it would wait for `two` first
    there.starts(post({one: -30, two: 30}))
    holder.commits()
    # Who of the two comes first is the database's affair; that one can end, and then the other.
    for waiting in in_turn(back, there):
        waiting.ends()
        waiting.commits()
    assert (world.balance(one), world.balance(two)) == (81, 119)
    world.sound()


def test_a_transfer_holds_the_first_account_while_it_waits_for_the_second(session: Open) -> None:
    one, two = sorted([world.wallet("cus_1", 100), world.wallet("cus_2", 100)])
    holder, back, there = session(), session(), session()
    holder.does(partial(accounts.freeze, two))
    # In the order of its lines this one would get `two` first and then want what the other has.
    back.starts(post({two: -10, one: 10}))
    there.starts(post({one: -30, two: 30}))
    holder.rolls_back()
    back.ends()
    back.commits()
    there.ends()
    there.commits()
    assert (world.balance(one), world.balance(two)) == (80, 120)


@pytest.mark.parametrize("hot", [False, True])
def test_a_payment_and_a_refund_between_the_same_two(session: Open, hot: bool) -> None:
    payer, merchant = world.wallet("cus_1", 100), world.shop("mer_1", 50, hot=hot)
    holder, refund, payment = session(), session(), session()
    holder.does(partial(accounts.mark_hot, merchant, hot))  # holds the merchant's row
    refund.starts(post({merchant: -20, payer: 20}))  # has the customer's, though that is credited
    payment.starts(post({payer: -30, merchant: 30}))
    holder.commits()
    refund.ends()
    refund.commits()
    payment.ends()
    payment.commits()
    assert (world.balance(payer), world.balance(merchant)) == (90, 60)
    world.sound()


def test_nobody_waits_to_pay_a_hot_merchant(session: Open) -> None:
    merchant = world.shop("mer_1", 50, hot=True)
    people = [world.wallet(f"cus_{number}", 10) for number in range(3)]
    fees, outside = world.fees(), world.outside()
    refund, fold, *payments = session(), session(), session(), session()
    refund.does(post({merchant: -10, people[2]: 10}))
    fold.does(partial(folding.fold, outside))
    for payer, payment in zip(people, payments, strict=False):
        payment.does(post({payer: -10, merchant: 8, fees: 1, outside: 1}))
    for each in (*payments, fold, refund):
        each.commits()
    assert world.balance(merchant) == 56
    assert world.balance(fees) == 2
    world.sound()


def test_a_debit_waits_for_a_fold_and_finds_what_it_took(session: Open) -> None:
    payer, merchant = world.wallet("cus_1"), world.shop("mer_1", 50, hot=True)
    fold, refund = session(), session()
    fold.does(partial(folding.fold, merchant))
    refund.starts(post({merchant: -50, payer: 50}))
    fold.commits()
    refund.ends()
    refund.commits()
    assert (world.balance(merchant), world.stored(merchant), world.beside(merchant)) == (0, 0, [])
    world.sound()


def test_a_debit_takes_what_a_fold_gave_back(session: Open) -> None:
    payer, merchant = world.wallet("cus_1"), world.shop("mer_1", 50, hot=True)
    fold, refund = session(), session()
    fold.does(partial(folding.fold, merchant))
    refund.starts(post({merchant: -50, payer: 50}))
    fold.rolls_back()
    refund.ends()
    refund.commits()
    assert world.purse(payer) == (50, 0)
    world.sound()


def test_a_fold_waits_for_a_debit_that_took_all(session: Open) -> None:
    payer, merchant = world.wallet("cus_1"), world.shop("mer_1", 50, hot=True)
    refund, fold = session(), session()
    refund.does(post({merchant: -40, payer: 40}))
    fold.starts(partial(folding.fold, merchant))
    refund.commits()
    fold.ends()
    fold.commits()
    assert (world.stored(merchant), world.beside(merchant)) == (10, [])
    world.sound()


def test_a_debit_takes_what_a_fold_is_waiting_for(session: Open) -> None:
    """The fold has no side row yet, else each would have what the other waits for."""
    payer, merchant = world.wallet("cus_1"), world.shop("mer_1", 50, hot=True)
    world.did(partial(folding.fold, merchant))
    world.shop("mer_1", 30)
    refund, fold = session(), session()
    refund.does(post({merchant: -10, payer: 10}))  # of the row, so what lies beside it stays there
    fold.starts(partial(folding.fold, merchant))
    refund.does(post({merchant: -70, payer: 70}))
    refund.commits()
    fold.ends()
    fold.commits()
    assert (world.stored(merchant), world.beside(merchant)) == (0, [])
    world.sound()


@pytest.mark.parametrize("first_commits", [True, False])
def test_two_folds_take_a_side_row_once(session: Open, first_commits: bool) -> None:
    merchant = world.shop("mer_1", 50, hot=True)
    first, second = session(), session()
    first.does(partial(folding.fold, merchant))
    second.starts(partial(folding.fold, merchant))
    if first_commits:
        first.commits()
    else:
        first.rolls_back()
    second.ends()
    second.commits()
    assert (world.stored(merchant), world.beside(merchant)) == (50, [])
    world.sound()


def test_a_debit_finds_the_credit_that_came_while_it_waited(session: Open) -> None:
    """It has its lock only after that commit, so what it saw before must not be what counts."""
    payer, merchant = world.wallet("cus_1", 50), world.shop("mer_1", 10, hot=True)
    holder, refund, payment = session(), session(), session()
    holder.does(partial(folding.fold, merchant))
    refund.starts(post({merchant: -60, payer: 60}))
    # The refund has the payer's row, so this comes from another one.
    payment.does(post({world.wallet("cus_2", 50): -50, merchant: 50}))
    payment.commits()
    holder.commits()
    refund.ends()
    refund.commits()
    assert (world.balance(merchant), world.balance(payer)) == (0, 110)
    world.sound()


def test_a_credit_under_way_counts_once_it_is_committed_and_not_before(session: Open) -> None:
    payer, other = world.wallet("cus_1"), world.wallet("cus_2", 70)
    merchant = world.shop("mer_1", hot=True)
    payment, refund = session(), session()
    payment.does(post({other: -70, merchant: 70}))
    with pytest.raises(MerchantBalanceInsufficient):
        refund.does(post({merchant: -1, payer: 1}))
    payment.commits()
    refund.does(post({merchant: -70, payer: 70}))
    refund.commits()
    assert (world.balance(merchant), world.balance(payer)) == (0, 70)
    world.sound()


def test_a_debit_waits_for_a_credit_to_the_row(session: Open) -> None:
    """What was there when it began is short; what is there when it has the lock is not."""
    payer, merchant = world.wallet("cus_1"), world.shop("mer_1")
    credit, debit = session(), session()
    credit.does(post({world.outside(): -70, payer: 70}))
    debit.starts(post({payer: -70, merchant: 70}))
    credit.commits()
    debit.ends()
    debit.commits()
    assert (world.balance(payer), world.balance(merchant)) == (0, 70)


def test_two_debits_spend_once(session: Open) -> None:
    payer, merchant = world.wallet("cus_1", 70), world.shop("mer_1")
    first, second = session(), session()
    first.does(post({payer: -70, merchant: 70}))
    second.starts(post({payer: -1, merchant: 1}))
    first.commits()
    with pytest.raises(InsufficientFunds):
        second.ends()
    second.commits()  # a refusal wrote nothing: even this keeps the books
    assert (world.balance(payer), world.balance(merchant)) == (0, 70)
    world.sound()


@pytest.mark.parametrize("on", [True, False])
def test_a_credit_while_its_place_is_switched(session: Open, on: bool) -> None:
    payer, other = world.wallet("cus_1", 70), world.wallet("cus_2")
    merchant = world.shop("mer_1", 5, hot=not on)
    credit, switch = session(), session()
    credit.does(post({payer: -70, merchant: 70}))
    if on:  # the credit is in the row, and has its lock
        switch.starts(partial(accounts.mark_hot, merchant, True))
        credit.commits()
        switch.ends()
        switch.commits()
    else:  # the credit lies aside, unseen; the account is folded and collects no more
        switch.does(partial(accounts.mark_hot, merchant, False))
        switch.commits()
        credit.commits()
    assert world.beside(merchant) == ([] if on else [70])
    assert world.balance(merchant) == 75
    world.sound()
    world.moves({merchant: -75, other: 75})  # and all of it can be spent
    assert (world.balance(merchant), world.beside(merchant)) == (0, [])
    world.sound()


def test_a_credit_that_begins_before_the_switch_ends(session: Open) -> None:
    """It decides by what is committed, so it waits for nobody and lies where it lay before."""
    payer = world.wallet("cus_1", 70)
    merchant = world.shop("mer_1", hot=True)
    switch, credit = session(), session()
    switch.does(partial(accounts.mark_hot, merchant, False))
    credit.does(post({payer: -70, merchant: 70}))
    credit.commits()
    switch.commits()
    assert world.beside(merchant) == [70]
    assert folding.fold_all() == 2  # where the wallet's money came from, and this
    assert (world.stored(merchant), world.beside(merchant)) == (70, [])
    world.sound()


def test_a_debit_waits_for_a_freeze_and_is_refused(session: Open) -> None:
    payer, merchant = world.wallet("cus_1", 70), world.shop("mer_1")
    freeze, debit, hold = session(), session(), session()
    freeze.does(partial(accounts.freeze, payer))
    debit.starts(post({payer: -1, merchant: 1}))
    hold.starts(partial(holds.place, payer, 1, "x_2", None))
    freeze.commits()
    for refused in (debit, hold):
        with pytest.raises(WalletFrozen):
            refused.ends()
        refused.rolls_back()
    assert world.purse(payer) == (70, 0)


def test_two_holds_set_aside_once(session: Open) -> None:
    payer = world.wallet("cus_1", 70)
    first, second = session(), session()
    first.does(partial(holds.place, payer, 50, "x_1", None))
    second.starts(partial(holds.place, payer, 21, "x_2", None))
    first.commits()
    with pytest.raises(InsufficientFunds):
        second.ends()
    second.commits()
    assert world.purse(payer) == (70, 50)
    world.sound()


def test_a_hold_on_a_hot_account_finds_what_lies_beside_it(session: Open) -> None:
    merchant = world.shop("mer_1", 50, hot=True)
    fold, hold = session(), session()
    fold.does(partial(folding.fold, merchant))
    hold.starts(partial(holds.place, merchant, 50, "x_1", None))
    fold.commits()
    hold.ends()
    hold.commits()
    assert world.purse(merchant) == (50, 50)
    world.sound()


@pytest.mark.parametrize("captures", [True, False])
def test_a_hold_ends_once(session: Open, captures: bool) -> None:
    payer, merchant = world.wallet("cus_1", 70), world.shop("mer_1")
    hold = world.did(lambda: holds.place(payer, 50, "x_1", None))
    take = partial(holds.capture, hold, "moved", {payer: -20, merchant: 20})
    give = partial(holds.release, hold)
    first, second = session(), session()
    first.does(take if captures else give)
    second.starts(give if captures else take)
    first.commits()
    with pytest.raises(InvalidState, match="captured" if captures else "released"):
        second.ends()
    second.commits()
    assert world.purse(payer) == ((50, 0) if captures else (70, 0))
    world.sound()


def test_an_account_is_opened_once(session: Open) -> None:
    first, second = session(), session()
    opened = first.does(partial(accounts.open_account, "cus_1", "customer", "EUR"))
    second.starts(partial(accounts.open_account, "cus_1", "customer", "EUR"))
    first.commits()
    assert second.ends() == opened
    second.commits()


def test_an_account_that_is_busy_holds_back_no_fold_but_its_own(
    session: Open, caplog: pytest.LogCaptureFixture
) -> None:
    busy, merchant = world.shop("mer_1", 50, hot=True), world.shop("mer_2", 60, hot=True)
    holder = session()
    holder.does(partial(folding.fold, busy))
    assert folding.fold_all() == 2  # the other one, and where the money came from
    assert "busy" in caplog.text
    holder.rolls_back()
    assert (world.beside(busy), world.beside(merchant)) == ([50], [])
    assert folding.fold_all() == 1
    assert world.beside(busy) == []
    world.sound()
