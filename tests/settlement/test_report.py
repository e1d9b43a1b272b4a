"""Rows of a settlement: every movement in one column, and their sums are the ledger's."""

from datetime import timedelta

import pytest

from payments import db, ids
from payments.db import Sql
from payments.ledger import accounts, posting
from payments.merchants import applications
from payments.settlement import report
from payments.settlement.periods import Period
from tests.checkout import world
from tests.settlement.dates import dated

SUM = Sql("SELECT sum(amount) FROM postings WHERE account_id = :id")


@pytest.fixture
def app(make_app):
    """With a fee of 2.5 % and 10."""
    return make_app(FEE_BPS="250", FEE_FIXED_MINOR="10")


def lately() -> Period:
    """The last hour and the next."""
    now = db.now()
    return Period(now - timedelta(hours=1), now + timedelta(hours=1), now)


def amounts(row) -> dict[str, int]:
    return {name: getattr(row, name) for name in report.AMOUNTS if getattr(row, name)}


def adds_up(row) -> bool:
    return bool(
        row.net == row.gross - row.fees - row.refunds
        and row.closing == row.opening + row.net - row.payouts + row.adjustments
    )


def corrects(merchant: str, amount: int, kind: str = "adjustment") -> str:
    """Money comes to the merchant's account for another reason; gives the subject."""

    def moved() -> str:
        outside = accounts.ensure_system("external:bank", "EUR")
        own = applications.account_of(merchant, "EUR")
        subject = ids.new("adj")
        posting.post(kind, subject, {outside: -amount, own: amount})
        return subject

    return world.did(moved)


@pytest.fixture
def shop(app_context) -> str:
    """It sells for 20.00 and 30.00, gives 5.00 back, is paid out 10.00 and given 7."""
    shop, payer = world.merchant(), world.customer("+4915155555555", has=100_00)
    sold = [world.asks(shop, amount) for amount in (20_00, 30_00)]
    for each in sold:
        world.confirms(payer, each.id)
    world.refunds_of(shop, sold[0].id, 5_00)
    world.leaves(shop, 10_00)
    corrects(shop, 7)
    return shop


def test_each_movement_is_in_its_column(shop):
    (row,) = report.of_merchant(lately(), shop)
    assert (row.merchant, row.currency) == (shop, "EUR")
    fees = 60 + 85 - 15  # of 20.00 and 30.00, less a quarter of the first
    assert amounts(row) == {
        "gross": 50_00,
        "fees": fees,
        "refunds": 5_00,
        "net": 45_00 - fees,
        "payouts": 10_00,
        "adjustments": 7,
        "closing": 35_07 - fees,
    }
    assert adds_up(row)
    assert row.closing == world.purse(shop, "merchant")[0]
    assert row.fees == world.fees_taken()


def test_what_came_before_is_the_opening(database, shop):
    old = corrects(shop, 100)
    dated(database, old, "2025-08-31T23:59:59.999999Z")
    (row,) = report.of_merchant(lately(), shop)
    assert row.opening == 100
    assert adds_up(row)
    assert row.closing == world.purse(shop, "merchant")[0]


def test_what_comes_later_is_left_out(shop):
    now = db.now()
    past = Period(now - timedelta(days=2), now - timedelta(days=1), now)
    assert report.of_merchant(past, shop) == []


def test_a_kind_that_nobody_knew_is_an_adjustment(shop):
    before = report.of_merchant(lately(), shop)[0].adjustments
    corrects(shop, 11, "bonus")
    (row,) = report.of_merchant(lately(), shop)
    assert row.adjustments == before + 11
    assert adds_up(row)


def test_a_reversed_entry_is_taken_back_by_an_adjustment(shop):
    before = report.of_merchant(lately(), shop)[0]
    corrects(shop, 10_00, "reversal")
    (row,) = report.of_merchant(lately(), shop)
    assert (row.payouts, row.adjustments) == (10_00, 10_07)
    assert row.closing == before.closing + 10_00
    assert adds_up(row)


def test_an_account_without_a_movement_has_no_row(shop):
    world.did(lambda: applications.account_of(shop, "USD"))
    assert [row.currency for row in report.of_merchant(lately(), shop)] == ["EUR"]


@pytest.mark.usefixtures("app_context")
def test_totals_are_the_ledgers():
    payer = world.customer("+4915155555555", has=1000_00)
    world.did(lambda: world.deposits.create("bank", "+4915155555555", 900_00, "USD", "d-1"))
    shops = [world.merchant(name=f"Shop {number}") for number in range(3)]
    world.did(lambda: applications.mark_hot(shops[0], True))
    for number, shop in enumerate(shops):
        for currency in ("EUR", "USD"):
            paid = world.asks(shop, 10_00 + number, currency=currency)
            world.confirms(payer, paid.id)
            world.refunds_of(shop, paid.id, 3_33)
        held = world.asks(shop, 5_00, capture="manual")
        world.confirms(payer, held.id)
        world.captures(shop, held.id, 4_00)
    with db.snapshot():
        rows = list(report.stream(lately()))
    assert [(row.merchant, row.currency) for row in rows] == sorted(
        (shop, currency) for shop in shops for currency in ("EUR", "USD")
    )
    for row in rows:
        assert adds_up(row)
        assert row.closing == world.purse(row.merchant, "merchant", row.currency)[0]
        assert row.closing == SUM.scalar(id=row.id)
    for currency in ("EUR", "USD"):
        kept = sum(row.fees for row in rows if row.currency == currency)
        assert kept == world.fees_taken(currency)


@pytest.mark.usefixtures("app_context")
def test_lines_are_the_rows():
    payer = world.customer("+4915155555555", has=100_00)
    shop, other = world.merchant(), world.merchant(name="Other")
    for each in (shop, other):
        world.confirms(payer, world.asks(each, 20_00).id)
    asked = lately()
    with db.snapshot():
        for merchant in (None, shop):
            rows = [
                report.settlement_object(row, asked, True) for row in report.stream(asked, merchant)
            ]
            lines = [line.split(",") for line in report.stream_lines(asked, merchant)]
            assert lines == [[str(row[name]) for name in report.COLUMNS] for row in rows]
            assert len(lines) == (2 if merchant is None else 1)
