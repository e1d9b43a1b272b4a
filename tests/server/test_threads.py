"""The threads that answer: what goes in is done once, and the loop hears of it."""

import logging
import select
import selectors
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from gunicorn.workers.gthread import ThreadWorker

from payments.server.threads import Threads
from payments.server.worker import PatientWorker


@contextmanager
def running(count: int, work: Callable[[int], bool]) -> Iterator[Threads[int]]:
    """Threads that end with the test, also with one that fails: else nothing would end."""
    threads = Threads(count, work)
    try:
        yield threads
    finally:
        threads.shutdown(wait=True)


def collected(threads: Threads[int], count: int) -> list[tuple[int, bool]]:
    """What a loop hears that waits for so many."""
    found: list[tuple[int, bool]] = []
    while len(found) < count:
        ready, _, _ = select.select([threads.fileno()], [], [], 10)
        assert ready, found
        found += threads.finished()
    return found


def test_all_that_goes_in_comes_out_once() -> None:
    with running(4, lambda number: number % 2 == 0) as threads:
        for number in range(2_000):
            threads.put(number)
        found = collected(threads, 2_000)
        assert sorted(found) == [(number, number % 2 == 0) for number in range(2_000)]


def test_the_loop_is_woken_for_each_that_comes_later() -> None:
    with running(2, lambda _number: True) as threads:
        for number in range(50):
            threads.put(number)
            assert collected(threads, 1) == [(number, True)]


def test_a_fault_in_the_work_is_logged_and_ends_no_thread(caplog) -> None:
    def work(number: int) -> bool:
        if number == 1:
            raise ValueError("no such thing")
        return True

    with running(1, work) as threads:
        with caplog.at_level(logging.ERROR):
            for number in (1, 2):
                threads.put(number)
            assert collected(threads, 2) == [(1, False), (2, True)]
        assert "a thread met a fault" in caplog.text


def test_they_work_at_the_same_time_and_what_waits_is_done_before_they_end() -> None:
    together = threading.Barrier(3, timeout=10)

    def work(_number: int) -> bool:
        together.wait()
        return True

    with running(3, work) as threads:
        for number in range(6):
            threads.put(number)
        threads.shutdown(wait=True)
        assert len(collected(threads, 6)) == 6


def test_however_the_loop_ends_its_threads_end_too(monkeypatch) -> None:
    def breaks(_worker: PatientWorker) -> None:
        raise RuntimeError("the loop")

    worker = PatientWorker.__new__(PatientWorker)
    worker.tpool, worker.poller = Threads(2, lambda _conn: True), selectors.DefaultSelector()
    monkeypatch.setattr(ThreadWorker, "run", breaks)
    with worker.poller, pytest.raises(RuntimeError):
        worker.run()
    for thread in worker.tpool._threads:
        thread.join(10)
        assert not thread.is_alive()


def test_the_arbiter_is_told_once_a_second_and_no_less(monkeypatch) -> None:
    told: list[float] = []
    worker = PatientWorker.__new__(PatientWorker)
    worker._told_at = 0.0
    for now in (100.0, 100.4, 100.9, 101.0, 101.5, 102.1):
        monkeypatch.setattr("time.monotonic", lambda now=now: now)
        monkeypatch.setattr(ThreadWorker, "notify", lambda _worker, now=now: told.append(now))
        worker.notify()
    assert told == [100.0, 101.0, 102.1]
