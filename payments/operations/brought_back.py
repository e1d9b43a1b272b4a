"""What a restore may have brought back to life, or lost, for people to look through.

Two sources. The database says what stands in it: live keys, enabled endpoints, freezes, and the
last deposit that it knows of each service. The log, which is kept outside and knows what was done
since, says what the database does not know any more: audit lines by their id, and answered writes
by their request's. Where both are silent, nothing happened.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from payments import clock
from payments.db import Sql
from payments.operations.restoring import SLACK

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})

ADVICE = {
    "keys": "Revoke again what was revoked; tell merchants whose new key is gone.",
    "endpoints": "Set again what merchants changed, disabled or deleted.",
    "freezes": "Freeze, unfreeze, suspend and approve again.",
    "payouts": "Already paid outside: never pay them a second time.",
    "deposits": "Ask the service to send them again; its references keep them from counting twice.",
    "settings": "Set again what operators had changed.",
    "payments": "Acknowledged and gone: tell merchants and customers.",
    "others": "Look at each.",
}
"""Kind -> what to do about what the log knows and the database does not."""

_BY_ACTION = (
    ("keys", ("api_key.",)),
    ("endpoints", ("webhook_endpoint.", "endpoint.")),
    ("freezes", ("wallet.", "merchant.", "account.")),
    ("payouts", ("payout.", "adjustment.")),
    ("payments", ("refund.",)),
    ("settings", ("rate_limit.", "otp.", "fees.", "read_only.")),
)
_BY_ROUTE = (
    ("keys", ("/v1/api_keys",)),
    ("endpoints", ("/v1/webhook_endpoints",)),
    ("deposits", ("/internal/deposits",)),
    ("payouts", ("/v1/payouts", "/admin/payouts", "/internal/payouts")),
    ("payments", ("/v1/payments", "/v1/refunds", "/v1/transfers", "/internal/transfers")),
)
# Sign-ins are ended anyway; what operators do stands in the audit lines.
_NOT_LOST = ("/v1/auth", "/v1/sessions", "/admin/")

_KEYS = Sql(
    "SELECT id, merchant_id, name, created_at, last_used_at FROM api_keys"
    " WHERE (revoked_at IS NULL OR revoked_at > :now) AND (expires_at IS NULL OR expires_at > :now)"
    " ORDER BY created_at DESC, id DESC"
)
_ENDPOINTS = Sql(
    "SELECT id, merchant_id, url, created_at FROM webhook_endpoints WHERE status = 'enabled'"
    " ORDER BY created_at DESC, id DESC"
)
_FREEZES = Sql(
    "SELECT id, owner_id, frozen_at FROM accounts WHERE frozen_at IS NOT NULL"
    " ORDER BY frozen_at DESC, id DESC"
)
_DEPOSITS = Sql(
    "SELECT service, external_reference, created_at FROM deposits WHERE id IN"
    " (SELECT max(id) FROM deposits GROUP BY service) ORDER BY service"
)
_PAYOUTS = Sql(
    "SELECT id, kind, subject_id, created_at FROM entries WHERE kind LIKE 'payout%'"
    " AND created_at >= :since ORDER BY created_at DESC, id DESC"
)
_KNOWN_AUDIT = Sql("SELECT id FROM audit_log WHERE created_at >= :since")
_KNOWN_REQUESTS = Sql(
    "SELECT request_id FROM entries WHERE created_at >= :since AND request_id IS NOT NULL"
    " UNION SELECT request_id FROM events WHERE created_at >= :since AND request_id IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class Lost:
    """One thing that the log knows and the database does not. kind: a key of ADVICE."""

    kind: str
    at: str
    what: str
    who: str | None
    subject_id: str | None
    request_id: str | None


@dataclass(slots=True)
class Report:
    """standing: by kind, rows of the database. lost: from the log; None: no log was given.

    unread: lines that were no JSON of ours; since, until: of the log, what it covers.
    """

    standing: dict[str, list[dict[str, Any]]]
    lost: list[Lost] | None = None
    unread: int = 0
    since: datetime | None = None
    until: datetime | None = None
    counts: Counter[str] = field(default_factory=Counter)


def report(data_until: datetime, lines: Iterable[str] | None) -> Report:
    """What stands, and what of the log's lines is missing. Inside a snapshot."""
    since = data_until - SLACK
    standing = {
        "keys": _KEYS.all(now=clock.now()),
        "endpoints": _ENDPOINTS.all(),
        "freezes": _FREEZES.all(),
        "deposits": _DEPOSITS.all(),
        "payouts": _PAYOUTS.all(since=since - 8 * SLACK),
    }
    made = Report({kind: [_plain(row) for row in rows] for kind, rows in standing.items()})
    if lines is not None:
        known = {row.id for row in _KNOWN_AUDIT.all(since=since - SLACK)}
        known |= {row.request_id for row in _KNOWN_REQUESTS.all(since=since - SLACK)}
        made.lost = list(_lost(made, lines, since, known))
        made.counts = Counter(each.kind for each in made.lost)
    return made


def _lost(made: Report, lines: Iterable[str], since: datetime, known: set[str]) -> Iterator[Lost]:
    """Each thing once: an audit line stands for the request that it was written in."""
    for line in lines:
        if not line.strip():
            continue
        told = _parsed(line)
        if told is None:
            made.unread += 1
            continue
        at = told["time"]
        made.since = min(made.since or at, at)
        made.until = max(made.until or at, at)
        found = _of_audit(told) or _of_request(told)
        if found is not None and at >= since and not {found[1], found[0].request_id} & known:
            if found[0].request_id is not None:
                known.add(found[0].request_id)
            yield found[0]


def _of_audit(told: dict[str, Any]) -> tuple[Lost, str | None] | None:
    if told.get("logger") != "payments.audit" or told.get("outcome") != "done":
        return None
    action = str(told.get("action"))
    lost = Lost(
        _kind(_BY_ACTION, action), clock.to_rfc3339(told["time"]), action, told.get("actor"),
        told.get("subject_id"), told.get("request_id"),
    )  # fmt: skip
    return lost, told.get("audit_id")


def _of_request(told: dict[str, Any]) -> tuple[Lost, None] | None:
    if told.get("message") != "request" or told.get("method") not in WRITES:
        return None
    route, status = str(told.get("route")), told.get("status")
    if not isinstance(status, int) or not 200 <= status < 300 or route.startswith(_NOT_LOST):
        return None
    lost = Lost(
        _kind(_BY_ROUTE, route), clock.to_rfc3339(told["time"]), f"{told['method']} {route}",
        told.get("caller"), None, told.get("request_id"),
    )  # fmt: skip
    return lost, None


def _kind(table: tuple[tuple[str, tuple[str, ...]], ...], text: str) -> str:
    return next((kind for kind, starts in table if text.startswith(starts)), "others")


def _parsed(line: str) -> dict[str, Any] | None:
    """A line of our JSON log, with its time as a time; None for anything else."""
    try:
        told = json.loads(line)
        told["time"] = clock.parse_rfc3339(told["time"])
    except (ValueError, TypeError, KeyError):
        return None
    return told if isinstance(told, dict) else None


def _plain(row: Any) -> dict[str, Any]:
    return {
        name: clock.to_rfc3339(value) if isinstance(value, datetime) else value
        for name, value in row._asdict().items()
    }
