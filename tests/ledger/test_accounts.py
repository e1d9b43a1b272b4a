"""Accounts: opened once, read with their true balance, frozen, hot; folding."""

from datetime import timedelta
from functools import partial

import pytest

from payments.db import Row, Sql, unit_of_work
from payments.errors import NotFound
from payments.ledger import accounts, folding, holds, posting
from tests.ledger import world

pytestmark = pytest.mark.usefixtures("app_context")

ALL = Sql("SELECT id, owner_id, kind, rank, currency, floor, collects FROM accounts ORDER BY id")
COLLECTS = Sql("SELECT collects FROM accounts WHERE id = :id")


def test_an_account_is_opened_once_for_each_owner_kind_and_currency() -> None:
    opened = [world.wallet("cus_1"), world.wallet("cus_1", 0, "USD"), world.shop("mer_1")]
    again = [world.wallet("cus_1"), world.wallet("cus_1", 0, "USD"), world.shop("mer_1")]
    assert opened == again
    assert len(set(opened)) == 3
    assert [each[:4] for each in opened] == ["wal_", "wal_", "acc_"]
    assert [(row.kind, row.rank, row.floor, row.collects) for row in ALL.all()] == [
        ("merchant", 3, 0, False),
        ("customer", 1, 0, False),
        ("customer", 1, 0, False),
    ]


def test_a_floor_is_given_at_the_opening() -> None:
    first = world.did(lambda: accounts.open_account("agt_1", "agent", "EUR", floor=-500))
    again = world.did(lambda: accounts.open_account("agt_1", "agent", "EUR", floor=900))
    assert first == again
    assert (world.account(first).floor, world.account(first).available) == (-500, 500)


def test_system_accounts_have_names_and_no_floor() -> None:
    assert world.fees("JPY") == world.fees("JPY") == "acc_fees_JPY"
    taxi = world.did(lambda: accounts.ensure_system("external:taxi", "EUR"))
    assert taxi == accounts.system_id("external:taxi", "EUR") == "acc_external_taxi_EUR"
    row = world.account(taxi)
    assert (row.owner_id, row.kind, row.floor, row.available) == (
        "system",
        "external:taxi",
        None,
        0,
    )
    assert [(row.rank, row.collects) for row in ALL.all()] == [(5, True), (4, True)]
    with pytest.raises(KeyError):
        world.did(lambda: accounts.ensure_system("nowhere", "EUR"))


def test_accounts_are_found_by_id_by_owner_and_together() -> None:
    euros, dollars = world.wallet("cus_1", 5), world.wallet("cus_1", 6, "USD")
    world.wallet("cus_2", 7)
    assert accounts.find("cus_1", "customer", "USD") == accounts.get(dollars)
    assert [(row.id, row.balance) for row in accounts.of_owner("cus_1", "customer")] == [
        (euros, 5),
        (dollars, 6),
    ]
    assert accounts.get("wal_none") is None
    assert accounts.find("cus_1", "merchant", "EUR") is None
    assert accounts.of_owner("cus_1", "merchant") == []
    row = world.account(euros)
    assert (row.owner_id, row.kind, row.currency, row.held) == ("cus_1", "customer", "EUR", 0)
    assert (row.floor, row.frozen_at, row.version) == (0, None, 2)  # made, and credited
    assert row.created_at.utcoffset() == timedelta(0)


def test_every_read_counts_what_lies_beside_the_row() -> None:
    merchant = world.shop("mer_1", 58, hot=True)
    world.did(partial(holds.place, merchant, 3, "x_1", None))
    world.shop("mer_1", 7)
    reads = [
        accounts.get(merchant),
        accounts.find("mer_1", "merchant", "EUR"),
        accounts.of_owner("mer_1", "merchant")[0],
    ]
    assert [(row.balance, row.held, row.available) for row in reads if row] == [(65, 3, 62)] * 3


def test_balance_and_held_as_they_were() -> None:
    payer, merchant, outside = world.wallet("cus_1"), world.shop(hot=True), world.outside()
    moments = []
    for step in range(6):
        with unit_of_work() as unit:
            if step == 0:
                posting.post("moved", "x_1", {outside: -100, payer: 100})
            elif step == 1:
                hold = holds.place(payer, 60, "x_1", None)
            elif step == 2:
                other = holds.place(payer, 10, "x_1", None)
            elif step == 3:
                holds.capture(hold, "moved", {payer: -40, merchant: 40})
            elif step == 4:
                holds.release(other)
            else:
                posting.post("moved", "x_1", {payer: -5, merchant: 5})
            moments.append(unit.now)
    tick = timedelta(microseconds=1)
    seen = [accounts.balance_at(payer, at) for at in moments]
    assert [(row.balance, row.held) for row in seen] == [
        (100, 0),
        (100, 60),
        (100, 70),
        (60, 10),
        (60, 0),
        (55, 0),
    ]
    before = [accounts.balance_at(payer, at - tick) for at in moments]
    assert before == [accounts.balance_at(payer, moments[0] - tick), *seen[:-1]]
    assert before[0] == (0, 0)
    assert accounts.balance_at(merchant, moments[-1]) == (45, 0)
    assert accounts.balance_at("wal_none", moments[-1]) == (0, 0)


def test_freezing_is_done_once_and_undone_once() -> None:
    payer = world.wallet("cus_1", 10)
    changes = [accounts.freeze, accounts.freeze, accounts.unfreeze, accounts.unfreeze]
    assert [world.did(partial(change, payer)) for change in changes] == [True, False, True, False]
    assert world.account(payer).version == 4
    world.did(lambda: accounts.freeze(payer))
    assert world.account(payer).frozen_at is not None
    world.sound()


@pytest.mark.parametrize("missing", ["wal_none", "acc_external_bank_EUR"])
def test_only_what_has_a_floor_is_frozen_or_hot(missing: str) -> None:
    world.outside()
    for change in (accounts.freeze, accounts.unfreeze, partial(accounts.mark_hot, on=False)):
        with pytest.raises(NotFound):
            world.did(partial(change, missing))
    world.sound()


def test_a_hot_account_collects_until_it_is_told_not_to(database_kind: str) -> None:
    merchant = world.shop("mer_1", 50, hot=True)
    aside = [50] if database_kind == "postgres" else []
    assert (COLLECTS.scalar(id=merchant), world.beside(merchant)) == (True, aside)
    world.did(lambda: accounts.mark_hot(merchant, False))
    assert (COLLECTS.scalar(id=merchant), world.beside(merchant)) == (False, [])
    assert world.stored(world.shop("mer_1", 7)) == 57
    assert world.beside(merchant) == []
    world.sound()


def test_an_account_that_can_not_be_folded_keeps_no_other_back(
    database_kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if database_kind == "sqlite":
        return
    shops = [world.shop(f"mer_{n}", 10 + n, hot=True) for n in range(3)]
    fold = folding.fold

    def failing(account_id: str, after: str) -> Row:
        if account_id == shops[0]:
            raise ZeroDivisionError
        return fold(account_id, after)

    monkeypatch.setattr(folding, "fold", failing)
    assert folding.fold_all() == 3  # the account that all came from, and two shops
    assert [world.beside(each) for each in shops] == [[10], [], []]
    assert "can't be folded" in caplog.text
    world.sound()


def test_folding_takes_those_that_wait_longest_first(database_kind: str) -> None:
    shops = [world.shop(f"mer_{n}", 10 + n, hot=True) for n in range(3)]
    if database_kind == "sqlite":
        assert folding.fold_all() == 0
    else:
        assert folding.fold_all(2) == 2  # the account that all came from, and the first shop
        assert [world.beside(each) for each in shops] == [[], [11], [12]]
        world.sound()
        assert folding.fold_all() == 2
        assert folding.fold_all() == 0
    assert [(world.stored(each), world.beside(each)) for each in shops] == [
        (10, []),
        (11, []),
        (12, []),
    ]
    world.sound()
