"""Posting: what moves, what is refused, and where a credit goes."""

import threading

import pytest
from flask import Flask

from payments import db
from payments.db import Sql
from payments.errors import (
    InsufficientFunds,
    InvalidState,
    MerchantBalanceInsufficient,
    NotFound,
    WalletFrozen,
)
from payments.ledger import accounts, folding, holds, invariants, posting, statements

pytestmark = pytest.mark.usefixtures("app_context")

SIDE = Sql("SELECT count(*) FROM unfolded_postings WHERE account_id = :id")


def wallet(owner: str, funds: int = 0) -> str:
    """A customer's wallet in EUR with funds from outside."""

    def work() -> str:
        account = accounts.open_account(owner, "customer", "EUR")
        if funds:
            outside = accounts.ensure_system("external:test", "EUR")
            posting.post("moved", f"x_{owner}", {outside: -funds, account: funds})
        return account

    return db.in_unit(work)


def shop(owner: str = "mer_1", *, hot: bool = False) -> str:
    """A merchant's account in EUR."""

    def work() -> str:
        account = accounts.open_account(owner, "merchant", "EUR")
        if hot:
            accounts.mark_hot(account, True)
        return account

    return db.in_unit(work)


def move(lines: dict[str, int], kind: str = "moved", *, reveal: bool = False) -> posting.Posted:
    """Post in a unit of its own."""
    return db.in_unit(lambda: posting.post(kind, "x_1", lines, reveal=reveal))


def balance(account: str) -> int:
    """The true balance."""
    found = accounts.get(account)
    assert found is not None
    return int(found.balance)


def test_a_payment_moves_money_and_the_fee() -> None:
    payer, merchant = wallet("cus_1", 50_00), shop()
    fees = db.in_unit(lambda: accounts.ensure_system("fees", "EUR"))
    move({payer: -20_00, merchant: 19_50, fees: 50})
    assert (balance(payer), balance(merchant), balance(fees)) == (30_00, 19_50, 50)
    assert invariants.check() == []


def test_what_is_not_there_is_not_paid_and_nothing_is_left_behind() -> None:
    payer, merchant = wallet("cus_1", 10_00), shop()
    with pytest.raises(InsufficientFunds, match="1000 EUR"):
        move({payer: -10_01, merchant: 10_01}, reveal=True)
    with pytest.raises(InsufficientFunds) as hidden:
        move({payer: -10_01, merchant: 10_01})
    assert "1000" not in str(hidden.value)
    assert balance(payer) == 10_00
    assert [row.amount for row in statements.lines(payer, 10)] == [10_00]
    assert invariants.check() == []


@pytest.mark.parametrize("lines", [{}, {"a": 0, "b": 0}, {"a": 5}, {"a": 5, "b": -4}])
def test_lines_that_are_no_entry_are_refused(lines: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="sum to 0"):
        move(lines)


def test_an_unknown_account_and_two_currencies_are_refused() -> None:
    payer = wallet("cus_1", 10_00)
    dollars = db.in_unit(lambda: accounts.open_account("cus_2", "customer", "USD"))
    for other in ("wal_none", dollars):
        with pytest.raises(Exception, match="entry"):
            move({payer: -1, other: 1})
    assert balance(payer) == 10_00


def test_a_frozen_wallet_receives_and_starts_no_debit() -> None:
    payer, merchant = wallet("cus_1", 10_00), shop()
    assert db.in_unit(lambda: accounts.freeze(payer)) is True
    assert db.in_unit(lambda: accounts.freeze(payer)) is False
    with pytest.raises(WalletFrozen):
        move({payer: -1, merchant: 1})
    wallet("cus_1", 5_00)
    assert balance(payer) == 15_00
    assert db.in_unit(lambda: accounts.unfreeze(payer)) is True
    assert db.in_unit(lambda: accounts.unfreeze(payer)) is False
    move({payer: -1, merchant: 1})
    with pytest.raises(NotFound):
        db.in_unit(lambda: accounts.freeze("wal_none"))


def test_a_hot_merchant_collects_aside_and_a_refund_finds_it_there(database_kind: str) -> None:
    payer, merchant = wallet("cus_1", 50_00), shop(hot=True)
    move({payer: -20_00, merchant: 20_00})
    move({payer: -10_00, merchant: 10_00})
    assert SIDE.scalar(id=merchant) == (2 if database_kind == "postgres" else 0)
    assert balance(merchant) == 30_00
    assert invariants.check() == []
    with pytest.raises(MerchantBalanceInsufficient):
        move({merchant: -30_01, payer: 30_01}, "moved")
    move({merchant: -25_00, payer: 25_00}, "moved")
    assert (balance(merchant), SIDE.scalar(id=merchant)) == (5_00, 0)
    assert invariants.check() == []


def test_folding_takes_what_lies_aside(database_kind: str) -> None:
    payer, merchant = wallet("cus_1", 50_00), shop(hot=True)
    move({payer: -20_00, merchant: 20_00})
    waiting = 2 if database_kind == "postgres" else 0  # the deposit's source collects as well
    assert folding.fold_all() == waiting
    assert folding.fold_all() == 0
    assert (balance(merchant), SIDE.scalar(id=merchant)) == (20_00, 0)
    move({payer: -1_00, merchant: 1_00})
    db.in_unit(lambda: accounts.mark_hot(merchant, False))
    assert SIDE.scalar(id=merchant) == 0
    assert invariants.check() == []
    with pytest.raises(NotFound):
        db.in_unit(lambda: accounts.mark_hot("acc_none", True))


def test_a_hold_is_captured_in_part_and_the_rest_released() -> None:
    payer, merchant = wallet("cus_1", 50_00), shop()
    hold = db.in_unit(lambda: holds.place(payer, 30_00, "x_1", None))
    held = accounts.get(payer)
    assert held is not None
    assert (held.balance, held.held, held.available) == (50_00, 30_00, 20_00)
    with pytest.raises(InsufficientFunds):
        move({payer: -20_01, merchant: 20_01})
    db.in_unit(lambda: accounts.freeze(payer))
    db.in_unit(lambda: holds.capture(hold, "moved", {payer: -12_00, merchant: 12_00}))
    after = accounts.get(payer)
    assert after is not None
    assert (after.balance, after.held) == (38_00, 0)
    with pytest.raises(InvalidState, match="captured"):
        db.in_unit(lambda: holds.release(hold))
    assert invariants.check() == []


def test_a_hold_needs_funds_and_ends_once() -> None:
    payer = wallet("cus_1", 10_00)
    with pytest.raises(InsufficientFunds, match="1000"):
        db.in_unit(lambda: holds.place(payer, 10_01, "x_1", None, reveal=True))
    hold = db.in_unit(lambda: holds.place(payer, 10_00, "x_1", None))
    db.in_unit(lambda: holds.release(hold, status="expired"))
    row = holds.get(hold)
    assert row is not None
    assert (row.status, balance(payer)) == ("expired", 10_00)
    merchant = shop()
    with pytest.raises(InvalidState):
        db.in_unit(lambda: holds.capture(hold, "moved", {payer: -1, merchant: 1}))
    other = db.in_unit(lambda: holds.place(payer, 5, "x_1", None))
    for lines in ({merchant: 1}, {payer: -6, merchant: 6}):
        with pytest.raises(ValueError, match="takes something"):
            db.in_unit(lambda lines=lines: holds.capture(other, "moved", lines))
    db.in_unit(lambda: holds.release(other))
    for missing in (
        lambda: holds.release("hld_none"),
        lambda: holds.capture("hld_none", "moved", {}),
        lambda: holds.place("wal_none", 1, "x_1", None),
    ):
        with pytest.raises(NotFound):
            db.in_unit(missing)
    db.in_unit(lambda: accounts.freeze(payer))
    with pytest.raises(WalletFrozen):
        db.in_unit(lambda: holds.place(payer, 1, "x_1", None))
    with pytest.raises(ValueError, match="positive"):
        db.in_unit(lambda: holds.place(payer, 0, "x_1", None))


def test_an_entry_is_reversed_once() -> None:
    payer, merchant = wallet("cus_1", 10_00), shop()
    entry = move({payer: -4_00, merchant: 4_00}).entry_id
    db.in_unit(lambda: posting.reverse(entry))
    assert (balance(payer), balance(merchant)) == (10_00, 0)
    with pytest.raises(InvalidState):
        db.in_unit(lambda: posting.reverse(entry))
    with pytest.raises(NotFound):
        db.in_unit(lambda: posting.reverse("ent_none"))
    assert invariants.check() == []


def test_a_statement_runs_its_balance_over_pages() -> None:
    payer, merchant = wallet("cus_1", 10_00), shop()
    for amount in (1_00, 2_00, 3_00):
        move({payer: -amount, merchant: amount})
    first = statements.lines(payer, 2)
    rest = statements.lines(payer, 5, (first[-1].created_at, first[-1].id))
    seen = [(row.amount, row.balance, row.counterparty) for row in first + rest]
    assert seen == [
        (-3_00, 4_00, "mer_1"),
        (-2_00, 7_00, "mer_1"),
        (-1_00, 9_00, "mer_1"),
        (10_00, 10_00, "system"),
    ]
    with db.snapshot():
        assert [row.balance for row in statements.stream(payer)] == [10_00, 9_00, 7_00, 4_00]
    moment = first[-1].created_at
    assert accounts.balance_at(payer, moment).balance == 7_00


def test_opposite_transfers_never_lock_each_other_out(app: Flask, database_kind: str) -> None:
    one, two = wallet("cus_1", 1_000), wallet("cus_2", 1_000)
    merchant = shop(hot=True)
    faults: list[BaseException] = []

    def run(lines: dict[str, int]) -> None:
        try:
            with app.app_context():
                for _ in range(25):
                    move(dict(lines), "moved")
        except BaseException as fault:
            faults.append(fault)

    work = [{one: -3, two: 3}, {two: -3, one: 3}, {one: -2, merchant: 2}, {two: -2, merchant: 2}]
    threads = [threading.Thread(target=run, args=(lines,)) for lines in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert (balance(one), balance(two), balance(merchant)) == (950, 950, 100)
    assert invariants.check() == []
