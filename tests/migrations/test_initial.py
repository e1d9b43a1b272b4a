"""The tables as migrations make them: they go and come back, are the models', and refuse."""

import ast
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from payments.db import db
from tests import databases
from tests.children import ROOT
from tests.migrations import catalog

APPEND_ONLY = ("audit_log", "entries", "events", "postings")
VERSIONS = sorted((ROOT / "migrations" / "versions").glob("*.py"))
# One row for each append-only table and what it refers to.
ROWS = (
    "INSERT INTO accounts (id, owner_id, kind, rank, currency, balance, held, collects, version,"
    " created_at) VALUES ('acc_1', 'system', 'fees', 4, 'EUR', 0, 0, {false}, 1, '{at}')",
    "INSERT INTO entries (id, kind, subject_id, caller, created_at)"
    " VALUES ('ent_1', 'payment', 'pay_1', 'cus_1', '{at}')",
    "INSERT INTO postings (id, entry_id, account_id, amount, created_at)"
    " VALUES ('pst_1', 'ent_1', 'acc_1', 5, '{at}')",
    "INSERT INTO events (id, type, object_id, body, created_at)"
    " VALUES ('evt_1', 'payment.created', 'pay_1', '{{}}', '{at}')",
    "INSERT INTO audit_log (id, actor, action, outcome, created_at)"
    " VALUES ('aud_1', 'operator:ann', 'merchant.approve', 'done', '{at}')",
)
CHANGES = ("UPDATE {table} SET id = id || 'x'", "DELETE FROM {table}")
SQLITE_CHANGES = ("INSERT OR REPLACE INTO {table} SELECT * FROM {table}",)
POSTGRES_CHANGES = ("TRUNCATE {table} CASCADE",)


def test_tables_go_and_come_back(empty_database, tmp_path):
    databases.migrate(empty_database, tmp_path)
    first = catalog.read(empty_database)
    databases.migrate(empty_database, tmp_path, "base")
    assert not any(catalog.read(empty_database).values())
    databases.migrate(empty_database, tmp_path)
    assert catalog.read(empty_database) == first
    assert len(first["columns"]) > 100


def test_models_describe_what_migrations_make(database, empty_database, tmp_path):
    """Not by Alembic's comparison alone, which looks past CHECKs, conditions and collations."""
    engine = sa.create_engine(empty_database, poolclass=sa.NullPool)
    db.metadata.create_all(engine)
    engine.dispose()
    assert catalog.without_behaviour(catalog.read(database)) == catalog.without_behaviour(
        catalog.read(empty_database)
    )


def test_alembic_finds_nothing_to_migrate(database):
    engine = sa.create_engine(database, poolclass=sa.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, db.metadata) == []
    engine.dispose()


def test_append_only_tables_have_their_triggers_at_head(database):
    guards = ["no_delete", "no_replace", "no_update"]
    if database.startswith("postgresql"):
        guards = ["append_only", "no_truncate"]
    found = catalog.read(database)["triggers"]
    assert [row[0] for row in found] == sorted(f"{t}_{g}" for t in APPEND_ONLY for g in guards)
    if database.startswith("postgresql"):
        assert {row[2] for row in found} == {"O"}  # enabled


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_append_only_tables_refuse_every_change(database, table):
    on_sqlite = database.startswith("sqlite")
    engine = sa.create_engine(database, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for row in ROWS:
            connection.exec_driver_sql(
                row.format(at="2026-03-01 09:00:00", false=0 if on_sqlite else "false")
            )
    for change in CHANGES + (SQLITE_CHANGES if on_sqlite else POSTGRES_CHANGES):
        with pytest.raises(sa.exc.IntegrityError) as refused, engine.begin() as connection:
            connection.exec_driver_sql(change.format(table=table))
        assert "append-only" in str(refused.value), change
    with engine.connect() as connection:
        assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 1
    engine.dispose()


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_migrations_import_nothing_of_the_service(path: Path):
    """They are frozen; the service is not."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    assert "alembic" in names
    assert {name.partition(".")[0] for name in names} & {"payments", "jobs", "scripts"} == set()


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_revisions_fit_their_column_and_are_named_as_their_file(path: Path):
    revision = path.stem
    assert len(revision) <= 32
    assert f'revision = "{revision}"' in path.read_text()
