"""Repair rebuilds what is cached, from what is true, and never harms what is right."""

import json

import pytest
from flask import Flask

from payments import origin
from payments.db import Sql
from payments.ledger import folding, holds, repair
from payments.ledger.repair import Amounts
from tests.ledger import raw, world
from tests.ledger.load import busy

AUDIT = Sql("SELECT actor, action, subject_id, before_json, after_json FROM audit_log ORDER BY id")


def rebuilt(account: str) -> repair.Repaired | None:
    return world.did(lambda: repair.rebuild(account))


@pytest.mark.usefixtures("app_context")
def test_balance_and_held_are_made_of_postings_and_live_holds(database: str) -> None:
    wallet = world.wallet("cus_1", 100)
    world.did(lambda: holds.place(wallet, 30, "x_1", None))
    released = world.did(lambda: holds.place(wallet, 40, "x_2", None))
    world.did(lambda: holds.release(released))
    version = world.account(wallet).version
    raw.execute(database, f"UPDATE accounts SET balance = 999, held = 5 WHERE id = '{wallet}'")
    assert repair.count_wrong() == 1
    assert repair.wrong_accounts() == [wallet]
    found = rebuilt(wallet)
    assert found == repair.Repaired(
        wallet, "customer", "EUR", Amounts(999, 5), Amounts(100, 30), is_below_floor=False
    )
    assert world.purse(wallet) == (100, 30)
    assert world.account(wallet).version == version + 1
    assert repair.count_wrong() == 0
    world.sound()


@pytest.mark.usefixtures("app_context")
def test_what_lies_beside_is_not_taken_twice(database: str) -> None:
    shop = world.shop("mer_1", 100, hot=True)
    before = (world.stored(shop), world.beside(shop))
    raw.execute(database, f"UPDATE accounts SET balance = balance + 7 WHERE id = '{shop}'")
    found = rebuilt(shop)
    assert found is not None
    assert (found.before, found.after) == (Amounts(107, 0), Amounts(100, 0))
    assert (world.stored(shop), world.beside(shop)) == before
    world.sound()


@pytest.mark.usefixtures("app_context")
def test_what_is_right_is_left_alone() -> None:
    wallet = world.wallet("cus_1", 100)
    before = world.account(wallet)
    assert rebuilt(wallet) is None
    assert rebuilt("wal_none") is None
    assert world.account(wallet) == before
    assert AUDIT.all() == []


@pytest.mark.usefixtures("app_context")
def test_an_account_that_is_left_below_its_floor_is_told(database: str) -> None:
    wallet = world.wallet("cus_1", 100)
    world.did(lambda: holds.place(wallet, 30, "x_1", None))
    raw.execute(
        database,
        f"UPDATE accounts SET balance = 500 WHERE id = '{wallet}'",
        "UPDATE holds SET amount = 130",
    )
    found = rebuilt(wallet)
    assert found is not None
    assert (found.after, found.is_below_floor) == (Amounts(100, 130), True)


@pytest.mark.usefixtures("app_context")
def test_an_account_without_a_floor_is_never_below_it(database: str) -> None:
    world.wallet("cus_1", 100)
    outside = world.outside()
    raw.execute(database, f"UPDATE accounts SET balance = balance + 5 WHERE id = '{outside}'")
    found = rebuilt(outside)
    assert found is not None
    assert (found.after.balance, found.is_below_floor) == (-100, False)


@pytest.mark.usefixtures("app_context")
def test_each_repair_stands_in_the_audit_trail(database: str) -> None:
    wallet = world.wallet("cus_1", 100)
    raw.execute(database, f"UPDATE accounts SET balance = 90 WHERE id = '{wallet}'")
    with origin.acting("script:reconcile"):
        rebuilt(wallet)
    (line,) = AUDIT.all()
    assert (line.actor, line.action) == ("script:reconcile", "ledger.rebuild_balance")
    assert line.subject_id == wallet
    assert json.loads(line.before_json) == {"balance": 90, "held": 0}
    assert json.loads(line.after_json) == {"balance": 100, "held": 0}


@pytest.mark.usefixtures("app_context")
def test_wrong_accounts_come_in_order_page_by_page(database: str) -> None:
    wallets = sorted(world.wallet(f"cus_{number}", 100) for number in range(5))
    raw.execute(
        database,
        "UPDATE accounts SET balance = 90 WHERE kind = 'customer'",
        "UPDATE accounts SET held = 9 WHERE kind = 'customer'",
    )
    assert repair.wrong_accounts(limit=2) == wallets[:2]
    assert repair.wrong_accounts(wallets[1], limit=2) == wallets[2:4]
    assert repair.wrong_accounts(wallets[4]) == []


def test_under_load_a_right_balance_is_never_changed(postgres_app: Flask) -> None:
    """Credits beside the row and in it, folds, debits, holds: all at once, on the same accounts."""
    wallet, shop = world.wallet("cus_1", 1_000), world.shop("mer_1", 1_000, hot=True)

    def captures() -> None:
        hold = holds.place(wallet, 2, "x_1", None)
        holds.capture(hold, "moved", {wallet: -1, shop: 1})

    works = (
        lambda: world.posting.post("moved", "x_1", {wallet: -2, shop: 2}),
        lambda: world.posting.post("moved", "x_1", {wallet: -1, shop: 1}),
        lambda: world.posting.post("moved", "x_1", {shop: -3, wallet: 3}),
        lambda: folding.fold(shop),
        captures,
    )
    with busy(postgres_app, *works):
        for _ in range(150):
            assert rebuilt(wallet) is None
            assert rebuilt(shop) is None
    world.sound()


def test_under_load_a_wrong_balance_is_made_right(postgres: str, postgres_app: Flask) -> None:
    wallet, shop = world.wallet("cus_1", 1_000), world.shop("mer_1", 1_000, hot=True)
    works = (
        lambda: world.posting.post("moved", "x_1", {wallet: -2, shop: 2}),
        lambda: world.posting.post("moved", "x_1", {shop: -2, wallet: 2}),
        lambda: folding.fold(shop),
    )
    with busy(postgres_app, *works):
        for _ in range(10):
            for account in (wallet, shop):
                more = f"UPDATE accounts SET balance = balance + 500 WHERE id = '{account}'"
                raw.execute(postgres, more)
                found = rebuilt(account)
                assert found is not None
                assert found.before.balance - found.after.balance == 500
    world.sound()
    assert world.balance(wallet) + world.balance(shop) == 2_000
