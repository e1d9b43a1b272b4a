"""Several at once, on Postgres with real threads: one wins, the other is told, no money is lost."""

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
from flask import Flask

from payments import db
from payments.checkout import expiry, lookup, payments, refunds
from payments.errors import AmountExceedsRefundable, InvalidState, PaymentsError
from tests.checkout import world

ROUNDS = 8

pytestmark = pytest.mark.usefixtures("postgres_app")


def at_once(app: Flask, *steps: Callable[[], Any]) -> list[Any]:
    """What each step gave or raised, started together."""
    barrier = threading.Barrier(len(steps))
    results: list[Any] = [None] * len(steps)

    def run(index: int, step: Callable[[], Any]) -> None:
        with app.app_context():
            barrier.wait(10)
            try:
                results[index] = step()
            except PaymentsError as refusal:
                results[index] = refusal

    threads = [threading.Thread(target=run, args=(*pair,)) for pair in enumerate(steps)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def won(results: list[Any]) -> list[Any]:
    return [result for result in results if not isinstance(result, PaymentsError)]


def lost(results: list[Any]) -> list[type]:
    return [type(result) for result in results if isinstance(result, PaymentsError)]


@pytest.fixture
def shop(postgres_shop):
    return postgres_shop


@pytest.fixture
def payer(postgres_payer):
    return postgres_payer


@pytest.mark.parametrize("capture", ["automatic", "manual"])
def test_confirms_of_one_payment_pay_once(postgres_app, shop, payer, capture):
    stranger = world.customer("+4915155555555", has=100_00)
    for _ in range(ROUNDS):
        asked = world.asks(shop, 1_00, capture=capture).id
        people = [payer, stranger, payer, stranger]
        results = at_once(postgres_app, *(partial(world.confirms, who, asked) for who in people))
        assert len(won(results)) == 1
        assert lost(results) == [InvalidState] * 3
    spent = [world.purse(person) for person in (payer, stranger)]
    assert sum(balance - held for balance, held in spent) == 200_00 - ROUNDS * 1_00
    world.sound()


@pytest.mark.parametrize("capture", ["automatic", "manual"])
def test_a_confirm_against_a_cancel(postgres_app, shop, payer, capture):
    for _ in range(ROUNDS):
        asked = world.asks(shop, 1_00, capture=capture).id
        results = at_once(
            postgres_app,
            partial(world.confirms, payer, asked),
            partial(world.cancels, shop, asked),
        )
        status = lookup.get(shop, asked).status
        # An authorized payment may still be canceled, so both may have their way one after another.
        assert status in {"succeeded", "canceled"}
        assert len(won(results)) == (2 if world.hold(asked) and status == "canceled" else 1)
        assert set(lost(results)) <= {InvalidState}
    world.sound()


def test_a_capture_against_the_expiry_and_a_cancel(postgres_app, shop, payer):
    for _ in range(ROUNDS):
        held = world.asks(shop, 1_00, capture="manual").id
        world.confirms(payer, held)
        results = at_once(
            postgres_app,
            partial(world.captures, shop, held, 60),
            partial(world.overdue, held),
            partial(expiry.expire_due, 10),
            partial(world.cancels, shop, held),
        )
        expiry.expire_due(10)
        status, hold = lookup.get(shop, held).status, world.hold(held).status
        assert (status, hold) in {
            ("succeeded", "captured"),
            ("canceled", "released"),
            ("expired", "expired"),
        }
        assert set(lost(results)) <= {InvalidState}
    assert world.purse(payer)[1] == 0
    world.sound()


def test_captures_of_one_payment_take_once(postgres_app, shop, payer):
    for _ in range(ROUNDS):
        held = world.asks(shop, 1_00, capture="manual").id
        world.confirms(payer, held)
        results = at_once(
            postgres_app,
            *(partial(world.captures, shop, held, amount) for amount in (10, 20, 30, 100)),
        )
        assert lost(results) == [InvalidState] * 3
        assert world.raw(held).amount_captured == won(results)[0].amount_captured
    world.sound()


def test_refunds_of_one_payment_never_pass_what_was_captured(postgres_app, shop, payer):
    world.confirms(payer, world.asks(shop, 20_00).id)  # so that the balance is no bound
    for _ in range(ROUNDS):
        paid = world.confirms(payer, world.asks(shop, 1_00).id).id
        results = at_once(
            postgres_app, *(partial(world.refunds_of, shop, paid, 30) for _ in range(5))
        )
        assert len(won(results)) == 3
        assert lost(results) == [AmountExceedsRefundable] * 2
        assert lookup.get(shop, paid).amount_refunded == 90
    world.sound()


def test_payments_and_refunds_between_the_same_two_never_wait_for_each_other(
    postgres_app, shop, payer
):
    """A refund locks the customer's account before the merchant's, as a payment does."""
    paid = [world.confirms(payer, world.asks(shop, 1_00).id).id for _ in range(ROUNDS)]
    asked = [world.asks(shop, 1_00).id for _ in range(ROUNDS)]
    held = [world.asks(shop, 1_00, capture="manual").id for _ in range(ROUNDS)]
    for payment_id in held:
        world.confirms(payer, payment_id)

    def each(work: Callable[[str], Any], payment_ids: Iterable[str]) -> None:
        for payment_id in payment_ids:
            with db.unit_of_work():  # which, unlike in_unit, does not hide a deadlock by a retry
                work(payment_id)

    results = at_once(
        postgres_app,
        lambda: each(lambda id: payments.confirm(id, payer), asked[::2]),
        lambda: each(lambda id: payments.confirm(id, payer), asked[1::2]),
        lambda: each(lambda id: refunds.create(shop, id, amount=40), paid),
        lambda: each(lambda id: refunds.create(shop, id, amount=40), reversed(paid)),
        lambda: each(lambda id: payments.capture(id, shop), held),
    )
    assert lost(results) == []
    assert world.purse(shop, "merchant") == (ROUNDS * (3_00 - 80), 0)
    world.sound()
