"""API keys: 256 random bits, shown once, kept as a hash; several at a time, each with its scopes.

A rotation needs no pause: make the next key, move over, revoke the old one, at once or after a
time that both work. Who made and who ended a key stands in the audit trail.

A key may make others, which grant no more than its own scopes and time, and say which made them. A
rotation by the key itself makes the next one so, which has to outlive it. After a theft it is the
other way round: a thief's keys are among them, and who revokes the stolen one ends all it made.

A key can end by time alone, when nothing writes its row. Its `version` grows with that all the
same: what is shown is the row's, and one more for each end that has come.
"""

import hmac
import logging
import re
import secrets
from datetime import datetime, timedelta
from typing import Any

from payments import audit, clock, db, ids, origin, sealing, settings
from payments.db import Row, Sql
from payments.errors import (
    Busy,
    Fault,
    InvalidRequest,
    KeyRevoked,
    LimitExceeded,
    NotFound,
    ReadOnly,
    ScopeMissing,
    TokenExpired,
    Unauthenticated,
)
from payments.origin import Merchant

log = logging.getLogger(__name__)

PREFIX = "sk_"
_SHAPE = re.compile(r"sk_[A-Za-z0-9_-]{43}", re.ASCII)
NOTE_EVERY = timedelta(minutes=1)
"""How exact `last_used_at` is; more would be a write for each read."""

MAX_LIVE = 100
"""Keys of one merchant that have not ended: as many as one revocation can end."""

_FIELDS = (
    "id, merchant_id, made_by, name, hint, scopes, version, created_at, expires_at, revoked_at,"
    " last_used_at"
)
_INSERT = Sql(
    "INSERT INTO api_keys (id, merchant_id, made_by, name, secret_hash, hint, scopes, version,"
    " created_at, expires_at, revoked_at, last_used_at)"
    " VALUES (:id, :merchant_id, :made_by, :name, :secret_hash, :hint, :scopes, 1, :now,"
    " :expires_at, NULL, NULL)"
    f" RETURNING {_FIELDS}"
)
_LIVE = Sql(
    "SELECT count(*) AS live FROM api_keys WHERE merchant_id = :merchant_id"
    " AND (revoked_at IS NULL OR revoked_at > :now) AND (expires_at IS NULL OR expires_at > :now)"
)
_BY_HASH_AT = (
    "SELECT k.id, k.merchant_id, k.scopes, k.expires_at, k.revoked_at, k.secret_hash,"
    " CASE WHEN k.revoked_at <= {now} THEN 'revoked'"
    " WHEN k.expires_at <= {now} THEN 'expired' ELSE 'active' END AS status,"
    " CASE WHEN k.last_used_at > {stale} THEN 0 ELSE 1 END AS stale,"
    " CASE WHEN m.status = 'pending' THEN m.owner_id END AS waits_for"
    " FROM api_keys AS k JOIN merchants AS m ON m.id = k.merchant_id"
    " WHERE k.secret_hash = :secret_hash"
)
# The database's own clock, which is not asked for in a round trip of its own.
_BY_HASH = Sql(
    _BY_HASH_AT.format(now="now()", stale="now() - interval '1 minute'"),
    sqlite=_BY_HASH_AT.format(now=":present", stale=":stale"),
)
_NOTE_USE = Sql(
    "UPDATE api_keys SET last_used_at = :now"
    " WHERE id = :id AND (last_used_at IS NULL OR last_used_at < :stale)"
)
# Locked, so that it can't be revoked while it makes another.
_MAKER = Sql(
    "SELECT scopes, expires_at, revoked_at FROM api_keys WHERE id = :id"
    " AND (revoked_at IS NULL OR revoked_at > :now)"
    " AND (expires_at IS NULL OR expires_at > :now) FOR NO KEY UPDATE"
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
# A first end that comes at once is counted by having come (`_version`), not here as well.
_END = (
    "UPDATE api_keys SET revoked_at = :at,"
    " version = version + CASE WHEN revoked_at IS NULL AND :at <= :now THEN 0 ELSE 1 END"
)
_REVOKE = Sql(
    f"{_END} WHERE id = :id AND merchant_id = :merchant_id"
    f" AND (revoked_at IS NULL OR revoked_at > :at) RETURNING {_FIELDS}"
)
# Through keys that have ended themselves: what they made may not have.
_REVOKE_MADE = Sql(
    "WITH RECURSIVE made (id) AS (SELECT id FROM api_keys WHERE made_by = :id"
    " UNION SELECT api_keys.id FROM api_keys JOIN made ON api_keys.made_by = made.id)"
    f" {_END} WHERE id IN (SELECT id FROM made) AND (revoked_at IS NULL OR revoked_at > :at)"
    " AND (expires_at IS NULL OR expires_at > :at)"
    f" RETURNING {_FIELDS}"
)


def create(
    merchant_id: str,
    name: str,
    scopes: list[str],
    expires_at: datetime | None,
    by: Merchant | None = None,
) -> tuple[Row, str]:
    """A new key and its secret, which nothing can show again.

    by: the key that makes it, which grants no more than its own scopes and time; left without an
    end, the new key ends with it. None: the merchant's owner.
    Raises ScopeMissing, InvalidRequest for an end that has passed or lies past the maker's,
    KeyRevoked when the maker has ended meanwhile, LimitExceeded where too many are live.
    """
    db.one_at_a_time(f"keys of {merchant_id}")
    if expires_at is not None and expires_at <= db.unit().now:
        raise InvalidRequest(Fault("/expires_at", "must lie in the future"))
    if by is not None:
        expires_at = _granted(by, scopes, expires_at)
    if _LIVE.scalar(merchant_id=merchant_id) >= MAX_LIVE:
        raise LimitExceeded(
            f"The merchant has {MAX_LIVE} API keys that work, the most it may. Revoke one of them"
            " by DELETE /v1/api_keys/{id}."
        )
    secret = PREFIX + secrets.token_urlsafe(32)
    row = _INSERT.one(
        id=ids.new("key"),
        merchant_id=merchant_id,
        made_by=by.key_id if by is not None else None,
        name=name,
        secret_hash=sealing.digest(secret),
        hint=secret[-4:],
        scopes=" ".join(sorted(set(scopes))),
        expires_at=expires_at,
    )
    _audit("create", row)
    return row, secret


def authenticate(secret: str) -> Merchant:
    """The merchant whose key this is, in one round trip; its use is noted once a minute.

    Outside any unit: noting is a unit of its own. Raises Unauthenticated, KeyRevoked, TokenExpired.
    """
    if not _SHAPE.fullmatch(secret):  # no question to the database for what was never a key
        raise Unauthenticated("The API key is not one that this service gave.")
    digest = sealing.digest(secret)
    present = clock.now()
    row = _BY_HASH.one(secret_hash=digest, present=present, stale=present - NOTE_EVERY)
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
        key_expires=_time(_end(row)),
        waits_for=row.waits_for,
    )


def note_use(key_id: str) -> None:
    """Note that the key was used, in a unit of its own: statistics ride on no money's unit, and
    no caller is refused because one could not be written.
    """
    if settings.is_read_only():
        return
    try:
        with db.unit_of_work() as unit:  # one try: what is not noted now is noted at the next use
            _NOTE_USE.run(id=key_id, stale=unit.now - NOTE_EVERY)
    except (Busy, ReadOnly):
        log.warning("the use of a key could not be noted", extra={"key_id": key_id})


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


def revoke(merchant_id: str, key_id: str, after_s: int = 0, *, also_made: bool = False) -> Row:
    """End the key, now or after so many seconds in which it still works; with also_made those that
    it made as well, and theirs.

    An end that lies nearer stays: a revocation is not taken back. A key that has ended can still be
    asked for those it made. Raises NotFound.
    """
    at = db.unit().now + timedelta(seconds=after_s)
    row = _REVOKE.one(id=key_id, merchant_id=merchant_id, at=at)
    if row is not None:
        _audit("revoke", row)
    found = row or get(merchant_id, key_id)
    # Again until none is left: while one waited for a key's row, that key may have made another.
    while also_made and (ended := _REVOKE_MADE.all(id=key_id, at=at)):
        for made in ended:
            _audit("revoke", made, because_of=key_id)
    return found


def key_object(row: Row, now: datetime) -> dict[str, Any]:
    """The key as the API shows it, without its secret. status: `active`, `expired`, `revoked`."""
    return {
        "object": "api_key",
        "id": row.id,
        "status": _status(row, now),
        "version": _version(row, now),
        "merchant": row.merchant_id,
        "made_by": row.made_by,
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


def _version(row: Row, now: datetime) -> int:
    """The row's, and one more for each change of status that came by time: `expired`, `revoked`."""
    expired = row.expires_at is not None and row.expires_at <= now
    revoked = row.revoked_at is not None and row.revoked_at <= now
    first = expired and (row.revoked_at is None or row.expires_at < row.revoked_at)
    return int(row.version) + first + revoked


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else clock.to_rfc3339(moment)


def _end(row: Row) -> datetime | None:
    """When the key ends, as far as is known: a revocation may lie ahead, too."""
    return min((end for end in (row.expires_at, row.revoked_at) if end is not None), default=None)


def _granted(by: Merchant, scopes: list[str], expires_at: datetime | None) -> datetime | None:
    """When the key ends that this one makes. Raises what `create` says."""
    maker = _MAKER.one(id=by.key_id)
    if maker is None:
        raise KeyRevoked("The API key that was to make another has ended.")
    own = set(maker.scopes.split())
    missing = [] if "*" in own else sorted(set(scopes) - own)
    if missing:
        raise ScopeMissing(
            f"A key grants no more than its own scopes; this one has not {', '.join(missing)}."
        )
    latest = _end(maker)
    if latest is not None and expires_at is not None and expires_at > latest:
        raise InvalidRequest(
            Fault("/expires_at", f"must be {_time(latest)} at the latest, when this key ends")
        )
    return expires_at or latest


def _audit(action: str, row: Row, because_of: str | None = None) -> None:
    """because_of: the key whose end this one shares."""
    who = origin.current()
    audit.record(
        who.actor,
        f"api_key.{action}",
        row.id,
        after={
            "merchant": row.merchant_id,
            "scopes": row.scopes.split(),
            "expires_at": _time(row.expires_at),
            "revoked_at": _time(row.revoked_at),
            **({"because_of": because_of} if because_of is not None else {}),
        },
        request_id=who.request_id,
    )
