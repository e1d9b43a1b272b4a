"""The ledger on Postgres alone, led by several at once; and on both databases side by side."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from flask import Flask

from tests import databases
from tests.ledger.sessions import Open, Session
from tests.servers import Addresses


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


@pytest.fixture
def twin_apps(servers: Addresses, tmp_path: Path) -> Iterator[tuple[Flask, ...]]:
    """The app on a fresh SQLite and on a fresh Postgres."""
    with ExitStack() as stack:
        fresh = (databases.fresh_sqlite(servers), databases.fresh_postgres(servers))
        environs = [databases.environ_for(stack.enter_context(each), tmp_path) for each in fresh]
        yield tuple(
            stack.enter_context(databases.app_for(databases.settings_for(environ, tmp_path)))
            for environ in environs
        )
