"""One-time codes: six digits that prove a phone.

A code lives 5 minutes, has five tries and one use, and ends when the same phone asks for another.
It is kept as a keyed hash, so the rows alone do not give it away. Every answer is the same whether
or not the phone is a customer's: where the rest of the overall limit is kept for customers, a
stranger's code is withheld, and the answer does not say so.

A try has two steps, each in a unit of its own: `count_try` commits before `use` compares. So a
wrong code counts although its answer is a refusal, and codes tried at once can't share one try.
"""

import hashlib
import hmac
import logging
import secrets
from datetime import timedelta

from payments import clock, config, db, ids
from payments.counters import OTP_REQUESTS, OTP_VERIFICATIONS
from payments.customers import sms, velocity
from payments.db import Row, Sql
from payments.errors import InvalidCode

log = logging.getLogger(__name__)

LIFETIME = timedelta(minutes=5)
RESEND_AFTER = timedelta(seconds=30)
"""A client should wait this long before it offers to send another; nothing refuses it earlier."""

_REPLACE = Sql(
    "UPDATE otp_challenges SET status = 'replaced' WHERE phone = :phone AND status = 'open'"
)
_INSERT = Sql(
    "INSERT INTO otp_challenges (id, phone, address, site, withheld, code_hash, status, tries,"
    " created_at, expires_at) VALUES (:id, :phone, :address, :site, :withheld, :code_hash, 'open',"
    " 0, :now, :expires_at)"
)
_OPEN = f"status = 'open' AND tries < {velocity.TRIES} AND expires_at > :now"
_OPEN_ONE = Sql(f"SELECT phone, withheld FROM otp_challenges WHERE id = :id AND {_OPEN}")
_COUNT = Sql(f"UPDATE otp_challenges SET tries = tries + 1 WHERE id = :id AND {_OPEN}")
_TRY = Sql(
    "INSERT INTO otp_tries (id, challenge_id, phone, address, site, withheld, created_at)"
    " VALUES (:id, :challenge_id, :phone, :address, :site, :withheld, :now)"
)
_HASH = Sql("SELECT phone, code_hash FROM otp_challenges WHERE id = :id")
_USE = Sql(
    "UPDATE otp_challenges SET status = 'used'"
    " WHERE id = :id AND status = 'open' AND expires_at > :now"
)
_FORGET_TRIES = Sql("DELETE FROM otp_tries WHERE challenge_id = :challenge_id")


def send(phone: str, address: str) -> dict[str, str]:
    """Make a code for the phone (E.164) and send it once the unit is committed.

    The phone's earlier codes end. address: who asks, an IPv6 one as its /64.
    Gives `challenge_id`, `expires_at` and `resend_after`. Raises RateLimited.
    """
    may_send = velocity.claim_code(phone, address)
    now = db.unit().now
    challenge_id, code = ids.new("otp"), f"{secrets.randbelow(10**6):06d}"
    _REPLACE.run(phone=phone)
    _INSERT.run(
        id=challenge_id,
        phone=phone,
        address=address,
        site=velocity.site_of(address),
        withheld=None if may_send else True,
        code_hash=_hash(config.current().secret_key[0], challenge_id, code if may_send else None),
        expires_at=now + LIFETIME,
    )
    db.after_commit((lambda: _send(phone, code)) if may_send else _note_withheld)
    return {
        "challenge_id": challenge_id,
        "expires_at": clock.to_rfc3339(now + LIFETIME),
        "resend_after": clock.to_rfc3339(max(now + RESEND_AFTER, velocity.next_code_at(phone))),
    }


def count_try(challenge_id: str, address: str) -> None:
    """Count one try, in a unit that is committed before `use` compares the code.

    Raises InvalidCode for a challenge that takes no more tries, RateLimited after too many wrong
    ones; neither counts, nor does the right code in the end.
    """
    row = _OPEN_ONE.one(id=challenge_id)
    if row is None:
        raise _refusal()
    velocity.claim_try(row.phone, address)
    if not _COUNT.run(id=challenge_id):
        raise _refusal()
    _TRY.run(
        id=ids.new("try"),
        challenge_id=challenge_id,
        phone=row.phone,
        address=address,
        site=velocity.site_of(address),
        withheld=row.withheld,
    )


def use(challenge_id: str, code: str) -> str:
    """The phone (E.164) that the code proves; it is used now. Raises InvalidCode."""
    row = _HASH.one(id=challenge_id)
    if row is None or not _is_code(row, challenge_id, code) or not _USE.run(id=challenge_id):
        raise _refusal()
    _FORGET_TRIES.run(challenge_id=challenge_id)
    db.after_commit(OTP_VERIFICATIONS.labels("success").inc)
    return str(row.phone)


def _is_code(row: Row, challenge_id: str, code: str) -> bool:
    """Compared in constant time; a key that is being rotated out still verifies."""
    return any(
        hmac.compare_digest(_hash(key, challenge_id, code), row.code_hash)
        for key in config.current().secret_key
    )


def _hash(key: str, challenge_id: str, code: str | None) -> str:
    """code None: a hash that no code has."""
    message = f"one-time code\n{challenge_id}\n{code or secrets.token_hex()}"
    return hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest()


def _send(phone: str, code: str) -> None:
    OTP_REQUESTS.labels("sent").inc()
    sms.send(phone, code)


def _note_withheld() -> None:
    OTP_REQUESTS.labels("withheld").inc()
    log.warning("a code was withheld: what is left of the overall limit is kept for customers")


def _refusal() -> InvalidCode:
    OTP_VERIFICATIONS.labels("wrong").inc()
    # One answer for all: which of them it is would help whoever guesses.
    return InvalidCode(
        "The code is wrong, used, replaced, out of tries or out of time. Ask for a new one if"
        " this was the last one sent."
    )
