"""Ann who has money, Bob who has none, and two sister services."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests import databases
from tests.merchants.callers import Caller
from tests.transfers import people


@pytest.fixture
def app(make_app) -> Flask:
    """The service with two sister services."""
    return make_app(**people.SETTINGS)


@pytest.fixture
def ann(app_context, app: Flask) -> Caller:
    """A customer with 100.00 EUR."""
    return people.customer(app, people.ANN, has=100_00)


@pytest.fixture
def bob(app_context, app: Flask) -> Caller:
    """A customer without money."""
    return people.customer(app, people.BOB)


@pytest.fixture
def taxi(app_context, app: Flask) -> Caller:
    """A sister service."""
    return people.service(app)


@pytest.fixture
def food(app_context, app: Flask) -> Caller:
    """Another one."""
    return people.service(app, people.FOOD)


@pytest.fixture
def postgres_app(postgres: str, redis_url: str, tmp_path: Path) -> Iterator[Flask]:
    """The service on Postgres, its context pushed: for what needs several connections at once."""
    environ = databases.environ_for(postgres, tmp_path, REDIS_URL=redis_url, **people.SETTINGS)
    with databases.app_for(databases.settings_for(environ, tmp_path)) as made, made.app_context():
        yield made
