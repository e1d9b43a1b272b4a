"""Note that a backup was made, where metrics, alerts and people look for it."""

import json
import os
from pathlib import Path

import psycopg

from payments import clock
from scripts.backups.folder import Manifest, sync
from scripts.backups.programs import Failed
from scripts.backups.stores import Database

STATUS = "last_success.json"
TEXTFILE = "payments_backup.prom"
METRIC = "payments_backup_last_success_timestamp_seconds"

# The row that `payments_backup_last_success_timestamp_seconds` is read from. Written past the unit
# of work: it says nothing of money, and has to stand while writes are stopped.
_NOTE = """
INSERT INTO last_successes (name, succeeded_at, finished_at, findings, detail_json)
VALUES ('backup', %(at)s, %(at)s, 0, %(detail)s)
ON CONFLICT (name) DO UPDATE SET succeeded_at = excluded.succeeded_at,
    finished_at = excluded.finished_at, findings = 0, detail_json = excluded.detail_json
"""


def note(manifest: Manifest, place: Path, database: Database) -> str | None:
    """Note it beside the backups and in the database; None, or why the database does not know.

    Beside the backups: as JSON, and as a file for node_exporter's textfile collector.
    """
    at = manifest.until
    facts = {"backup": manifest.id, "kind": manifest.kind, "data_until": manifest.data_until}
    _replace(place / STATUS, json.dumps({"object": "backup_status", **facts}) + "\n")
    _replace(
        place / TEXTFILE,
        f"# HELP {METRIC} When the data of the newest backup was true.\n"
        f"# TYPE {METRIC} gauge\n{METRIC} {at.timestamp():.3f}\n",
    )
    try:
        with database.connect() as connection:
            connection.execute(_NOTE, {"at": at, "detail": json.dumps(facts)})
    except Failed as fault:
        if isinstance(fault.__cause__, psycopg.errors.UndefinedTable):
            return "this database has no table last_successes yet: migrate it"
        if isinstance(fault.__cause__, psycopg.errors.ReadOnlySqlTransaction):
            return "a standby can't be written to; the file beside the backups says it"
        raise
    return None


def last(place: Path) -> dict[str, str] | None:
    """What was noted beside the backups."""
    try:
        told: dict[str, str] = json.loads((place / STATUS).read_text())
    except FileNotFoundError:
        return None
    return told


def age_s(told: dict[str, str]) -> float:
    """How old the newest backup's data is, in seconds."""
    return (clock.now() - clock.parse_rfc3339(told["data_until"])).total_seconds()


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with new.open("w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    new.replace(path)
    sync(path.parent)
