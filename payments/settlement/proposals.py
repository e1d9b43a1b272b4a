"""Four eyes: what one operator proposes, another one, by another name, approves or anyone rejects.

`proposed` -> `approved` | `rejected`, by one conditional UPDATE that checks status and name and
takes the row's lock; the money comes after it, in the same unit. The database's own constraints
refuse an approval by whoever proposed it as well.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from payments import audit, origin
from payments.clock import to_rfc3339
from payments.db import Row, Sql
from payments.errors import InvalidState, NotFound, SecondOperatorNeeded

Place = tuple[datetime, str]

_DECIDED = "decided_by = :by, decided_at = :now, version = version + 1"


class Proposals:
    """The steps of one table. noun: what people and the audit trail call a row of it."""

    def __init__(self, table: str, noun: str, columns: str) -> None:
        self.noun = noun
        self._table, self._columns = table, columns
        self._get = Sql(f"SELECT {columns} FROM {table} WHERE id = :id")
        self._approve = Sql(
            f"UPDATE {table} SET status = 'approved', {_DECIDED}"
            f" WHERE id = :id AND status = 'proposed' AND proposed_by <> :by RETURNING {columns}"
        )
        self._reject = Sql(
            f"UPDATE {table} SET status = 'rejected', decision_reason = :reason, {_DECIDED}"
            f" WHERE id = :id AND status = 'proposed' RETURNING {columns}"
        )
        self._page = lru_cache(maxsize=32)(self._page_of)

    def get(self, proposal_id: str) -> Row:
        """One of them. Raises NotFound."""
        row = self._get.one(id=proposal_id)
        if row is None:
            raise NotFound
        return row

    def page(self, filters: Mapping[str, Any], limit: int, before: Place | None) -> list[Row]:
        """A page, newest first. filters: columns and the values they must have; None: any."""
        given = {name: value for name, value in filters.items() if value is not None}
        place = {} if before is None else {"before_at": before[0], "before_id": before[1]}
        statement = self._page(tuple(sorted(given)), before is not None)
        return statement.all(limit=limit, **given, **place)

    def approve(self, proposal_id: str) -> Row:
        """`proposed` -> `approved`, by whoever acts now.

        Raises NotFound, InvalidState, SecondOperatorNeeded.
        """
        row = self._approve.one(id=proposal_id, by=origin.current().actor)
        if row is None:
            raise self._refusal(proposal_id)
        self._note("approve", row)
        return row

    def reject(self, proposal_id: str, reason: str) -> Row:
        """`proposed` -> `rejected`, also by who proposed it. Raises NotFound, InvalidState."""
        row = self._reject.one(id=proposal_id, by=origin.current().actor, reason=reason)
        if row is None:
            raise self._refusal(proposal_id)
        self._note("reject", row, reason=reason)
        return row

    def note_proposal(self, row: Row, **facts: Any) -> None:
        """The line of the audit trail for a new one."""
        who = origin.current()
        audit.record(
            who.actor, f"{self.noun}.propose", row.id,
            after={"status": row.status, "amount": row.amount, "currency": row.currency, **facts},
            request_id=who.request_id,
        )  # fmt: skip

    def _note(self, step: str, row: Row, **facts: Any) -> None:
        who = origin.current()
        moved = {"amount": row.amount, "currency": row.currency, "proposed_by": row.proposed_by}
        audit.record(
            who.actor, f"{self.noun}.{step}", row.id,
            before={"status": "proposed", "version": row.version - 1},
            after={"status": row.status, "version": row.version, **moved, **facts},
            request_id=who.request_id,
        )  # fmt: skip

    def _refusal(self, proposal_id: str) -> InvalidState | SecondOperatorNeeded:
        row = self.get(proposal_id)
        if row.status == "proposed":
            return SecondOperatorNeeded(
                f"Who proposed the {self.noun} may not approve it: another operator does."
            )
        return InvalidState(f"The {self.noun} is {row.status}: it is decided once.")

    def _page_of(self, names: tuple[str, ...], follows: bool) -> Sql:
        conditions = [f"{name} = :{name}" for name in names]
        if follows:
            conditions.append("(created_at, id) < (:before_at, :before_id)")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return Sql(
            f"SELECT {self._columns} FROM {self._table}{where}"
            " ORDER BY created_at DESC, id DESC LIMIT :limit"
        )


def decision(row: Row) -> dict[str, Any]:
    """Who proposed and who decided, as operators see it."""
    return {
        "proposed_by": row.proposed_by,
        "decided_by": row.decided_by,
        "decided_at": None if row.decided_at is None else to_rfc3339(row.decided_at),
        "decision_reason": row.decision_reason,
    }
