"""Eight processes trade on one Postgres: no money is made, lost or spent twice."""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import pytest
from flask import Flask

from payments.db import Sql
from payments.ledger import accounts, invariants
from payments.merchants import applications
from tests import databases
from tests.checkout import world
from tests.children import Child
from tests.processes import service_environ
from tests.stories.trader import FOLDER, Facts, Plan

PROCESSES = 8
STEPS = 400
WALLETS = 20
START = 10_00
"""What each wallet begins with, minor units: little, so that refusals happen."""
WITHIN_S = 120.0

_CAPTURED = Sql(
    "SELECT payments.id, count(entries.id) AS entries FROM payments"
    " JOIN entries ON entries.subject_id = payments.id AND entries.kind = 'payment'"
    " GROUP BY payments.id ORDER BY payments.id"
)
_SUCCEEDED = Sql("SELECT id FROM payments WHERE status = 'succeeded' ORDER BY id")
_REFUNDS = Sql("SELECT id FROM refunds ORDER BY id")
_TRANSFERS = Sql("SELECT id FROM transfers ORDER BY id")
_DEADLOCKS = Sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")


@pytest.fixture
def environ(postgres: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    fees = {"FEE_BPS": "250", "FEE_FIXED_MINOR": "7"}
    return databases.environ_for(postgres, tmp_path, REDIS_URL=redis_url, **fees)


@pytest.fixture
def app(environ: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    with databases.app_for(databases.settings_for(environ, tmp_path)) as made, made.app_context():
        yield made


def prepare(seed: int) -> Plan:
    """Twenty wallets, three merchants of whom the first is hot, and payments to fight over."""
    phones = [f"+491511234{place:04d}" for place in range(WALLETS)]
    customers = {world.customer(phone, has=START): phone for phone in phones}
    merchants = [world.merchant(f"+4915198765{place:03d}") for place in range(3)]
    hot = merchants[0]
    world.did(lambda: accounts.mark_hot(applications.account_of(hot, "EUR"), True))
    contested = []
    for place in range(STEPS // 4):
        shop = merchants[place % 2]
        capture = "manual" if place % 3 else "automatic"
        contested.append((world.asks(shop, 1_50, capture=capture).id, shop))
    return Plan(seed, STEPS, customers, merchants, contested)


@pytest.mark.slow
@pytest.mark.usefixtures("app")
def test_eight_processes_of_all_that_moves_money_keep_every_invariant(environ, tmp_path):
    plan = prepare(seed=20260)
    told, checks = trade(plan, environ, tmp_path)
    assert checks >= 3
    world.sound()
    assert_it_was_a_fight(told)
    assert_each_thing_happened_once(told)
    assert_wallets_hold_what_was_told(told, plan)
    assert _DEADLOCKS.scalar() == 0


def trade(plan: Plan, environ: dict[str, str], folder: Path) -> tuple[list[Facts], int]:
    """Let the traders run; meanwhile read the invariants. The facts, and how often they held."""
    (folder / "plan.json").write_text(json.dumps(asdict(plan)))
    facts = [folder / f"facts-{number}.json" for number in range(PROCESSES)]
    deadline, checks = time.monotonic() + WITHIN_S, 0
    with ExitStack() as stack:
        traders = [
            stack.enter_context(
                Child(
                    [sys.executable, "-m", "tests.stories.trader"]
                    + [str(number), str(folder / "plan.json"), str(path)],
                    log=folder / f"trader-{number}.log",
                    environ=service_environ(environ, folder),
                )
            )
            for number, path in enumerate(facts)
        ]
        while any(trader.is_alive() for trader in traders):
            assert time.monotonic() < deadline, f"they still trade after {WITHIN_S} s"
            assert invariants.check() == []
            checks += 1
            time.sleep(0.2)  # the traders need the processors more
        assert [trader.log() for trader in traders if trader.wait()] == []
    return [facts_of(path) for path in facts], checks


def facts_of(path: Path) -> Facts:
    given = json.loads(path.read_text())
    for name in ("moved", "done", "refused"):
        given[name] = Counter(given[name])
    return Facts(**given)


def total(counters: Iterable[Counter[str]]) -> Counter[str]:
    """The sum, with what is below 0."""
    summed: Counter[str] = Counter()
    for counter in counters:
        summed.update(counter)
    return summed


def assert_it_was_a_fight(told: list[Facts]) -> None:
    """Every kind of step took effect often, and was refused for every reason it may have."""
    done, refused = total(each.done for each in told), total(each.refused for each in told)
    assert {name for name, times in done.items() if times < 20} <= {"decline"}, done
    assert set(done) == {
        "create", "confirm", "capture", "cancel", "decline", "refund", "deposit", "transfer",
        "service transfer", "payout",
    }  # fmt: skip
    assert set(refused) - {"Busy"} == {
        "InsufficientFunds", "InvalidState", "AmountExceedsRefundable",
        "MerchantBalanceInsufficient",
    }, refused  # fmt: skip
    assert told[FOLDER].folded > 0


def assert_each_thing_happened_once(told: list[Facts]) -> None:
    """What somebody was told is there, once, and nothing else is."""
    captured = sorted(chain.from_iterable(each.captured for each in told))
    assert captured == [row.id for row in _SUCCEEDED.all()]
    assert [(row.id, row.entries) for row in _CAPTURED.all()] == [(id, 1) for id in captured]
    refunded = sorted(chain.from_iterable(each.refunded for each in told))
    assert refunded == [row.id for row in _REFUNDS.all()]
    transferred = sorted(chain.from_iterable(each.transferred for each in told))
    assert transferred == [row.id for row in _TRANSFERS.all()]


def assert_wallets_hold_what_was_told(told: list[Facts], plan: Plan) -> None:
    """Each balance is the start and what the traders were told; none is below its floor."""
    moved = total(each.moved for each in told)
    for customer in plan.customers:
        moved[customer] += START
    purses = {owner: world.purse(owner) for owner in plan.customers}
    purses |= {shop: world.purse(shop, "merchant") for shop in plan.merchants}
    assert {owner: balance for owner, (balance, _) in purses.items()} == {
        owner: moved[owner] for owner in purses
    }
    assert [owner for owner, (balance, held) in purses.items() if not 0 <= held <= balance] == []
    assert world.fees_taken() == moved["system"] > 0
    outside = WALLETS * START + sum(each.deposited for each in told)
    assert world.purse("system", "external:bank") == (-outside, 0)
