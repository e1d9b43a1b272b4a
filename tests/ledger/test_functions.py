"""The functions on Postgres, called as a benchmark or somebody at a prompt does."""

import pytest

from payments.db import Sql, unit_of_work
from payments.ledger import accounts
from tests.ledger import world

pytestmark = pytest.mark.usefixtures("postgres_app")

ENTRIES = Sql("SELECT count(*) FROM entries")
FUNCTION = Sql(
    "SELECT status FROM post_entry('ent_1', 'moved', 'x_1', 'test', NULL, :ids::text[],"
    " :accounts::text[], :amounts::bigint[], NULL, 0)",
    writes=True,
)


@pytest.mark.parametrize("amounts", [[-1, 2], [-1], [0, 0], [-2, 1, 1], []])
def test_the_function_itself_refuses_what_is_no_entry(amounts: list[int]) -> None:
    """Also an account that is named twice, which a mapping can't."""
    names = [world.wallet("cus_1", 10), world.shop(), world.wallet("cus_1")][: len(amounts)]
    before = ENTRIES.scalar()
    with unit_of_work():
        given = {"ids": [f"pst_{n}" for n in range(len(names))], "accounts": names}
        assert FUNCTION.scalar(**given, amounts=amounts) == "no_entry"
    assert ENTRIES.scalar() == before
    world.sound()


def test_the_function_takes_arrays_as_text() -> None:
    payer, merchant = world.wallet("cus_1", 10), world.shop()
    given = {"ids": "{pst_1,pst_2}", "accounts": f"{{{payer},{merchant}}}", "amounts": "{-4,4}"}
    with unit_of_work():
        assert FUNCTION.all(**given) == []
    assert (world.balance(payer), world.balance(merchant)) == (6, 4)
    world.sound()


def test_a_hold_on_no_account_is_refused() -> None:
    place = Sql("SELECT status FROM place_hold('hld_1', 'wal_none', 5, 'x_1', NULL)", writes=True)
    with unit_of_work():
        assert place.scalar() == "no_account"


def test_folding_gives_how_many_it_took_and_the_last_one() -> None:
    merchant = world.shop("mer_1", 50, hot=True)
    fold = Sql("SELECT * FROM fold_account(:id, '', 10)", writes=True)
    with unit_of_work():
        (first,) = fold.all(id=merchant)
        assert (first.folded, first.reached[:4]) == (1, "pst_")
        assert fold.one(id=merchant) == (0, None)
        assert fold.one(id="acc_none") == (0, None)
    world.did(lambda: accounts.mark_hot(merchant, False))
    world.sound()
