"""Bring the database up to the newest migration.

In development it first looks whether the migrations that made the database are still the ones of
this repository, and says how to remake the database when they are not. Then it refuses a sister
service's secret that was used under another name before (the README says what to do).
"""

import argparse
import re
import sys
import time
import zlib
from pathlib import Path

import psycopg
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from flask_migrate import upgrade

import _root
from payments.api import service_names
from payments.app import create_app
from payments.config import ConfigError, Settings, load_settings

FINE, NOT_RUN = 0, 3
TRIES, PAUSE_S = 20, 1.0
"""How often a migration is run that does not get its locks, and the pause in between."""
NOT_HAD = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
MIGRATIONS = _root.ROOT / "migrations"


class Outdated(Exception):
    """The development database was made by migrations that have changed since."""


def fingerprint(script: ScriptDirectory, revision: str) -> int:
    """31 bits over the text of every migration up to the revision, the first one first.

    `0001_initial.py` brings `sql/0001_*.sql` along. Raises RevisionError for a revision that is
    not there.
    """
    crc = 0
    for step in reversed(list(script.iterate_revisions(revision, "base"))):
        path = Path(step.path)
        number = path.name.partition("_")[0]
        for file in [path, *sorted((MIGRATIONS / "sql").glob(f"{number}_*.sql"))]:
            crc = zlib.crc32(file.read_bytes(), crc)
    return crc & 0x7FFF_FFFF


def _migrations() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return ScriptDirectory.from_config(config)


def check(connection: sa.Connection) -> None:
    """Raise Outdated when what made this database is not what would make it today."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return
    revision = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    if revision is None:
        return
    try:
        today = fingerprint(_migrations(), revision)
    except RevisionError:
        raise Outdated from None
    if _noted(connection) not in (None, today):
        raise Outdated


def note(connection: sa.Connection) -> None:
    """Keep the fingerprint in the database, where no table, column or row shows it."""
    revision = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    mark = fingerprint(_migrations(), str(revision))
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA user_version = {mark}")
    else:
        connection.exec_driver_sql(f"COMMENT ON TABLE alembic_version IS 'made by {mark}'")


def _noted(connection: sa.Connection) -> int | None:
    if connection.dialect.name == "sqlite":
        mark = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        return int(mark) or None
    comment = connection.scalar(
        sa.text("SELECT obj_description('alembic_version'::regclass, 'pg_class')")
    )
    kept = re.fullmatch(r"made by (\d+)", comment or "")
    return int(kept.group(1)) if kept else None


def remake_hint(settings: Settings) -> str:
    """One line: what is wrong, and how to remake the development database."""
    url = sa.make_url(settings.db_url)
    if settings.on_sqlite:
        how = f"rm {url.database}*"
    else:
        how = f"dropdb {url.database} && createdb {url.database}"
    return f"The migrations that made this development database have changed. Remake it: {how}"


def migrate(settings: Settings) -> None:
    """Upgrade to the newest migration. Raises Outdated, in development only, and ConfigError where
    the settings contradict what the database knows.
    """
    engine = sa.create_engine(settings.db_url, poolclass=sa.NullPool)
    if not settings.is_production:
        with engine.connect() as connection:
            check(connection)
    with create_app(settings).app_context():
        _upgrade()
        faults = service_names.faults()
    if not settings.is_production:
        with engine.begin() as connection:
            note(connection)
    if faults:
        raise ConfigError(faults)


def _upgrade() -> None:
    """Under load a migration waits for its locks no longer than requests can wait behind it; then
    it fails whole, and is run again after a pause in which they go on.
    """
    for left in reversed(range(TRIES)):
        try:
            upgrade(directory=str(MIGRATIONS))
        except sa.exc.OperationalError as fault:
            if not isinstance(fault.orig, NOT_HAD) or not left:
                raise
            print(f"A lock was not to be had; {left} more tries", file=sys.stderr)
            time.sleep(PAUSE_S)
        else:
            return


def main(argv: list[str] | None = None) -> int:
    """Exit 0: up to date. 3: could not run, and stderr says why."""
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    try:
        settings = load_settings()
        migrate(settings)
    except ConfigError as error:
        print(f"The settings can't be used:\n{error}", file=sys.stderr)
        return NOT_RUN
    except Outdated:
        print(remake_hint(settings), file=sys.stderr)
        return NOT_RUN
    except sa.exc.OperationalError as error:
        why = " ".join(str(error.orig).split())
        print(f"The database can't be used: {why}", file=sys.stderr)
        return NOT_RUN
    return FINE


if __name__ == "__main__":
    sys.exit(main())
