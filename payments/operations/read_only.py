"""Read-only mode: nothing is written but operators' settings, whichever process would.

The switch is a row, and each unit of work reads it with its BEGIN. So from its commit on no new
unit writes; those that began before are waited for, by the database's own list of transactions.
"""

import json
import time
from dataclasses import dataclass
from datetime import datetime

from payments import audit, clock, db, origin, settings
from payments.db import Sql

WAIT_S = db.UNIT_LIMIT_S + 2
"""No unit of work outlives ten seconds."""
LOOK_S = 0.05

# A snapshot and a dump only read. SQLite's one writer had ended when the switch was written.
_WRITING = Sql(
    "SELECT DISTINCT application_name AS name FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type = 'client backend' AND state <> 'idle' AND xact_start < :since"
    " AND application_name NOT IN ('payments snapshot', 'pg_dump') ORDER BY name",
    sqlite="SELECT '' AS name WHERE :since IS NULL",
)


@dataclass(frozen=True, slots=True)
class State:
    """reason, since, by: of the switch; None while it is off. version counts its changes."""

    on: bool
    reason: str | None
    since: datetime | None
    by: str | None
    version: int


def state() -> State:
    """As the rows say now."""
    row = settings.read_row(settings.READ_ONLY)
    if row is None or row.value_json is None:
        return State(False, None, None, None, 0 if row is None else row.version)
    told = json.loads(row.value_json)
    since = clock.parse_rfc3339(told["since"])
    return State(True, told["reason"], since, row.updated_by, row.version)


def switch(on: bool, reason: str) -> None:
    """Stop or allow writes, in the open unit of work, with its line in the audit trail.

    Switching it on again keeps since when it is on.
    """
    row = settings.lock(settings.READ_ONLY)
    was = json.loads(row.value_json) if row.value_json is not None else None
    since = was["since"] if was is not None else clock.to_rfc3339(db.unit().now)
    value = {"reason": reason, "since": since} if on else None
    settings.write(settings.READ_ONLY, json.dumps(value) if value is not None else None)
    who = origin.current()
    audit.record(
        who.actor,
        f"read_only.{'on' if on else 'off'}",
        settings.READ_ONLY,
        before={"on": was is not None} | (was or {}),
        after={"on": on, "reason": reason},
        request_id=who.request_id,
    )


def wait_until_quiet(limit_s: float = WAIT_S) -> list[str]:
    """Wait for every unit that began before now. Names the processes that have not ended theirs."""
    since = db.now()
    ends = time.monotonic() + limit_s
    while True:
        names = still_writing(since)
        if not names or time.monotonic() >= ends:
            return names
        time.sleep(LOOK_S)


def still_writing(since: datetime) -> list[str]:
    """The processes, such as `payments gunicorn 12@web-1`, with a unit that is older than that."""
    return [row.name for row in _WRITING.all(since=since)]
