"""The clock: each task runs when it is due, in one process at a time, whatever happens to it."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask.ctx import AppContext

from payments import db, origin, successes
from payments.app import periodic_tasks
from payments.db import Sql
from payments.errors import Busy
from payments.events import nudges
from payments.operations import clock
from payments.operations.clock import Clock, Task
from payments.webhooks import sweep
from tests.checkout import world
from tests.children import wait_until

_ROW = Sql("SELECT * FROM periodic_tasks WHERE name = :name")
_SET = Sql("UPDATE periodic_tasks SET next_run_at = :next WHERE name = :name")
_LEASE = Sql("UPDATE periodic_tasks SET lease_until = :until, lease_token = 'x' WHERE name = :name")


class Runs:
    """A task that notes when it ran, and as whom."""

    def __init__(self, seconds: float = 0, fault: Exception | None = None) -> None:
        self.at: list[float] = []
        self.actors: set[str] = set()
        self.seconds = seconds
        self.fault = fault

    def __call__(self) -> None:
        self.at.append(time.monotonic())
        self.actors.add(origin.current().actor)
        time.sleep(self.seconds)
        if self.fault:
            raise self.fault


def row(name: str = "task") -> Any:
    return _ROW.one(name=name)


def known(app, *tasks: Task) -> Clock:
    """A clock whose tasks have their rows; it is not started."""
    made = Clock(app.app_context, tasks)
    with db.unit_of_work():
        made._introduce()
    return made


@pytest.fixture(autouse=True)
def in_context(app_context) -> Iterator[None]:
    nudges.heard.clear()
    yield
    nudges.heard.clear()


def test_a_task_runs_when_it_is_due_and_not_before(app):
    runs = Runs()
    ticking = known(app, Task("task", 60, runs))
    assert ticking.tick() == 1
    assert ticking.tick() == 0
    assert runs.actors == {"job:task"}
    found = row()
    assert timedelta(seconds=59) < found.next_run_at - found.last_run_at <= timedelta(seconds=60)
    assert (found.lease_until, found.lease_token, found.last_error) == (None, None, None)
    with db.unit_of_work() as unit:
        _SET.run(name="task", next=unit.now)
    assert ticking.tick() == 1
    assert len(runs.at) == 2


def test_many_clocks_run_a_task_once(app):
    runs = Runs(0.2)
    clocks = [known(app, Task("task", 60, runs)) for _ in range(4)]
    counts: list[int] = []

    def tick(one: Clock) -> None:
        with app.app_context():
            counts.append(one.tick())

    threads = [threading.Thread(target=tick, args=(one,)) for one in clocks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0, 0, 0, 1]
    assert len(runs.at) == 1


def test_a_clock_that_died_in_the_middle_is_taken_over_when_its_lease_runs_out(app):
    runs = Runs()
    ticking = known(app, Task("task", 60, runs))
    with db.unit_of_work() as unit:
        _LEASE.run(name="task", until=unit.now + timedelta(seconds=clock.LEASE_S))
    assert ticking.tick() == 0
    with db.unit_of_work() as unit:
        _LEASE.run(name="task", until=unit.now)
    assert ticking.tick() == 1


def test_a_time_from_when_the_clock_was_ahead_holds_nothing_up(app):
    runs = Runs()
    ticking = known(app, Task("task", 60, runs))
    with db.unit_of_work() as unit:
        _SET.run(name="task", next=unit.now + timedelta(seconds=59))
    assert ticking.tick() == 0
    with db.unit_of_work() as unit:
        _SET.run(name="task", next=unit.now + timedelta(hours=2))
        _LEASE.run(name="task", until=unit.now + timedelta(hours=2))
    assert ticking.tick() == 1
    assert row().next_run_at <= db.now() + timedelta(seconds=60)
    assert ticking.tick() == 0


@pytest.mark.parametrize(("more", "lease_s"), [({}, clock.LEASE_S), ({"lease_s": 10}, 10)])
def test_a_task_is_kept_from_other_clocks_for_its_own_time(app, more, lease_s):
    seen: list[float] = []

    def run() -> None:
        seen.append((row("task").lease_until - db.now()).total_seconds())

    assert known(app, Task("task", 60, run, **more)).tick() == 1
    assert lease_s - 2 < seen[0] <= lease_s


def test_a_sweep_whose_clock_was_killed_is_looked_after_in_seconds(settings):
    tasks = {task.name: task for task in periodic_tasks(settings)}
    assert sweep.RUN_S < tasks["sweep"].lease_s <= 10


def test_a_task_that_fails_is_run_again_at_its_next_time_and_takes_no_other_with_it(app, caplog):
    bad, good = Runs(fault=ZeroDivisionError()), Runs()
    ticking = known(app, Task("bad", 60, bad), Task("good", 60, good))
    assert ticking.tick() == 2
    assert (len(bad.at), len(good.at)) == (1, 1)
    assert row("bad").last_error == "ZeroDivisionError"
    assert row("bad").next_run_at > db.now()
    assert any("a periodic task failed" in record.message for record in caplog.records)
    bad.fault = None
    with db.unit_of_work() as unit:
        _SET.run(name="bad", next=unit.now)
    ticking.tick()
    assert row("bad").last_error is None


def test_tasks_of_another_release_are_left_alone(app):
    known(app, Task("theirs", 60, Runs()))
    assert known(app, Task("ours", 60, Runs())).tick() == 1
    assert row("theirs").last_run_at is None


def test_a_task_that_comes_more_often_now_is_not_held_to_its_old_time(app):
    known(app, Task("task", 3600, Runs())).tick()
    known(app, Task("task", 3600, Runs()))
    assert row().next_run_at > db.now() + timedelta(seconds=3000)
    known(app, Task("task", 5, Runs()))
    assert row().next_run_at <= db.now() + timedelta(seconds=5)


def test_in_read_only_nothing_runs(app, make_app):
    runs = Runs()
    task = Task("task", 60, runs, hears=True)
    known(app, task)
    closed = make_app(READ_ONLY="true")
    with closed.app_context():
        ticking = Clock(closed.app_context, [task])
        nudges.heard.set()
        ticking.start()
        time.sleep(clock.LOOK_S * 2)
        ticking.stop()
        assert runs.at == []


def test_a_started_clock_keeps_time(app):
    runs, other = Runs(), Runs()
    ticking = Clock(app.app_context, [Task("task", 0.2, runs), Task("other", 60, other)])
    ticking.start()
    wait_until(lambda: len(runs.at) >= 3, "three runs")
    ticking.stop()
    assert len(other.at) == 1
    count = len(runs.at)
    time.sleep(clock.LOOK_S * 1.5)
    assert len(runs.at) == count


def test_what_hears_runs_at_once_when_this_process_is_nudged(app):
    runs, deaf = Runs(), Runs()
    ticking = Clock(
        app.app_context, [Task("hears", 600, runs, hears=True), Task("deaf", 600, deaf)]
    )
    ticking.start()
    wait_until(lambda: runs.at and deaf.at, "the first runs")
    begun = time.monotonic()
    nudges.heard.set()
    wait_until(lambda: len(runs.at) == 2, "a run that was asked for")
    assert runs.at[1] - begun < clock.LOOK_S
    ticking.stop()
    assert len(deaf.at) == 1


def test_a_stopped_clock_waits_for_what_runs_and_begins_nothing(app):
    slow, after = Runs(0.6), Runs()
    ticking = Clock(app.app_context, [Task("a slow", 60, slow), Task("b after", 60, after)])
    ticking.start()
    wait_until(lambda: slow.at, "the slow one")
    begun = time.monotonic()
    ticking.stop()
    assert time.monotonic() - begun > 0.3
    assert after.at == []
    assert row("a slow").lease_token is None
    assert row("b after").lease_token is None


@pytest.mark.parametrize("fault", [Busy(), RuntimeError("a fault of ours")])
def test_a_clock_goes_on_after_what_made_it_stumble(app, fault, caplog):
    runs, broken = Runs(), threading.Event()

    def context() -> AppContext:
        if broken.is_set():
            raise fault
        return app.app_context()

    ticking = Clock(context, [Task("task", 0.2, runs)])
    ticking.start()
    wait_until(lambda: runs.at, "a run")
    broken.set()
    wait_until(lambda: "the clock" in caplog.text, "a word of it")
    count = len(runs.at)
    broken.clear()
    wait_until(lambda: len(runs.at) > count + 1, "runs afterwards")
    ticking.stop()


def test_what_takes_long_keeps_nothing_else_waiting(app):
    gate = threading.Event()
    slow, runs = Runs(), Runs()

    def take_long() -> None:
        slow()
        assert gate.wait(10)

    ticking = Clock(
        app.app_context, [Task("slow", 60, take_long, apart=True), Task("task", 0.2, runs)]
    )
    ticking.start()
    wait_until(lambda: slow.at and len(runs.at) >= 2, "runs beside it")
    assert row("slow").lease_token is not None
    gate.set()
    wait_until(lambda: row("slow").last_run_at is not None, "its end")
    ticking.stop()
    assert (len(slow.at), row("slow").last_error) == (1, None)


def test_a_long_task_that_fails_is_written_down_and_one_that_can_not_be_is_logged(app, caplog):
    broken = Runs(fault=ZeroDivisionError())
    ticking = known(app, Task("slow", 60, broken, apart=True))
    assert ticking.tick() == 1
    wait_until(lambda: row("slow").last_run_at is not None, "its end")
    assert row("slow").last_error == "ZeroDivisionError"

    def no_context() -> AppContext:
        raise Busy

    lost = Clock(no_context, [Task("slow", 60, Runs(), apart=True)])
    with db.unit_of_work() as unit:
        _SET.run(name="slow", next=unit.now)
    lost.tick()
    wait_until(lambda: "could not be finished" in caplog.text, "a word of it")


def test_the_clock_reconciles_and_says_what_it_found(settings, caplog):
    (task,) = [task for task in periodic_tasks(settings) if task.name == "reconcile"]
    assert task.apart
    task.run()
    found = successes.last(successes.RECONCILE)
    assert found is not None
    assert found.succeeded_at is not None and found.findings == 0
    customer = world.customer(has=500)
    with db.unit_of_work():
        Sql("UPDATE accounts SET balance = balance + 1 WHERE owner_id = :id").run(id=customer)
    task.run()
    found = successes.last(successes.RECONCILE)
    assert found is not None and found.findings > 0
    assert "the ledger breaks its invariants" in caplog.text
