"""Fixtures of all tests: real servers, a fresh migrated database on each kind, the app on it.

A test that takes `database`, or anything built on it, runs on SQLite and on Postgres.
"""

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from flask.ctx import AppContext
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from payments.config import Settings
from tests import databases
from tests.children import ChildError, ServerMissing
from tests.postgres_server import Postgres
from tests.redis_server import Redis
from tests.redis_server import address as redis_address
from tests.servers import Addresses, Servers, private_postgres, private_redis

_compile = Rule._compile_builder
_compiled: dict[tuple[object, ...], Any] = {}


def _compile_once(rule: Rule, append_unknown: bool = True) -> Any:
    """Werkzeug compiles two functions for each rule of each app: most of what an app costs a test.
    They are the same in every app.
    """
    key = (tuple(rule._trace), repr(rule.defaults), append_unknown)
    if key not in _compiled:
        _compiled[key] = _compile(rule, append_unknown)
    return _compiled[key]


Rule._compile_builder = _compile_once  # type: ignore[method-assign, assignment]

SERVERS = pytest.StashKey[Servers]()
THREADS_END_WITHIN_S = 5.0


def pytest_configure(config: pytest.Config) -> None:
    """In the process that owns the run (workers of xdist do not): be ready to start servers."""
    if hasattr(config, "workerinput"):
        return
    config.stash[SERVERS] = Servers()
    # An end by SIGTERM is as orderly as one by Ctrl-C: the servers are stopped.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What was imported so far stays: the collector need not walk through it in each test."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`: half of a test is waiting for a server, a lease, a schedule."""
    return len(os.sched_getaffinity(0)) + 2


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Before a worker of xdist starts: give it the addresses."""
    node.workerinput["servers"] = _start(node.config).as_input()


def pytest_unconfigure(config: pytest.Config) -> None:
    """At the end, however it came about."""
    if SERVERS in config.stash:
        config.stash[SERVERS].close()


def _start(config: pytest.Config) -> Addresses:
    try:
        return config.stash[SERVERS].addresses()
    except (ServerMissing, ChildError) as fault:
        pytest.exit(str(fault), returncode=3)


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Addresses:
    """The run's own Postgres and Redis. Shared: nobody stops them."""
    given = getattr(request.config, "workerinput", None)
    return Addresses(**given["servers"]) if given else _start(request.config)


@pytest.fixture(params=["sqlite", "postgres"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """`sqlite`, `postgres`: for what brings its own database."""
    return str(request.param)


@pytest.fixture
def database(database_kind: str, servers: Addresses) -> Iterator[str]:
    """The URL of a fresh, migrated database: the test runs once on each kind."""
    fresh = (
        databases.fresh_sqlite(servers)
        if database_kind == "sqlite"
        else databases.fresh_postgres(servers)
    )
    with fresh as url:
        yield url


@pytest.fixture
def postgres(servers: Addresses) -> Iterator[str]:
    """The URL of a fresh, migrated Postgres database, for what SQLite has not."""
    with databases.fresh_postgres(servers) as url:
        yield url


@pytest.fixture
def empty_database(database_kind: str, servers: Addresses) -> Iterator[str]:
    """The URL of a database without a table, once on each kind."""
    empty = databases.empty_sqlite if database_kind == "sqlite" else databases.empty_postgres
    with empty(servers) as url:
        yield url


@pytest.fixture(scope="session")
def worker_number(request: pytest.FixtureRequest) -> int:
    """0 without xdist, else from 1: each worker of a run has its own."""
    given = getattr(request.config, "workerinput", None)
    return int(given["workerid"].removeprefix("gw")) + 1 if given else 0


@pytest.fixture
def redis_client(servers: Addresses, worker_number: int) -> Iterator[redis.Redis]:
    """A client of this worker's own numbered database of the shared Redis, emptied before."""
    with redis.Redis.from_url(redis_address(servers.redis_port, worker_number)) as client:
        client.flushdb()
        yield client


@pytest.fixture
def redis_url(servers: Addresses, worker_number: int, redis_client: redis.Redis) -> str:
    """The URL of this worker's own numbered database of the shared Redis, emptied before."""
    return redis_address(servers.redis_port, worker_number)


@pytest.fixture
def redis_server() -> Iterator[Redis]:
    """A Redis of the test's own, to stop, kill, pause, flush."""
    with private_redis() as server:
        yield server


@pytest.fixture
def postgres_server() -> Iterator[Postgres]:
    """A Postgres of the test's own, to stop, kill, pause; nothing is in it."""
    with private_postgres() as server:
        yield server


@pytest.fixture
def environ(database: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """The environment of the service under test, for settings and for real processes."""
    return databases.environ_for(database, tmp_path, REDIS_URL=redis_url)


MakeSettings = Callable[..., Settings]
MakeApp = Callable[..., Flask]


@pytest.fixture
def make_settings(environ: dict[str, str], tmp_path: Path) -> MakeSettings:
    """`make_settings(FEE_BPS="250")`: settings that differ from the fixture's in some variables."""
    return lambda **more: databases.settings_for({**environ, **more}, tmp_path)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    """Development's settings with the tests' secrets, on this test's database and Redis."""
    return make_settings()


@pytest.fixture
def make_app(make_settings: MakeSettings) -> Iterator[MakeApp]:
    """`make_app(FEE_BPS="250")`: the service with other settings; closed after the test."""
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(databases.app_for(make_settings(**more)))


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The service on this test's database; its connections are closed after the test."""
    with databases.app_for(settings) as made:
        yield made


@pytest.fixture
def app_context(app: Flask) -> Iterator[AppContext]:
    """The app's context: rooms can be called. Take a `unit_of_work()` for what writes."""
    with app.app_context() as context:
        yield context


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Flask's test client: the whole service, without a socket."""
    # Not in a `with`: it would keep each request's context, and end `app_context` in its place.
    return app.test_client()


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    """A test ends with the threads that it began with."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + THREADS_END_WITHIN_S
    while left := [thread for thread in set(threading.enumerate()) - before if thread.is_alive()]:
        assert time.monotonic() < deadline, f"the test left threads running: {left}"
        time.sleep(0.01)
