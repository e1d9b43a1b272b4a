"""When a named job last did all of its work: what metrics and alerts ask of reconcile and backups.

A row for each job, written by whoever ran it, a script or the clock; so it is the same in every
process, and a restored database says truly that its last backup is old.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from payments.db import Long, Row, Sql, UtcDateTime, db, unit

RECONCILE = "reconcile"
"""The whole list of invariants was run; findings: rows that break one."""
BACKUP = "backup"
"""A backup was made, checked and put where it belongs."""


class LastSuccess(db.Model):
    """A job's last success. succeeded_at: null where it never had one; findings: what it found.

    finished_at, detail_json: of the last run that came to its end, well or not.
    """

    __tablename__ = "last_successes"

    name: Mapped[str] = mapped_column(primary_key=True)
    succeeded_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime] = mapped_column(UtcDateTime)
    findings: Mapped[int]
    detail_json: Mapped[str] = mapped_column(Long)


_FIELDS = "name, succeeded_at, finished_at, findings, detail_json"
# A run that failed says nothing of what there is to find.
_RECORD = Sql(
    f"INSERT INTO last_successes ({_FIELDS})"
    " VALUES (:name, :succeeded_at, :now, :findings, :detail_json)"
    " ON CONFLICT (name) DO UPDATE SET"
    " succeeded_at = coalesce(excluded.succeeded_at, last_successes.succeeded_at),"
    " findings = CASE WHEN excluded.succeeded_at IS NULL THEN last_successes.findings"
    " ELSE excluded.findings END,"
    " finished_at = excluded.finished_at, detail_json = excluded.detail_json"
)
_GET = Sql(f"SELECT {_FIELDS} FROM last_successes WHERE name = :name")


def record(
    name: str,
    *,
    succeeded: bool = True,
    findings: int = 0,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write down that the job came to its end, in the open unit of work, dated by it.

    findings: how much it found wrong; finding something is a success. succeeded False: it could
    not do its work; the last success and what that found stay. detail: facts for people, as JSON.
    """
    now = unit().now
    _RECORD.run(
        name=name,
        now=now,
        succeeded_at=now if succeeded else None,
        findings=findings,
        detail_json=json.dumps(dict(detail or {})),
    )


def last(name: str) -> Row | None:
    """The job's row: name, succeeded_at, finished_at, findings, detail_json; None: it never ran."""
    return _GET.one(name=name)
