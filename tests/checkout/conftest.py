"""The world's usual people: a shop, somebody who pays, and somebody else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests import databases
from tests.checkout import callers, world
from tests.checkout.callers import Caller


@pytest.fixture
def shop(app_context) -> str:
    """An approved merchant's id."""
    return world.merchant()


@pytest.fixture
def payer(app_context) -> str:
    """A customer with 100.00 EUR."""
    return world.customer(has=100_00)


@pytest.fixture
def stranger(app_context) -> str:
    """Another customer, with 100.00 EUR as well."""
    return world.customer("+4915155555555", has=100_00)


@pytest.fixture
def postgres_app(postgres: str, redis_url: str, tmp_path: Path) -> Iterator[Flask]:
    """The service on Postgres, its context pushed: for what needs several connections at once."""
    environ = databases.environ_for(postgres, tmp_path, REDIS_URL=redis_url)
    with databases.app_for(databases.settings_for(environ, tmp_path)) as made, made.app_context():
        yield made


@pytest.fixture
def postgres_shop(postgres_app: Flask) -> str:
    """An approved merchant's id, on Postgres."""
    return world.merchant()


@pytest.fixture
def postgres_payer(postgres_app: Flask) -> str:
    """A customer with 100.00 EUR, on Postgres."""
    return world.customer(has=100_00)


@pytest.fixture
def merchant(client: FlaskClient, shop: str) -> Caller:
    """The shop, by a key with all scopes."""
    return callers.with_key(client, shop)


@pytest.fixture
def customer(client: FlaskClient, payer: str) -> Caller:
    """The payer, signed in."""
    return callers.signed_in(client, payer)


@pytest.fixture
def other(client: FlaskClient, stranger: str) -> Caller:
    """The stranger, signed in."""
    return callers.signed_in(client, stranger)
