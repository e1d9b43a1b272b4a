"""Wallets that an operator freezes: money still reaches them, none leaves.

What is held on a frozen wallet may be captured or released; it starts no debit (the ledger refuses
it). A call that finds the wallet as it wants it changes nothing, and stands in the trail too.
"""

from payments import audit, clock, origin
from payments.db import Row
from payments.errors import NotFound
from payments.ledger import accounts

KIND = "customer"


def get(wallet_id: str) -> Row:
    """The wallet, whoever owns it. Raises NotFound, also for accounts of other kinds."""
    row = accounts.get(wallet_id)
    if row is None or row.kind != KIND:
        raise NotFound
    return row


def freeze(wallet_id: str, reason: str) -> Row:
    """`active` -> `frozen`; a debit that is under way is waited for. Raises NotFound."""
    return _switch(wallet_id, reason, to="frozen")


def unfreeze(wallet_id: str, reason: str) -> Row:
    """`frozen` -> `active`. Raises NotFound."""
    return _switch(wallet_id, reason, to="active")


def _switch(wallet_id: str, reason: str, *, to: str) -> Row:
    get(wallet_id)  # of another kind of account nothing may be changed
    changed = (accounts.freeze if to == "frozen" else accounts.unfreeze)(wallet_id)
    row, who = get(wallet_id), origin.current()
    was = ("active" if to == "frozen" else "frozen") if changed else to
    audit.record(
        who.actor,
        "wallet.freeze" if to == "frozen" else "wallet.unfreeze",
        wallet_id,
        before={"status": was},
        after={"status": to, "reason": reason, "frozen_at": _time(row)},
        request_id=who.request_id,
    )
    return row


def _time(row: Row) -> str | None:
    return None if row.frozen_at is None else clock.to_rfc3339(row.frozen_at)
