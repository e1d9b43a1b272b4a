"""The threads that answer: what goes in is done once, and the loop hears of it."""

import logging
import select
import threading

from payments.server.threads import Threads


def collected(threads: Threads[int], count: int) -> list[tuple[int, bool]]:
    """What a loop hears that waits for so many."""
    found: list[tuple[int, bool]] = []
    while len(found) < count:
        ready, _, _ = select.select([threads.fileno()], [], [], 10)
        assert ready, found
        found += threads.finished()
    return found


def test_all_that_goes_in_comes_out_once() -> None:
    threads: Threads[int] = Threads(4, lambda number: number % 2 == 0)
    for number in range(2_000):
        threads.put(number)
    found = collected(threads, 2_000)
    assert sorted(found) == [(number, number % 2 == 0) for number in range(2_000)]
    threads.shutdown(wait=True)


def test_a_fault_in_the_work_is_logged_and_ends_no_thread(caplog) -> None:
    def work(number: int) -> bool:
        if number == 1:
            raise ValueError("no such thing")
        return True

    threads: Threads[int] = Threads(1, work)
    with caplog.at_level(logging.ERROR):
        for number in (1, 2):
            threads.put(number)
        assert collected(threads, 2) == [(1, False), (2, True)]
    assert "a thread met a fault" in caplog.text
    threads.shutdown(wait=True)


def test_they_work_at_the_same_time_and_what_waits_is_done_before_they_end() -> None:
    together = threading.Barrier(3, timeout=10)

    def work(_number: int) -> bool:
        together.wait()
        return True

    threads: Threads[int] = Threads(3, work)
    for number in range(6):
        threads.put(number)
    threads.shutdown(wait=True)
    assert len(collected(threads, 6)) == 6
