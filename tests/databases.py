"""Migrated databases for tests: a template made once a run, and a fresh copy for each test."""

import fcntl
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from flask import Flask, current_app
from limits.storage import RedisStorage

from payments.app import create_app
from payments.config import Settings, load_settings
from tests import postgres_server
from tests.children import wait_until
from tests.servers import Addresses

TEMPLATE = "template_migrated"
# Secrets of tests alone, and the same in each run, so that a failure can be looked at again.
SECRETS = {
    "JWT_SECRET": "tests-jwt-0123456789abcdef0123456789abcdef",
    "SECRET_KEY": "tests-key-0123456789abcdef0123456789abcdef",
    "INTERNAL_API_SECRET": "taxi:tests-internal-0123456789abcdef0123456789",
    "ADMIN_TOKEN": "ann:tests-admin-0123456789abcdef0123456789abcd",
    "ENCRYPTION_KEY": "dGVzdHMtZW5jcnlwdGlvbi1rZXktMDEyMzQ1Njc4OWE=",
}
SESSIONS_END_WITHIN_S = 5.0
_numbers = itertools.count(1)


def environ_for(database: str, folder: Path, **more: str) -> dict[str, str]:
    """The environment of a service under test: development, nothing of this machine's own.

    database: its URL. folder: for `instance/`. more: variables above these.
    """
    return {
        "ENV": "development",
        "INSTANCE_DIR": str(folder / "instance"),
        "DB_URL": database,
        "DEFAULT_REGION": "DE",
        **SECRETS,
        **more,
    }


def settings_for(environ: dict[str, str], folder: Path) -> Settings:
    """The settings of that environment; no `.env` is read but one in the folder."""
    return load_settings(environ, root=folder)


@contextmanager
def app_for(settings: Settings) -> Iterator[Flask]:
    """The service; its connections are closed at the end."""
    app = create_app(settings)
    app.testing = True  # answers are held against what their routes declare
    try:
        yield app
    finally:
        app.extensions["payments"].dispose()
        # An app is a knot of references: the collector may meet its sockets before their owner.
        counters = app.extensions["payments_limiter"].storage
        if isinstance(counters, RedisStorage):
            counters.storage.connection_pool.disconnect()


@contextmanager
def alembic_config(database: str, folder: Path, scripts: Path | None = None) -> Iterator[Config]:
    """Alembic's configuration inside the app's context; scripts: another `migrations/`."""
    with app_for(settings_for(environ_for(database, folder), folder)) as app, app.app_context():
        yield current_app.extensions["migrate"].migrate.get_config(scripts and str(scripts))


def migrate(database: str, folder: Path, revision: str = "head") -> None:
    """Bring a database to a revision, up or (`base`) down, by the app. folder: for `instance/`."""
    with alembic_config(database, folder) as config:
        (command.downgrade if revision == "base" else command.upgrade)(config, revision)


@contextmanager
def fresh_sqlite(addresses: Addresses) -> Iterator[str]:
    """The URL of a migrated SQLite file of one's own, removed afterwards."""
    with empty_sqlite(addresses) as url:
        shutil.copyfile(_sqlite_template(Path(addresses.folder)), url.removeprefix("sqlite:///"))
        yield url


@contextmanager
def empty_sqlite(addresses: Addresses) -> Iterator[str]:
    """The URL of an SQLite file that does not exist yet, removed afterwards."""
    with tempfile.TemporaryDirectory(dir=addresses.folder) as folder:
        path = Path(folder) / "payments.db"
        yield f"sqlite:///{path}"
        left = open_files(path)
        assert not left, f"the test left connections to its database open: {left}"


@contextmanager
def fresh_postgres(addresses: Addresses) -> Iterator[str]:
    """The URL of a migrated Postgres database of one's own, dropped afterwards."""
    with empty_postgres(addresses, template=_postgres_template(addresses)) as url:
        yield url


@contextmanager
def empty_postgres(addresses: Addresses, template: str = "template0") -> Iterator[str]:
    """The URL of a Postgres database of one's own, unmigrated; dropped afterwards."""
    name = f"t_{os.getpid()}_{next(_numbers)}"
    server = addresses.postgres
    postgres_server.execute(
        server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"
    )
    try:
        yield postgres_server.address(server, name)
        _drop(server, name)
    except BaseException:
        # Where the test failed, its connections may well be open: that is not its fault to report.
        postgres_server.execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        raise


def _drop(server: str, name: str) -> None:
    """Drop it once all sessions have ended. Raises TimeoutError where the test leaked one."""
    sessions = (
        "SELECT 1 FROM pg_stat_activity"
        f" WHERE datname = '{name}' AND backend_type = 'client backend'"
    )
    # The sessions of a killed process need a moment to notice.
    wait_until(
        lambda: not postgres_server.execute(server, sessions),
        "the test's connections to its database to be closed",
        SESSIONS_END_WITHIN_S,
    )
    postgres_server.execute(server, f"DROP DATABASE {name}")


def _sqlite_template(folder: Path) -> Path:
    path = folder / f"{TEMPLATE}.db"
    with _alone(folder):
        if not path.exists():
            making = folder / "making.db"
            making.unlink(missing_ok=True)
            migrate(f"sqlite:///{making}", folder)
            making.rename(path)  # the last connection is closed: no -wal beside it
    return path


def _postgres_template(addresses: Addresses) -> str:
    folder, server = Path(addresses.folder), addresses.postgres
    done = folder / TEMPLATE
    with _alone(folder):
        if not done.exists():
            postgres_server.execute(server, f"DROP DATABASE IF EXISTS {TEMPLATE}")
            postgres_server.execute(server, f"CREATE DATABASE {TEMPLATE}")
            migrate(postgres_server.address(server, TEMPLATE), folder)
            done.touch()
    return TEMPLATE


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time: the first one makes the template, the others find it."""
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def open_files(path: Path) -> list[str]:
    """What this process holds open of a file and of those beside it that bear its name."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue  # the listing's own
        if target.startswith(str(path)):
            found.append(target)
    return found
