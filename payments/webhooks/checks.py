"""Checks of endpoints: an operator asks, the clock beside the worker runs them, the row tells.

A row is claimed under a lease, as a delivery is: a process that dies leaves it to another. Each
check has a thread, so that one which waits for its deadline delays neither the clock nor others;
nothing is written while it is under way.
"""

import contextvars
import json
import logging
import threading
from datetime import datetime, timedelta
from typing import Any

from payments import audit, clock, config, db, ids, origin
from payments.db import Row, Sql
from payments.errors import Busy, InvalidState, NotFound, ReadOnly
from payments.webhooks import probing

AT_ONCE = 4
"""Checks that one process runs at once."""
LEASE = timedelta(seconds=90)
"""Longer than any check takes (WEBHOOK_TIMEOUT_SECS is at most 30)."""
KEPT = timedelta(days=7)
MAX_WAITING = 100

log = logging.getLogger(__name__)

_FIELDS = (
    "id, endpoint_id, url, status, asked_by, outcome, result_json, version, created_at, ended_at"
)
_ENDPOINT = Sql(
    "SELECT url FROM webhook_endpoints WHERE id = :id AND status <> 'deleted' FOR NO KEY UPDATE"
)
_OPEN = Sql("SELECT count(*) FROM endpoint_checks WHERE status <> 'done'")
_INSERT = Sql(
    "INSERT INTO endpoint_checks (id, endpoint_id, url, status, asked_by, version, created_at)"
    f" VALUES (:id, :endpoint_id, :url, 'waiting', :by, 1, :now) RETURNING {_FIELDS}"
)
_GET = Sql(f"SELECT {_FIELDS} FROM endpoint_checks WHERE id = :id")
_CLAIMABLE = "status <> 'done' AND (lease_until IS NULL OR lease_until <= :now)"
_DUE = Sql(f"SELECT id FROM endpoint_checks WHERE {_CLAIMABLE} ORDER BY created_at LIMIT :limit")
_CLAIM = Sql(
    "UPDATE endpoint_checks SET status = 'running', lease_until = :until, version = version + 1"
    f" WHERE id = :id AND {_CLAIMABLE} RETURNING id, url"
)
_FINISH = Sql(
    "UPDATE endpoint_checks SET status = 'done', outcome = :outcome, result_json = :result,"
    " lease_until = NULL, ended_at = :now, version = version + 1"
    " WHERE id = :id AND status <> 'done'"
)
_PRUNE = Sql(
    "DELETE FROM endpoint_checks WHERE id IN (SELECT id FROM endpoint_checks"
    " WHERE created_at < :before ORDER BY created_at LIMIT :limit)"
)
_PAGE = (
    f"SELECT {_FIELDS} FROM endpoint_checks {{where}}"
    " ORDER BY created_at DESC, id DESC LIMIT :limit"
)
_AFTER = "WHERE (created_at, id) < (:before_at, :before_id)"
_PAGES = {
    (False, False): Sql(_PAGE.format(where="")),
    (False, True): Sql(_PAGE.format(where=_AFTER)),
    (True, False): Sql(_PAGE.format(where="WHERE endpoint_id = :endpoint")),
    (True, True): Sql(_PAGE.format(where=f"{_AFTER} AND endpoint_id = :endpoint")),
}

_room = threading.BoundedSemaphore(AT_ONCE)


def ask(endpoint_id: str) -> Row:
    """A check of the endpoint, enabled or not. Status: `waiting`. In the open unit of work.

    Raises NotFound, and InvalidState where too many wait already: then no worker runs them.
    """
    endpoint = _ENDPOINT.one(id=endpoint_id)
    if endpoint is None:
        raise NotFound
    if _OPEN.scalar() >= MAX_WAITING:
        raise InvalidState(f"{MAX_WAITING} checks wait already. Is a worker running?")
    who = origin.current()
    row: Row = _INSERT.one(
        id=ids.new("chk"), endpoint_id=endpoint_id, url=endpoint.url, by=who.actor
    )
    audit.record(
        who.actor, "webhook_endpoint.check", endpoint_id,
        after={"check": row.id}, request_id=who.request_id,
    )  # fmt: skip
    return row


def get(check_id: str) -> Row:
    """One check. Raises NotFound."""
    row = _GET.one(id=check_id)
    if row is None:
        raise NotFound
    return row


def page(endpoint_id: str | None, limit: int, before: tuple[datetime, str] | None) -> list[Row]:
    """A page of the checks of one endpoint or of all, newest first."""
    binds: dict[str, Any] = {"limit": limit}
    if endpoint_id is not None:
        binds["endpoint"] = endpoint_id
    if before is not None:
        binds |= {"before_at": before[0], "before_id": before[1]}
    return _PAGES[endpoint_id is not None, before is not None].all(**binds)


def run_due(ca_file: str | None = None) -> list[threading.Thread]:
    """Begin what waits, as far as there is room, each in a thread, and return at once.

    Safe to run twice and in many processes: each row is claimed by one. ca_file: trusted by TLS
    instead of the usual list.
    """
    begun = []
    for row in _DUE.all(limit=AT_ONCE):
        if not _room.acquire(blocking=False):
            break
        # A copy of the context: the thread finds the same app's database and settings in it.
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run, args=(_run, row.id, ca_file), daemon=True, name="check"
        )
        thread.start()
        begun.append(thread)
    return begun


def prune(limit: int = 1_000) -> int:
    """Forget checks older than 7 days, at most that many, in the open unit. Gives how many went."""
    return _PRUNE.run(before=db.unit().now - KEPT, limit=limit)


def check_object(row: Row) -> dict[str, Any]:
    """A check as operators see it: `result` once it is done."""
    return {
        "object": "endpoint_check",
        "id": row.id,
        "status": row.status,
        "version": row.version,
        "endpoint": row.endpoint_id,
        "url": row.url,
        "asked_by": row.asked_by,
        "outcome": row.outcome,
        "result": None if row.result_json is None else json.loads(row.result_json),
        "created_at": clock.to_rfc3339(row.created_at),
        "ended_at": None if row.ended_at is None else clock.to_rfc3339(row.ended_at),
    }


def _probed(url: str, ca_file: str | None) -> dict[str, Any]:
    settings = config.current()
    try:
        return probing.probe(
            url,
            timeout_s=settings.webhook_timeout_secs,
            allow_private=settings.webhook_allow_private_targets,
            ca_file=ca_file,
        )
    except Exception:
        log.exception("a check stumbled; it is not run again")
        return probing.nothing() | {"outcome": "lost", "detail": "the check failed: see the log"}


def _run(check_id: str, ca_file: str | None) -> None:
    try:
        claimed = db.in_unit(lambda: _CLAIM.one(id=check_id, until=db.unit().now + LEASE))
        if claimed is None:
            return
        found = _probed(claimed.url, ca_file)
        outcome = found.pop("outcome")
        db.in_unit(lambda: _FINISH.run(id=check_id, outcome=outcome, result=json.dumps(found)))
        log.info("endpoint checked", extra={"check_id": check_id, "outcome": outcome})
    except (Busy, ReadOnly):
        log.warning("a check was left; it runs again when its lease has ended", exc_info=True)
    finally:
        _room.release()
