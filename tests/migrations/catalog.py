"""What a database says about itself, in a form that two databases can be compared by."""

import re
from typing import Any

import sqlalchemy as sa

_POSTGRES = {
    "columns": """
        SELECT table_name || '.' || column_name, data_type, is_nullable, column_default,
               collation_name, numeric_precision
        FROM information_schema.columns WHERE table_schema = 'public'""",
    "constraints": """
        SELECT conname, conrelid::regclass::text, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    "indexes": "SELECT indexname, tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "relations": """
        SELECT relname, relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace""",
    "triggers": """
        SELECT tgname, tgrelid::regclass::text, tgenabled::text, pg_get_triggerdef(oid)
        FROM pg_trigger WHERE NOT tgisinternal""",
    "functions": """
        SELECT proname, pg_get_functiondef(oid)
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace""",
}
_SQLITE = {
    "columns": """
        SELECT m.name || '.' || c.name, c.type, c."notnull", c.dflt_value, c.pk
        FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'""",
    "constraints": "SELECT name, sql FROM sqlite_master WHERE type = 'table'",
    "indexes": "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'index'",
    "relations": "SELECT name, type FROM sqlite_master",
    "triggers": "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'",
}
Catalog = dict[str, list[tuple[Any, ...]]]


def read(url: str) -> Catalog:
    """Columns, constraints, indexes, triggers, functions and views, without Alembic's own table."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    queries = _SQLITE if engine.dialect.name == "sqlite" else _POSTGRES
    with engine.connect() as connection:
        found: Catalog = {
            kind: sorted(
                (tuple(row) for row in connection.exec_driver_sql(query)),
                key=lambda row: (str(row[0]), str(row[1])),
            )
            for kind, query in queries.items()
        }
    engine.dispose()
    if engine.dialect.name == "sqlite":
        found["constraints"] = [
            (table, rule) for table, sql in found["constraints"] for rule in _constraints(sql)
        ]
    return {
        kind: [row for row in rows if "alembic_version" not in f"{row[0]} {row[1]}"]
        for kind, rows in found.items()
    }


def without_behaviour(catalog: Catalog) -> Catalog:
    """Columns, constraints and indexes: what models describe too."""
    return {kind: catalog[kind] for kind in ("columns", "constraints", "indexes")}


def _constraints(create_table: str) -> list[str]:
    """The named constraints in the text of a CREATE TABLE, sorted: their order means nothing."""
    lines = (re.sub(r"\s+", " ", line).strip(" ,") for line in create_table.splitlines())
    return sorted(line for line in lines if line.startswith("CONSTRAINT "))
