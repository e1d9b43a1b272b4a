"""Many at once on few accounts, with real threads, on both databases: nothing lost, no deadlock."""

import random
import threading
from collections.abc import Callable

from flask import Flask

from payments.db import Sql
from payments.errors import PaymentsError
from payments.ledger import accounts, folding, holds, posting
from tests.ledger import world

ROUNDS = 40
DEADLOCKS = Sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")


def steps(people: list[str], shops: list[str], dice: random.Random) -> list[Callable[[], None]]:
    """What each unit may do, on accounts that all share."""
    fees = accounts.system_id("fees", "EUR")

    def pay() -> None:
        payer, shop, amount = dice.choice(people), dice.choice(shops), dice.randint(2, 40)
        posting.post("moved", "x_1", {payer: -amount, shop: amount - 1, fees: 1})

    def refund() -> None:
        payer, shop, amount = dice.choice(people), dice.choice(shops), dice.randint(2, 40)
        posting.post("moved", "x_1", {shop: 1 - amount, payer: amount, fees: -1})

    def transfer() -> None:
        giver, taker = dice.sample(people, 2)
        amount = dice.randint(1, 40)
        posting.post("moved", "x_1", {taker: amount, giver: -amount})

    def hold_and_capture() -> None:
        payer, shop = dice.choice(people), dice.choice(shops)
        hold = holds.place(payer, 20, "x_1", None)
        if dice.random() < 0.3:
            holds.release(hold)
        else:
            holds.capture(hold, "moved", {payer: -15, shop: 10, fees: 5})

    def switch() -> None:
        accounts.mark_hot(dice.choice(shops), dice.random() < 0.7)

    def fold() -> None:
        folding.fold(dice.choice([*shops, fees]))

    return [pay, pay, refund, refund, transfer, transfer, hold_and_capture, switch, fold]


def run(app: Flask, people: list[str], shops: list[str], seed: int, faults: list[object]) -> None:
    """One thread's units; a refusal is an answer, anything else a fault."""
    dice = random.Random(seed)
    try:
        with app.app_context():
            for _ in range(ROUNDS):
                step = dice.choice(steps(people, shops, dice))
                try:
                    world.did(step)
                except PaymentsError as refusal:
                    if refusal.code not in {"insufficient_funds", "merchant_balance_insufficient"}:
                        raise
    except Exception as fault:
        faults.append(fault)


def test_many_at_once_lose_nothing(app: Flask, database_kind: str) -> None:
    with app.app_context():
        people = [world.wallet(f"cus_{number}", 100) for number in range(4)]
        shops = [world.shop("mer_1", 50, hot=True), world.shop("mer_2", 50)]
        world.fees()
        faults: list[object] = []
        threads = [
            threading.Thread(target=run, args=(app, people, shops, seed, faults))
            for seed in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []
        if database_kind == "postgres":  # where one was, its unit ran again: only the count tells
            assert DEADLOCKS.scalar() == 0
        world.sound()
        folding.fold_all()
        world.sound()
        assert all(account.balance >= 0 for account in map(world.account, [*people, *shops]))
