"""Connections that are of no more use: after a failover, a restart, a pause that was too long."""

import time
from collections.abc import Callable

import psycopg
import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from sqlalchemy import exc as sa_exc

from payments import clock, db
from payments.db import Sql
from payments.drivers import ConnectionLost
from payments.drivers.postgres import PostgresDriver
from payments.units import Store
from tests.postgres_server import Postgres
from tests.servers import private_postgres

NONCE = Sql(
    "INSERT INTO internal_nonces (service, nonce, expires_at) VALUES ('taxi', :nonce, :now)"
    " RETURNING nonce AS name"
)
NONCES = Sql("SELECT nonce FROM internal_nonces ORDER BY nonce")
ONLY_READS = Sql("SET default_transaction_read_only = on")
IMPATIENT = Sql("SET LOCAL idle_in_transaction_session_timeout = 20")
AT_HOME = Sql("SELECT current_setting('transaction_read_only')")
CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All here is of Postgres."""
    if "database_kind" in metafunc.fixturenames:
        metafunc.parametrize("database_kind", ["postgres"])


def nonces() -> list[str]:
    return [row.nonce for row in NONCES.all()]


def demoted() -> None:
    """The pooled connections belong to a server that takes no writes any more."""
    with db.unit_of_work():
        ONLY_READS.run()
    assert AT_HOME.scalar() == "on"


@pytest.mark.usefixtures("app_context")
def test_a_unit_that_begins_with_a_write_finds_its_way_from_a_replica() -> None:
    demoted()
    with db.unit_of_work():
        db.together(NONCE.given(nonce="a", now=clock.now()))
    assert nonces() == ["a"]


@pytest.mark.usefixtures("app_context")
@pytest.mark.parametrize(
    "write",
    [
        lambda: NONCE.one(nonce="a"),
        lambda: NONCE.many([{"nonce": "a", "now": db.now()}]),
        lambda: db.at_commit(NONCE.given(nonce="a")),
    ],
)
def test_a_write_on_a_replica_is_busy_and_no_later_unit_goes_there(
    write: Callable[[], object],
) -> None:
    demoted()
    with pytest.raises(ConnectionLost), db.unit_of_work():
        NONCES.all()
        write()
    assert (AT_HOME.scalar(), nonces()) == ("off", [])
    with db.unit_of_work():
        NONCE.one(nonce="b")
    assert nonces() == ["b"]


@pytest.mark.usefixtures("app_context")
def test_a_unit_that_paused_too_long_is_busy() -> None:
    with pytest.raises(ConnectionLost), db.unit_of_work():
        NONCE.one(nonce="a")
        IMPATIENT.run()
        time.sleep(0.2)
        nonces()
    assert nonces() == []


def test_while_every_server_only_reads_a_write_is_503_and_a_read_is_answered(
    client: FlaskClient, database: str
) -> None:
    name = sa.make_url(database).database
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as other:
        other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
        other.execute(CUT)
    answer = client.post("/v1/auth/otp", json={"phone": "+4915112345678"})
    assert answer.json is not None
    assert (answer.status_code, answer.json["code"]) == (503, "busy")
    assert "Retry-After" in answer.headers
    assert client.get("/health").status_code == 200


@pytest.mark.usefixtures("app_context")
def test_the_clock_is_asked_again_on_a_fresh_connection(database: str) -> None:
    before = db.now()
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as other:
        other.execute(CUT)
    assert db.now() > before


def test_what_is_asked_of_a_server_that_is_gone_is_busy(postgres_server: Postgres) -> None:
    db.use(Store(postgres_server.url()))
    assert Sql("SELECT 1 AS one").scalar() == 1
    postgres_server.stop()
    for ask in (db.now, Sql("SELECT 1").scalar, Sql("SELECT :now").scalar):
        with pytest.raises(ConnectionLost):
            ask()


def test_a_fault_of_the_very_first_connection_is_the_houses(
    postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What SQLAlchemy asks there comes wrapped in an error of its own."""
    store = Store(postgres_server.url())

    def failing(fault: BaseException) -> Callable[[object], None]:
        def initialize(_connection: object) -> None:
            raise sa_exc.OperationalError("SELECT 1", {}, fault)

        return initialize

    with monkeypatch.context() as patched:
        patched.setattr(store.engine.dialect, "initialize", failing(psycopg.OperationalError()))
        with pytest.raises(ConnectionLost):
            store.checkout()
        patched.setattr(store.engine.dialect, "initialize", failing(ZeroDivisionError()))
        with pytest.raises(sa_exc.OperationalError):
            store.checkout()
    store.checkout().close()
    store.dispose()


def hosts(*servers: Postgres) -> str:
    """The URL of several, in this order."""
    folders = "&".join(f"host={server.folder}" for server in servers)
    return f"postgresql+psycopg://postgres@/postgres?{folders}"


def reached(url: str) -> str:
    """Whose folder the connection leads to."""
    engine: sa.Engine = PostgresDriver().create_engine(url, 1)
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("SHOW unix_socket_directories")
        (folder,) = cursor.fetchone() or ("",)
        return str(folder)
    finally:
        connection.close()
        engine.dispose()


def test_of_several_hosts_the_one_that_takes_writes_is_taken(postgres_server: Postgres) -> None:
    with private_postgres() as replica:
        replica.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        replica.execute("SELECT pg_reload_conf()")
        primary = str(postgres_server.folder)
        assert reached(hosts(replica, postgres_server)) == primary
        assert reached(hosts(postgres_server, replica)) == primary
        anyone = hosts(replica, postgres_server) + "&target_session_attrs=any"
        assert reached(anyone) == str(replica.folder)
        assert reached(replica.url()) == str(replica.folder)  # of one host, that one
