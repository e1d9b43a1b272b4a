"""What Postgres writes into its own log about a statement of ours that failed: no values."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from payments.drivers import Statement
from payments.units import Store
from tests.children import ROOT
from tests.postgres_server import Postgres

PHONE = "+4915112345678"
NOTE = Statement("INSERT INTO people (phone) VALUES (%(phone)s)", {"phone": PHONE})


@pytest.fixture
def people(postgres_server: Postgres) -> Postgres:
    """A server with a table of phones, one of which is taken, and an ordinary role."""
    postgres_server.execute("CREATE TABLE people (phone text UNIQUE, age integer)")
    postgres_server.execute(f"INSERT INTO people VALUES ('{PHONE}')")
    postgres_server.execute("CREATE ROLE payments LOGIN")
    postgres_server.execute("GRANT ALL ON people TO payments")
    return postgres_server


def fails(server: Postgres, role: str) -> str:
    """What the server logs while this role's statements fail, with literals and with parameters."""
    log = Path(server.folder / "postgres.log")
    before = len(log.read_text())
    store = Store(str(sa.make_url(server.url()).set(username=role)))
    connection = store.checkout()
    driver = store.driver
    try:
        with pytest.raises(driver.errors):
            driver.begin(connection.driver_connection, [NOTE])
        driver.rollback(connection.driver_connection)
        with pytest.raises(driver.errors):
            driver.batch(connection.driver_connection, [NOTE])
    finally:
        connection.close()
        store.dispose()
    return log.read_text()[before:]


def told() -> list[str]:
    """What the README tells a superuser to do."""
    statements = re.findall(r"`(ALTER ROLE payments [^`]+)`", (ROOT / "README.md").read_text())
    assert statements
    return statements


def test_a_role_that_may_keeps_values_out(people: Postgres) -> None:
    seen = fails(people, "postgres")
    assert "people_phone_key" in seen
    assert PHONE not in seen


def test_an_ordinary_role_connects_and_needs_what_the_readme_says(people: Postgres) -> None:
    assert PHONE in fails(people, "payments")
    for statement in told():
        people.execute(statement)
    seen = fails(people, "payments")
    assert "people_phone_key" in seen
    assert PHONE not in seen


def test_a_role_that_was_granted_it_keeps_values_out(people: Postgres) -> None:
    people.execute("GRANT SET ON PARAMETER log_min_error_statement TO payments")
    people.execute("GRANT SET ON PARAMETER log_error_verbosity TO payments")
    assert PHONE not in fails(people, "payments")
