"""Recording what ran out of time."""

import threading

import pytest

from payments import db
from payments.checkout import expiry
from payments.db import Sql
from payments.drivers import LockTimeout
from payments.errors import Busy
from payments.ledger import holds
from tests.checkout import world

LOCK = Sql("SELECT id FROM payments WHERE id = :id FOR UPDATE")


def due(shop: str, payer: str, pending: int, authorized: int) -> list[str]:
    """That many payments of each kind whose time is over."""
    made = [world.asks(shop, 1).id for _ in range(pending)]
    for _ in range(authorized):
        held = world.asks(shop, 1, capture="manual").id
        world.confirms(payer, held)
        made.append(held)
    for payment_id in made:
        world.overdue(payment_id)
    return made


def test_only_what_is_over_is_recorded(shop, payer):
    live = [world.asks(shop).id, world.asks(shop, capture="manual").id]
    world.confirms(payer, live[1])
    over = due(shop, payer, 2, 2)
    assert world.purse(payer) == (100_00, 20_02)
    assert expiry.expire_due(100) == 4
    assert expiry.expire_due(100) == 0
    assert {world.raw(payment_id).status for payment_id in over} == {"expired"}
    assert [world.raw(payment_id).status for payment_id in live] == ["pending", "authorized"]
    assert world.purse(payer) == (100_00, 20_00)
    for payment_id in over:
        assert world.events(payment_id)[-1] == "payment.expired"
        assert world.raw(payment_id).ended_at is not None
    world.sound()


def test_the_limit_counts_both_kinds_and_several_units(shop, payer, monkeypatch):
    monkeypatch.setattr(expiry, "UNIT_ROWS", 2)
    due(shop, payer, 5, 2)
    assert expiry.expire_due(3) == 3  # two, and one of the next two
    assert expiry.expire_due(3) == 3  # two pending, and an authorized one
    assert expiry.expire_due(3) == 1
    world.sound()


def test_a_clock_passes_over_what_another_holds(postgres_app, postgres_shop, postgres_payer):
    over = due(postgres_shop, postgres_payer, 2, 2)
    held, done = threading.Event(), threading.Event()

    def other() -> None:
        with postgres_app.app_context(), db.unit_of_work():
            for payment_id in (over[0], over[2]):
                LOCK.one(id=payment_id)
            held.set()
            done.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    assert held.wait(10)
    try:
        assert expiry.expire_due(100) == 2
    finally:
        done.set()
        thread.join()
    assert [world.raw(payment_id).status for payment_id in over] == [
        "pending",
        "expired",
        "authorized",
        "expired",
    ]
    assert expiry.expire_due(100) == 2
    world.sound()


def test_several_clocks_record_each_payment_once(postgres_app, postgres_shop, postgres_payer):
    over = due(postgres_shop, postgres_payer, 20, 10)
    counts: list[int] = []

    def clock() -> None:
        with postgres_app.app_context():
            counts.append(expiry.expire_due(100))

    threads = [threading.Thread(target=clock) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 30
    for payment_id in over:
        assert world.events(payment_id).count("payment.expired") == 1
    world.sound()


def test_holds_are_released_before_pending_payments_are_recorded(shop, payer):
    due(shop, payer, 3, 2)
    assert expiry.expire_due(2) == 2
    assert world.purse(payer) == (100_00, 0)


@pytest.mark.parametrize(
    ("fault", "told"), [(ZeroDivisionError, "can't be released"), (LockTimeout, "wallet is busy")]
)
def test_a_hold_that_can_not_be_released_keeps_no_other_back(
    shop, payer, monkeypatch, caplog, fault, told
):
    first, second, third = due(shop, payer, 1, 2)
    stuck = world.raw(second).hold_id
    release = holds.release

    def failing(hold_id, **how):
        if hold_id == stuck:
            raise fault
        release(hold_id, **how)

    monkeypatch.setattr(holds, "release", failing)
    assert expiry.expire_due(10) == 2
    assert [world.raw(one).status for one in (first, second, third)] == [
        "expired",
        "authorized",
        "expired",
    ]
    assert told in caplog.text


@pytest.mark.parametrize("fault", [Busy, LockTimeout, ZeroDivisionError])
def test_what_is_no_one_holds_fault_ends_the_run(shop, payer, monkeypatch, fault):
    def failing(*_):
        raise fault

    monkeypatch.setattr(expiry, "_expire_authorized", failing)
    with pytest.raises(fault):
        expiry.expire_due(10)
