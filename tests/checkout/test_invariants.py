"""The invariants find each way in which payments and ledger could disagree."""

import pytest

from payments.checkout.invariants import CHECKOUT
from payments.db import Sql
from payments.ledger import invariants
from tests.checkout import world

# What goes wrong, by a statement on a sound database, and the invariant that must find it.
FAULTS = {
    "a pending payment has a payer": (
        "UPDATE payments SET customer_id = (SELECT id FROM customers LIMIT 1)"
        " WHERE status = 'pending'",
        "payment_fits_its_status",
    ),
    "an authorized payment has lost its hold": (
        "UPDATE payments SET hold_id = NULL WHERE status = 'authorized'",
        "payment_fits_its_status",
    ),
    "an automatic capture took a part": (
        "UPDATE payments SET amount_captured = amount_captured - 1"
        " WHERE status = 'succeeded' AND capture = 'automatic'",
        "payment_fits_its_status",
    ),
    "the whole was captured at another fee": (
        "UPDATE payments SET fee = fee + 1 WHERE status = 'succeeded' AND capture = 'automatic'",
        "payment_fits_its_status",
    ),
    "a canceled payment did not end": (
        "UPDATE payments SET ended_at = NULL WHERE status = 'canceled'",
        "payment_fits_its_status",
    ),
    "a pending payment moved money": (
        "UPDATE payments SET status = 'pending' WHERE status = 'succeeded'",
        "payment_captured_once",
    ),
    "a succeeded payment moved none": (
        "UPDATE payments SET status = 'succeeded' WHERE status = 'authorized'",
        "payment_captured_once",
    ),
    "a payment was captured twice": (
        "INSERT INTO entries (id, kind, subject_id, caller, created_at)"
        " SELECT 'ent_again', kind, subject_id, caller, created_at FROM entries"
        " WHERE kind = 'payment' LIMIT 1",
        "payment_captured_once",
    ),
    "a refund moved nothing": (
        "INSERT INTO refunds (id, payment_id, merchant_id, amount, fee_returned, currency, status,"
        " version, created_at) SELECT 'ref_none', payment_id, merchant_id, 1, 0, currency, status,"
        " 1, created_at FROM refunds LIMIT 1",
        "refund_posted_once",
    ),
    "an entry is for a payment that is not there": (
        "INSERT INTO entries (id, kind, subject_id, caller, created_at)"
        " SELECT 'ent_stray', kind, 'pay_none', caller, created_at FROM entries"
        " WHERE kind = 'payment' LIMIT 1",
        "checkout_entry_has_its_object",
    ),
    "a payment says another fee than was posted": (
        "UPDATE payments SET fee = fee - 1 WHERE status = 'succeeded' AND fee > 0",
        "checkout_entry_moves_what_its_object_says",
    ),
    "a refund says another amount than was posted": (
        "UPDATE refunds SET amount = amount + 1",
        "checkout_entry_moves_what_its_object_says",
    ),
    "a payment says another sum than its refunds": (
        "UPDATE payments SET amount_refunded = amount_refunded + 1 WHERE amount_refunded > 0",
        "refunds_add_up",
    ),
    "a payment says that more of its fee went back": (
        "UPDATE payments SET fee_refunded = fee_refunded + 1 WHERE amount_refunded > 0",
        "refunds_add_up",
    ),
    "a refund is of another currency": (
        "UPDATE refunds SET currency = 'USD'",
        "refund_fits_its_payment",
    ),
    "a hold outlived its payment": (
        "UPDATE holds SET status = 'held', captured = 0 WHERE status = 'released'",
        "payment_hold_agrees",
    ),
    "a hold is of nobody's payment": (
        "UPDATE payments SET hold_id = NULL WHERE status = 'canceled'",
        "payment_hold_agrees",
    ),
    "a hold is of another amount": (
        "UPDATE holds SET amount = amount + 1 WHERE status = 'held'",
        "payment_hold_agrees",
    ),
    "a payment credits another's account": (
        "UPDATE payments SET merchant_account_id = customer_account_id"
        " WHERE customer_account_id IS NOT NULL",
        "payment_accounts_fit",
    ),
    "a payment debits another's account": (
        "UPDATE payments SET customer_id ="
        " (SELECT id FROM customers WHERE id <> payments.customer_id LIMIT 1)"
        " WHERE status = 'succeeded'",
        "payment_accounts_fit",
    ),
}


@pytest.fixture
def app(make_app):
    """The service with a fee."""
    return make_app(FEE_BPS="250", FEE_FIXED_MINOR="30")


@pytest.fixture
def busy(shop, payer) -> None:
    """A payment in each status, one refunded in part, and nothing amiss."""
    world.asks(shop, 10_00)
    world.confirms(payer, world.asks(shop, 10_00, capture="manual").id)
    canceled = world.confirms(payer, world.asks(shop, 10_00, capture="manual").id)
    world.cancels(shop, canceled.id)
    taken = world.confirms(payer, world.asks(shop, 10_00, capture="manual").id)
    world.captures(shop, taken.id, 6_00)
    paid = world.confirms(payer, world.asks(shop, 10_00).id)
    world.refunds_of(shop, paid.id, 3_00)
    world.sound()


@pytest.mark.parametrize(("statement", "name"), FAULTS.values(), ids=FAULTS)
def test_each_disagreement_is_found(busy, statement, name):
    assert world.did(lambda: Sql(statement).run()) > 0
    found = {finding.invariant for finding in invariants.check()}
    assert name in found


def test_each_invariant_is_seen_to_find_something():
    assert {name for _, name in FAULTS.values()} == {invariant.name for invariant in CHECKOUT}
