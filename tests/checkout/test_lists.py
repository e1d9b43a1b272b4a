"""Lists of payments: filters, pages, and what a customer sees of them."""

from datetime import timedelta

import pytest

from payments.checkout import expiry, lookup
from payments.checkout.objects import customer_view, payment_object
from tests.checkout import world

PHONE = "+4915112345678"


def ids_of(rows) -> list[str]:
    return [row.id for row in rows]


def every_page(fetch, limit: int) -> list[str]:
    """All ids, page after page."""
    found, before = [], None
    while rows := fetch(limit, before):
        found += rows
        before = (rows[-1].created_at, rows[-1].id)
    return ids_of(found)


@pytest.fixture
def several(shop, payer, stranger) -> dict[str, str]:
    """One payment of each kind, oldest first."""
    made = {
        "waits": world.asks(shop, 1, reference="A").id,
        "over": world.asks(shop, 1, reference="B").id,
        "expired": world.asks(shop, 1).id,
        "held": world.asks(shop, 1, capture="manual", reference="A").id,
        "held over": world.asks(shop, 1, capture="manual").id,
        "paid": world.asks(shop, 1).id,
        "paid by another": world.asks(shop, 1).id,
        "canceled": world.asks(shop, 1, customer_phone=PHONE).id,
        "asked": world.asks(shop, 1, customer_phone=PHONE).id,
        "asked over": world.asks(shop, 1, customer_phone=PHONE).id,
        "asked and paid": world.asks(shop, 1, customer_phone=PHONE).id,
    }
    world.overdue(made["expired"])
    assert expiry.expire_due(10) == 1
    for name in ("held", "held over", "paid", "asked and paid"):
        world.confirms(payer, made[name])
    world.confirms(stranger, made["paid by another"])
    world.cancels(shop, made["canceled"])
    for name in ("over", "held over", "asked over"):
        world.overdue(made[name])
    other = world.merchant("+4915133333333", "Other shop")
    world.asks(other, 1, reference="A", customer_phone="+4915144444444")
    return made


BY_STATUS = {
    "pending": ["waits", "asked"],
    "authorized": ["held"],
    "succeeded": ["paid", "paid by another", "asked and paid"],
    "canceled": ["canceled"],
    "declined": [],
    "expired": ["over", "expired", "held over", "asked over"],
}


def test_the_merchants_list_by_the_status_that_is_shown(shop, several):
    everything = lookup.of_merchant(shop, {}, 100, None)
    assert ids_of(everything) == list(reversed(several.values()))
    for status, names in BY_STATUS.items():
        rows = lookup.of_merchant(shop, {"status": status}, 100, None)
        assert ids_of(rows) == [several[name] for name in reversed(names)], status
        assert {payment_object(row)["status"] for row in rows} <= {status}


def test_filters_hold_together_and_none_is_no_filter(shop, payer, several):
    found = lookup.of_merchant(shop, {"reference": "A", "status": None}, 100, None)
    assert ids_of(found) == [several["held"], several["waits"]]
    found = lookup.of_merchant(shop, {"reference": "A", "customer": payer}, 100, None)
    assert ids_of(found) == [several["held"]]
    found = lookup.of_merchant(shop, {"customer": payer, "status": "succeeded"}, 100, None)
    assert ids_of(found) == [several["asked and paid"], several["paid"]]


def test_times_from_inclusive_to_exclusive(shop, several):
    at = world.raw(several["held"]).created_at
    until = world.raw(several["paid"]).created_at
    found = lookup.of_merchant(shop, {"created_from": at, "created_to": until}, 100, None)
    assert ids_of(found) == [several["held over"], several["held"]]
    later = until + timedelta(days=1)
    assert lookup.of_merchant(shop, {"created_from": later}, 100, None) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_follow_each_other_without_a_gap_or_a_repeat(shop, payer, several, limit):
    whole = ids_of(lookup.of_merchant(shop, {}, 100, None))
    assert every_page(lambda n, b: lookup.of_merchant(shop, {}, n, b), limit) == whole
    mine = ids_of(lookup.of_customer(payer, None, 100, None))
    assert every_page(lambda n, b: lookup.of_customer(payer, None, n, b), limit) == mine
    ended = ids_of(lookup.of_customer(payer, "expired", 100, None))
    assert every_page(lambda n, b: lookup.of_customer(payer, "expired", n, b), limit) == ended


def test_a_customers_list_is_what_is_asked_of_them_and_what_they_paid(payer, stranger, several):
    mine = ["held", "held over", "paid", "canceled", "asked", "asked over", "asked and paid"]
    found = lookup.of_customer(payer, None, 100, None)
    assert ids_of(found) == [several[name] for name in reversed(mine)]
    assert ids_of(lookup.of_customer(stranger, None, 100, None)) == [several["paid by another"]]
    for status, names in BY_STATUS.items():
        rows = lookup.of_customer(payer, status, 100, None)
        assert ids_of(rows) == [several[name] for name in reversed(names) if name in mine], status


def test_a_customers_view_leaves_out_the_merchants_business(payer, stranger, shop, several):
    row = lookup.get_for_customer(payer, several["paid"])
    whole, view = payment_object(row), customer_view(row, payer)
    assert set(whole) - set(view) == {"fee", "metadata"}
    assert {name: whole[name] for name in view} == view
    assert view["customer"] == payer
    # Whoever holds its id may look, and does not learn who paid.
    held = customer_view(lookup.get_for_customer(stranger, several["paid"]), stranger)
    assert held == view | {"customer": None}
