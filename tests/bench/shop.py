"""A world to pay in: customers with sessions and funds, merchants, and payments that wait."""

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from random import Random

import psycopg
from flask import Flask

from payments import clock, db, ids
from payments.checkout import codes, fees
from payments.customers import profiles, sessions
from payments.ledger import accounts
from payments.merchants import applications
from payments.transfers import deposits
from tests.bench import load

CUSTOMERS = 200
MERCHANTS = 100
FUNDS = 10**12
AMOUNT = 5_00


@dataclass
class Shop:
    """Who pays and who is paid. hot: the one merchant that all pay in the hot runs."""

    conninfo: str
    bearers: list[str] = field(default_factory=list)
    merchants: list[tuple[str, str]] = field(default_factory=list)
    hot: tuple[str, str] = ("", "")
    draw: Random = field(default_factory=lambda: Random(17))

    def open(self, app: Flask) -> None:
        """Make the people and the merchants through the rooms themselves."""
        with app.app_context():
            for number in range(CUSTOMERS):
                self.bearers.append(db.in_unit(partial(_customer, f"+49151{number:08d}")))
            for number in range(MERCHANTS + 1):
                self.merchants.append(db.in_unit(partial(_merchant, f"+4915999{number:06d}")))
            self.hot = self.merchants.pop()
            hot_account = self.hot[1]
            db.in_unit(lambda: accounts.mark_hot(hot_account, True))
            db.in_unit(lambda: accounts.ensure_system("fees", "EUR"))
            self._terms = fees.current_terms()

    def confirms(self, count: int, *, hot: bool = False) -> list[bytes]:
        """So many payments that wait, as the requests that confirm them."""
        shops: Sequence[tuple[str, str]] = [self.hot] if hot else self.merchants
        now = clock.now()
        until = now + timedelta(days=1)
        terms = self._terms
        fee = fees.on(AMOUNT, terms)
        made = []
        copy = (
            "COPY payments (id, code, merchant_id, merchant_account_id, amount, currency, capture,"
            " status, amount_captured, amount_refunded, fee_bps, fee_fixed, fee_whole, fee,"
            " fee_refunded, version, created_at, expires_at) FROM STDIN"
        )
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            with connection.cursor().copy(copy) as rows:
                for _ in range(count):
                    merchant, account = self.draw.choice(shops)
                    payment = ids.new("pay")
                    rows.write_row(
                        (payment, codes.new(), merchant, account, AMOUNT, "EUR", "automatic",
                         "pending", 0, 0, terms.bps, terms.fixed, fee, 0, 0, 1, now, until)
                    )  # fmt: skip
                    made.append(payment)
            connection.execute("ANALYZE payments")
        payers = itertools.cycle(self.bearers)
        return [
            load.post(
                f"/v1/payments/{payment}/confirm",
                b"{}",
                {"Authorization": next(payers), "Idempotency-Key": uuid.uuid4().hex},
            )
            for payment in made
        ]


def _customer(phone: str) -> str:
    """A customer with funds; the Authorization header of a session."""
    deposit, _ = deposits.create("bench", phone, FUNDS, "EUR", phone)
    return f"Bearer {sessions.start(deposit.customer_id, 'bench').access_token}"


def _merchant(owner_phone: str) -> tuple[str, str]:
    merchant = applications.apply(profiles.get_or_create(owner_phone).id, "Shop")
    return merchant.id, applications.account_of(merchant.id, "EUR")
