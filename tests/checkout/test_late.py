"""A step that began in time and commits after it: nobody has seen another end of the payment."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from payments import db
from payments.checkout import expiry, lookup, payments
from payments.db import Sql
from payments.errors import InvalidState
from tests.checkout import world

AT_COMMIT_S = 0.3
PAST = Sql("SELECT expires_at FROM payments WHERE id = :id AND expires_at <= :now")


@contextmanager
def under_way(app, step: Callable[[], object]) -> Iterator[None]:
    """The step done in a unit that is open inside the `with`, and commits at its end."""
    done, ends = threading.Event(), threading.Event()

    def unit() -> None:
        with app.app_context(), db.unit_of_work():
            step()
            done.set()
            ends.wait(10)

    thread = threading.Thread(target=unit)
    thread.start()
    try:
        assert done.wait(10)
        yield
    finally:
        ends.set()
        thread.join()


def wait_until_past(payment_id: str) -> None:
    while PAST.one(id=payment_id) is None:
        time.sleep(0.01)


@pytest.fixture
def asked(shop) -> str:
    """A payment whose time is over in a moment."""
    payment_id = world.asks(shop).id
    world.overdue(payment_id, by_s=-AT_COMMIT_S)
    return payment_id


def test_what_reads_as_expired_never_succeeds(app, shop, payer, asked):
    with under_way(app, lambda: payments.confirm(asked, payer)):
        wait_until_past(asked)
        seen = lookup.get(shop, asked)
        listed = lookup.of_merchant(shop, {"status": "expired"}, 10, None)
    after = lookup.get(shop, asked)
    assert (seen.status, seen.version, listed) == ("pending", 1, [])
    assert (after.status, after.version) == ("succeeded", 2)
    world.sound()


def test_the_recording_passes_over_a_step_under_way(postgres_app, postgres_shop, postgres_payer):
    asked = world.asks(postgres_shop).id
    world.overdue(asked, by_s=-AT_COMMIT_S)
    with under_way(postgres_app, lambda: payments.confirm(asked, postgres_payer)):
        wait_until_past(asked)
        assert expiry.expire_due(10) == 0
        with pytest.raises(InvalidState, match="pending: its time is over"):
            world.confirms(postgres_payer, asked)
    assert expiry.expire_due(10) == 0
    assert world.events(asked) == ["payment.created", "payment.succeeded"]


def test_a_step_that_comes_to_the_row_after_the_recording_is_refused(
    postgres_app, postgres_shop, postgres_payer
):
    """Though it began in time."""
    asked = world.asks(postgres_shop).id
    world.overdue(asked, by_s=-AT_COMMIT_S)
    with db.unit_of_work() as unit:
        assert unit.now < world.raw(asked).expires_at
        recorded = threading.Thread(target=lambda: _expired_in(postgres_app, asked))
        recorded.start()
        recorded.join()
        with pytest.raises(InvalidState, match="The payment is expired"):
            payments.confirm(asked, postgres_payer)
    assert (world.raw(asked).status, world.raw(asked).version) == ("expired", 2)
    world.sound()


def _expired_in(app, payment_id: str) -> None:
    with app.app_context():
        wait_until_past(payment_id)
        assert expiry.expire_due(10) == 1
