"""How migrations run: whole or not at all, one release at a time, and never long in the way."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from tests import databases
from tests.children import ROOT, Child, plain_environ
from tests.migrations import catalog

HEAD = ScriptDirectory(str(ROOT / "migrations")).get_current_head()
NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "9999_next"
down_revision = "{head}"


def upgrade():
    op.create_table("half", sa.Column("id", sa.Integer, primary_key=True))
    {step}


def downgrade():
    op.drop_table("half")
"""


@pytest.fixture
def with_next(tmp_path):
    """`with_next("...")`: a copy of `migrations/` with one migration more, which ends so."""

    def make(step: str) -> Path:
        scripts = tmp_path / "migrations"
        shutil.copytree(ROOT / "migrations", scripts)
        (scripts / "versions" / "9999_next.py").write_text(NEXT.format(step=step, head=HEAD))
        return scripts

    return make


def tables(url: str) -> set[str]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    found = set(sa.inspect(engine).get_table_names())
    engine.dispose()
    return found


def revision(url: str) -> list[str]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        found = list(connection.exec_driver_sql("SELECT version_num FROM alembic_version"))
    engine.dispose()
    return [row[0] for row in found]


def test_a_migration_that_fails_leaves_nothing_behind(database, tmp_path, with_next):
    scripts = with_next('op.execute("SELECT * FROM nowhere")')
    with databases.alembic_config(database, tmp_path, scripts) as config:
        with pytest.raises(sa.exc.DBAPIError, match="nowhere"):
            command.upgrade(config, "head")
    assert "half" not in tables(database)
    assert revision(database) == [HEAD]


def test_what_went_well_before_a_failure_stays(empty_database, tmp_path, with_next):
    scripts = with_next('op.execute("SELECT * FROM nowhere")')
    with databases.alembic_config(empty_database, tmp_path, scripts) as config:
        with pytest.raises(sa.exc.DBAPIError, match="nowhere"):
            command.upgrade(config, "head")
    assert revision(empty_database) == [HEAD]
    assert "accounts" in tables(empty_database)


def test_a_script_without_a_database_is_refused_with_the_reason(database, tmp_path):
    with databases.alembic_config(database, tmp_path) as config:
        with pytest.raises(CommandError, match="live database"):
            command.upgrade(config, "head", sql=True)


def test_a_rebuilt_table_must_keep_what_refers_to_it(servers, tmp_path, with_next):
    scripts = with_next(
        "op.execute(\"INSERT INTO api_keys VALUES ('key_1', 'mer_none', 'n', 'h', 'x', '*', 1,"
        " '2026-03-01', NULL, NULL, NULL, NULL)\")"
    )
    with databases.fresh_sqlite(servers) as url:
        with databases.alembic_config(url, tmp_path, scripts) as config:
            with pytest.raises(CommandError, match="api_keys"):
                command.upgrade(config, "head")
        assert revision(url) == [HEAD]


def test_two_releases_at_once_wait_for_each_other(servers, tmp_path):
    with databases.empty_postgres(servers) as url, ThreadPoolExecutor(1) as pool:
        with psycopg.connect(conninfo(url), autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(7296012873)")
            release = pool.submit(databases.migrate, url, tmp_path)
            time.sleep(0.5)
            assert not release.done()
            assert tables(url) == set()
        release.result(timeout=20)
        assert revision(url) == [HEAD]


def test_a_migration_does_not_queue_requests_behind_a_lock(postgres, tmp_path, with_next):
    """One second at most, below the service's own limit; then it fails whole."""
    scripts = with_next('op.add_column("payments", sa.Column("extra", sa.Text()))')
    with psycopg.connect(conninfo(postgres)) as other:
        other.execute("LOCK TABLE payments IN ACCESS SHARE MODE")
        begun = time.monotonic()
        with databases.alembic_config(postgres, tmp_path, scripts) as config:
            with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
                command.upgrade(config, "head")
        assert time.monotonic() - begun < 2
    assert revision(postgres) == [HEAD]
    assert "half" not in tables(postgres)


@pytest.mark.slow
def test_the_command_line_migrates_both_ways(empty_database, tmp_path):
    environ = {
        **plain_environ(tmp_path),
        **databases.environ_for(empty_database, tmp_path),
    }
    for arguments, done in (
        (["upgrade"], True),
        (["downgrade", "base"], False),
        (["upgrade"], True),
    ):
        flask = [str(ROOT / ".venv" / "bin" / "flask"), "--app", "wsgi", "db", *arguments]
        with Child(flask, log=tmp_path / "log", environ=environ) as child:
            assert child.wait(60) == 0, child.log()
        assert bool(catalog.read(empty_database)["columns"]) is done


def conninfo(url: str) -> str:
    parts = sa.make_url(url)
    return psycopg.conninfo.make_conninfo(
        host=str(parts.query["host"]), user=parts.username, dbname=parts.database
    )
