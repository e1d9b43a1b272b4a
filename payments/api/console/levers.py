"""What on-call changes while the service runs: rate limits, limits of codes, read-only."""

from typing import Any

from flask import Blueprint, Response

from payments.api import admin_config
from payments.api.console import acts, door, pages

LIMITS = "/admin/console/limits"
READ_ONLY = "/admin/console/read_only"
LASTING = (("900", "15 minutes"), ("3600", "1 hour"), ("14400", "4 hours"), ("86400", "1 day"))
"""How long a change may be asked to last, beside for good."""

bp = Blueprint("console_levers", __name__)


@door.page(bp, LIMITS)
def limits() -> Response:
    """What is in force, where it comes from, and forms to change and to revert it."""
    return pages.render(
        "limits.html",
        rate_limit=admin_config.show_rate_limit.__wrapped__(),  # type: ignore[attr-defined]
        otp=admin_config.show_otp.__wrapped__(),  # type: ignore[attr-defined]
        lasting=LASTING,
    )


@door.page(bp, f"{LIMITS}/rate_limit", method="POST")
def change_rate_limit() -> Response:
    """In force in every process within 2 s."""
    given = door.form()
    told = _changed(given, "per_minute", "auth_boost")
    told["exempt_otp"] = given.get("exempt_otp") == "yes"
    made = acts.do(admin_config.change_rate_limit, told, intent=given.get("intent"))
    return pages.back_to(LIMITS, said=f"The rate limit is changed{_until(made)}.")


@door.page(bp, f"{LIMITS}/rate_limit/revert", method="POST")
def revert_rate_limit() -> Response:
    """Takes the overlay away, else what was set for good."""
    made = acts.do(admin_config.revert_rate_limit, {}, intent=door.form().get("intent"))
    return pages.back_to(LIMITS, said=f"The rate limit is {_whence(made)} again.")


@door.page(bp, f"{LIMITS}/otp", method="POST")
def change_otp() -> Response:
    """In force in every process within 2 s."""
    given = door.form()
    told = _changed(given, "per_phone_hour", "per_address_hour", "per_hour")
    made = acts.do(admin_config.change_otp, told, intent=given.get("intent"))
    return pages.back_to(LIMITS, said=f"The limits of one-time codes are changed{_until(made)}.")


@door.page(bp, f"{LIMITS}/otp/revert", method="POST")
def revert_otp() -> Response:
    """Takes the overlay away, else what was set for good."""
    made = acts.do(admin_config.revert_otp, {}, intent=door.form().get("intent"))
    return pages.back_to(LIMITS, said=f"The limits of one-time codes are {_whence(made)} again.")


@door.page(bp, READ_ONLY)
def read_only() -> Response:
    """Whether writes are stopped, by whom and why, and the switch."""
    state = admin_config.show_read_only.__wrapped__()  # type: ignore[attr-defined]
    return pages.render("read_only.html", state=state)


@door.page(bp, READ_ONLY, method="POST")
def switch_read_only() -> Response:
    """Answers once the last write has ended, or names who still writes after 12 s."""
    given = door.form()
    told = {"on": given.get("on") == "yes", "reason": given.get("reason", "")}
    made = acts.do(admin_config.change_read_only, told, intent=given.get("intent"))
    if made["still_writing"]:
        said = f"Writes are stopped; still under way: {', '.join(made['still_writing'])}."
    elif told["on"]:
        said = "Writes are stopped, and the last one has ended."
    elif made["on"]:
        said = "Your switch is off; the environment (READ_ONLY) still stops writes."
    else:
        said = "Writes go on."
    return pages.back_to(READ_ONLY, said=said)


def _changed(given: dict[str, str], *numbers: str) -> dict[str, Any]:
    """What the form says, as the call's body has it: all of it, so that it will be as it shows."""
    told = {name: acts.number(given.get(name)) for name in numbers}
    told["expires_in"] = acts.number(given.get("expires_in"))
    return {name: value for name, value in told.items() if value is not None}


def _until(made: dict[str, Any]) -> str:
    if made["expires_at"] is None:
        return " for good"
    return f" until {made['expires_at'][:19].replace('T', ' ')} UTC"


def _whence(made: dict[str, Any]) -> str:
    return {"environment": "the environment's", "permanent": "as it was set for good"}[
        made["source"]
    ]
