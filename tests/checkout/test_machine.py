"""Ledger and payments against a model: any order of steps, on both databases."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from payments.checkout import expiry, lookup
from payments.errors import PaymentsError
from payments.ledger import accounts, folding
from payments.merchants import applications
from payments.transfers import transfers
from tests.checkout import world
from tests.checkout.model import FEE_BPS, FEE_FIXED, Asked, Model, Refusal

AMOUNTS = st.one_of(st.integers(1, 60), st.integers(1, 3_000))
CURRENCIES = st.sampled_from(["EUR", "EUR", "JPY"])
_phones = itertools.count(4915100000000)


class Shopping(RuleBasedStateMachine):
    """Three customers, two merchants, any number of payments."""

    asked: Bundle[str] = Bundle("asked")
    people = st.integers(0, 2)
    shops = st.integers(0, 1)

    @initialize()
    def _open(self) -> None:
        expiry.expire_due(10_000)  # what earlier runs left in the database that all runs share
        phones = [f"+{next(_phones)}" for _ in range(4)]
        self.model = Model()
        self.phone = dict(zip(range(3), phones[:3], strict=True))
        self.person = [world.customer(phone) for phone in phones[:3]]
        self.shop = [world.merchant(phones[3], name) for name in ("One", "Two")]
        self.fees = {currency: world.fees_taken(currency) for currency in ("EUR", "JPY")}

    def _same(self, refusal: Refusal, step: Callable[[], Any]) -> None:
        """The step is refused as the model says, or done where it says so."""
        try:
            step()
        except PaymentsError as refused:
            assert type(refused) is refusal, refused.detail
        else:
            assert refusal is None

    @rule(who=people, amount=AMOUNTS, currency=CURRENCIES)
    def deposit(self, who: int, amount: int, currency: str) -> None:
        world.customer(self.phone[who], amount, currency)
        self.model.deposit((self.person[who], currency), amount)

    @rule(giver=people, step=st.integers(1, 2), amount=AMOUNTS)
    def transfer(self, giver: int, step: int, amount: int) -> None:
        taker = (giver + step) % 3
        one, other = self.person[giver], self.person[taker]
        for person in (one, other):
            self.model.deposit((person, "EUR"), 0)
        refusal = self.model.transfer((one, "EUR"), (other, "EUR"), amount)
        sent = functools.partial(transfers.create, one, self.phone[taker], amount, "EUR")
        self._same(refusal, lambda: world.did(sent))

    @rule(
        target=asked,
        shop=shops,
        amount=AMOUNTS,
        currency=CURRENCIES,
        capture=st.sampled_from(["automatic", "manual"]),
        asks=st.one_of(st.none(), people),
    )
    def ask(self, shop: int, amount: int, currency: str, capture: str, asks: int | None) -> str:
        shop_id = self.shop[shop]
        if shop_id in self.model.suspended:
            world.did(lambda: applications.unsuspend(shop_id))
            self.model.suspended.discard(shop_id)
        row = world.asks(
            shop_id,
            amount,
            currency=currency,
            capture=capture,
            customer_phone=None if asks is None else self.phone[asks],
        )
        person = None if asks is None else self.person[asks]
        self.model.payments[row.id] = Asked(shop_id, amount, currency, capture, person)
        return str(row.id)

    @rule(who=people, id=asked)
    def confirm(self, who: int, id: str) -> None:
        person = self.person[who]
        self._same(self.model.confirm(person, id), lambda: world.confirms(person, id))

    @rule(who=people, id=asked)
    def decline(self, who: int, id: str) -> None:
        person = self.person[who]
        self._same(self.model.decline(person, id), lambda: world.declines(person, id))

    @rule(shop=shops, id=asked, amount=st.one_of(st.none(), AMOUNTS))
    def capture(self, shop: int, id: str, amount: int | None) -> None:
        refusal = self.model.capture(self.shop[shop], id, amount)
        self._same(refusal, lambda: world.captures(self.shop[shop], id, amount))

    @rule(shop=shops, id=asked)
    def cancel(self, shop: int, id: str) -> None:
        refusal = self.model.cancel(self.shop[shop], id)
        self._same(refusal, lambda: world.cancels(self.shop[shop], id))

    @rule(id=asked, amount=st.one_of(st.none(), AMOUNTS))
    def refund(self, id: str, amount: int | None) -> None:
        shop = self.model.payments[id].shop
        refusal = self.model.refund(shop, id, amount)
        self._same(refusal, lambda: world.refunds_of(shop, id, amount))

    @rule(id=asked)
    def time_passes(self, id: str) -> None:
        world.overdue(id)
        self.model.over.add(id)

    @rule()
    def expire(self) -> None:
        assert expiry.expire_due(100) == self.model.expire()

    @rule(who=people, on=st.booleans())
    def freeze(self, who: int, on: bool) -> None:
        purse = (self.person[who], "EUR")
        world.freeze(purse[0], on)
        (self.model.frozen.add if on else self.model.frozen.discard)(purse)

    @rule(shop=shops)
    def suspend(self, shop: int) -> None:
        if self.shop[shop] not in self.model.suspended:
            world.suspend(self.shop[shop])
            self.model.suspended.add(self.shop[shop])

    @rule(shop=shops, on=st.booleans())
    def collect_aside(self, shop: int, on: bool) -> None:
        def marked() -> None:
            accounts.mark_hot(accounts.open_account(self.shop[shop], "merchant", "EUR"), on)

        world.did(marked)

    @rule()
    def fold(self) -> None:
        folding.fold_all(100)

    @invariant()
    def balances_are_the_models(self) -> None:
        for kind, owners in (("customer", self.person), ("merchant", self.shop)):
            for owner in owners:
                for currency in ("EUR", "JPY"):
                    purse = (owner, currency)
                    expected = self.model.balance.get(purse, 0), self.model.held.get(purse, 0)
                    assert world.purse(owner, kind, currency) == expected
        for currency, before in self.fees.items():
            taken = world.fees_taken(currency) - before
            assert taken == self.model.fees.get(currency, 0)

    @invariant()
    def payments_are_the_models(self) -> None:
        for id, expected in self.model.payments.items():
            row = lookup.get(expected.shop, id)
            assert row.status == self.model.status(id)
            assert (row.amount_captured, row.fee) == (expected.captured, expected.fee)
            assert (row.amount_refunded, row.fee_refunded) == (
                expected.refunded,
                expected.fee_refunded,
            )
            assert row.customer_id == expected.payer

    def teardown(self) -> None:
        """At the end of each run: every invariant, and every change of status told once."""
        world.sound()
        for id, expected in self.model.payments.items():
            assert world.events(id) == expected.told


@pytest.fixture
def app(make_app):
    """The service with the model's fee."""
    return make_app(FEE_BPS=str(FEE_BPS), FEE_FIXED_MINOR=str(FEE_FIXED))


def test_any_order_of_steps_does_as_the_model(app_context):
    run_state_machine_as_test(
        Shopping,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
