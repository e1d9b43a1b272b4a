"""No balance leaves the 64 bits, and none turns into a float: what would lead there is refused."""

import pytest

from payments.db import Sql
from payments.errors import LimitExceeded
from payments.ledger import accounts, folding, holds, statements
from payments.money import MAX_AMOUNT, MAX_BALANCE
from tests.ledger import world

pytestmark = pytest.mark.usefixtures("app_context")

ENTRIES = Sql("SELECT count(*) FROM entries")


def second_source() -> str:
    """Where more money comes from than one source gives."""
    return world.did(lambda: accounts.ensure_system("external:mint", "EUR"))


def refuses(lines: dict[str, int]) -> None:
    """It is refused, and changes nothing."""
    before = [ENTRIES.scalar(), *(world.account(each) for each in lines)]
    with pytest.raises(LimitExceeded, match="Nothing was moved"):
        world.moves(lines)
    assert [ENTRIES.scalar(), *(world.account(each) for each in lines)] == before


@pytest.mark.parametrize("more", [1, MAX_AMOUNT])
def test_a_wallet_takes_no_more_than_the_most(more: int) -> None:
    payer, merchant = world.wallet("cus_1", MAX_BALANCE - 1), world.shop("mer_1")
    mint = second_source()
    world.moves({mint: -1, payer: 1})
    refuses({mint: -more, payer: more})
    assert world.purse(payer) == (MAX_BALANCE, 0)
    (line, *_) = statements.lines(payer, 1)
    assert (line.balance, type(line.balance)) == (MAX_BALANCE, int)
    world.moves({payer: -more, merchant: more})  # there is a way back
    world.moves({mint: -more, payer: more})
    world.sound()


def test_no_source_gives_more_than_the_most() -> None:
    outside, payer, other = world.outside(), world.wallet("cus_1"), world.wallet("cus_2")
    for _ in range(2):
        world.moves({outside: -MAX_BALANCE // 2, payer: MAX_BALANCE // 2})
    refuses({outside: -MAX_AMOUNT, other: MAX_AMOUNT})
    folding.fold_all()  # small lines look at what is folded
    refuses({outside: -1, other: 1})
    world.moves({outside: 5, payer: -5})
    world.moves({outside: -5, other: 5})
    assert world.balance(outside) == -MAX_BALANCE
    world.sound()


def test_a_hot_merchant_takes_no_more_than_the_most() -> None:
    merchant, mint = world.shop("mer_1", MAX_BALANCE, hot=True), second_source()
    refuses({mint: -MAX_AMOUNT, merchant: MAX_AMOUNT})
    folding.fold_all()
    refuses({mint: -1, merchant: 1})
    world.moves({mint: MAX_BALANCE, merchant: -MAX_BALANCE})
    assert (world.balance(merchant), world.balance(mint)) == (0, MAX_BALANCE)
    refuses({mint: 1, world.outside(): -1})
    world.sound()


def test_the_first_refusal_of_lines_is_what_they_are_then_the_bound_then_the_funds() -> None:
    payer, full = world.wallet("cus_1"), world.wallet("cus_2", MAX_BALANCE)
    refuses({payer: -MAX_AMOUNT, full: MAX_AMOUNT})
    with pytest.raises(ValueError, match="known accounts"):
        world.moves({full: MAX_AMOUNT, "wal_none": -MAX_AMOUNT})


def test_no_more_is_held_than_the_most() -> None:
    outside = world.outside()
    hold = world.did(lambda: holds.place(outside, MAX_BALANCE - 1, "x_1", None))
    world.did(lambda: holds.place(outside, 1, "x_1", None))
    with pytest.raises(LimitExceeded):
        world.did(lambda: holds.place(outside, 1, "x_1", None))
    assert world.purse(outside) == (0, MAX_BALANCE)
    world.did(lambda: holds.release(hold))
    world.did(lambda: holds.place(outside, 1, "x_1", None))
    world.sound()
