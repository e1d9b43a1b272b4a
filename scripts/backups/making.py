"""Make a backup: a dump of the database with Redis's snapshot, or a copy of the whole cluster.

Everything goes through a pipe into its file, encrypted on the way: nothing readable touches a disk.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from payments import clock
from scripts.backups import age, folder, programs
from scripts.backups.folder import Backup, File, Manifest
from scripts.backups.programs import Failed
from scripts.backups.stores import Database, Redis

READER = "payments snapshot"


@dataclass(frozen=True)
class Moment:
    """What the server was when the backup began. snapshot: to share, of a dump."""

    at: datetime
    snapshot: str | None
    server_version: int
    schema_revision: str | None
    wal_lsn: str
    wal_file: str | None


def dump(database: Database, redis: Redis | None, place: Path, recipients: Path | None) -> Backup:
    """A backup of one moment of the database, and of Redis a little later. Raises Failed.

    recipients: age recipients, or None for plain files.
    """
    started = clock.now()
    backup_id = folder.new_id("dump", started)
    with folder.making(place, backup_id) as partial:
        with _snapshot(database) as moment:
            program = programs.of_postgres("pg_dump", moment.server_version // 10_000)
            command = [program, "--format=custom", "--no-owner", "--no-privileges"]
            command += [f"--snapshot={moment.snapshot}"] if moment.snapshot else []
            files = [_piped(command, database.environ, partial / "database.dump", "database",
                            recipients)]  # fmt: skip
        if redis is not None:
            arguments, environ = redis.command_line()
            client = programs.find("redis-cli", "redis-tools")
            files.append(
                _piped([client, *arguments, "--rdb", "-"], environ, partial / "redis.rdb", "redis",
                       recipients)
            )  # fmt: skip
        number = redis.number if redis is not None else None
        folder.write(partial, _manifest(backup_id, "dump", started, moment, files, number))
    return folder.read(place / backup_id)


def base(database: Database, place: Path, recipients: Path | None) -> Backup:
    """A copy of the whole cluster, which archived WAL brings to any later moment. Raises Failed.

    Returns once the WAL that makes the copy whole has been archived.
    """
    started = clock.now()
    backup_id = folder.new_id("base", started)
    with database.connect() as connection:
        (mode,) = connection.execute("SHOW archive_mode").fetchone() or ("off",)
    if mode == "off":
        raise Failed("archive_mode is off: without archived WAL a base backup restores to nothing")
    with folder.making(place, backup_id) as partial:
        with _snapshot(database) as moment:
            pass
        program = programs.of_postgres("pg_basebackup", moment.server_version // 10_000)
        command = [program, "--pgdata=-", "--format=tar", "--wal-method=none", "--gzip"]
        command += ["--checkpoint=fast", "--no-password"]
        environ = {name: v for name, v in database.environ.items() if name != "PGDATABASE"}
        files = [_piped(command, environ, partial / "base.tar.gz", "base", recipients)]
        folder.write(partial, _manifest(backup_id, "base", started, moment, files, None))
    return folder.read(place / backup_id)


def _piped(
    command: Sequence[str], environ: Any, path: Path, what: str, recipients: Path | None
) -> File:
    commands = [command]
    if recipients is not None:
        commands.append(age.encrypting(recipients))
        path = path.with_name(path.name + age.SUFFIX)
    programs.into_file(commands, path, environ)
    found = folder.described(path, what, recipients is not None)
    if found.bytes == 0:
        raise Failed(f"{Path(command[0]).name} gave nothing at all")
    return found


@contextmanager
def _snapshot(database: Database) -> Iterator[Moment]:
    """One moment of the database, which a dump can share while this is open.

    Under a name that read-only mode knows for one that only reads: it does not wait for this.
    """
    with database.connect(application_name=READER) as connection:
        in_recovery = _one(connection, "SELECT pg_is_in_recovery()")
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # The transaction's time comes before its snapshot: what was committed by then is in it.
            at = _one(connection, "SELECT now()")
            lsn = "pg_last_wal_replay_lsn()" if in_recovery else "pg_current_wal_lsn()"
            has_schema = _one(connection, "SELECT to_regclass('alembic_version') IS NOT NULL")
            yield Moment(
                at=at.astimezone(UTC),
                snapshot=_one(connection, "SELECT pg_export_snapshot()"),
                server_version=connection.info.server_version,
                schema_revision=_one(connection, "SELECT version_num FROM alembic_version")
                if has_schema
                else None,
                wal_lsn=str(_one(connection, f"SELECT {lsn}")),
                wal_file=None
                if in_recovery
                else _one(connection, f"SELECT pg_walfile_name({lsn})"),
            )


def _one(connection: psycopg.Connection[Any], statement: str) -> Any:
    row = connection.execute(statement.encode()).fetchone()
    return None if row is None else row[0]


def _manifest(
    backup_id: str,
    kind: str,
    started: datetime,
    moment: Moment,
    files: list[File],
    redis_number: int | None,
) -> Manifest:
    return Manifest(
        id=backup_id,
        kind=kind,
        started_at=clock.to_rfc3339(started),
        ended_at=clock.to_rfc3339(clock.now()),
        data_until=clock.to_rfc3339(moment.at),
        server_version=moment.server_version,
        schema_revision=moment.schema_revision,
        wal_lsn=moment.wal_lsn,
        wal_file=moment.wal_file,
        redis_number=redis_number,
        files=files,
    )
