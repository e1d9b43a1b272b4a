"""Statements: lines with their running balance, in pages and as a whole."""

from datetime import datetime

import pytest

from payments import db
from payments.db import unit_of_work
from payments.ledger import accounts, posting, statements
from tests.ledger import world

pytestmark = pytest.mark.usefixtures("app_context")


def pages(account: str, limit: int) -> list[list[tuple[int, int]]]:
    """Amount and running balance of each line, page by page, to the end."""
    found: list[list[tuple[int, int]]] = []
    place: tuple[datetime, str] | None = None
    while rows := statements.lines(account, limit, place):
        found.append([(row.amount, row.balance) for row in rows])
        place = (rows[-1].created_at, rows[-1].id)
    return found


def test_a_line_says_what_it_was_for_and_who_is_on_the_other_side() -> None:
    payer, merchant, fees = world.wallet("cus_1", 10_00), world.shop("mer_1"), world.fees()
    friend = world.wallet("cus_2")
    posted = world.moves({payer: -4_00, merchant: 3_90, fees: 10}, "moved", "x_1")
    world.moves({payer: -1_00, friend: 1_00}, "given", "x_2")
    line = statements.lines(payer, 10)[1]
    assert (line.entry_id, line.created_at) == (posted.entry_id, posted.created_at)
    assert line.id.startswith("pst_")
    seen = [
        (row.kind, row.subject_id, row.amount, row.balance, row.counterparty, row.counterparty_kind)
        for row in statements.lines(payer, 10)
    ]
    assert seen == [
        ("given", "x_2", -1_00, 5_00, "cus_2", "customer"),
        ("moved", "x_1", -4_00, 6_00, "mer_1", "merchant"),
        ("moved", "x_1", 10_00, 10_00, "system", "external:bank"),
    ]
    assert [row.counterparty for row in statements.lines(merchant, 10)] == ["cus_1"]
    assert [(row.amount, row.balance) for row in statements.lines(fees, 10)] == [(10, 10)]


def test_an_entry_between_the_service_and_one_account_has_no_counterparty() -> None:
    payer, fees = world.wallet("cus_1", 10_00), world.fees()
    world.moves({payer: -1, fees: 1})
    line = statements.lines(payer, 1)[0]
    assert (line.counterparty, line.counterparty_kind) == (None, None)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
def test_the_balance_runs_over_pages(limit: int) -> None:
    """Also over lines of one moment: several entries in one unit."""
    payer, merchant = world.wallet("cus_1", 50), world.shop(hot=True)
    with unit_of_work():
        for amount in (1, 2, 3):
            posting.post("moved", "x_1", {payer: -amount, merchant: amount})
    for amount in (4, 5, 6):
        world.moves({payer: -amount, merchant: amount})
    whole = [(-6, 29), (-5, 35), (-4, 40), (-3, 44), (-2, 47), (-1, 49), (50, 50)]
    found = pages(payer, limit)
    assert [line for page in found for line in page] == whole
    assert {len(page) for page in found[:-1]} <= {limit}
    collected = [line for page in pages(merchant, limit) for line in page]
    assert collected == [(6, 21), (5, 15), (4, 10), (3, 6), (2, 3), (1, 1)]
    with db.snapshot():
        assert [(row.amount, row.balance) for row in statements.stream(payer)] == whole[::-1]


def test_each_line_agrees_with_the_balance_as_it_was() -> None:
    payer, merchant = world.wallet("cus_1", 50), world.shop()
    for amount in (4, 5, 6):
        world.moves({payer: -amount, merchant: amount})
    for line in statements.lines(payer, 10):
        assert accounts.balance_at(payer, line.created_at).balance == line.balance
    assert statements.lines(payer, 1)[0].balance == world.balance(payer)


def test_a_stream_has_the_same_members_as_a_page() -> None:
    payer = world.wallet("cus_1", 50)
    with db.snapshot():
        streamed = list(statements.stream(payer))
    assert [row._asdict() for row in streamed] == [
        row._asdict() for row in statements.lines(payer, 10)
    ]


def test_an_account_without_lines_has_an_empty_statement() -> None:
    assert statements.lines(world.wallet("cus_1"), 10) == []
    assert statements.lines("wal_none", 10, (db.now(), "pst_0")) == []
    with db.snapshot():
        assert list(statements.stream("wal_none")) == []
