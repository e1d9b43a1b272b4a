"""How far below 0 an operator's refund may take a merchant."""

from payments import audit, origin
from payments.db import Row, Sql
from payments.errors import NotFound
from payments.merchants import applications

_LOCK = Sql("SELECT negative_limit FROM merchants WHERE id = :id FOR NO KEY UPDATE")
_SET = Sql(
    "UPDATE merchants SET negative_limit = CAST(:limit AS bigint), version = version"
    " + CASE WHEN negative_limit = CAST(:limit AS bigint) THEN 0 ELSE 1 END WHERE id = :id"
)


def set_negative_limit(merchant_id: str, limit: int, reason: str) -> Row:
    """limit: minor units of each of its currencies, 0: never below. In the audit trail.

    A merchant that lies lower already stays there until credits repay it. Raises NotFound.
    """
    was = _LOCK.one(id=merchant_id)
    if was is None:
        raise NotFound
    _SET.run(id=merchant_id, limit=limit)
    who = origin.current()
    audit.record(
        who.actor,
        "merchant.negative_limit",
        merchant_id,
        before={"negative_limit": was.negative_limit},
        after={"negative_limit": limit, "reason": reason},
        request_id=who.request_id,
    )
    return applications.get(merchant_id)
