"""Adjustments: a mistake in money mended by a further entry, for a reason, by two operators.

Any two accounts of one currency: a wallet, a merchant, the fees, or the outside world. What leaves
a wallet or a merchant must be there: an adjustment overdraws nobody, and a frozen wallet pays none.
"""

from typing import Any

from payments import ids, origin
from payments.clock import to_rfc3339
from payments.db import Row, Sql
from payments.errors import Fault, InvalidRequest, NotFound
from payments.ledger import accounts, posting
from payments.merchants import applications
from payments.settlement.proposals import Proposals, decision

OUTSIDE = "external:adjustment"
"""Where money of no other source comes from and goes to."""

_FIELDS = (
    "id, debit, credit, debit_account_id, credit_account_id, amount, currency, reason, status,"
    " proposed_by, decided_by, decision_reason, version, created_at, decided_at"
)
_INSERT = Sql(
    "INSERT INTO adjustments (id, debit, credit, debit_account_id, credit_account_id, amount,"
    " currency, reason, status, proposed_by, version, created_at) VALUES (:id, :debit, :credit,"
    " :debit_account_id, :credit_account_id, :amount, :currency, :reason, 'proposed', :by, 1, :now)"
    f" RETURNING {_FIELDS}"
)
proposals = Proposals("adjustments", "adjustment", _FIELDS)


def propose(debit: str, credit: str, amount: int, currency: str, reason: str) -> Row:
    """Status: `proposed`. amount: minor units. debit, credit: whom it leaves and whom it reaches.

    Each is a `wal_...`, a `mer_...`, `fees`, `external:adjustment`, or another `external:<name>`
    that money came from or went to before. Raises NotFound, and InvalidRequest for a wallet in
    another currency or an account with itself.
    """
    if debit == credit:
        raise InvalidRequest(Fault("/credit", "must be another than `debit`"))
    row: Row = _INSERT.one(
        id=ids.new("adj"),
        debit=debit,
        credit=credit,
        debit_account_id=_account(debit, currency, "/debit"),
        credit_account_id=_account(credit, currency, "/credit"),
        amount=amount,
        currency=currency,
        reason=reason,
        by=origin.current().actor,
    )
    proposals.note_proposal(row, debit=debit, credit=credit, reason=reason)
    return row


def approve(adjustment_id: str) -> Row:
    """`proposed` -> `approved`: the money is moved.

    Raises NotFound, InvalidState, SecondOperatorNeeded, and what `posting.post` raises; then the
    adjustment stays proposed.
    """
    row = proposals.approve(adjustment_id)
    posting.post(
        "adjustment",
        row.id,
        {row.debit_account_id: -row.amount, row.credit_account_id: row.amount},
    )
    return row


def adjustment_object(row: Row) -> dict[str, Any]:
    """An adjustment as operators see it."""
    return {
        "object": "adjustment",
        "id": row.id,
        "status": row.status,
        "version": row.version,
        "debit": row.debit,
        "credit": row.credit,
        "amount": row.amount,
        "currency": row.currency,
        "reason": row.reason,
        "created_at": to_rfc3339(row.created_at),
        **decision(row),
    }


def _account(party: str, currency: str, pointer: str) -> str:
    """The account of a party, opened where a merchant, the fees or `OUTSIDE` have none yet."""
    if party.startswith("mer_"):
        applications.get(party)
        return applications.account_of(party, currency)
    if party in ("fees", OUTSIDE):
        return accounts.ensure_system(party, currency)
    wallet = party.startswith("wal_")
    row = accounts.get(party) if wallet else accounts.find(accounts.SYSTEM, party, currency)
    if row is None or (wallet and row.kind != "customer"):
        raise NotFound
    if row.currency != currency:
        raise InvalidRequest(Fault(pointer, "must be a wallet in `currency`"))
    return str(row.id)
