"""How Postgres reads the ledger when it is full: by index, whatever the rest is like."""

import pytest

from payments.db import Sql, unit_of_work
from payments.ledger import accounts, folding, statements
from tests.ledger import raw, world

EUROS = 20_000
FILL = (
    "INSERT INTO entries (id, kind, subject_id, caller, created_at)"
    " SELECT 'ent_' || n, 'moved', 'x_1', 'test', now() - n * interval '1 second'"
    f" FROM generate_series(1, {EUROS}) AS n",
    "INSERT INTO postings (id, entry_id, account_id, amount, created_at)"
    " SELECT 'pst_' || side || n, 'ent_' || n,"
    " CASE WHEN side = 'a' THEN 'acc_external_bank_EUR'"
    " ELSE (SELECT id FROM accounts WHERE owner_id = 'cus_' || n % 10) END,"
    " CASE WHEN side = 'a' THEN -1 ELSE 1 END, now() - n * interval '1 second'"
    f" FROM generate_series(1, {EUROS}) AS n, unnest(ARRAY['a', 'b']) AS side",
    "INSERT INTO unfolded_postings (posting_id, account_id, amount, created_at)"
    " SELECT id, account_id, amount, created_at FROM postings"
    " WHERE account_id = 'acc_external_bank_EUR'",
    f"UPDATE accounts SET balance = {EUROS // 10} WHERE kind = 'customer'",
    "ANALYZE",
)


@pytest.fixture
def full(postgres: str, postgres_app: object) -> str:
    """One wallet of ten, on a ledger with twenty thousand entries, none of them folded."""
    world.outside()
    wallets = [world.wallet(f"cus_{number}") for number in range(10)]
    raw.execute(postgres, *FILL)
    world.sound()
    return wallets[0]


def plan(statement: Sql, **binds: object) -> str:
    """How it is run, with what was read of each table."""
    explain = Sql(f"EXPLAIN (ANALYZE, COSTS off, TIMING off) {statement.text}")
    with unit_of_work():
        return "\n".join(row[0] for row in explain.all(**binds))


def test_reads_go_by_index(full: str) -> None:
    account = world.account(full)
    place = {"before_at": statements.lines(full, 20)[-1].created_at, "before_id": "pst_b"}
    owner = {"owner_id": account.owner_id, "kind": "customer"}
    plans = {
        "get": plan(accounts._GET, id=full),
        "find": plan(accounts._FIND, **owner, currency="EUR"),
        "of owner": plan(accounts._OF_OWNER, **owner),
        "then": plan(accounts._BALANCE_AT, id=full, at=place["before_at"]),
        "page": plan(statements._FIRST_PAGE, account_id=full, limit=20),
        "next page": plan(statements._NEXT_PAGE, account_id=full, limit=20, **place),
    }
    for name, how in plans.items():
        assert "Seq Scan on unfolded_postings" not in how, (name, how)
        assert "Seq Scan on postings" not in how, (name, how)
        assert "Seq Scan on entries" not in how, (name, how)
        assert "Sort Method: external" not in how, (name, how)


def test_who_waits_to_be_folded_is_found_without_reading_what_waits(full: str) -> None:
    how = plan(folding._WAITING, limit=10)
    assert "Seq Scan on unfolded_postings" not in how, how
    assert f"rows={EUROS}" not in how, how


def test_the_same_reads_are_right_when_it_is_full(full: str) -> None:
    assert world.purse(full) == (EUROS // 10, 0)
    line = statements.lines(full, 1)[0]
    assert (line.balance, line.counterparty_kind) == (EUROS // 10, "external:bank")
