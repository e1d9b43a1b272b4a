"""After a restore and before traffic: what the past that came back must not do again.

A restored database is a moment of the past. Sessions that have ended since are alive in it again,
so all are ended. Objects that have changed since have versions that were shown before, with other
contents; a receiver that keeps the highest would take every later change for an old one. So each
`version` is raised to an epoch that no version before it can have reached: the second of the
restore, times 2^20. Versions count changes from there on, and no row changes a million times a
second. It stays under 2^53, which every receiver's JSON can hold.

`scripts/restore.py` leaves a row that says what was restored, and read-only set; nothing here runs
without both.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from payments import clock, db, settings
from payments.errors import InvalidState

RESTORE = "restore"
"""The row of `runtime_settings` that says what was restored."""
EPOCH_BITS = 20
SLACK = timedelta(seconds=15)
"""What lies further back than this before a moment was committed by then (api.md, closed times)."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What stands in the row. data_until: what was committed by then is in the database.

    restored_at: when it came back. epoch: the second that versions were raised by; None: not yet.
    """

    id: str
    backup: str
    data_until: datetime
    restored_at: datetime
    epoch: int | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was done. raised: rows by table. Nothing of it is done twice for one restore."""

    epoch: int
    sessions_ended: int
    codes_ended: int
    raised: dict[str, int]


def version_floor(epoch: int) -> int:
    """The version that everything has at least, after a restore in that second."""
    return epoch << EPOCH_BITS


def versioned_tables() -> list[str]:
    """Every table whose rows have a version."""
    return sorted(name for name, table in db.Base.metadata.tables.items() if "version" in table.c)


def restored() -> Restored | None:
    """What this database was restored from; None where it never was."""
    row = settings.read_row(RESTORE)
    return None if row is None or row.value_json is None else _parsed(row.value_json)


def prepare(restored_by_hand: Restored | None = None) -> tuple[Restored, Prepared | None]:
    """End all sessions and raise every version, all or nothing; None where that was done before.

    restored_by_hand: of a database that somebody else restored, a provider's point in time.
    Raises InvalidState where no restore is known, where writes are not stopped, or where versions
    lie past this moment: then a clock is wrong, and nothing may be raised by it.
    """
    with _transaction() as connection:
        if restored_by_hand is not None:
            _note(connection, restored_by_hand)
        told = _locked(connection, RESTORE)
        if told is None:
            raise InvalidState("This database was not restored, as far as it knows.")
        found = _parsed(told)
        if found.epoch is not None:
            return found, None
        if _locked(connection, settings.READ_ONLY) is None:
            raise InvalidState("Writes are not stopped: somebody may write old versions.")
        return found, _raise_all(connection, json.loads(told))


def _raise_all(connection: sa.Connection, told: dict[str, Any]) -> Prepared:
    now = clock.now()
    epoch = int(now.timestamp())
    floor = version_floor(epoch)
    raised = {table: _refuse_past(connection, table, floor) for table in versioned_tables()}
    binds = {"now": now.replace(tzinfo=None) if connection.dialect.name == "sqlite" else now}
    ended = connection.execute(
        sa.text("UPDATE sessions SET status = 'ended', ended_at = :now WHERE status = 'active'"),
        binds,
    ).rowcount
    connection.execute(
        sa.text("UPDATE console_sessions SET ended_at = :now WHERE ended_at IS NULL"), binds
    )
    codes = connection.execute(
        sa.text("UPDATE otp_challenges SET status = 'replaced' WHERE status = 'open'")
    ).rowcount
    for table in raised:
        _raise(connection, table, floor)
    connection.execute(
        sa.text("UPDATE runtime_settings SET value_json = :told WHERE name = :name"),
        {"name": RESTORE, "told": json.dumps(told | {"epoch": epoch})},
    )
    return Prepared(epoch, ended, codes, raised)


def _refuse_past(connection: sa.Connection, table: str, floor: int) -> int:
    """How many rows there are. Raises InvalidState where one has such a version already."""
    highest, rows = connection.execute(sa.text(f"SELECT max(version), count(*) FROM {table}")).one()
    if highest is not None and highest >= floor:
        raise InvalidState(
            f"Versions in {table} reach {highest}, past {floor} of this moment. Is a clock wrong,"
            " here or where this database was restored before?"
        )
    return int(rows)


def _raise(connection: sa.Connection, table: str, floor: int) -> None:
    if connection.dialect.name == "sqlite":
        connection.execute(sa.text(f"UPDATE {table} SET version = :floor"), {"floor": floor})
        return
    # Written anew, with its indexes built in one go each: an UPDATE of every row takes several
    # times as long, since it adds to every index row by row, and leaves a table twice as large.
    connection.exec_driver_sql(
        f"ALTER TABLE {table} ALTER COLUMN version TYPE bigint USING {floor}::bigint"
    )
    connection.exec_driver_sql(f"ANALYZE {table}")


def row_of(found: Restored) -> str:
    """The row's JSON, as `scripts/restore.py` and `prepare` write it."""
    return json.dumps(
        {
            "id": found.id,
            "backup": found.backup,
            "data_until": clock.to_rfc3339(found.data_until),
            "restored_at": clock.to_rfc3339(found.restored_at),
        }
    )


def _note(connection: sa.Connection, found: Restored) -> None:
    """Write the row, unless it tells of this very restore already."""
    told = _locked(connection, RESTORE)
    if told is not None and _parsed(told).id == found.id:
        return
    connection.execute(sa.text("DELETE FROM runtime_settings WHERE name = :n"), {"n": RESTORE})
    connection.execute(
        sa.text(
            "INSERT INTO runtime_settings (name, value_json, version, updated_by, updated_at)"
            " VALUES (:name, :told, 1, 'script:after_restore', CURRENT_TIMESTAMP)"
        ),
        {"name": RESTORE, "told": row_of(found)},
    )


def _locked(connection: sa.Connection, name: str) -> str | None:
    lock = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    return connection.scalar(
        sa.text(f"SELECT value_json FROM runtime_settings WHERE name = :name{lock}"),
        {"name": name},
    )


def _parsed(told: str) -> Restored:
    value = json.loads(told)
    return Restored(
        id=value["id"],
        backup=value["backup"],
        data_until=clock.parse_rfc3339(value["data_until"]),
        restored_at=clock.parse_rfc3339(value["restored_at"]).astimezone(UTC),
        epoch=value.get("epoch"),
    )


@contextmanager
def _transaction() -> Iterator[sa.Connection]:
    """One transaction over every row of many tables: longer than a unit of work may take."""
    engine = sa.create_engine(db.current_store().url, poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
                connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
                connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '256MB'")
            yield connection
    finally:
        engine.dispose()
