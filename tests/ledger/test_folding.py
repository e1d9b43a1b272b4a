"""Folding an account that fell far behind: in batches, and no debit waits for all of them."""

import pytest

from payments.db import Sql
from payments.errors import MerchantBalanceInsufficient
from payments.ledger import accounts, folding, holds
from tests.ledger import raw, world

pytestmark = pytest.mark.usefixtures("postgres_app")

BATCH = folding.BATCH
BESIDE = Sql("SELECT count(*) FROM unfolded_postings WHERE account_id = :id")


def behind(url: str, account_id: str, credits: int) -> None:
    """That many credits of 1 beside the account, all from outside, as postings have them."""
    raw.execute(
        url,
        "INSERT INTO entries (id, kind, subject_id, caller, created_at)"
        f" SELECT '{account_id}' || n, 'moved', 'x_1', 'test', now()"
        f" FROM generate_series(1, {credits}) AS n",
        "INSERT INTO postings (id, entry_id, account_id, amount, created_at)"
        " SELECT 'pst_' || side.place || entries.id, entries.id, side.account_id, side.amount,"
        f" entries.created_at FROM entries, (VALUES ('a', '{account_id}', 1),"
        f" ('b', '{world.outside()}', -1)) AS side (place, account_id, amount)"
        f" WHERE entries.id LIKE '{account_id}%'",
        "INSERT INTO unfolded_postings (posting_id, account_id, amount, created_at)"
        " SELECT id, account_id, amount, created_at FROM postings"
        f" WHERE entry_id LIKE '{account_id}%'",
    )


def beside(account_id: str) -> int:
    """How many side rows it has."""
    return int(BESIDE.scalar(id=account_id))


def test_a_unit_folds_a_batch_and_says_where_it_ended(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "BATCH", 10)
    merchant = world.shop(hot=True)
    behind(postgres, merchant, 25)
    after, folded = "", []
    for left in (15, 5, 0, 0):
        batch = world.did(lambda after=after: folding.fold(merchant, after))  # type: ignore[misc]
        assert (beside(merchant), world.stored(merchant)) == (left, 25 - left)
        assert world.balance(merchant) == 25
        folded.append(batch.folded)
        after = batch.reached
    assert folded == [10, 10, 5, 0]
    world.sound()


def test_the_clock_folds_all_of_it_and_lets_the_others_go_between(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    far, near = world.shop("mer_1", hot=True), world.shop("mer_2", hot=True)
    behind(postgres, far, 35)
    behind(postgres, near, 5)
    monkeypatch.setattr(folding, "BATCH", 10)
    fold, seen = folding.fold, []

    def noting(account_id: str, after: str = "") -> object:
        seen.append(account_id)
        return fold(account_id, after)

    monkeypatch.setattr(folding, "fold", noting)
    assert folding.fold_all() == 3
    assert sorted(seen[:3]) == sorted([far, near, world.outside()])
    assert (seen.count(far), seen.count(near), seen.count(world.outside())) == (4, 1, 5)
    assert [beside(each) for each in (far, near, world.outside())] == [0, 0, 0]
    assert (world.stored(far), world.stored(near), world.stored(world.outside())) == (35, 5, -40)
    world.sound()


def test_after_its_time_the_clock_begins_only_first_batches(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    far, near = world.shop("mer_1", hot=True), world.shop("mer_2", hot=True)
    behind(postgres, far, 15)
    behind(postgres, near, 5)
    monkeypatch.setattr(folding, "BATCH", 10)
    monkeypatch.setattr(folding, "RUN_S", 0.0)
    assert folding.fold_all() == 1
    assert [beside(each) for each in (far, near, world.outside())] == [5, 0, 10]
    assert folding.fold_all() == 1
    assert [beside(each) for each in (far, near, world.outside())] == [0, 0, 0]
    world.sound()


def test_a_debit_takes_a_batch_and_counts_the_rest_as_it_lies(postgres: str) -> None:
    payer, merchant = world.wallet(), world.shop(hot=True)
    behind(postgres, merchant, 2 * BATCH + 500)
    world.moves({merchant: -2 * BATCH, payer: 2 * BATCH})
    assert (beside(merchant), world.stored(merchant)) == (BATCH + 500, -BATCH)
    assert world.balance(merchant) == 500
    world.sound()
    with pytest.raises(MerchantBalanceInsufficient):
        world.moves({merchant: -501, payer: 501})
    hold = world.did(lambda: holds.place(merchant, 400, "x_1", None))
    assert world.purse(merchant) == (500, 400)
    with pytest.raises(MerchantBalanceInsufficient):
        world.moves({merchant: -101, payer: 101})
    world.did(lambda: holds.capture(hold, "moved", {merchant: -300, payer: 300}))
    world.moves({merchant: -200, payer: 200})
    assert (world.balance(merchant), world.balance(payer)) == (0, 2 * BATCH + 500)
    folding.fold_all()
    assert (beside(merchant), world.stored(merchant)) == (0, 0)
    world.sound()


def test_a_debit_that_the_row_covers_looks_at_no_side_row(postgres: str) -> None:
    payer, merchant = world.wallet(), world.shop("mer_1", 100)
    world.did(lambda: accounts.mark_hot(merchant, True))
    behind(postgres, merchant, 50)
    world.moves({merchant: -100, payer: 100})
    assert (beside(merchant), world.stored(merchant)) == (50, 0)
    world.sound()


def test_an_account_that_is_hot_no_longer_is_folded_a_batch_at_once(postgres: str) -> None:
    merchant = world.shop(hot=True)
    behind(postgres, merchant, BATCH + 5)
    world.did(lambda: accounts.mark_hot(merchant, False))
    assert (beside(merchant), world.stored(merchant)) == (5, BATCH)
    folding.fold_all()
    assert (beside(merchant), world.stored(merchant)) == (0, BATCH + 5)
    world.sound()


def test_a_debit_of_nearly_all_finds_it_however_much_lies_beside(postgres: str) -> None:
    payer, merchant = world.wallet(), world.shop(hot=True)
    behind(postgres, merchant, 12 * BATCH)
    with pytest.raises(MerchantBalanceInsufficient):
        world.moves({merchant: -12 * BATCH - 1, payer: 12 * BATCH + 1})
    assert beside(merchant) == 12 * BATCH  # a refusal leaves nothing behind, no fold either
    world.moves({merchant: -12 * BATCH, payer: 12 * BATCH})
    assert (world.balance(merchant), beside(merchant)) == (0, 11 * BATCH)
    world.sound()
