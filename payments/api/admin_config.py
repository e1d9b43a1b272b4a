"""`/admin/config`: what operators change at run time, in every process within 2 s."""

from dataclasses import fields
from datetime import datetime
from typing import Any

import flask
from flask import Blueprint

from payments import clock, config, db, settings
from payments.api import guards
from payments.api.routing import route
from payments.api.schemas.config import (
    FeesChange,
    FeesObject,
    OtpChange,
    OtpObject,
    RateLimitChange,
    RateLimitObject,
    ReadOnlyChange,
    ReadOnlyObject,
)
from payments.operations import read_only
from payments.settings import Fees, Otp, RateLimit, Standing

bp = Blueprint("admin_config", __name__)


@route(
    bp,
    "/admin/config/rate_limit",
    caller=guards.operator,
    answer=RateLimitObject,
    summary="Show the rate limit",
)
def show_rate_limit() -> dict[str, Any]:
    """The values in force, and where they come from."""
    return _shown("rate_limit", settings.read(RateLimit))


@route(
    bp,
    "/admin/config/rate_limit",
    method="POST",
    caller=guards.operator,
    body=RateLimitChange,
    answer=RateLimitObject,
    once="optional",
    audit="rate_limit.change",
    in_read_only=True,
    summary="Change the rate limit",
)
def change_rate_limit(body: RateLimitChange) -> dict[str, Any]:
    """With `expires_in` an overlay that reverts by itself, without it for good.

    Counts go on: who had used 100 of 120 has used 100 of what is set now.
    """
    return _shown("rate_limit", settings.change(RateLimit, body.given(), body.expires_in))


@route(
    bp,
    "/admin/config/rate_limit",
    method="DELETE",
    caller=guards.operator,
    answer=RateLimitObject,
    once="optional",
    audit="rate_limit.revert",
    in_read_only=True,
    summary="Revert the rate limit",
)
def revert_rate_limit() -> dict[str, Any]:
    """Takes the overlay away; where there is none, back to the environment's values."""
    return _shown("rate_limit", settings.revert(RateLimit))


@route(
    bp,
    "/admin/config/otp",
    caller=guards.operator,
    answer=OtpObject,
    summary="Show the limits of one-time codes",
)
def show_otp() -> dict[str, Any]:
    """The values in force, and where they come from."""
    return _shown("otp_limits", settings.read(Otp))


@route(
    bp,
    "/admin/config/otp",
    method="POST",
    caller=guards.operator,
    body=OtpChange,
    answer=OtpObject,
    once="optional",
    audit="otp.change",
    in_read_only=True,
    summary="Change the limits of one-time codes",
)
def change_otp(body: OtpChange) -> dict[str, Any]:
    """With `expires_in` an overlay that reverts by itself, without it for good."""
    return _shown("otp_limits", settings.change(Otp, body.given(), body.expires_in))


@route(
    bp,
    "/admin/config/otp",
    method="DELETE",
    caller=guards.operator,
    answer=OtpObject,
    once="optional",
    audit="otp.revert",
    in_read_only=True,
    summary="Revert the limits of one-time codes",
)
def revert_otp() -> dict[str, Any]:
    """Takes the overlay away; where there is none, back to the environment's values."""
    return _shown("otp_limits", settings.revert(Otp))


@route(bp, "/admin/config/fees", caller=guards.operator, answer=FeesObject, summary="Show the fees")
def show_fees() -> dict[str, Any]:
    """The terms of payments that are created now, and where they come from."""
    return _shown("fees", settings.read(Fees))


@route(
    bp,
    "/admin/config/fees",
    method="POST",
    caller=guards.operator,
    body=FeesChange,
    answer=FeesObject,
    once="optional",
    audit="fees.change",
    in_read_only=True,
    summary="Change the fees",
)
def change_fees(body: FeesChange) -> dict[str, Any]:
    """For good, for payments that are created from now on: each keeps its own terms."""
    return _shown("fees", settings.change(Fees, body.given()))


@route(
    bp,
    "/admin/config/read_only",
    caller=guards.operator,
    answer=ReadOnlyObject,
    summary="Show whether writes are stopped",
)
def show_read_only() -> dict[str, Any]:
    """By an operator, or by the environment."""
    return _switch([])


def _switch_first(body: ReadOnlyChange) -> None:
    """The switch is committed before its answer: only then can others be waited for."""
    db.in_unit(lambda: read_only.switch(body.on, body.reason), in_read_only=True)
    flask.g.still_writing = read_only.wait_until_quiet() if body.on else []


@route(
    bp,
    "/admin/config/read_only",
    method="POST",
    caller=guards.operator,
    body=ReadOnlyChange,
    answer=ReadOnlyObject,
    once="optional",
    before=_switch_first,
    audit="read_only",
    in_read_only=True,
    summary="Stop or allow writes",
)
def change_read_only(body: ReadOnlyChange) -> dict[str, Any]:
    """Holds for web, worker and jobs alike: nothing is paid, sent, expired or folded. Reads, health
    and operators' settings go on. Answers when the last write has ended, or after 12 s names the
    processes whose has not.
    """
    return _switch(flask.g.still_writing)


def _shown(name: str, standing: Standing) -> dict[str, Any]:
    value = standing.value
    return {
        "object": name,
        **{one.name: getattr(value, one.name) for one in fields(value)},
        "source": standing.source,
        "expires_at": _time(standing.until),
        "version": standing.version,
        "updated_by": standing.updated_by,
        "updated_at": _time(standing.updated_at),
    }


def _switch(still_writing: list[str]) -> dict[str, Any]:
    state, by_environment = read_only.state(), config.current().read_only
    return {
        "object": "read_only",
        "on": state.on or by_environment,
        "by_environment": by_environment,
        "reason": state.reason,
        "since": _time(state.since),
        "by": state.by,
        "version": state.version,
        "still_writing": still_writing,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else clock.to_rfc3339(moment)
