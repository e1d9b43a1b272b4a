"""What people and processes did: rows of the audit trail, and lines of the log.

Both tell of the same acts: an audit line bears the id of its row. After a restore only the log
knows what was done since. Strangers' addresses, phones and codes are left out.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from payments import audit, clock
from payments.logs import Redactor

PAGE = 500
SETTINGS = ("rate_limit.", "otp.", "fees.", "read_only.")
STARTS = {
    "Starting gunicorn": "the web server starts",
    "Booting worker": "a web process starts",
    "Shutting down": "the web server stops",
    "Worker exiting": "a web process ends",
}
"""What gunicorn says of itself, and what that means."""
_redactor = Redactor()


@dataclass(frozen=True, order=True)
class Happening:
    """One thing at one moment. kind: `deploy`, `setting`, `act`, `alert`. id: of its audit row."""

    at: datetime
    kind: str = field(compare=False)
    what: str = field(compare=False)
    who: str = field(default="", compare=False)
    id: str = field(default="", compare=False)

    def shown(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "at": clock.to_rfc3339(self.at),
            "kind": self.kind,
            "what": self.what,
            "who": self.who or None,
            "id": self.id or None,
        }


@dataclass
class Read:
    """What a log said of the window. hit: callers who got a 5xx. unread: lines that were not ours.

    since, until: what the log covers.
    """

    happenings: list[Happening] = field(default_factory=list)
    faults: int = 0
    hit: set[str] = field(default_factory=set)
    unread: int = 0
    since: datetime | None = None
    until: datetime | None = None


def audited(start: datetime, end: datetime) -> Iterator[Happening]:
    """The rows of the trail, newest first. Inside a snapshot."""
    place: tuple[datetime, str] | None = None
    while rows := audit.page({"start": start, "to": end}, PAGE, place):
        for row in rows:
            shown = audit.record_object(row)
            yield _act(row.created_at, row.id, shown)
        place = (rows[-1].created_at, rows[-1].id)


def read(lines: Iterable[str], start: datetime, end: datetime) -> Read:
    """What the log's lines say of the window: acts, starts and ends of processes, faults."""
    found = Read()
    for line in lines:
        given = _parsed(line)
        if given is None:
            found.unread += 1
            continue
        moment = clock.parse_rfc3339(given["time"])
        found.since = min(found.since or moment, moment)
        found.until = max(found.until or moment, moment)
        if start <= moment <= end:
            _note(found, moment, given)
    return found


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        given = json.loads(line)
        clock.parse_rfc3339(given["time"])
    except (ValueError, TypeError, KeyError):
        return None
    return dict(given)


def _note(found: Read, moment: datetime, given: dict[str, Any]) -> None:
    message = str(given.get("message"))
    if message == "audit" and "audit_id" in given:
        shown = {"subject": given.get("subject_id"), **given}
        found.happenings.append(_act(moment, str(given["audit_id"]), shown))
    elif message == "request" and isinstance(status := given.get("status"), int) and status > 499:
        found.faults += 1
        if given.get("caller"):
            found.hit.add(str(given["caller"]))
    elif given.get("logger") == "gunicorn.error":
        for begins, means in STARTS.items():
            if message.startswith(begins):
                found.happenings.append(Happening(moment, "deploy", means, "log"))


def _act(moment: datetime, id: str, shown: dict[str, Any]) -> Happening:
    action, outcome = str(shown["action"]), str(shown["outcome"])
    what = action if outcome == "done" else f"{action} refused: {outcome}"
    subject = shown.get("subject")
    if subject and not action.startswith(f"{subject}."):
        what += f" on {subject}"
    change = _change(shown.get("before") or {}, shown.get("after") or {})
    if change:
        what += f" ({change})"
    kind = "setting" if action.startswith(SETTINGS) else "act"
    return Happening(moment, kind, _redactor.text(what), _who(str(shown["actor"])), id)


def _change(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What is another than before, in words."""
    told = []
    for name, value in after.items():
        if isinstance(value, (dict, list)) or value == before.get(name) or value is None:
            continue
        was = f"{_plain(name, before[name])} → " if before.get(name) is not None else ""
        told.append(f"{name}: {was}{_plain(name, value)}")
    return ", ".join(told)


def _plain(name: str, value: object) -> str:
    value = _redactor.field(name, value)
    return value if isinstance(value, str) else json.dumps(value)


def _who(actor: str) -> str:
    """Operators by their name, others by their id; of strangers not even the address."""
    return "a stranger" if actor.startswith("address:") else _redactor.text(actor)
