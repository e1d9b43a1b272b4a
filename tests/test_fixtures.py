"""The fixtures keep their promises: fresh databases, migrated, alone, and nothing left open."""

from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from payments import audit
from payments.db import Sql, unit_of_work
from tests import databases

COUNT = Sql("SELECT count(*) AS n FROM audit_log")


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_a_database_of_its_own(app_context, turn):
    assert COUNT.scalar() == 0
    with unit_of_work():
        audit.record("operator:ann", "test", None)
    assert COUNT.scalar() == 1


def test_the_environment_of_this_machine_does_not_reach_the_settings(monkeypatch, make_settings):
    monkeypatch.setenv("DB_URL", "postgresql://elsewhere/production")
    monkeypatch.setenv("FEE_BPS", "999")
    settings = make_settings(FEE_FIXED_MINOR="7")
    assert "elsewhere" not in settings.db_url
    assert (settings.fee_bps, settings.fee_fixed_minor) == (0, 7)


def test_redis_is_empty_and_the_settings_lead_to_it(settings, redis_client, redis_url):
    assert redis_client.dbsize() == 0
    redis_client.set("left", "behind")
    assert settings.redis_url == redis_url


def test_redis_is_empty_again(redis_client):
    assert redis_client.dbsize() == 0


def test_a_connection_left_open_on_postgres_fails_the_test(servers, monkeypatch):
    monkeypatch.setattr(databases, "SESSIONS_END_WITHIN_S", 0.2)
    with pytest.raises(TimeoutError, match="connections"), databases.fresh_postgres(servers) as url:
        parts = sa.make_url(url)
        folder = str(parts.query["host"])
        left = psycopg.connect(host=folder, user="postgres", dbname=parts.database)
    with pytest.raises(psycopg.OperationalError):
        left.execute("SELECT 1")  # the database is gone all the same
    left.close()


def test_a_connection_left_open_on_sqlite_fails_the_test(servers):
    with pytest.raises(AssertionError, match="open"), databases.fresh_sqlite(servers) as url:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        left = engine.connect()
        left.exec_driver_sql("SELECT count(*) FROM audit_log")
    left.close()
    engine.dispose()
    assert not Path(url.removeprefix("sqlite:///")).exists()


def test_the_template_is_made_once(servers):
    with databases.fresh_postgres(servers), databases.fresh_postgres(servers):
        marks = list(Path(servers.folder).glob(f"{databases.TEMPLATE}*"))
        assert databases.TEMPLATE in [path.name for path in marks]
