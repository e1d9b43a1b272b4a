"""Bring a dump back into an empty database, which takes no writes from its first table on.

The tables and the switch of read-only become visible in one transaction, so a process that connects
too early finds no table, or finds that writes are stopped. Rows, indexes and triggers come after.
"""

import re
import tempfile
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from payments import clock
from payments.operations.restoring import RESTORE, Restored, row_of
from payments.settings import READ_ONLY
from scripts.backups import checking, folder, programs
from scripts.backups.folder import Backup
from scripts.backups.programs import Failed
from scripts.backups.stores import Database

REASON = "restored: scripts/after_restore.py comes before traffic"
_THINGS = """
SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname NOT IN ('pg_catalog', 'information_schema') AND nspname NOT LIKE 'pg\\_toast%'
AND nspname NOT LIKE 'pg\\_temp%' AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
"""
# The primary key comes after the rows, so nothing can be said about conflicts yet.
_SET = """
UPDATE public.runtime_settings SET value_json = {value}, overlay_json = NULL, overlay_until = NULL,
    version = version + 1, updated_by = 'script:restore', updated_at = now() WHERE name = {name};
INSERT INTO public.runtime_settings (name, value_json, version, updated_by, updated_at)
SELECT {name}, {value}, 1, 'script:restore', now()
WHERE NOT EXISTS (SELECT FROM public.runtime_settings WHERE name = {name});
"""


def dump(
    backup: Backup, database: Database, identity: Path | None, *, jobs: int, work: Path | None
) -> Restored:
    """Restore it; what the database now says of itself. work: for the decrypted dump, meanwhile.

    Raises Failed; then the database is to be dropped and made anew, if it is not empty.
    """
    refuse_unless_empty(database)
    faults = folder.damage(backup)
    if faults:
        raise Failed(f"backup {backup.manifest.id} is not good: {'; '.join(faults)}")
    now = clock.now()
    restored = Restored(
        id=f"{backup.manifest.id}@{clock.to_rfc3339(now)}",
        backup=backup.manifest.id,
        data_until=backup.manifest.until,
        restored_at=now,
        epoch=None,
    )
    with tempfile.TemporaryDirectory(prefix="payments-restore-", dir=work) as private:
        readable = checking.decrypted(backup, "database", identity, Path(private))
        _lay_tables(readable, database, Path(private), opening(restored))
        _fill(readable, database, Path(private), jobs)
    with database.connect() as connection:
        connection.execute("ANALYZE")
        revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if revision is None or revision[0] != backup.manifest.schema_revision:
        raise Failed(f"the schema is at {revision}, not at {backup.manifest.schema_revision}")
    return restored


def refuse_unless_empty(database: Database) -> None:
    """Raise Failed where there is anything that a restore could mix with."""
    with database.connect() as connection:
        row = connection.execute(_THINGS.encode()).fetchone()
    if row is not None and row[0]:
        raise Failed(
            f"the database {database.name} is not empty: restore into a new one"
            f" (dropdb, createdb --template=template0)"
        )


def opening(restored: Restored) -> str:
    """SQL that stops writes and says what was restored."""
    values = {
        READ_ONLY: sql.Literal(_switch(restored)),
        RESTORE: sql.Literal(row_of(restored)),
    }
    return "".join(
        sql.SQL(_SET).format(name=sql.Literal(name), value=value).as_string()
        for name, value in values.items()
    )


def stop_writes(connection: psycopg.Connection[Any], restored: Restored) -> None:
    """The same in a database that stands already, all or nothing."""
    with connection.transaction():
        connection.execute(opening(restored).encode())


def _switch(restored: Restored) -> str:
    since = clock.to_rfc3339(restored.restored_at)
    return f'{{"reason": "{REASON}", "since": "{since}"}}'


def _lay_tables(dumped: Path, database: Database, private: Path, then: str) -> None:
    program = programs.of_postgres("pg_restore", database.major())
    plain = ["--no-owner", "--no-privileges", str(dumped)]
    for name, part in (
        ("tables.sql", ["--section=pre-data"]),
        ("settings.sql", ["--data-only", "--table=runtime_settings"]),
    ):
        programs.run([program, *part, f"--file={private / name}", *plain])
    (private / "switch.sql").write_text(then)
    psql = programs.of_postgres("psql", database.major())
    programs.run(
        [psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction"]
        + [f"--file={private / name}" for name in ("tables.sql", "settings.sql", "switch.sql")],
        database.environ,
    )


def _fill(dumped: Path, database: Database, private: Path, jobs: int) -> None:
    """Rows, then indexes, constraints and triggers, by so many at once."""
    program = programs.of_postgres("pg_restore", database.major())
    contents = programs.run([program, "--list", str(dumped)])
    rest = private / "rest.list"
    there_already = re.compile(r"^\d+; .* TABLE DATA \S+ runtime_settings ")
    rest.write_text(
        "\n".join(line for line in contents.splitlines() if not there_already.match(line)) + "\n"
    )
    programs.run(
        [program, "--section=data", "--section=post-data", f"--use-list={rest}", f"--jobs={jobs}"]
        + ["--exit-on-error", "--no-owner", "--no-privileges", "--no-password"]
        + [f"--dbname={database.name}", str(dumped)],
        database.environ,
    )
