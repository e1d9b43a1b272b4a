"""How often one-time codes may be asked for and guessed at, counted from rows.

Rows hold in every process and without Redis. Codes and wrong tries are counted apart and each have
a limit by phone, by address and overall, over a sliding hour. What is refused leaves no row, so a
limit that was reached opens again by itself, and going on against it keeps it shut no longer.

Who has one /64 of IPv6 often has the whole /48 around it, 65,536 of them. So a /48 (a *site*) has a
limit as well: four times an address's.

The last fifth of the overall limit of codes is kept for phones that have signed in before, so that
nobody who asks for codes at random keeps customers out. No answer shows it: a stranger's code is
withheld, not refused, and what was withheld does not count overall. A 429 looks at nothing but
counts.

Wrong tries of a phone, and overall, may be five times the codes: as many as those codes have. So
guessing can shut nobody out longer than asking for codes can, and somebody who mistypes five times
signs in with the next code.
"""

import ipaddress
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from math import ceil

from payments import db, settings
from payments.counters import OTP_REQUESTS, OTP_VERIFICATIONS, RATE_LIMITED
from payments.customers import profiles
from payments.db import Sql
from payments.errors import RateLimited
from payments.settings import Otp

log = logging.getLogger(__name__)

WINDOW = timedelta(hours=1)
TRIES = 5
"""Tries that a code has."""
SITE = 4
"""A /48 may have as many times what an address may."""
RESERVED = 5
"""One part of so many of the overall limit is kept for phones that have signed in before."""


def _nth_newest(table: str) -> dict[str, Sql]:
    """By scope: when the limit-th newest row of the window was made; no row while there is room."""
    conditions = {
        "otp_phone": "phone = :phone AND ",
        "otp_address": "address = :address AND ",
        "otp_site": "site = :site AND ",
        "otp_overall": "withheld IS NULL AND ",
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
        "otp_site": SITE * limits.per_address_hour,
        "otp_overall": limits.per_hour,
    }


def look_for_code(phone: str, address: str) -> None:
    """A first look without a lock, so that a flood of refused requests waits for nobody.

    Raises RateLimited as `claim_code` does.
    """
    _require_room(_CODES, _code_limits(), phone, address)


def claim_code(phone: str, address: str) -> bool:
    """See that one more code may be made, and let no other unit look until this one has ended.

    Call it before anything else is locked. Gives whether it may be sent: what is left overall may
    be kept for customers. Raises RateLimited where this phone, this address or all together asked
    for enough of them.
    """
    db.one_at_a_time("one-time codes")
    limits = _code_limits()
    _require_room(_CODES, limits, phone, address)
    for_all = {"otp_overall": limits["otp_overall"] - limits["otp_overall"] // RESERVED}
    return not _full_until(_CODES, for_all, phone, address) or _has_signed_in(phone)


def _has_signed_in(phone: str) -> bool:
    """Not merely known: by a transfer, anybody may make any phone known."""
    customer = profiles.find_by_phone(phone)
    return customer is not None and customer.signed_in_at is not None


def claim_try(phone: str, address: str) -> None:
    """The same for one more try, which counts as wrong until it proves right."""
    db.one_at_a_time("tries at one-time codes")
    limits = _code_limits()
    limits["otp_phone"] *= TRIES
    limits["otp_overall"] *= TRIES
    _require_room(_WRONG, limits, phone, address)


@lru_cache(maxsize=4096)
def site_of(address: str) -> str | None:
    """The /48 around an IPv6 /64, as text; None for an IPv4 address and for what is none."""
    if ":" not in address:
        return None
    return str(ipaddress.ip_network(address, strict=False).supernet(new_prefix=48))


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
    for scope in {"otp_address" if scope == "otp_site" else scope for scope in full}:
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
    since, site = db.now() - WINDOW, site_of(address)
    reached = {
        scope: rows[scope].scalar(
            phone=phone, address=address, site=site, since=since, others=limit - 1
        )
        for scope, limit in limits.items()
        if scope != "otp_site" or site is not None
    }
    return {scope: made + WINDOW for scope, made in reached.items() if made is not None}
