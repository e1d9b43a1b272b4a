"""One service on each kind of database for all tests of the console, and an operator at it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests import databases, redis_server
from tests.console import desk as desks
from tests.console.desk import Desk, World


@pytest.fixture(scope="package", params=["sqlite", "postgres"])
def kept(
    request: pytest.FixtureRequest,
    servers: Any,
    worker_number: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Flask, World]]:
    """The service and a world in it, that these tests share."""
    folder = tmp_path_factory.mktemp("console")
    make = databases.fresh_sqlite if request.param == "sqlite" else databases.fresh_postgres
    with ExitStack() as stack:
        environ = databases.environ_for(
            stack.enter_context(make(servers)), folder, **desks.SETTINGS
        )
        environ["REDIS_URL"] = redis_server.address(servers.redis_port, worker_number)
        app = stack.enter_context(databases.app_for(databases.settings_for(environ, folder)))
        with app.app_context():
            made = desks.world()
        yield app, made


@pytest.fixture
def app(kept: tuple[Flask, World]) -> Flask:
    """The service."""
    return kept[0]


@pytest.fixture
def world(kept: tuple[Flask, World]) -> World:
    """What is in it."""
    return kept[1]


@pytest.fixture
def stranger(app: Flask) -> Desk:
    """Who has not signed in."""
    return Desk(app)


@pytest.fixture
def desk(app: Flask) -> Desk:
    """Ann, signed in."""
    made = Desk(app)
    assert made.sign_in().status_code == 303
    return made


@pytest.fixture
def other(app: Flask, tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """`other(ADMIN_TOKEN="...")`: a service with other settings on the same database."""
    with ExitStack() as stack:
        yield lambda **more: desks.another_app(stack, app, tmp_path, **more)
