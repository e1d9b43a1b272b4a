"""Money by hand waits for a second operator: what was proposed, to be approved or rejected."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response

from payments.api import admin_adjustments, admin_payouts
from payments.api.console import acts, door, pages, sessions
from payments.settlement import adjustments, payouts

SHOWN = 50
LIST = "/admin/console/approvals"

bp = Blueprint("console_approvals", __name__)


@door.page(bp, LIST)
def approvals() -> Response:
    """What waits, newest first, of both kinds."""
    waiting = {"status": "proposed"}
    return pages.render(
        "approvals.html",
        payouts=payouts.proposals.page(waiting, SHOWN, None),
        adjustments=adjustments.proposals.page(waiting, SHOWN, None),
        shown=SHOWN,
        me=sessions.required().operator.scope,
    )


@door.page(bp, f"{LIST}/payouts/<payout_id>/approve", method="POST")
def approve_payout(payout_id: str) -> Response:
    """The money leaves the merchant's balance."""
    return _decided(
        admin_payouts.approve, "The payout is approved: it is paid.", payout_id=payout_id
    )


@door.page(bp, f"{LIST}/payouts/<payout_id>/reject", method="POST")
def reject_payout(payout_id: str) -> Response:
    """For good; nothing is moved."""
    return _decided(admin_payouts.reject, "The payout is rejected.", payout_id=payout_id)


@door.page(bp, f"{LIST}/adjustments/<adjustment_id>/approve", method="POST")
def approve_adjustment(adjustment_id: str) -> Response:
    """The money is moved, as one entry."""
    return _decided(
        admin_adjustments.approve,
        "The adjustment is approved: the money has moved.",
        adjustment_id=adjustment_id,
    )


@door.page(bp, f"{LIST}/adjustments/<adjustment_id>/reject", method="POST")
def reject_adjustment(adjustment_id: str) -> Response:
    """For good; nothing is moved."""
    return _decided(
        admin_adjustments.reject, "The adjustment is rejected.", adjustment_id=adjustment_id
    )


def _decided(view: Callable[..., Any], said: str, **named: str) -> Response:
    given = door.form()
    told = {"reason": given["reason"]} if "reason" in given else {}
    acts.do(view, told, intent=given.get("intent"), **named)
    return pages.back_to(LIST, said=said)
