"""The release command: up to date, and honest about a development database that is not."""

import psycopg
import pytest
import sqlalchemy as sa

from payments.api import service_names
from payments.app import create_app
from payments.config import load_settings
from scripts import migrate
from tests.servers import private_postgres


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def settings(request, tmp_path, monkeypatch):
    """Development settings on an empty database, which the script finds in its environment."""
    monkeypatch.setenv("INSTANCE_DIR", str(tmp_path))
    if request.param == "sqlite":
        yield load_settings()
        return
    with private_postgres() as server:
        server.execute("CREATE DATABASE pay")
        monkeypatch.setenv("DB_URL", server.url("pay"))
        yield load_settings()


def run_sql(settings, statement: str) -> None:
    engine = sa.create_engine(settings.db_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)


def test_migrating_twice_is_fine(settings, capsys):
    assert migrate.main([]) == migrate.FINE
    assert migrate.main([]) == migrate.FINE
    assert "Remake" not in capsys.readouterr().err


def forget(settings) -> None:
    """As if nobody had noted what made the database: `flask db upgrade` does not."""
    sqlite, postgres = "PRAGMA user_version = 0", "COMMENT ON TABLE alembic_version IS NULL"
    run_sql(settings, sqlite if settings.on_sqlite else postgres)


def test_a_migration_edited_since_is_told_with_how_to_remake(settings, capsys, monkeypatch):
    assert migrate.main([]) == migrate.FINE
    capsys.readouterr()
    monkeypatch.setattr(migrate, "fingerprint", lambda script, revision: 7)
    assert migrate.main([]) == migrate.NOT_RUN
    told = capsys.readouterr().err.splitlines()
    database = sa.make_url(settings.db_url).database
    how = f"rm {database}*" if settings.on_sqlite else "dropdb pay && createdb pay"
    assert told == [
        f"The migrations that made this development database have changed. Remake it: {how}"
    ]
    forget(settings)
    assert migrate.main([]) == migrate.FINE


def test_a_revision_that_is_gone_is_told_the_same_way(settings, capsys):
    assert migrate.main([]) == migrate.FINE
    run_sql(settings, "UPDATE alembic_version SET version_num = '0000_gone'")
    capsys.readouterr()
    assert migrate.main([]) == migrate.NOT_RUN
    assert "Remake it: " in capsys.readouterr().err


def test_the_fingerprint_covers_every_file_of_a_migration(tmp_path, monkeypatch):
    versions, sql = tmp_path / "versions", tmp_path / "sql"
    versions.mkdir()
    sql.mkdir()
    (tmp_path / "env.py").write_text("")
    (versions / "0001_first.py").write_text("revision = 'one'\ndown_revision = None\n")
    (versions / "0002_second.py").write_text("revision = 'two'\ndown_revision = 'one'\n")
    monkeypatch.setattr(migrate, "MIGRATIONS", tmp_path)

    def mark(revision: str) -> int:
        return migrate.fingerprint(migrate._migrations(), revision)

    one, two = mark("one"), mark("two")
    assert one != two
    (versions / "0002_second.py").write_text("revision = 'two'\ndown_revision = 'one'\nx = 1\n")
    assert mark("one") == one
    assert mark("two") != two
    (sql / "0001_triggers.sql").write_text("SELECT 1;")
    assert mark("one") != one


def test_an_unreachable_database_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("INSTANCE_DIR", str(tmp_path))
    monkeypatch.setenv("DB_URL", f"postgresql://pay:hunter2hunter@/pay?host={tmp_path}")
    assert migrate.main([]) == migrate.NOT_RUN
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("The database can't be used: ")
    assert "hunter2" not in told


def raised(fault: psycopg.Error) -> sa.exc.OperationalError:
    return sa.exc.OperationalError("ALTER TABLE payments", {}, fault)


@pytest.mark.parametrize(
    "fault", [psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected]
)
def test_a_migration_that_does_not_get_its_lock_is_run_again(tmp_path, monkeypatch, capsys, fault):
    monkeypatch.setenv("INSTANCE_DIR", str(tmp_path))
    monkeypatch.setattr(migrate, "PAUSE_S", 0.01)
    faults = [raised(fault("held")), raised(fault("held"))]
    upgrade = migrate.upgrade

    def try_it(**given: str) -> None:
        if faults:
            raise faults.pop()
        upgrade(**given)

    monkeypatch.setattr(migrate, "upgrade", try_it)
    assert migrate.main([]) == migrate.FINE
    assert capsys.readouterr().err.count("A lock was not to be had") == 2


def test_a_migration_that_never_gets_its_lock_fails_and_so_does_any_other_fault_at_once(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("INSTANCE_DIR", str(tmp_path))
    monkeypatch.setattr(migrate, "PAUSE_S", 0.0)
    tries: list[str] = []
    fault: psycopg.Error = psycopg.errors.LockNotAvailable("held")

    def try_it(directory: str) -> None:
        tries.append(directory)
        raise raised(fault)

    monkeypatch.setattr(migrate, "upgrade", try_it)
    assert migrate.main([]) == migrate.NOT_RUN
    assert len(tries) == migrate.TRIES
    assert capsys.readouterr().err.endswith("The database can't be used: held\n")
    tries.clear()
    fault = psycopg.errors.DiskFull("full")
    assert migrate.main([]) == migrate.NOT_RUN
    assert len(tries) == 1


def test_a_services_secret_under_another_name_is_refused_until_it_has_its_old_one(
    settings, capsys, monkeypatch
):
    assert migrate.main([]) == migrate.FINE
    (entry,) = settings.internal_api_secret
    with create_app(settings).app_context():
        service_names.settle(entry)
    monkeypatch.setenv("INTERNAL_API_SECRET", f"taxi:{entry.secret}")
    capsys.readouterr()
    assert migrate.main([]) == migrate.NOT_RUN
    told = capsys.readouterr().err
    assert "INTERNAL_API_SECRET: entry 1 was used under the name default and is taxi now" in told
    assert "write default:secret" in told and entry.secret not in told
    monkeypatch.setenv("INTERNAL_API_SECRET", f"default:{entry.secret},taxi:{'t' * 20}")
    assert migrate.main([]) == migrate.FINE
