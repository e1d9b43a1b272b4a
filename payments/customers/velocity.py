"""How often one-time codes may be asked for and guessed at, counted from rows.

Rows hold in every process and without Redis. Codes and wrong tries each have a limit by phone, by
address and overall, over a sliding hour. What is refused leaves no row, so a limit that was
reached opens again by itself, and going on against it keeps it shut no longer. None of it looks at
whether the phone is a customer's.

A phone's wrong tries may be five times its codes: as many as those codes have. So guessing can
shut a phone out no longer than asking for codes can, and somebody who mistypes five times signs in
with the next code.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from math import ceil

from payments import db, settings
from payments.counters import OTP_REQUESTS, OTP_VERIFICATIONS, RATE_LIMITED
from payments.db import Sql
from payments.errors import RateLimited
from payments.settings import Otp

log = logging.getLogger(__name__)

WINDOW = timedelta(hours=1)
TRIES = 5
"""Tries that a code has."""


def _nth_newest(table: str) -> dict[str, Sql]:
    """By scope: when the limit-th newest row of the window was made; no row while there is room."""
    conditions = {
        "otp_phone": "phone = :phone AND ",
        "otp_address": "address = :address AND ",
        "otp_overall": "",
    }
    return {
        scope: Sql(
            f"SELECT created_at FROM {table} WHERE {condition}created_at > :since"
            " ORDER BY created_at DESC LIMIT 1 OFFSET :others"
        )
        for scope, condition in conditions.items()
    }


_CODES, _WRONG = _nth_newest("otp_challenges"), _nth_newest("otp_tries")


def _code_limits() -> dict[str, int]:
    limits = settings.current(Otp)
    return {
        "otp_phone": limits.per_phone_hour,
        "otp_address": limits.per_address_hour,
        "otp_overall": limits.per_hour,
    }


def look_for_code(phone: str, address: str) -> None:
    """A first look without a lock, so that a flood of refused requests waits for nobody.

    Raises RateLimited as `claim_code` does.
    """
    _require_room(_CODES, _code_limits(), phone, address)


def claim_code(phone: str, address: str) -> None:
    """See that one more code may be made, and let no other unit look until this one has ended.

    Call it before anything else is locked. Raises RateLimited where this phone, this address or
    all together asked for enough of them.
    """
    db.one_at_a_time("one-time codes")
    _require_room(_CODES, _code_limits(), phone, address)


def claim_try(phone: str, address: str) -> None:
    """The same for one more try, which counts as wrong until it proves right."""
    db.one_at_a_time("tries at one-time codes")
    limits = _code_limits()
    limits["otp_phone"] *= TRIES
    _require_room(_WRONG, limits, phone, address)


def next_code_at(phone: str) -> datetime:
    """From when on this phone may be sent another code; the present while there is room."""
    limits = {"otp_phone": _code_limits()["otp_phone"]}
    return max([db.now(), *_full_until(_CODES, limits, phone, "").values()])


def _require_room(
    rows: Mapping[str, Sql], limits: Mapping[str, int], phone: str, address: str
) -> None:
    full = _full_until(rows, limits, phone, address)
    if not full:
        return
    asked_for = OTP_REQUESTS if rows is _CODES else OTP_VERIFICATIONS
    asked_for.labels("limited").inc()
    for scope in full:
        RATE_LIMITED.labels(scope).inc()
    log.warning("too many one-time codes or tries", extra={"scopes": sorted(full)})
    raise RateLimited(
        "Too many one-time codes were asked for or tried. `Retry-After` says when to come back.",
        retry_after_s=max(1, ceil((max(full.values()) - db.now()).total_seconds())),
    )


def _full_until(
    rows: Mapping[str, Sql], limits: Mapping[str, int], phone: str, address: str
) -> dict[str, datetime]:
    """The scopes without room, and when each has room again."""
    since = db.now() - WINDOW
    reached = {
        scope: rows[scope].scalar(phone=phone, address=address, since=since, others=limit - 1)
        for scope, limit in limits.items()
    }
    return {scope: made + WINDOW for scope, made in reached.items() if made is not None}
