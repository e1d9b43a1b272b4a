"""Threads that move money over and over while a test looks."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Flask

from payments import db
from payments.errors import PaymentsError


@contextmanager
def busy(app: Flask, *works: Callable[[], object]) -> Iterator[None]:
    """Each work over and over in a thread of its own, until the block ends. Refusals are fine."""
    stop, faults = threading.Event(), list[BaseException]()

    def again(work: Callable[[], object]) -> None:
        with app.app_context():
            while not stop.is_set():
                try:
                    db.in_unit(work)
                except PaymentsError:
                    continue
                except BaseException as fault:
                    faults.append(fault)
                    return

    threads = [threading.Thread(target=again, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert faults == []
