"""API keys: 256 random bits, shown once, kept as a hash; several at a time, each with its scopes.

A rotation needs no pause: make the next key, move over, revoke the old one, at once or after a
time that both work.
"""

import hmac
import json
import secrets
from datetime import datetime, timedelta
from typing import Any

from payments import clock, db, ids, sealing
from payments.db import Row, Sql
from payments.errors import KeyRevoked, NotFound, ScopeMissing, TokenExpired, Unauthenticated
from payments.origin import Merchant

PREFIX = "sk_"
NOTE_EVERY = timedelta(minutes=1)
"""How exact `last_used_at` is; more would be a write for each read."""

_FIELDS = (
    "id, merchant_id, name, hint, scopes, version, created_at, expires_at, revoked_at, last_used_at"
)
_INSERT = Sql(
    "INSERT INTO api_keys (id, merchant_id, name, secret_hash, hint, scopes, version, created_at,"
    " expires_at, revoked_at, last_used_at)"
    " VALUES (:id, :merchant_id, :name, :secret_hash, :hint, :scopes, 1, :now, :expires_at,"
    " NULL, NULL)"
    f" RETURNING {_FIELDS}"
)
_BY_HASH = Sql(
    f"SELECT {_FIELDS}, secret_hash, CASE WHEN revoked_at <= :now THEN 'revoked'"
    " WHEN expires_at <= :now THEN 'expired' ELSE 'active' END AS status,"
    " CASE WHEN last_used_at IS NULL OR last_used_at < :stale THEN 1 ELSE 0 END AS stale"
    " FROM api_keys WHERE secret_hash = :secret_hash"
)
_NOTE_USE = Sql(
    "UPDATE api_keys SET last_used_at = :now"
    " WHERE id = :id AND (last_used_at IS NULL OR last_used_at < :stale)"
)
_GET = Sql(f"SELECT {_FIELDS} FROM api_keys WHERE id = :id AND merchant_id = :merchant_id")
_ANY = Sql(f"SELECT {_FIELDS} FROM api_keys WHERE id = :id")
_PAGE = Sql(
    f"SELECT {_FIELDS} FROM api_keys WHERE merchant_id = :merchant_id"
    " ORDER BY created_at DESC, id DESC LIMIT :limit"
)
_NEXT_PAGE = Sql(
    f"SELECT {_FIELDS} FROM api_keys WHERE merchant_id = :merchant_id"
    " AND (created_at, id) < (:before_at, :before_id)"
    " ORDER BY created_at DESC, id DESC LIMIT :limit"
)
# A later end never replaces an earlier one: a revocation is not taken back.
_REVOKE = Sql(
    "UPDATE api_keys SET revoked_at = CASE WHEN revoked_at IS NULL OR revoked_at > :at THEN :at"
    " ELSE revoked_at END, version = version + 1"
    f" WHERE id = :id AND merchant_id = :merchant_id RETURNING {_FIELDS}"
)


def create(
    merchant_id: str,
    name: str,
    scopes: list[str],
    expires_at: datetime | None,
    by: Merchant | None = None,
) -> tuple[Row, str]:
    """A new key and its secret, which nothing can show again.

    by: the key that makes it; it grants no more than its own scopes and time. None: the owner.
    Raises ScopeMissing.
    """
    if by is not None:
        _must_grant(by, scopes)
        if by.key_expires is not None:
            latest = clock.parse_rfc3339(by.key_expires)
            expires_at = latest if expires_at is None else min(expires_at, latest)
    secret = PREFIX + secrets.token_urlsafe(32)
    row = _INSERT.one(
        id=ids.new("key"),
        merchant_id=merchant_id,
        name=name,
        secret_hash=sealing.digest(secret),
        hint=secret[-4:],
        scopes=" ".join(sorted(set(scopes))),
        expires_at=expires_at,
    )
    return row, secret


def authenticate(secret: str) -> Merchant:
    """The merchant whose key this is, in one round trip; its use is noted once a minute.

    Raises Unauthenticated, KeyRevoked, TokenExpired.
    """
    digest = sealing.digest(secret)
    now = clock.now()
    row = _BY_HASH.one(secret_hash=digest, now=now, stale=now - NOTE_EVERY)
    if row is None or not hmac.compare_digest(row.secret_hash, digest):
        raise Unauthenticated("The API key is not one that this service gave.")
    if row.status == "revoked":
        raise KeyRevoked("The API key was revoked. Use the merchant's next one.")
    if row.status == "expired":
        raise TokenExpired("The API key's time is over. Make a new one.")
    if row.stale:
        note_use(row.id)
    return Merchant(
        id=row.merchant_id,
        key_id=row.id,
        scopes=frozenset(row.scopes.split()),
        key_expires=None if row.expires_at is None else clock.to_rfc3339(row.expires_at),
    )


def note_use(key_id: str) -> None:
    """Note that the key was used, in a unit of its own: statistics ride on no money's unit."""
    stale = clock.now() - NOTE_EVERY
    db.in_unit(lambda: _NOTE_USE.run(id=key_id, stale=stale))


def get(merchant_id: str, key_id: str) -> Row:
    """One of the merchant's keys. Raises NotFound."""
    row = _GET.one(id=key_id, merchant_id=merchant_id)
    if row is None:
        raise NotFound
    return row


def merchant_of(key_id: str) -> str:
    """Whose key it is. Raises NotFound."""
    row = _ANY.one(id=key_id)
    if row is None:
        raise NotFound
    return str(row.merchant_id)


def of_merchant(merchant_id: str, limit: int, before: tuple[datetime, str] | None) -> list[Row]:
    """A page of the merchant's keys, newest first."""
    if before is None:
        return _PAGE.all(merchant_id=merchant_id, limit=limit)
    return _NEXT_PAGE.all(
        merchant_id=merchant_id, limit=limit, before_at=before[0], before_id=before[1]
    )


def revoke(merchant_id: str, key_id: str, after_s: int = 0) -> Row:
    """End the key, now or after so many seconds in which it still works. Raises NotFound."""
    at = db.unit().now + timedelta(seconds=after_s)
    row = _REVOKE.one(id=key_id, merchant_id=merchant_id, at=at)
    if row is None:
        raise NotFound
    return row


def key_object(row: Row, now: datetime) -> dict[str, Any]:
    """The key as the API shows it, without its secret. status: `active`, `expired`, `revoked`."""
    return {
        "object": "api_key",
        "id": row.id,
        "status": _status(row, now),
        "version": row.version,
        "merchant": row.merchant_id,
        "name": row.name,
        "scopes": row.scopes.split(),
        "hint": row.hint,
        "created_at": clock.to_rfc3339(row.created_at),
        "expires_at": _time(row.expires_at),
        "revoked_at": _time(row.revoked_at),
        "last_used_at": _time(row.last_used_at),
    }


def _status(row: Row, now: datetime) -> str:
    if row.revoked_at is not None and row.revoked_at <= now:
        return "revoked"
    if row.expires_at is not None and row.expires_at <= now:
        return "expired"
    return "active"


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else clock.to_rfc3339(moment)


def _must_grant(by: Merchant, scopes: list[str]) -> None:
    missing = [] if "*" in by.scopes else sorted(set(scopes) - by.scopes)
    if missing:
        raise ScopeMissing(
            f"A key grants no more than its own scopes; this one lacks {json.dumps(missing)}."
        )
