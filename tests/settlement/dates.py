"""Entries of another time than now: the database's clock dates them, so its owner must."""

from datetime import datetime

from payments import clock
from tests.ledger import raw


def dated(database: str, subject: str, moment: str) -> None:
    """Let the entries for this object have been written then. moment: RFC 3339."""
    at = _text(database, clock.parse_rfc3339(moment))
    raw.execute(
        database,
        f"UPDATE entries SET created_at = '{at}' WHERE subject_id = '{subject}'",
        "UPDATE postings SET created_at = (SELECT created_at FROM entries"
        f" WHERE entries.id = postings.entry_id) WHERE entry_id IN"
        f" (SELECT id FROM entries WHERE subject_id = '{subject}')",
    )


def _text(database: str, moment: datetime) -> str:
    on_sqlite = database.startswith("sqlite")
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f") + ("" if on_sqlite else "+00")
