"""Entries that may take one account below its floor: for what an operator answers for.

The floor is lowered for the one entry and put back in the same unit, so no other debit ever sees it
low: what comes next repays first. What the account is short of then is noted in its row, exactly,
and the invariants allow as much and no more.
"""

import json
from collections.abc import Mapping

from payments import db
from payments.db import Sql
from payments.ledger import posting
from payments.ledger.accounts import UNFOLDED
from payments.ledger.posting import Posted

# In the house's order, before one of them is changed: the step after it locks the same rows.
_LOCK = Sql(
    "SELECT id FROM accounts WHERE id = ANY (:ids::text[]) AND floor IS NOT NULL ORDER BY rank, id"
    " FOR NO KEY UPDATE",
    sqlite="SELECT id FROM accounts WHERE id IN (SELECT value FROM json_each(:ids))",
)
_LOWER = Sql("UPDATE accounts SET floor = floor - :limit WHERE id = :id")
_SHORT = f"floor + :limit - (balance - held + {UNFOLDED})"
_RAISE = Sql(
    "UPDATE accounts SET floor = floor + :limit,"
    f" overdraft = CAST(CASE WHEN {_SHORT} > 0 THEN {_SHORT} END AS bigint) WHERE id = :id"
)


def post(
    kind: str, subject_id: str, lines: Mapping[str, int], *, account_id: str, limit: int
) -> Posted:
    """`posting.post`, where one account may go as far below its floor as `limit`, minor units.

    Raises what that raises; then the unit must be rolled back, as ever.
    """
    ids = list(lines)
    _LOCK.all(ids=json.dumps(ids) if db.unit().store.is_sqlite else ids)
    _LOWER.run(id=account_id, limit=limit)
    posted = posting.post(kind, subject_id, lines)
    _RAISE.run(id=account_id, limit=limit)
    return posted
