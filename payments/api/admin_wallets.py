"""`/admin/wallets`: an operator looks at a wallet, freezes it, and lets it go."""

from typing import Any

from flask import Blueprint

from payments import clock
from payments.api import guards
from payments.api.routing import route
from payments.api.schemas.wallets import OperatorsWallet, WithReason
from payments.api.wallets import wallet_object
from payments.db import Row
from payments.errors import NotFound
from payments.operations import freezing

bp = Blueprint("admin_wallets", __name__)


@route(
    bp,
    "/admin/wallets/<wallet_id>",
    caller=guards.operator,
    answer=OperatorsWallet,
    errors=(NotFound,),
    summary="Get any wallet",
)
def show(wallet_id: str) -> dict[str, Any]:
    """As its customer sees it, with whose it is, and since when it is frozen."""
    return _object(freezing.get(wallet_id))


@route(
    bp,
    "/admin/wallets/<wallet_id>/freeze",
    method="POST",
    caller=guards.operator,
    body=WithReason,
    answer=OperatorsWallet,
    once="optional",
    errors=(NotFound,),
    audit="wallet.freeze",
    summary="Freeze a wallet",
)
def freeze(wallet_id: str, body: WithReason) -> dict[str, Any]:
    """It still receives, and what is held may be captured or released; it starts no debit. One that
    is frozen stays as it is. The customer sees the wallet's `status`, never the reason.
    """
    return _object(freezing.freeze(wallet_id, body.reason))


@route(
    bp,
    "/admin/wallets/<wallet_id>/unfreeze",
    method="POST",
    caller=guards.operator,
    body=WithReason,
    answer=OperatorsWallet,
    once="optional",
    errors=(NotFound,),
    audit="wallet.unfreeze",
    summary="Unfreeze a wallet",
)
def unfreeze(wallet_id: str, body: WithReason) -> dict[str, Any]:
    """It may pay again. One that is not frozen stays as it is."""
    return _object(freezing.unfreeze(wallet_id, body.reason))


def _object(row: Row) -> dict[str, Any]:
    frozen_at = None if row.frozen_at is None else clock.to_rfc3339(row.frozen_at)
    return wallet_object(row) | {"customer": row.owner_id, "frozen_at": frozen_at}
