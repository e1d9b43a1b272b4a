"""The invariants find each way in which deposits, transfers and ledger could disagree."""

import pytest

from payments.db import Sql
from payments.ledger import invariants
from payments.transfers import deposits, transfers
from payments.transfers.invariants import TRANSFERS
from tests.checkout import world

SENDER, RECIPIENT = "+4915112345678", "+4915187654321"

# What goes wrong, by a statement on a sound database, and the invariant that must find it.
FAULTS = {
    "a deposit moved nothing": (
        "INSERT INTO deposits (id, service, external_reference, customer_id, account_id, amount,"
        " currency, status, version, created_at) SELECT 'dep_none', service, 'none', customer_id,"
        " account_id, amount, currency, status, 1, created_at FROM deposits LIMIT 1",
        "deposit_posted_once",
    ),
    "a deposit was posted twice": (
        "INSERT INTO entries (id, kind, subject_id, caller, created_at)"
        " SELECT 'ent_again', kind, subject_id, caller, created_at FROM entries"
        " WHERE kind = 'deposit' LIMIT 1",
        "deposit_posted_once",
    ),
    "a transfer moved nothing": (
        "INSERT INTO transfers (id, sender_id, recipient_id, amount, currency, status, version,"
        " created_at) SELECT 'trf_none', sender_id, recipient_id, amount, currency, status, 1,"
        " created_at FROM transfers LIMIT 1",
        "transfer_posted_once",
    ),
    "a transfer was posted twice": (
        "INSERT INTO entries (id, kind, subject_id, caller, created_at)"
        " SELECT 'ent_again', kind, subject_id, caller, created_at FROM entries"
        " WHERE kind = 'transfer' LIMIT 1",
        "transfer_posted_once",
    ),
    "an entry is for a deposit that is not there": (
        "INSERT INTO entries (id, kind, subject_id, caller, created_at)"
        " SELECT 'ent_stray', kind, 'dep_none', caller, created_at FROM entries"
        " WHERE kind = 'deposit' LIMIT 1",
        "transfers_entry_has_its_object",
    ),
    "an entry is for a transfer that is not there": (
        "INSERT INTO entries (id, kind, subject_id, caller, created_at)"
        " SELECT 'ent_stray', kind, 'trf_none', caller, created_at FROM entries"
        " WHERE kind = 'transfer' LIMIT 1",
        "transfers_entry_has_its_object",
    ),
    "a deposit says another amount than was posted": (
        "UPDATE deposits SET amount = amount + 1",
        "transfers_entry_moves_what_its_object_says",
    ),
    "a deposit came from another service's account": (
        "UPDATE deposits SET service = 'food'",
        "transfers_entry_moves_what_its_object_says",
    ),
    "a transfer says another amount than was posted": (
        "UPDATE transfers SET amount = amount - 1",
        "transfers_entry_moves_what_its_object_says",
    ),
    "a transfer went the other way": (
        "UPDATE transfers SET sender_id = recipient_id, recipient_id = sender_id",
        "transfers_entry_moves_what_its_object_says",
    ),
    "a transfer says another currency": (
        "UPDATE transfers SET currency = 'USD'",
        "transfers_entry_moves_what_its_object_says",
    ),
    "a deposit says another's wallet": (
        "UPDATE deposits SET account_id = (SELECT id FROM accounts WHERE kind = 'customer'"
        " AND owner_id <> deposits.customer_id LIMIT 1)",
        "deposit_account_fits",
    ),
    "a deposit is in a wallet of another currency": (
        "UPDATE deposits SET currency = 'USD'",
        "deposit_account_fits",
    ),
    "a transfer is to oneself": (
        "UPDATE transfers SET recipient_id = sender_id",
        "transfer_fits_its_parties",
    ),
    "a reference is nobody's": (
        "UPDATE transfers SET service = NULL WHERE reference IS NOT NULL",
        "transfer_fits_its_parties",
    ),
}


@pytest.fixture
def busy(app_context) -> None:
    """A deposit, a transfer of a customer, one of a service, and nothing amiss."""
    world.did(lambda: deposits.create("taxi", SENDER, 50_00, "EUR", "fare-1"))
    recipient = world.customer(RECIPIENT)
    sender = world.customer(SENDER)
    assert recipient != sender
    world.did(lambda: transfers.create(sender, RECIPIENT, 10_00, "EUR", "Pizza"))
    world.did(lambda: transfers.by_service("taxi", RECIPIENT, SENDER, 3_00, "EUR", "tip-1"))
    world.sound()


@pytest.mark.parametrize(("statement", "name"), FAULTS.values(), ids=FAULTS)
def test_each_disagreement_is_found(busy, statement, name):
    assert world.did(lambda: Sql(statement).run()) > 0
    found = {finding.invariant for finding in invariants.check()}
    assert name in found


def test_each_invariant_is_seen_to_find_something():
    assert {name for _, name in FAULTS.values()} == {invariant.name for invariant in TRANSFERS}
