"""Who is signed in to the console: a row, and a signed cookie that names it and says nothing else.

A session is bound to its operator's entry of `ADMIN_TOKEN`, name and token: it ends with the entry,
in each process at its restart. It ends as well when signed out, `IDLE` after its last use, `LASTS`
after it began, and with a restore. The cookie alone opens nothing: what it names must still stand.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import flask
from itsdangerous import BadData, Signer, URLSafeSerializer

from payments import clock, config, db, sealing
from payments.config import NamedSecret
from payments.db import Row, Sql
from payments.origin import Operator

LASTS = timedelta(hours=8)
IDLE = timedelta(hours=1)
NOTED_EVERY = timedelta(minutes=1)
"""How often the last use is written down."""

_INSERT = Sql(
    "INSERT INTO console_sessions (id, actor, entry_tag, created_at, last_used_at)"
    " VALUES (:id, :actor, :tag, :now, :now)"
)
_GET = Sql(
    "SELECT id, actor, entry_tag, created_at, last_used_at FROM console_sessions"
    " WHERE id = :id AND ended_at IS NULL"
)
_USED = Sql("UPDATE console_sessions SET last_used_at = :now WHERE id = :id")
_END = Sql("UPDATE console_sessions SET ended_at = :now WHERE id = :id AND ended_at IS NULL")
_PRUNE = Sql(
    "DELETE FROM console_sessions WHERE id IN (SELECT id FROM console_sessions"
    " WHERE created_at < :before ORDER BY created_at LIMIT :limit)"
)


@dataclass(frozen=True, slots=True)
class Session:
    """A session that stands. secret: what the cookie holds, signed; id: its hash, as in the row."""

    id: str
    secret: str
    operator: Operator
    began_at: datetime

    @property
    def form_token(self) -> str:
        """What each form of this session bears, so that no other site can make one."""
        return _form_signer(config.current().secret_key).get_signature(self.secret).decode()

    def bears(self, token: str) -> bool:
        """Whether this is its form token, under any key. In constant time."""
        signer = _form_signer(config.current().secret_key)
        return signer.verify_signature(self.secret.encode(), token.encode("utf-8", "replace"))


def begin(entry: NamedSecret) -> str:
    """A session of the operator with this entry, in the open unit. Gives the cookie's value."""
    secret = secrets.token_urlsafe(32)
    actor = Operator(entry.name).scope
    _INSERT.run(id=sealing.digest(secret), actor=actor, tag=_tag(entry, secret))
    return str(_cookie_signer(config.current().secret_key).dumps(secret))


def of_cookie(value: str | None, *, in_use: bool = True) -> Session | None:
    """The session that the cookie names, if it stands. in_use: somebody is at it, so note that."""
    if not value:
        return None
    try:
        secret = _cookie_signer(config.current().secret_key).loads(value)
    except BadData:
        return None
    row = _GET.one(id=sealing.digest(secret))
    if row is None or _is_over(row):
        return None
    for entry in config.current().admin_token:
        if hmac.compare_digest(_tag(entry, secret), row.entry_tag):
            if in_use:
                _note_use(row)
            return Session(row.id, secret, Operator(entry.name), row.created_at)
    return None


def current() -> Session | None:
    """The session of the present request, on a page of the console."""
    found: Session | None = flask.g.get("console_session")
    return found


def required() -> Session:
    """The same, on a page that is shown to nobody else."""
    session = current()
    assert session is not None  # noqa: S101 (the page's declaration let nobody else in)
    return session


def end(session: Session) -> None:
    """Sign out, in the open unit: the cookie opens nothing any more, whoever has a copy."""
    _END.run(id=session.id)


def leave() -> None:
    """The rest of this request is nobody's."""
    flask.g.pop("console_session", None)


def prune(limit: int = 1_000) -> int:
    """Forget sessions that have lasted their time, at most so many, in the open unit."""
    return _PRUNE.run(before=db.unit().now - LASTS, limit=limit)


def _is_over(row: Row) -> bool:
    now = clock.now()
    return bool(now - row.created_at > LASTS or now - row.last_used_at > IDLE)


def _note_use(row: Row) -> None:
    if clock.now() - row.last_used_at > NOTED_EVERY:
        db.in_unit(lambda: _USED.run(id=row.id), in_read_only=True)


def _tag(entry: NamedSecret, secret: str) -> str:
    """Only who knows the operator's token can make it; it says nothing of the token."""
    told = f"console session {secret} of {entry.name}".encode()
    return hmac.digest(entry.secret.encode(), told, hashlib.sha256).hex()


_HOW: dict[str, Any] = {"key_derivation": "hmac", "digest_method": hashlib.sha256}


# itsdangerous signs with the last of a list and reads with all; ours begins with the signer.
@lru_cache(maxsize=8)
def _cookie_signer(keys: tuple[str, ...]) -> URLSafeSerializer:
    return URLSafeSerializer(list(reversed(keys)), salt="console session", signer_kwargs=_HOW)


@lru_cache(maxsize=8)
def _form_signer(keys: tuple[str, ...]) -> Signer:
    return Signer(list(reversed(keys)), salt="console form", **_HOW)
