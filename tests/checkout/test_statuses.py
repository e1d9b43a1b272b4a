"""The status table, whole: every step from every status, done or refused."""

from collections.abc import Callable
from typing import Any

import pytest

from payments.checkout import expiry, lookup, payments
from payments.errors import InvalidState, PaymentsError
from tests.checkout import world

AMOUNT = 20_00


def pending(shop: str, payer: str) -> str:
    return world.asks(shop, AMOUNT, capture="automatic").id


def pending_manual(shop: str, payer: str) -> str:
    return world.asks(shop, AMOUNT, capture="manual").id


def pending_over(shop: str, payer: str) -> str:
    payment_id = pending(shop, payer)
    world.overdue(payment_id)
    return payment_id


def pending_late(shop: str, payer: str) -> str:
    payment_id = pending(shop, payer)
    world.overdue(payment_id, by_s=1)
    return payment_id


def pending_expired(shop: str, payer: str) -> str:
    payment_id = pending_over(shop, payer)
    assert expiry.expire_due(10) == 1
    return payment_id


def authorized(shop: str, payer: str) -> str:
    payment_id = pending_manual(shop, payer)
    world.confirms(payer, payment_id)
    return payment_id


def authorized_over(shop: str, payer: str) -> str:
    payment_id = authorized(shop, payer)
    world.overdue(payment_id)
    return payment_id


def authorized_late(shop: str, payer: str) -> str:
    payment_id = authorized(shop, payer)
    world.overdue(payment_id, by_s=1)
    return payment_id


def authorized_expired(shop: str, payer: str) -> str:
    payment_id = authorized_over(shop, payer)
    assert expiry.expire_due(10) == 1
    return payment_id


def authorized_canceled(shop: str, payer: str) -> str:
    payment_id = authorized(shop, payer)
    world.cancels(shop, payment_id)
    return payment_id


def succeeded(shop: str, payer: str) -> str:
    payment_id = pending(shop, payer)
    world.confirms(payer, payment_id)
    return payment_id


def captured(shop: str, payer: str) -> str:
    payment_id = authorized(shop, payer)
    world.captures(shop, payment_id)
    return payment_id


def refunded(shop: str, payer: str) -> str:
    payment_id = succeeded(shop, payer)
    world.refunds_of(shop, payment_id, 5_00)
    return payment_id


def canceled(shop: str, payer: str) -> str:
    payment_id = pending(shop, payer)
    world.cancels(shop, payment_id)
    return payment_id


def declined(shop: str, payer: str) -> str:
    payment_id = pending(shop, payer)
    world.declines(payer, payment_id)
    return payment_id


# How a payment comes there, and the status that it shows then.
FROM: dict[Callable[[str, str], str], str] = {
    pending: "pending",
    pending_manual: "pending",
    pending_late: "pending",
    pending_over: "expired",
    pending_expired: "expired",
    authorized: "authorized",
    authorized_late: "authorized",
    authorized_over: "expired",
    authorized_expired: "expired",
    authorized_canceled: "canceled",
    succeeded: "succeeded",
    captured: "succeeded",
    refunded: "succeeded",
    canceled: "canceled",
    declined: "declined",
}

STEPS: dict[str, Callable[[str, str, str], Any]] = {
    "confirm": lambda shop, payer, id: world.confirms(payer, id),
    "pay": lambda shop, payer, id: world.did(
        lambda: payments.pay(world.raw(id).code, payer, AMOUNT)
    ),
    "decline": lambda shop, payer, id: world.declines(payer, id),
    "capture": lambda shop, payer, id: world.captures(shop, id),
    "capture a part": lambda shop, payer, id: world.captures(shop, id, 7_00),
    "cancel": lambda shop, payer, id: world.cancels(shop, id),
    "refund": lambda shop, payer, id: world.refunds_of(shop, id, 5_00),
    "expire": lambda shop, payer, id: expiry.expire_due(10),
}

# Where each allowed step leads: the status, and the event that tells of it. The rest is refused.
TO: dict[tuple[Callable[[str, str], str], str], tuple[str, str | None]] = {
    (pending, "confirm"): ("succeeded", "payment.succeeded"),
    (pending, "pay"): ("succeeded", "payment.succeeded"),
    (pending, "decline"): ("declined", "payment.declined"),
    (pending, "cancel"): ("canceled", "payment.canceled"),
    (pending_manual, "confirm"): ("authorized", "payment.authorized"),
    (pending_manual, "pay"): ("authorized", "payment.authorized"),
    (pending_manual, "decline"): ("declined", "payment.declined"),
    (pending_manual, "cancel"): ("canceled", "payment.canceled"),
    (pending_late, "expire"): ("expired", "payment.expired"),
    (pending_over, "expire"): ("expired", "payment.expired"),
    (authorized, "capture"): ("succeeded", "payment.succeeded"),
    (authorized, "capture a part"): ("succeeded", "payment.succeeded"),
    (authorized, "cancel"): ("canceled", "payment.canceled"),
    (authorized_late, "expire"): ("expired", "payment.expired"),
    (authorized_over, "expire"): ("expired", "payment.expired"),
    (succeeded, "refund"): ("succeeded", None),  # the refund has an event of its own
    (captured, "refund"): ("succeeded", None),
    (refunded, "refund"): ("succeeded", None),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("come", FROM, ids=lambda come: come.__name__)
def test_every_step_from_every_status(shop, payer, come, step):
    payment_id = come(shop, payer)
    before = lookup.get(shop, payment_id)
    row, purse = world.raw(payment_id), world.purse(payer)
    told, all_told = world.events(payment_id), world.all_events()
    assert before.status == FROM[come]
    if (come, step) in TO:
        status, event = TO[come, step]
        STEPS[step](shop, payer, payment_id)
        after = lookup.get(shop, payment_id)
        assert after.status == status
        assert world.raw(payment_id).version == row.version + 1
        assert world.events(payment_id) == told + ([event] if event else [])
        if event:
            assert world.told(payment_id)[-1] == world.shown(after)
    elif step == "expire":
        assert STEPS[step](shop, payer, payment_id) == 0
    else:
        with pytest.raises(InvalidState) as refused:
            STEPS[step](shop, payer, payment_id)
        assert f"The payment is {FROM[come]}: " in refused.value.detail
    if (come, step) not in TO:
        assert world.raw(payment_id) == row
        assert world.purse(payer) == purse
        assert world.all_events() == all_told
    world.sound()


@pytest.mark.parametrize(("come", "step"), TO, ids=lambda part: getattr(part, "__name__", part))
def test_where_the_money_is_after_each_step(shop, payer, come, step):
    payment_id = come(shop, payer)
    STEPS[step](shop, payer, payment_id)
    after = lookup.get(shop, payment_id)
    taken = after.amount_captured - after.amount_refunded
    assert world.purse(payer) == (100_00 - taken, AMOUNT if after.status == "authorized" else 0)
    assert world.purse(shop, "merchant") == (taken, 0)
    hold = world.hold(payment_id)
    ended = {"authorized": "held", "succeeded": "captured", "canceled": "released"}
    if hold is not None:
        assert hold.status == ended.get(after.status, after.status)


@pytest.mark.parametrize(
    "over, recorded", [(pending_over, "pending"), (authorized_over, "authorized")]
)
def test_a_payment_past_its_time_looks_the_same_before_and_after_the_recording(
    shop, payer, over, recorded
):
    payment_id = over(shop, payer)
    assert world.raw(payment_id).status == recorded
    before = world.shown(lookup.get(shop, payment_id))
    assert before["status"] == "expired"
    assert expiry.expire_due(10) == 1
    assert world.raw(payment_id).status == "expired"
    assert world.shown(lookup.get(shop, payment_id)) == before
    assert world.told(payment_id)[-1] == before


@pytest.mark.parametrize("step", ["confirm", "pay", "decline", "capture", "cancel", "refund"])
def test_a_refusal_says_what_is_possible(shop, payer, step):
    possible = {
        "succeeded": "can refund it",
        "expired": "create a new payment",
        "pending": "Read it again in 15 s",
    }
    come = pending_expired if step == "refund" else succeeded
    if (come, step) in TO:
        raise AssertionError("the step is allowed there")
    for start in (come, pending_late):
        payment_id = start(shop, payer)
        with pytest.raises(PaymentsError) as refused:
            STEPS[step](shop, payer, payment_id)
        assert possible[FROM[start]] in refused.value.detail


def test_too_much_is_captured_no_more_once_the_time_is_over(shop, payer):
    payment_id = authorized_late(shop, payer)
    with pytest.raises(InvalidState, match="time is over"):
        world.captures(shop, payment_id, AMOUNT + 1)
