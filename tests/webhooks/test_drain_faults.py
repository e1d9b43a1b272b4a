"""The drain when the database stalls, or a row is not what it should be: nothing is lost."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from payments import db
from payments.db import Sql
from payments.webhooks import drain as drains
from payments.webhooks import flight
from tests import receivers
from tests.webhooks import world
from tests.webhooks.test_drain import running, wait_until


@contextmanager
def stalled(database: str, mode: str = "SHARE") -> Iterator[None]:
    """Another session holds what a drain must write, or read."""
    url = make_url(database)
    holder: Any
    if url.get_backend_name() == "sqlite":
        holder = sqlite3.connect(str(url.database), isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
    else:
        holder = psycopg.connect(
            host=str(url.query["host"]), user=url.username, dbname=url.database
        )
        holder.execute(f"LOCK TABLE attempts, deliveries IN {mode} MODE")
    try:
        yield
    finally:
        holder.rollback()
        holder.close()


def test_a_result_waits_for_the_database(fast_app, drain, receiver, database):
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(after_s=0.3))
    world.happen(shop)
    with running(fast_app, drain):
        receiver.wait_for(1)
        with stalled(database):
            time.sleep(3)
        wait_until(lambda: world.delivery().status == "delivered")
    assert len(receiver.received()) == 1


def test_at_the_end_a_result_does_not_wait_for_ever(fast_app, drain, receiver, database):
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    world.happen(shop)
    receiver.script("/hook", receivers.answer(after_s=0.3))
    with running(fast_app, drain):
        receiver.wait_for(1)
        holding = stalled(database)
        holding.__enter__()
        drain.stop()
        drain.finish()
        holding.__exit__(None, None, None)
    delivery = world.delivery()
    assert (delivery.status, delivery.lease_token is None) == ("pending", False)


def test_what_is_left_behind_waits_for_the_database_too(fast_app, drain, receiver, database):
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(after_s=0.5))
    world.happen(shop)
    drain.run(0.1)
    with stalled(database):
        time.sleep(3.2)
    wait_until(lambda: world.delivery().status == "delivered")


def test_what_is_left_behind_does_not_wait_for_ever(fast_app, drain, receiver, database):
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(after_s=0.5))
    world.happen(shop)
    drain.run(0.1)
    with stalled(database):
        time.sleep(0.6)
        drain.finish()
    assert world.delivery().status == "pending"


def forget(delivery_id: str) -> None:
    """Delete a delivery, as nothing does: what comes back for it can't be written."""
    with db.unit_of_work():
        Sql("DELETE FROM deliveries WHERE id = :id").run(id=delivery_id)


@pytest.mark.parametrize("left_behind", [False, True])
def test_a_result_that_cant_be_written_takes_no_other_with_it(
    fast_app, drain, receiver, left_behind, caplog
):
    shop = world.merchant()
    gate, run_over = threading.Event(), threading.Event()

    def when_open(handler) -> None:
        gate.wait(5)
        handler.answer(200, b"", {})

    for path in ("/a", "/b"):
        world.endpoint(shop, receiver.url(path))
        receiver.script(path, when_open)
    world.happen(shop)
    lost, kept = (d.id for d in world.deliveries())

    def forget_one() -> None:
        receiver.wait_for(2)
        with fast_app.app_context():
            forget(lost)
        if left_behind:
            run_over.wait(5)
        gate.set()

    deleting = threading.Thread(target=forget_one)
    deleting.start()
    if left_behind:
        drain.run(0.2)
        run_over.set()
    else:
        with pytest.raises(Exception, match="(?i)foreign key"):
            drain.run(5)
    deleting.join()
    wait_until(lambda: [(d.id, d.status) for d in world.deliveries()] == [(kept, "delivered")])
    drain.finish()
    (told,) = [r for r in caplog.records if "can't be written" in r.message]
    assert told.delivery_id == lost


def test_an_attempt_that_fails_on_our_side_is_an_attempt(fast_app, drain, receiver, monkeypatch):
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    world.happen(shop)
    send = flight.Sender.send
    failed: list[bool] = []

    def once(sender, parcel):
        if not failed:
            failed.append(True)
            raise MemoryError
        return send(sender, parcel)

    monkeypatch.setattr(flight.Sender, "send", once)
    drain.run(5)
    assert [(a.outcome, a.detail) for a in world.attempts()] == [
        ("connect", "the attempt failed on our side: MemoryError"),
        ("success", None),
    ]


@pytest.mark.parametrize("database_kind", ["postgres"], indirect=True)
def test_a_database_that_does_not_answer_ends_a_run_that_has_nothing_to_do(
    fast_app, drain, receiver, database, caplog
):
    """Only Postgres: nothing keeps SQLite's readers from reading."""
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(429, retry_after=1), receivers.answer())
    world.happen(shop)
    with running(fast_app, drain):
        wait_until(world.attempts)
        with stalled(database, "ACCESS EXCLUSIVE"):
            wait_until(lambda: "the sweep goes on" in caplog.text, 20)
    drains.finish()
    assert drains.of_process().run(5) is True
    assert world.delivery().status == "delivered"
