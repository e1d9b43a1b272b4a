"""Fixtures of webhook tests: a fast schedule, a receiver, a drain that is finished afterwards."""

import contextlib
import socket
from collections.abc import Iterator

import pytest
from flask import Flask

from payments.webhooks import drain as drains
from payments.webhooks.drain import Drain
from payments.webhooks.sender import Sender
from tests.conftest import MakeApp
from tests.receivers import Receiver
from tests.webhooks.attempts import TIMEOUT_S

FAST = {
    "WEBHOOK_BASE_DELAY_SECS": "0.2",
    "WEBHOOK_BACKOFF_FACTOR": "2",
    "WEBHOOK_MAX_ATTEMPTS": "4",
    "WEBHOOK_TIMEOUT_SECS": "1",
    "WEBHOOK_WORKER_POLL_SECS": "0.5",
}
"""A schedule of a few seconds, for the same code as days."""


@pytest.fixture
def fast_app(make_app: MakeApp) -> Iterator[Flask]:
    """The service with a fast schedule, in its context."""
    app = make_app(**FAST)
    with app.app_context():
        yield app
        drains.finish()


@pytest.fixture
def drain(fast_app: Flask) -> Drain:
    """This process's drain."""
    return drains.of_process()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that answers 200 until it is scripted."""
    with Receiver() as running:
        yield running


@pytest.fixture
def sender() -> Iterator[Sender]:
    with contextlib.closing(Sender(timeout_s=TIMEOUT_S, allow_private=True)) as made:
        yield made


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
