"""Forget what is over: one-time codes, tries at them, sessions, their refresh tokens."""

from datetime import timedelta

from payments import db
from payments.customers import sessions
from payments.db import Sql

KEEP_CODES = timedelta(days=1)
"""Velocity looks an hour back; a day answers a customer who asks what happened."""
KEEP_SESSIONS = timedelta(days=30)
"""Beyond their time. As long as its session is kept, a replaced refresh token is known as such."""

_TRIES = Sql(
    "DELETE FROM otp_tries WHERE id IN (SELECT id FROM otp_tries WHERE created_at < :before"
    " ORDER BY created_at LIMIT :limit)"
)
_CHALLENGES = Sql(
    "DELETE FROM otp_challenges WHERE id IN (SELECT id FROM otp_challenges AS challenge"
    " WHERE created_at < :before AND NOT EXISTS"
    " (SELECT 1 FROM otp_tries WHERE otp_tries.challenge_id = challenge.id)"
    " ORDER BY created_at LIMIT :limit)"
)
_TOKENS = Sql(
    "DELETE FROM refresh_tokens WHERE token_hash IN (SELECT token_hash FROM refresh_tokens"
    " JOIN sessions ON sessions.id = refresh_tokens.session_id"
    " WHERE sessions.expires_at < :before LIMIT :limit)"
)
_SUCCESSORS = Sql(
    "UPDATE refresh_tokens SET successor_sealed = NULL WHERE token_hash IN"
    " (SELECT token_hash FROM refresh_tokens WHERE successor_sealed IS NOT NULL"
    " AND replaced_at < :before ORDER BY replaced_at LIMIT :limit)"
)
_SESSIONS = Sql(
    "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions AS session"
    " WHERE expires_at < :before AND NOT EXISTS"
    " (SELECT 1 FROM refresh_tokens WHERE refresh_tokens.session_id = session.id)"
    " ORDER BY expires_at LIMIT :limit)"
)


def prune(limit: int) -> int:
    """Take away at most that many of each kind, in the open unit. Gives how many went.

    Call it again while it gives as much as `limit`.
    """
    now = db.unit().now
    codes, old_sessions = now - KEEP_CODES, now - KEEP_SESSIONS
    return sum(
        (
            _TRIES.run(before=codes, limit=limit),
            _CHALLENGES.run(before=codes, limit=limit),
            _SUCCESSORS.run(before=now - sessions.GRACE, limit=limit),
            _TOKENS.run(before=old_sessions, limit=limit),
            _SESSIONS.run(before=old_sessions, limit=limit),
        )
    )
