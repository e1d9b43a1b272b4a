"""The runbook's reconcile, as typed there: exact, honest by its exit code, careful to repair."""

import json
from typing import Any

import pytest

from payments import db, successes
from payments.db import Sql
from payments.ledger import holds, invariants
from payments.operations import read_only
from tests.checkout import world as shops
from tests.ledger import raw, world
from tests.scripts import running

pytestmark = pytest.mark.slow

AUDIT = Sql("SELECT actor, subject_id FROM audit_log WHERE action = 'ledger.rebuild_balance'")
WRONG = "UPDATE accounts SET balance = balance + 7, held = held + 3 WHERE id = '{}'"


@pytest.fixture
def wallet(app_context) -> str:
    """A wallet with 100, 30 of it held, in a ledger that has some of everything."""
    payer, shop = shops.customer("+4915155555555", has=50_00), shops.merchant()
    paid = shops.asks(shop, 20_00)
    shops.confirms(payer, paid.id)
    shops.refunds_of(shop, paid.id, 5_00)
    made = world.wallet("cus_1", 100)
    world.did(lambda: holds.place(made, 30, "x_1", None))
    world.sound()
    return made


def noted() -> Any:
    """What the metrics will read."""
    return successes.last("reconcile")


def reconcile(database, tmp_path, *options, **more):
    return running.script(database, tmp_path, "reconcile.py", *options, **more)


def test_a_sound_ledger_is_fine_and_the_run_is_noted(database, tmp_path, wallet):
    said = running.told(reconcile(database, tmp_path)).splitlines()
    names = [each.name for each in invariants.INVARIANTS]
    assert said[:-1] == [f"ok     {name}" for name in names]
    assert said[-1].startswith(f"{len(names)} invariants, 0 findings at ")
    row = noted()
    assert (row.findings, row.succeeded_at) == (0, row.finished_at)


def test_a_dry_run_names_what_is_wrong_and_changes_nothing(database, tmp_path, wallet):
    raw.execute(database, WRONG.format(wallet))
    said = running.told(reconcile(database, tmp_path), 1)
    assert "BROKEN balance_is_sum_of_postings: 1 findings." in said
    assert f"account_id={wallet} kind=customer currency=EUR stored=107 posted=100" in said
    assert f"account_id={wallet} held=33 live=30" in said
    assert world.purse(wallet) == (107, 33)
    assert noted().findings == 3  # and the currency sums to 7


def test_the_runbooks_command_repairs_without_a_terminal(database, tmp_path, wallet):
    raw.execute(database, WRONG.format(wallet))
    said = running.told(reconcile(database, tmp_path, "--fix-balances"))
    assert f"FIXED  {wallet} customer EUR balance 107 -> 100 held 33 -> 30\n" in said
    assert said.splitlines()[-1].startswith(f"{len(invariants.INVARIANTS)} invariants, 0 findings")
    assert world.purse(wallet) == (100, 30)
    world.sound()
    assert [tuple(row) for row in AUDIT.all()] == [("script:reconcile", wallet)]
    row = noted()
    assert (row.findings, json.loads(row.detail_json)["repaired"]) == (0, 1)
    again = reconcile(database, tmp_path, "--fix-balances")
    assert "nothing to repair" in again.stderr
    assert running.told(again).count("FIXED") == 0


def test_an_account_left_below_its_floor_is_listed_and_no_success(database, tmp_path, wallet):
    raw.execute(
        database,
        f"UPDATE accounts SET balance = 900 WHERE id = '{wallet}'",
        "UPDATE holds SET amount = 130",
    )
    said = running.told(reconcile(database, tmp_path, "--fix-balances"), 1)
    assert f"{wallet} customer EUR balance 900 -> 100 held 30 -> 130 BELOW ITS FLOOR" in said
    assert "BROKEN balance_is_not_below_floor: 1 findings." in said
    assert world.purse(wallet) == (100, 130)


def test_what_is_no_cached_balance_is_not_touched(database, tmp_path, wallet):
    change = "UPDATE payments SET amount_refunded = amount_refunded + 1 WHERE amount_refunded > 0"
    raw.execute(database, change)
    for options in ([], ["--fix-balances"]):
        said = running.told(reconcile(database, tmp_path, *options), 1)
        assert "BROKEN refunds_add_up: 1 findings." in said
        assert "FIXED" not in said


def test_the_json_says_it_all(database, tmp_path, wallet):
    raw.execute(database, WRONG.format(wallet))
    shown = running.as_json(reconcile(database, tmp_path, "--json"), 1)
    assert shown["findings"] == 3
    assert [each["name"] for each in shown["invariants"]] == [
        each.name for each in invariants.INVARIANTS
    ]
    (held,) = [e for e in shown["invariants"] if e["name"] == "held_is_sum_of_live_holds"]
    assert (held["findings"], held["shown"][0]["held"]) == (1, 33)
    shown = running.as_json(reconcile(database, tmp_path, "--json", "--fix-balances"))
    assert shown["findings"] == 0
    assert shown["repaired"] == [
        {
            "account_id": wallet,
            "kind": "customer",
            "currency": "EUR",
            "before": {"balance": 107, "held": 33},
            "after": {"balance": 100, "held": 30},
            "is_below_floor": False,
        }
    ]


def test_it_works_while_all_else_is_stopped(database, tmp_path, wallet):
    """The restore's fourth step comes before traffic resumes."""
    raw.execute(database, WRONG.format(wallet))
    db.in_unit(lambda: read_only.switch(True, "restoring"), in_read_only=True)
    running.told(reconcile(database, tmp_path, READ_ONLY="true"), 1)
    running.told(reconcile(database, tmp_path, "--fix-balances", READ_ONLY="true"))
    assert world.purse(wallet) == (100, 30)


@pytest.mark.parametrize(("answer", "code"), [("\r", 1), ("y\r", 0), ("\x03", 130)])
def test_on_a_terminal_it_asks_first(database, tmp_path, wallet, answer, code):
    raw.execute(database, WRONG.format(wallet))
    ended, shown = running.on_terminal(database, tmp_path, answer, "reconcile.py", "--fix-balances")
    assert ended == code, shown
    assert "Rebuild the cached balances of 1 accounts? [y/N]" in shown
    assert world.purse(wallet) == ((100, 30) if code == 0 else (107, 33))


def test_findings_are_all_counted_where_few_are_shown(database, tmp_path, wallet):
    world.wallet("cus_2", 100)
    raw.execute(database, "UPDATE accounts SET held = held + 1 WHERE kind = 'customer'")
    said = running.told(reconcile(database, tmp_path, "--show", "1"), 1)
    assert "BROKEN held_is_sum_of_live_holds: 4 findings." in said
    assert "       and 3 more\n" in said


def test_a_database_that_can_not_be_used_is_told_in_one_line(tmp_path):
    nowhere = f"sqlite:///{tmp_path}/typo.db"
    done = running.script(nowhere, tmp_path, "reconcile.py")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"reconcile: there is no database at {tmp_path}/typo.db\n"
    assert not (tmp_path / "typo.db").exists()
    away = f"postgresql://pay:hunter2hunter@/pay?host={tmp_path}"
    done = running.script(away, tmp_path, "reconcile.py")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("reconcile: the database can't be used: ")
    assert len(done.stderr.splitlines()) == 1
    assert "hunter2" not in done.stderr


def test_a_database_without_tables_is_told_in_one_line(empty_database, tmp_path):
    if empty_database.startswith("sqlite"):
        open(empty_database.removeprefix("sqlite:///"), "w").close()
    done = running.script(empty_database, tmp_path, "reconcile.py")
    assert done.returncode == 3
    assert done.stderr.startswith("reconcile: the database can't be used: ")
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_stops_it(postgres, tmp_path):
    """While a check runs: here one waits for a lock."""
    held = "BEGIN; LOCK TABLE refunds IN ACCESS EXCLUSIVE MODE"
    with running.connected(postgres) as owner, running.connected(postgres) as other:
        owner.execute(held)
        code, said = running.interrupted(
            postgres, tmp_path, "reconcile.py", when=lambda: running.waiting(other)
        )
    assert (code, said) == (130, "reconcile: stopped\n")
