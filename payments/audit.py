"""The audit trail: who did what, with what before and after. Append-only, by triggers."""

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from payments import clock, ids
from payments.db import Long, Row, Sql, UtcDateTime, db

log = logging.getLogger("payments.audit")


class AuditRecord(db.Model):
    """One call of an operator, or one change that a person answers for.

    outcome: `done`, or the code of the refusal. before, after: JSON, no secrets.
    """

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("ix_audit_log_subject_id", "subject_id"),
        Index("ix_audit_log_request_id", "request_id", "created_at", "id"),
        Index("ix_audit_log_created_at_id", "created_at", "id"),
        Index("ix_audit_log_actor_created_at_id", "actor", "created_at", "id"),
        Index("ix_audit_log_action_created_at_id", "action", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # aud_...
    actor: Mapped[str]  # operator:ann, customer and merchant ids, job:..., address:... of strangers
    action: Mapped[str]  # merchant.approve
    subject_id: Mapped[str | None]
    outcome: Mapped[str]
    before_json: Mapped[str | None] = mapped_column(Long)
    after_json: Mapped[str | None] = mapped_column(Long)
    request_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


_INSERT = Sql(
    "INSERT INTO audit_log (id, actor, action, subject_id, outcome, before_json, after_json,"
    " request_id, created_at) VALUES (:id, :actor, :action, :subject_id, :outcome, :before,"
    " :after, :request_id, :now)"
)


def record(
    actor: str,
    action: str,
    subject_id: str | None,
    *,
    outcome: str = "done",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    request_id: str | None = None,
) -> None:
    """Write one line into the trail, in the open unit of work, and the same as a log line.

    A refused call is recorded in a unit of its own, since its effect is rolled back. The log line
    bears the record's id: after a restore it tells what was done that the backup does not know.
    """
    audit_id = ids.new("aud")
    _INSERT.run(
        id=audit_id,
        actor=actor,
        action=action,
        subject_id=subject_id,
        outcome=outcome,
        before=None if before is None else json.dumps(before),
        after=None if after is None else json.dumps(after),
        request_id=request_id,
    )
    log.info(
        "audit",
        extra={
            "audit_id": audit_id,
            "actor": actor,
            "action": action,
            "subject_id": subject_id,
            "outcome": outcome,
            "before": before,
            "after": after,
        },
    )


_FIELDS = "id, actor, action, subject_id, outcome, before_json, after_json, request_id, created_at"
_WHERE = {
    "actor": "actor = :actor",
    "action": "action = :action",
    "subject": "subject_id = :subject",
    "start": "created_at >= :start",
    "to": "created_at <= :to",
}


def page(filters: Mapping[str, Any], limit: int, before: tuple[datetime, str] | None) -> list[Row]:
    """A page of the trail, newest first.

    filters: any of actor, action, subject, start and to (both inclusive, aware); all must hold.
    """
    binds = {**filters, "limit": limit}
    if before is not None:
        binds |= {"before_at": before[0], "before_id": before[1]}
    return _page(tuple(sorted(filters)), before is not None).all(**binds)


@lru_cache(maxsize=64)
def _page(filters: tuple[str, ...], follows: bool) -> Sql:
    conditions = [_WHERE[name] for name in filters]
    if follows:
        conditions.append("(created_at, id) < (:before_at, :before_id)")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return Sql(
        f"SELECT {_FIELDS} FROM audit_log{where} ORDER BY created_at DESC, id DESC LIMIT :limit"
    )


def record_object(row: Row) -> dict[str, Any]:
    """A line of the trail as operators see it."""
    return {
        "object": "audit_record",
        "id": row.id,
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject_id,
        "outcome": row.outcome,
        "before": None if row.before_json is None else json.loads(row.before_json),
        "after": None if row.after_json is None else json.loads(row.after_json),
        "request_id": row.request_id,
        "created_at": clock.to_rfc3339(row.created_at),
    }
