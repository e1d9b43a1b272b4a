"""One process of many that trade at once: `python -m tests.stories.trader <number> <plan> <facts>`.

It makes the app of its environment and calls the rooms, as web processes do, in an order drawn from
its own seed. What it was told came about goes into the file of facts, as JSON. Refusals that each
step may meet are counted; anything else ends the process.
"""

import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from payments import db, ids
from payments.app import create_app
from payments.checkout import expiry, lookup, payments, refunds
from payments.db import Row
from payments.drivers import ConnectionLost
from payments.errors import (
    AmountExceedsRefundable,
    Busy,
    InsufficientFunds,
    InvalidState,
    MerchantBalanceInsufficient,
    PaymentsError,
)
from payments.ledger import accounts, folding, posting
from payments.merchants import applications
from payments.transfers import deposits, transfers

T = TypeVar("T")

BUSY_TRIES = 5
FOLDER = 0
"""The trader that also does what the clock does: folds, and records what ran out of time."""
FOLDS_EVERY = 25


@dataclass
class Plan:
    """What all traders share. contested: payments that each of them tries to move."""

    seed: int
    steps: int
    customers: dict[str, str]  # id -> phone
    merchants: list[str]
    contested: list[tuple[str, str]]  # (payment, merchant)


@dataclass
class Facts:
    """What one trader was told. moved: minor units by owner, from what the rooms returned;
    deposited: what came from outside, less what left.
    """

    moved: Counter[str] = field(default_factory=Counter)
    deposited: int = 0
    captured: list[str] = field(default_factory=list)
    refunded: list[str] = field(default_factory=list)
    transferred: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    folded: int = 0


class Trader:
    """Draws steps from a seeded dice and keeps the facts."""

    def __init__(self, plan: Plan, number: int) -> None:
        self.plan = plan
        self.number = number
        self.dice = random.Random(f"{plan.seed}/{number}")
        self.facts = Facts()
        self.own: list[tuple[str, str]] = []
        self.step = 0

    def run(self) -> Facts:
        """Every step of the plan."""
        steps = (
            (self.deposit, 2),
            (self.send, 3),
            (self.send_by_service, 2),
            (self.ask_and_pay, 5),
            (self.contest, 5),
            (self.settle, 3),
            (self.refund, 4),
            (self.pay_out, 1),
        )
        works, weights = zip(*steps, strict=True)
        for step in range(self.plan.steps):
            self.step = step
            self.dice.choices(works, weights)[0]()
            if self.number == FOLDER and step % FOLDS_EVERY == 0:
                self.facts.folded += folding.fold_all(10)
                expiry.expire_due(10)
        return self.facts

    def deposit(self) -> None:
        """Money from outside; now and then told by several traders under one reference."""
        customer, phone = self.somebody()
        reference, amount = f"own-{self.number}-{self.step}", self.dice.randint(1, 5_00)
        if self.dice.random() < 0.3:
            reference, amount = f"shared-{self.step // 20}", 2_00
            customer, phone = sorted(self.plan.customers.items())[self.step // 20 % 20]
        told = self.did("deposit", lambda: deposits.create("bank", phone, amount, "EUR", reference))
        if told is not None and told[1]:
            self.facts.deposited += amount
            self.facts.moved[customer] += amount

    def send(self) -> None:
        """A customer sends to another."""
        (sender, _), (_, phone) = self.two()
        amount = self.dice.randint(1, 4_00)
        row = self.did(
            "transfer",
            lambda: transfers.create(sender, phone, amount, "EUR"),
            InsufficientFunds,
        )
        if row is not None:
            self.sent(row)

    def send_by_service(self) -> None:
        """A sister service moves between two; now and then the same by several traders."""
        reference, amount = f"own-{self.number}-{self.step}", self.dice.randint(1, 4_00)
        (_, giver), (_, taker) = self.two()
        if self.dice.random() < 0.3:
            place = self.step // 20
            phones = sorted(self.plan.customers.values())
            reference, amount = f"shared-{place}", 1_00
            giver, taker = phones[place % 20], phones[(place * 7 + 1) % 20]
            if giver == taker:
                return
        told = self.did(
            "service transfer",
            lambda: transfers.by_service("taxi", giver, taker, amount, "EUR", reference),
            InsufficientFunds,
        )
        if told is not None and told[1]:
            self.sent(told[0])

    def sent(self, row: Row) -> None:
        """Keep a transfer."""
        self.facts.transferred.append(row.id)
        self.facts.moved[row.sender_id] -= row.amount
        self.facts.moved[row.recipient_id] += row.amount

    def ask_and_pay(self) -> None:
        """A merchant, mostly the hot one, asks; mostly somebody pays at once."""
        shop = self.dice.choices(self.plan.merchants, (6, 1, 1))[0]
        asked = self.did(
            "create",
            partial(
                payments.create,
                shop,
                amount=self.dice.randint(1, 5_00),
                currency="EUR",
                capture=self.dice.choice(("automatic", "automatic", "manual")),
                expires_in_s=self.dice.choice((1, 900, 900, 900)),
            ),
        )
        if asked is not None:
            self.own.append((asked.id, shop))
            if self.dice.random() < 0.8:
                self.confirm(asked.id)

    def contest(self) -> None:
        """Move a payment that the other traders move at about the same time."""
        near = self.step * len(self.plan.contested) // self.plan.steps
        payment_id, shop = self.plan.contested[near]
        work = self.dice.choices(("confirm", "end", "refund", "decline"), (8, 3, 3, 1))[0]
        if work == "confirm":
            self.confirm(payment_id)
        elif work == "end":
            self.end(payment_id, shop)
        elif work == "refund":
            self.give_back(payment_id, shop)
        else:
            customer, _ = self.somebody()
            self.did("decline", lambda: payments.decline(payment_id, customer), InvalidState)

    def settle(self) -> None:
        """Capture or cancel an own payment, whatever became of it."""
        if self.own:
            self.end(*self.dice.choice(self.own))

    def refund(self) -> None:
        """Give back of an own payment, whatever became of it."""
        if self.own:
            self.give_back(*self.dice.choice(self.own))

    def confirm(self, payment_id: str) -> None:
        """Anybody pays it."""
        customer, _ = self.somebody()
        row = self.did(
            "confirm",
            lambda: payments.confirm(payment_id, customer),
            InvalidState,
            InsufficientFunds,
        )
        if row is not None and row.status == "succeeded":
            self.paid(row)

    def end(self, payment_id: str, shop: str) -> None:
        """Capture it, whole or in part, or cancel it."""
        if self.dice.random() < 0.25:
            self.did("cancel", lambda: payments.cancel(payment_id, shop), InvalidState)
            return
        part = self.dice.choice((None, 1))
        row = self.did("capture", lambda: payments.capture(payment_id, shop, part), InvalidState)
        if row is not None:
            self.paid(row)

    def paid(self, row: Row) -> None:
        """Keep a captured payment."""
        self.facts.captured.append(row.id)
        self.facts.moved[row.customer_id] -= row.amount_captured
        self.facts.moved[row.merchant_id] += row.amount_captured - row.fee
        self.facts.moved["system"] += row.fee

    def give_back(self, payment_id: str, shop: str) -> None:
        """Refund a part or all that is left."""
        part = self.dice.choice((None, 1, 50))
        refund = self.did(
            "refund",
            lambda: refunds.create(shop, payment_id, amount=part),
            InvalidState,
            AmountExceedsRefundable,
            MerchantBalanceInsufficient,
        )
        if refund is not None:
            payer = lookup.get(shop, payment_id).customer_id
            self.facts.refunded.append(refund.id)
            self.facts.moved[payer] += refund.amount
            self.facts.moved[shop] += refund.fee_returned - refund.amount
            self.facts.moved["system"] -= refund.fee_returned

    def pay_out(self) -> None:
        """A merchant's money leaves, so that the merchant may be short when it refunds."""
        shop = self.dice.choice(self.plan.merchants)
        amount = self.dice.randint(1, 20_00)

        def leave() -> posting.Posted:
            source = applications.account_of(shop, "EUR")
            outside = accounts.ensure_system("external:bank", "EUR")
            return posting.post("payout", ids.new("out"), {source: -amount, outside: amount})

        if self.did("payout", leave, MerchantBalanceInsufficient) is not None:
            self.facts.moved[shop] -= amount
            self.facts.deposited -= amount

    def did(self, name: str, work: Callable[[], T], *legal: type[PaymentsError]) -> T | None:
        """What the work gave as one unit, or None for a legal refusal. Busy is tried again."""
        for _ in range(BUSY_TRIES):
            try:
                given = db.in_unit(work)
            except ConnectionLost:
                raise  # nobody ends connections here, and what it committed is not known
            except Busy:
                self.facts.refused["Busy"] += 1
            except legal as refusal:
                self.facts.refused[type(refusal).__name__] += 1
                return None
            else:
                self.facts.done[name] += 1
                return given
        raise RuntimeError(f"{name} found the service busy {BUSY_TRIES} times")

    def somebody(self) -> tuple[str, str]:
        """A customer's id and phone."""
        return self.dice.choice(list(self.plan.customers.items()))

    def two(self) -> list[tuple[str, str]]:
        """Two different customers."""
        return self.dice.sample(list(self.plan.customers.items()), 2)


def main(number: str, plan: str, facts: str) -> None:
    """Trade, and write down the facts once all is done."""
    given: dict[str, Any] = json.loads(Path(plan).read_text())
    app = create_app()
    with app.app_context():
        told = Trader(Plan(**given), int(number)).run()
    app.extensions["payments"].dispose()
    Path(facts).write_text(json.dumps(vars(told)))


if __name__ == "__main__":
    main(*sys.argv[1:])
