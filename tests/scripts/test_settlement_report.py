"""The runbook's settlement report, as typed there: months meet, and a closed one never changes."""

import csv
import io
import shlex
import subprocess
import sys
from datetime import timedelta

import pytest

from payments import db
from payments.clock import to_rfc3339
from payments.settlement import report
from scripts import settlement_report
from tests.checkout import world
from tests.children import ROOT
from tests.scripts import running
from tests.settlement.dates import dated

pytestmark = pytest.mark.slow

# shared/runbook.txt, "Reconciliation / Settlement"; the paths are ours.
RUNBOOK = (
    "python scripts/settlement_report.py --from 2025-09-01T00:00:00Z --to 2025-09-30T23:59:59Z"
    " > {folder}/settlement.csv"
)
SEPTEMBER = ("--from", "2025-09-01T00:00:00Z", "--to", "2025-09-30T23:59:59Z")
OCTOBER = ("--from", "2025-10-01T00:00:00Z", "--to", "2025-10-31T23:59:59Z")


@pytest.fixture
def app(make_app):
    """With a fee of 2.5 %."""
    return make_app(FEE_BPS="250")


@pytest.fixture
def shop(database, app_context) -> str:
    """Sells on both sides of a month's end, to the microsecond, and gives back in the next one."""
    payer, shop = world.customer("+4915155555555", has=1000_00), world.merchant()
    for moment, amount in (
        ("2025-08-31T23:59:59.999999Z", 1_00),
        ("2025-09-01T00:00:00Z", 2_00),
        ("2025-09-30T23:59:59.999999Z", 4_00),
        ("2025-10-01T00:00:00Z", 8_00),
        ("2025-10-31T23:59:59.5Z", 16_00),
        ("2025-11-01T00:00:00Z", 32_00),
    ):
        paid = world.asks(shop, amount)
        world.confirms(payer, paid.id)
        dated(database, paid.id, moment)
        if amount == 4_00:
            given = world.refunds_of(shop, paid.id, 1_00)
            dated(database, given.id, "2025-10-02T00:00:00Z")
    return shop


def settled(database, tmp_path, *options) -> str:
    return running.told(running.script(database, tmp_path, "settlement_report.py", *options))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def numbers(row: dict[str, str]) -> dict[str, int]:
    return {name: int(row[name]) for name in report.AMOUNTS}


def test_the_runbooks_command_as_it_stands(database, tmp_path, shop):
    command = RUNBOOK.format(folder=tmp_path).replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(
        command,
        shell=True,
        cwd=ROOT,
        env=running.environ(database, tmp_path),
        stdin=subprocess.DEVNULL,
        check=True,
    )
    (row,) = rows((tmp_path / "settlement.csv").read_text())
    assert list(row) == list(report.COLUMNS)
    assert (row["merchant"], row["currency"]) == (shop, "EUR")
    assert (row["from"], row["to"]) == ("2025-09-01T00:00:00Z", "2025-09-30T23:59:59Z")
    assert numbers(row) == {
        "opening": 98,  # 1.00 less 2.5 %, to the even cent
        "gross": 6_00,
        "fees": 15,
        "refunds": 0,
        "net": 5_85,
        "payouts": 0,
        "adjustments": 0,
        "closing": 6_83,
    }


def test_two_months_that_meet_lose_nothing_and_double_nothing(database, tmp_path, shop):
    (first,), (second,), (both,) = (
        rows(settled(database, tmp_path, *options))
        for options in (SEPTEMBER, OCTOBER, (*SEPTEMBER[:2], *OCTOBER[2:]))
    )
    one, two, whole = numbers(first), numbers(second), numbers(both)
    assert one["closing"] == two["opening"]
    assert (two["gross"], two["refunds"]) == (24_00, 1_00)
    for name in ("gross", "fees", "refunds", "net", "payouts", "adjustments"):
        assert one[name] + two[name] == whole[name], name
    assert (one["opening"], two["closing"]) == (whole["opening"], whole["closing"])


def test_a_closed_period_gives_the_same_bytes_whatever_comes_later(database, tmp_path, shop):
    before = [
        settled(database, tmp_path, *SEPTEMBER, *options) for options in ((), ("--format", "json"))
    ]
    payer, other = world.customer("+4915177777777", has=50_00), world.merchant(name="New")
    world.confirms(payer, world.asks(other, 5_00).id)
    world.confirms(payer, world.asks(shop, 5_00).id)
    after = [
        settled(database, tmp_path, *SEPTEMBER, *options) for options in ((), ("--format", "json"))
    ]
    assert before == after
    assert before[0].count("\n") == 2


def test_the_json_has_the_same_rows_and_their_totals(database, tmp_path, shop):
    (row,) = rows(settled(database, tmp_path, *OCTOBER))
    done = running.script(database, tmp_path, "settlement_report.py", *OCTOBER, "--json")
    shown = running.as_json(done)
    assert done.stderr == ""
    (only,) = shown["data"]
    assert {name: str(only[name]) for name in report.COLUMNS} == row
    assert (shown["provisional"], only["provisional"]) == (False, False)
    assert shown["totals"] == [{"currency": "EUR", **numbers(row)}]


def test_a_period_that_is_not_closed_is_provisional_and_agrees_with_the_ledger(
    database, tmp_path, shop
):
    until = to_rfc3339(db.now() + timedelta(hours=1))
    done = running.script(
        database, tmp_path, "settlement_report.py", *SEPTEMBER[:2], "--to", until, "--json"
    )
    shown = running.as_json(done)
    assert (shown["provisional"], shown["data"][0]["provisional"]) == (True, True)
    assert done.stderr.startswith("provisional: ")
    assert shown["data"][0]["closing"] == world.purse(shop, "merchant")[0]


def test_one_merchant_alone(database, tmp_path, shop):
    payer, other = world.customer("+4915177777777", has=50_00), world.merchant(name="Other")
    paid = world.asks(other, 5_00)
    world.confirms(payer, paid.id)
    dated(database, paid.id, "2025-09-15T12:00:00Z")
    assert len(rows(settled(database, tmp_path, *SEPTEMBER))) == 2
    (row,) = rows(settled(database, tmp_path, *SEPTEMBER, "--merchant", other))
    assert row["merchant"] == other
    done = running.script(
        database, tmp_path, "settlement_report.py", *SEPTEMBER, "--merchant", "mer_" + "0" * 32
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "settlement_report: there is no such merchant\n"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--from", "2025-09-01T00:00:00", "--to", "2025-09-30T23:59:59Z"), "with an offset"),
        (("--from", "2025-09-01", "--to", "2025-09-30T23:59:59Z"), "with an offset"),
        (("--from", "2025-09-30T00:00:00Z", "--to", "2025-09-01T00:00:00Z"), "before the beginn"),
        ((*SEPTEMBER, "--merchant", "shop"), "no id"),
        (SEPTEMBER[:2], "--to"),
    ],
)
def test_what_is_no_question_is_a_usage_error(options, why, capsys):
    with pytest.raises(SystemExit) as end:
        settlement_report.main(list(options))
    said = capsys.readouterr()
    assert (end.value.code, said.out) == (2, "")
    assert why in said.err


def test_a_reader_that_leaves_is_no_traceback(postgres, tmp_path):
    """As `| head` does; the exit code says that not all was written."""
    fill = (
        "INSERT INTO accounts (id, owner_id, kind, rank, currency, balance, held, floor, collects,"
        " version, created_at) SELECT 'acc_' || n, 'mer_' || n, 'merchant', 3, 'EUR', 0, 0, 0,"
        " false, 1, now() FROM generate_series(1, 20000) AS n",
        "INSERT INTO entries (id, kind, subject_id, caller, created_at)"
        " SELECT 'ent_' || n, 'adjustment', 'x_1', 'test', '2025-09-02'"
        " FROM generate_series(1, 20000) AS n",
        "INSERT INTO postings (id, entry_id, account_id, amount, created_at)"
        " SELECT 'pst_' || n, 'ent_' || n, 'acc_' || n, n, '2025-09-02'"
        " FROM generate_series(1, 20000) AS n",
    )
    with running.connected(postgres) as owner:
        for statement in fill:
            owner.execute(statement.encode())
    process = subprocess.Popen(
        [sys.executable, "scripts/settlement_report.py", *SEPTEMBER],
        cwd=ROOT,
        env=running.environ(postgres, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().decode().rstrip() == ",".join(report.COLUMNS)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(running.WITHIN_S) == 3
    process.stderr.close()
    whole = rows(settled(postgres, tmp_path, *SEPTEMBER))
    assert sum(int(row["closing"]) for row in whole) == sum(range(20001))
