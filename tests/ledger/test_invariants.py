"""Each invariant names what breaks it; and the database refuses to have most of it broken."""

import sqlite3

import psycopg
import pytest

from payments.ledger import accounts, holds, invariants
from payments.ledger.invariants import LEDGER, Invariant
from tests.ledger import raw, world

pytestmark = pytest.mark.usefixtures("app_context")

# For each invariant: what somebody with the owner's rights may do, and what else that breaks.
BREAKS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "entry_sums_to_zero": (
        ("UPDATE postings SET amount = amount + 1 WHERE account_id = '{payer}' AND amount < 0",),
        {
            "balance_is_sum_of_postings",
            "captured_hold_has_its_posting",
        },
    ),
    "entry_has_two_postings": (
        (
            "INSERT INTO entries (id, kind, subject_id, caller, created_at)"
            " VALUES ('ent_0', 'moved', 'x_1', 'test', '2026-01-01 00:00:00.000000')",
        ),
        set(),
    ),
    "posting_fits_its_entry": (
        ("UPDATE postings SET entry_id = 'ent_none' WHERE entry_id = '{back}'",),
        {"entry_has_two_postings"},
    ),
    "balance_is_sum_of_postings": (
        (
            "UPDATE accounts SET balance = balance + 1 WHERE id = '{payer}'",
            "UPDATE accounts SET balance = balance - 1 WHERE id = '{merchant}'",
        ),
        set(),
    ),
    "side_row_is_a_posting": (
        (
            "INSERT INTO unfolded_postings (posting_id, account_id, amount, created_at)"
            " SELECT 'pst_none', id, 1, created_at FROM accounts WHERE id = '{merchant}'",
            "UPDATE accounts SET balance = balance - 1 WHERE id = '{merchant}'",
        ),
        set(),
    ),
    "held_is_sum_of_live_holds": (
        ("UPDATE accounts SET held = held - 1 WHERE id = '{payer}'",),
        set(),
    ),
    "balance_is_not_below_floor": (
        ("UPDATE accounts SET floor = 10000 WHERE id = '{payer}'",),
        set(),
    ),
    "currency_sums_to_zero": (
        ("UPDATE accounts SET currency = 'USD' WHERE id = '{merchant}'",),
        {"entry_sums_to_zero"},
    ),
    "hold_fits_its_status": (
        ("UPDATE holds SET ended_at = created_at WHERE status = 'held'",),
        set(),
    ),
    "captured_hold_has_its_posting": (
        ("UPDATE holds SET captured = captured + 1 WHERE status = 'captured'",),
        set(),
    ),
    "account_fits_its_kind": (
        ("UPDATE accounts SET rank = 3 WHERE id = '{payer}'",),
        set(),
    ),
}
SIDE_DEBIT = (
    "INSERT INTO unfolded_postings (posting_id, account_id, amount, created_at)"
    " SELECT id, account_id, amount, created_at FROM postings"
    " WHERE account_id = '{payer}' AND amount < 0 AND entry_id = '{entry}'",
    "UPDATE accounts SET balance = balance - (SELECT sum(amount) FROM unfolded_postings"
    " WHERE account_id = accounts.id) WHERE id = '{payer}'",
)


@pytest.fixture
def names() -> dict[str, str]:
    """A ledger with something of everything, and what is in it by name."""
    payer, merchant = world.wallet("cus_1", 100), world.shop("mer_1", hot=True)
    world.moves({payer: -10, merchant: 9, world.fees(): 1})
    entry = world.moves({payer: -5, merchant: 5}).entry_id
    back = world.moves({payer: 5, merchant: -5}).entry_id
    taken = world.did(lambda: holds.place(payer, 30, "x_1", None))
    world.did(lambda: holds.capture(taken, "moved", {payer: -20, merchant: 20}))
    world.did(lambda: holds.place(payer, 40, "x_2", None))
    world.did(lambda: accounts.freeze(payer))
    world.sound()
    return {"payer": payer, "merchant": merchant, "entry": entry, "back": back}


def broken() -> set[str]:
    """The invariants that do not hold."""
    return {finding.invariant for finding in invariants.check()}


@pytest.mark.parametrize("name", [each.name for each in LEDGER])
def test_each_invariant_names_what_breaks_it(
    database: str, names: dict[str, str], name: str
) -> None:
    statements, also = BREAKS[name]
    raw.execute(database, *(each.format(**names) for each in statements))
    assert broken() == {name, *also}


def test_a_posting_of_another_time_than_its_entry_is_found(
    database: str, names: dict[str, str]
) -> None:
    change = "UPDATE postings SET created_at = '2026-01-01 00:00:00.000000' WHERE entry_id = '{}'"
    raw.execute(database, change.format(names["back"]))
    assert broken() == {"posting_fits_its_entry"}


def test_a_debit_beside_an_account_with_a_floor_is_found(
    database: str, names: dict[str, str]
) -> None:
    raw.execute(database, *(each.format(**names) for each in SIDE_DEBIT))
    assert broken() == {"side_row_is_a_posting"}


def test_a_finding_says_which_row(database: str, names: dict[str, str]) -> None:
    raw.execute(database, f"UPDATE accounts SET held = 41 WHERE id = '{names['payer']}'")
    assert [finding.facts for finding in invariants.check()] == [
        {"account_id": names["payer"], "held": 41, "live": 40}
    ]


def test_there_are_at_most_so_many_findings_for_each(database: str, names: dict[str, str]) -> None:
    raw.execute(database, "UPDATE accounts SET held = held + 1, balance = balance + 1")
    found = [finding.invariant for finding in invariants.check(limit=2)]
    assert found.count("held_is_sum_of_live_holds") == 2
    assert found.count("balance_is_sum_of_postings") == 2


@pytest.mark.parametrize("table", ["entries", "postings"])
@pytest.mark.parametrize("change", ["UPDATE {} SET id = id || 'x'", "DELETE FROM {}"])
def test_what_was_written_stays(
    database: str, names: dict[str, str], table: str, change: str
) -> None:
    faults = (sqlite3.IntegrityError, psycopg.errors.IntegrityConstraintViolation)
    with pytest.raises(faults, match="append-only"):
        raw.execute(database, change.format(table), guarded=True)
    world.sound()


def test_a_room_above_adds_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "INVARIANTS", list(LEDGER))
    own = Invariant("owners_have_names", "An account has an owner.", "SELECT id FROM accounts")
    world.wallet("cus_1")
    assert broken() == set()
    invariants.register(own)
    invariants.register(own)
    assert [*LEDGER, own] == invariants.INVARIANTS
    assert broken() == {"owners_have_names"}
    with pytest.raises(ValueError, match="owners_have_names"):
        invariants.register(Invariant(own.name, own.meaning, "SELECT 1"))
    assert [*LEDGER, own] == invariants.INVARIANTS


def test_the_names_are_stable_and_each_has_its_meaning() -> None:
    assert {each.name for each in LEDGER} == set(BREAKS)
    assert all(each.meaning.endswith(".") for each in LEDGER)
