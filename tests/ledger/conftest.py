"""The ledger on Postgres alone, for what only happens where several write at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests import databases
from tests.ledger.sessions import Open, Session


@pytest.fixture
def postgres_app(postgres: str, tmp_path: Path) -> Iterator[Flask]:
    """The app on a fresh Postgres, its context pushed."""
    settings = databases.settings_for(databases.environ_for(postgres, tmp_path), tmp_path)
    with databases.app_for(settings) as app, app.app_context():
        yield app


@pytest.fixture
def session(postgres_app: Flask) -> Iterator[Open]:
    """`session()`: a unit of work in a thread of its own, led step by step."""
    opened: list[Session] = []

    def open_one() -> Session:
        opened.append(Session(postgres_app))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()
