"""Results whose unit met a lock or lost its connection: written one by one, and never twice."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import make_url

from payments import clock, db
from payments.db import Sql
from payments.drivers import ConnectionLost
from payments.errors import Busy, ReadOnly
from payments.operations import read_only
from payments.units import Unit
from payments.webhooks import claims, unwritten
from payments.webhooks.claims import Claim
from payments.webhooks.results import Result
from payments.webhooks.sender import Answer
from payments.webhooks.unwritten import Unwritten
from tests import receivers
from tests.webhooks import world
from tests.webhooks.busy import running, wait_until

only_postgres = pytest.mark.parametrize("database_kind", ["postgres"], indirect=True)
"""SQLite has one lock for all: nothing can be written while another holds it."""


@contextmanager
def held(database: str, delivery_id: str) -> Iterator[None]:
    """Another session holds this delivery's row."""
    url = make_url(database)
    with psycopg.connect(host=str(url.query["host"]), user=url.username, dbname=url.database) as it:
        it.execute("SELECT 1 FROM deliveries WHERE id = %s FOR UPDATE", [delivery_id])
        yield


def leased(count: int) -> list[Claim]:
    """So many deliveries, each to an endpoint of its own, in flight."""
    shop = world.merchant()
    for _ in range(count):
        world.endpoint(shop)
    world.happen(shop)
    with db.unit_of_work():
        made, _place = claims.take(count)
    assert len(made) == count
    return sorted(made, key=lambda one: one.parcel.delivery_id)


def waiting(made: list[Claim], status: int = 200) -> Unwritten:
    outcome = "success" if status == 200 else f"http_{status // 100}xx"
    kept = Unwritten()
    kept.add([Result(one, Answer(outcome, clock.now(), 1, http_status=status)) for one in made])
    return kept


def statuses() -> dict[str, str]:
    return {row.id: row.status for row in world.deliveries()}


@only_postgres
def test_a_row_that_is_held_keeps_no_other_result_back(fast_app, drain, receiver, database):
    shop = world.merchant()
    for path in ("/a", "/b", "/c"):
        world.endpoint(shop, receiver.url(path))
        receiver.script(path, receivers.answer(after_s=0.5))
    world.happen(shop)
    stuck, *others = sorted(statuses())
    with running(fast_app, drain):
        receiver.wait_for(3)
        with held(database, stuck):
            wait_until(lambda: all(statuses()[other] == "delivered" for other in others), 8)
            world.happen(shop)  # and what comes meanwhile is sent
            wait_until(lambda: [*statuses().values()].count("delivered") >= 4, 8)
            assert statuses()[stuck] == "pending"
        wait_until(lambda: set(statuses().values()) == {"delivered"})
    assert len(receiver.received()) == 6
    assert len(world.attempts()) == 6


@only_postgres
def test_at_the_end_all_is_written_but_what_is_held(fast_app, drain, receiver, database, caplog):
    shop = world.merchant()
    for path in ("/a", "/b", "/c"):
        world.endpoint(shop, receiver.url(path))
        receiver.script(path, receivers.answer(after_s=0.5))
    world.happen(shop)
    stuck, *others = sorted(statuses())
    with running(fast_app, drain):
        receiver.wait_for(3)
        holding = held(database, stuck)
        holding.__enter__()
        drain.stop()
        drain.finish()
        holding.__exit__(None, None, None)
    assert statuses() == {stuck: "pending"} | dict.fromkeys(others, "delivered")
    (told,) = [r for r in caplog.records if "not written in time" in r.message]
    assert told.delivery_id == stuck


@only_postgres
def test_what_could_not_be_written_comes_after_what_had_no_turn(fast_app, database, monkeypatch):
    monkeypatch.setattr(unwritten, "ROUND_S", 0.0)  # one a round
    monkeypatch.setattr(unwritten, "PAUSE_S", 0.0)
    made = leased(2)
    first, second = (one.parcel.delivery_id for one in made)
    kept = waiting(made)
    with held(database, first):
        with pytest.raises(Busy):
            kept.write(lambda: None)
        assert (len(kept), kept.has_fresh, kept.has_stuck_due) == (2, False, True)
        kept.write_one_by_one()
        assert statuses() == {first: "pending", second: "pending"}
        kept.write_one_by_one()
        assert statuses() == {first: "pending", second: "delivered"}
    kept.write_one_by_one()
    assert statuses() == {first: "delivered", second: "delivered"}
    assert not kept


@only_postgres
def test_beside_one_that_cant_be_written_one_that_is_held_is_kept(fast_app, database, caplog):
    made = leased(2)
    held_one, lost = (one.parcel.delivery_id for one in made)
    with db.unit_of_work():
        Sql("DELETE FROM deliveries WHERE id = :id").run(id=lost)
    kept = waiting(list(reversed(made)))  # the one that is gone fails before the lock is met
    with held(database, held_one):
        with pytest.raises((psycopg.Error, Busy)):
            kept.write(lambda: None)
        kept.write_one_by_one()
        assert len(kept) == 1
    kept.write_one_by_one()
    assert statuses() == {held_one: "delivered"}
    assert not kept
    (told,) = [r for r in caplog.records if "can't be written" in r.message]
    assert told.delivery_id == lost


def lose_the_next_commit(monkeypatch) -> None:
    """The commit happens, and nobody hears of it."""
    real = Unit.commit

    def commit(unit: Unit) -> None:
        monkeypatch.setattr(Unit, "commit", real)
        real(unit)
        raise ConnectionLost

    monkeypatch.setattr(Unit, "commit", commit)


@pytest.mark.parametrize("status", [200, 500, 410])
def test_a_result_whose_commit_was_not_heard_of_is_not_written_twice(fast_app, monkeypatch, status):
    made = leased(2)
    kept = waiting(made, status)
    lose_the_next_commit(monkeypatch)
    with pytest.raises(ConnectionLost):
        kept.write(lambda: None)
    found = (world.attempts(), world.deliveries(), world.endpoints(), world.events())
    assert len(found[0]) == 2
    assert {row.lease_token for row in found[1]} == {None}
    kept.write_one_by_one()
    assert not kept
    assert (world.attempts(), world.deliveries(), world.endpoints(), world.events()) == found


def test_a_drain_that_does_not_hear_of_its_commit_goes_on(fast_app, drain, receiver, monkeypatch):
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(500, after_s=0.3), receivers.answer())
    world.happen(shop)
    with running(fast_app, drain):
        receiver.wait_for(1)
        lose_the_next_commit(monkeypatch)
        wait_until(lambda: world.delivery().status == "delivered")
    found = [(a.number, a.outcome) for a in world.attempts()]
    assert found == [(1, "http_5xx"), (2, "success")]
    assert world.delivery().tries == 2


def switch(on: bool) -> None:
    with db.unit_of_work(in_read_only=True):
        read_only.switch(on, "a test")


def test_results_wait_while_writes_are_stopped(fast_app):
    made = leased(2)
    kept = waiting(made)
    switch(True)
    with pytest.raises(ReadOnly):
        kept.write(lambda: None)
    kept.write_one_by_one()
    assert len(kept) == 2
    switch(False)
    kept.write_one_by_one()
    assert not kept
    assert set(statuses().values()) == {"delivered"}


def test_who_cant_be_told_of_the_rest_is_found_by_the_sweep(
    fast_app, drain, receiver, monkeypatch, caplog
):
    shop = world.merchant()
    world.endpoint(shop, receiver.url())
    receiver.script("/hook", receivers.answer(after_s=0.5))
    world.happen(shop)
    drain.run(0.1)

    def away() -> bool:
        raise Busy

    monkeypatch.setattr(claims, "is_any_ready", away)
    wait_until(lambda: "nobody was told" in caplog.text)
    assert world.delivery().status == "delivered"
