"""Sessions: a sign-in on one device, kept up by refresh tokens that rotate.

Each refresh replaces the token. The one just replaced, shown again within 30 s by a client that
lost the answer or asked twice at once, gets the same successor. Any other replaced token that is
shown again is in two hands: the whole session is revoked.

Tokens are kept as hashes. A successor is kept sealed as well, until it is used itself.
"""

import logging
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from payments import clock, db, ids
from payments.customers import tokens
from payments.db import Row, Sql, Statement
from payments.errors import KeyRevoked, NotFound, TokenExpired, Unauthenticated
from payments.sealing import Unopened, digest, seal, unseal

log = logging.getLogger(__name__)

LIFETIME = timedelta(days=90)
"""From the sign-in; then a new code is asked for."""
GRACE = timedelta(seconds=30)
MAX_USER_AGENT = 200

_INSERT = Sql(
    "INSERT INTO sessions (id, customer_id, status, user_agent, version, created_at, last_used_at,"
    " expires_at, ended_at)"
    " VALUES (:id, :customer_id, 'active', :user_agent, 1, :now, :now, :expires_at, NULL)"
)
_INSERT_TOKEN = Sql(
    "INSERT INTO refresh_tokens (token_hash, session_id, successor_sealed, created_at, replaced_at)"
    " VALUES (:token_hash, :session_id, NULL, :now, NULL)"
)
_REPLACE = Sql(
    "UPDATE refresh_tokens SET replaced_at = :now, successor_sealed = :sealed"
    " WHERE token_hash = :token_hash AND replaced_at IS NULL RETURNING session_id"
)
_TOKEN = Sql(
    "SELECT session_id, replaced_at, successor_sealed FROM refresh_tokens"
    " WHERE token_hash = :token_hash"
)
_FORGET_SUCCESSORS = Sql(
    "UPDATE refresh_tokens SET successor_sealed = NULL WHERE session_id = :session_id"
    " AND token_hash <> :token_hash AND successor_sealed IS NOT NULL"
)
_TOUCH = Sql(
    "UPDATE sessions SET last_used_at = :now, version = version + 1"
    " WHERE id = :id AND status = 'active' AND expires_at > :now RETURNING customer_id"
)
_FIELDS = (
    "id, customer_id, CASE WHEN status = 'active' AND expires_at <= :now THEN 'expired'"
    " ELSE status END AS status, user_agent,"
    # Nothing writes the row when its time is over; its version grows with that all the same.
    " version + CASE WHEN status = 'active' AND expires_at <= :now THEN 1 ELSE 0 END AS version,"
    " created_at, last_used_at, expires_at, ended_at"
)
_GET = Sql(f"SELECT {_FIELDS} FROM sessions WHERE id = :id")
_STANDS = Sql(
    "SELECT 1 WHERE session_stands(:id, :now)",
    sqlite="SELECT 1 FROM sessions WHERE id = :id AND status = 'active' AND expires_at > :now",
)
_FIRST_PAGE = Sql(
    f"SELECT {_FIELDS} FROM sessions WHERE customer_id = :customer_id"
    " ORDER BY created_at DESC, id DESC LIMIT :limit"
)
_NEXT_PAGE = Sql(
    f"SELECT {_FIELDS} FROM sessions WHERE customer_id = :customer_id"
    " AND (created_at, id) < (:before_at, :before_id)"
    " ORDER BY created_at DESC, id DESC LIMIT :limit"
)
_END = Sql(
    "UPDATE sessions SET status = :status, version = version + 1, ended_at = :now"
    " WHERE id = :id AND status = 'active' AND expires_at > :now"
)


@dataclass(frozen=True, slots=True)
class Issued:
    """What a client holds after a sign-in or a refresh. expires_in_s: of the access token."""

    access_token: str
    refresh_token: str
    expires_in_s: int = int(tokens.LIFETIME.total_seconds())


def start(customer_id: str, user_agent: str | None) -> Issued:
    """A new session of the customer. user_agent: what the client calls itself, cut to 200."""
    session_id, refresh_token = ids.new("ses"), _new_token()
    _INSERT.run(
        id=session_id,
        customer_id=customer_id,
        user_agent=_printable(user_agent),
        expires_at=db.unit().now + LIFETIME,
    )
    _INSERT_TOKEN.run(token_hash=digest(refresh_token), session_id=session_id)
    return Issued(tokens.issue(customer_id, session_id), refresh_token)


def refresh(refresh_token: str) -> Issued:
    """The next pair of tokens for this refresh token.

    Raises Unauthenticated for a token that is none, or whose successor no key of ours opens,
    TokenExpired at the session's end, KeyRevoked
    when it was ended, or when this token was replaced before: then the refusal's consequence, which
    the door commits in a unit of its own, is that the session is revoked.
    """
    token_hash, successor = digest(refresh_token), _new_token()
    # The claim: of two at once the second waits here, and then finds the first one's successor.
    session_id = _REPLACE.scalar(token_hash=token_hash, sealed=seal(successor))
    if session_id is not None:
        customer_id = _touch(session_id)
        _INSERT_TOKEN.run(token_hash=digest(successor), session_id=session_id)
        _FORGET_SUCCESSORS.run(session_id=session_id, token_hash=token_hash)
        return Issued(tokens.issue(customer_id, session_id), successor)
    row = _TOKEN.one(token_hash=token_hash)
    if row is None:
        raise Unauthenticated("The refresh token is not one that this service gave.")
    customer_id = _touch(row.session_id)
    if row.successor_sealed is None or row.replaced_at <= db.unit().now - GRACE:
        raise _reuse(row.session_id)
    try:
        successor = unseal(row.successor_sealed)
    except Unopened:  # the key that sealed it is gone from ENCRYPTION_KEY: who has it may use it
        log.warning("a successor can't be opened", extra={"session_id": row.session_id})
        raise Unauthenticated(
            "The next refresh token can't be given a second time. Sign in with a new code."
        ) from None
    return Issued(tokens.issue(customer_id, row.session_id), successor)


def still_stands(session_id: str) -> bool:
    """Whether the session has neither ended nor run out."""
    return bool(_STANDS.all(id=session_id, now=clock.now()))


def standing(session_id: str) -> Statement:
    """What gives a row while `still_stands`, to be asked together with something else."""
    # This machine's clock will do: asking the database's first would be a round trip.
    return _STANDS.given(id=session_id, now=clock.now())


def own(customer_id: str, session_id: str) -> Row:
    """A session of the customer. Raises NotFound, also for another's.

    id, customer_id, status (`active`, `ended`, `revoked`, `expired`), user_agent, version,
    created_at, last_used_at, expires_at, ended_at.
    """
    row = _GET.one(id=session_id)
    if row is None or row.customer_id != customer_id:
        raise NotFound
    return row


def of_customer(customer_id: str, limit: int, before: tuple[datetime, str] | None) -> list[Row]:
    """A page of the customer's sessions, newest first, as `own` gives them."""
    if before is None:
        return _FIRST_PAGE.all(customer_id=customer_id, limit=limit)
    return _NEXT_PAGE.all(
        customer_id=customer_id, limit=limit, before_at=before[0], before_id=before[1]
    )


def end(customer_id: str, session_id: str) -> Row:
    """End the session; one that has ended stays as it is. Gives it as it now is. Raises NotFound.

    Its refresh token is worth nothing from now on, its access tokens only read, until they expire.
    """
    own(customer_id, session_id)
    _END.run(id=session_id, status="ended")
    return own(customer_id, session_id)


def revoke(session_id: str) -> None:
    """End the session because one of its refresh tokens is in two hands."""
    if _END.run(id=session_id, status="revoked"):
        log.warning("a replaced refresh token was shown again", extra={"session_id": session_id})


def _touch(session_id: str) -> str:
    """Note the use and give the customer's id. Raises KeyRevoked, TokenExpired."""
    customer_id = _TOUCH.scalar(id=session_id)
    if customer_id is None:
        session = _GET.one(id=session_id)
        if session is not None and session.status == "expired":
            raise TokenExpired("The session is over. Sign in with a new code.")
        raise KeyRevoked("The session was ended. Sign in with a new code.")
    return str(customer_id)


def _reuse(session_id: str) -> KeyRevoked:
    refusal = KeyRevoked(
        "This refresh token was replaced before: somebody else may hold it, so its session is"
        " revoked. Sign in with a new code."
    )
    refusal.consequence = lambda: revoke(session_id)
    return refusal


def _new_token() -> str:
    return f"rt_{secrets.token_urlsafe(32)}"


def _printable(text: str | None) -> str | None:
    kept = "".join(char for char in (text or "")[:MAX_USER_AGENT] if char.isprintable())
    return kept.strip() or None
