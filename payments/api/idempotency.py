"""One intent, one effect: the `Idempotency-Key` and the unit of work it commits with.

Key, effect, events and answer are one transaction. So a key that is there has an answer, a refused
call leaves no key behind, and two that come at once meet at the key's row: the second waits for the
first, at most 1 s on Postgres; SQLite has one writer, so there it waits for the write lock.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from payments import db
from payments.api.requests import ApiRequest
from payments.db import Row, Sql, Statement
from payments.drivers import LockTimeout
from payments.errors import (
    IdempotencyKeyInvalid,
    IdempotencyKeyReused,
    RequestInProgress,
)

KEPT = timedelta(days=7)
MAX_KEY = 255

_PRINTABLE = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"', re.ASCII)

# On SQLite no row means that the key is taken: its write lock leaves none in between.
_CLAIM = Sql(
    "SELECT * FROM claim_key(:scope, :key, :fingerprint)",
    sqlite="INSERT INTO idempotency_keys (scope, key, fingerprint, created_at)"
    " VALUES (:scope, :key, :fingerprint, :now) ON CONFLICT (scope, key) DO NOTHING"
    " RETURNING 1 AS claimed",
    writes=True,
)
_STANDING = Sql(
    "SELECT 0 AS claimed, fingerprint, status, body FROM idempotency_keys"
    " WHERE scope = :scope AND key = :key"
)
_STORE = Sql(
    "SELECT keep_answer(:scope, :key, :status, :body)",
    sqlite="UPDATE idempotency_keys SET status = :status, body = :body"
    " WHERE scope = :scope AND key = :key",
    writes=True,
)
_PRUNE = Sql(
    "DELETE FROM idempotency_keys WHERE (scope, key) IN (SELECT scope, key FROM idempotency_keys"
    " WHERE created_at < :before ORDER BY created_at LIMIT :limit)"
)


@dataclass(frozen=True, slots=True)
class Intent:
    """A caller's key and what it was sent with. scope: whose key it is, not by which credential."""

    scope: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer of a unit of work: its JSON text and status, fresh or from an earlier call."""

    text: str
    status: int
    replayed: bool


def key_of(request: ApiRequest) -> str | None:
    """The request's key, quoted or bare, or None. Raises IdempotencyKeyInvalid."""
    shown = request.environ.get("HTTP_IDEMPOTENCY_KEY")
    if shown is None:
        return None
    key = shown.strip()
    if key.startswith('"'):
        quoted = _QUOTED.fullmatch(key)
        key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else ""
    if not _PRINTABLE.fullmatch(key):
        raise IdempotencyKeyInvalid(
            "The Idempotency-Key must be 1 to 255 printable ASCII characters, quoted or bare."
        )
    return key


def fingerprint(method: str, path: str, query: str, tree: Any) -> str:
    """What makes two calls the same: method, path, query and parsed JSON, whatever its spacing."""
    canonical = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    whole = "\n".join((method, path, query, canonical))
    return hashlib.sha256(whole.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Premise:
    """What must hold for the call to be made at all, asked in its unit of work, with the key.

    ask: the question. judge: raises when its rows say no; then nothing is done and nothing kept.
    """

    ask: Callable[[], Statement]
    judge: Callable[[list[Row]], None]


def once(
    intent: Intent | None,
    work: Callable[[], tuple[dict[str, Any], int]],
    secret_fields: Sequence[str] = (),
    premise: Premise | None = None,
    *,
    in_read_only: bool = False,
) -> Stored:
    """Run the work as one unit, or give the answer that its key has already.

    work: answers with the JSON object and status; it may run several times (`db.in_unit`), each
    time in a fresh transaction. secret_fields: members of the answer that are shown this once;
    what is kept has null there. premise: what must hold, for an earlier answer as well.
    in_read_only: it goes on while writes are stopped.
    Raises IdempotencyKeyReused, RequestInProgress, and what the work and the premise raise: then
    nothing is kept.
    """
    if intent is None:
        return db.in_unit(lambda: _fresh(work, premise), in_read_only=in_read_only)
    return db.in_unit(
        lambda: _claimed(intent, work, secret_fields, premise), in_read_only=in_read_only
    )


def _fresh(work: Callable[[], tuple[dict[str, Any], int]], premise: Premise | None) -> Stored:
    if premise is not None:
        premise.judge(*db.together(premise.ask()))
    body, status = work()
    return Stored(to_json(body), status, replayed=False)


def _claimed(
    intent: Intent,
    work: Callable[[], tuple[dict[str, Any], int]],
    secret_fields: Sequence[str],
    premise: Premise | None,
) -> Stored:
    standing = _claim(intent, premise)
    if standing is not None:
        return standing
    body, status = work()
    text = to_json(body)
    kept = to_json(body | dict.fromkeys(secret_fields)) if secret_fields else text
    db.at_commit(_STORE.given(scope=intent.scope, key=intent.key, status=status, body=kept))
    return Stored(text, status, replayed=False)


def _claim(intent: Intent, premise: Premise | None) -> Stored | None:
    """Take the key: None when it was free, else the answer that stands under it."""
    binds = {"scope": intent.scope, "key": intent.key}
    asked = [premise.ask()] if premise is not None else []
    try:
        *shown, claimed = db.together(*asked, _CLAIM.given(**binds, fingerprint=intent.fingerprint))
    except LockTimeout:
        raise RequestInProgress(
            "A request with this Idempotency-Key is still running. Send it again in a moment.",
            retry_after_s=1,
        ) from None
    if premise is not None:
        premise.judge(shown[0])
    row = claimed[0] if claimed else _STANDING.one(**binds)
    assert row is not None  # noqa: S101 (the claim met this row, and its unit holds it there)
    if row.claimed:
        return None
    if row.fingerprint != intent.fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key came before with another method, path, query or body."
            " Take a new key for a new intent."
        )
    return Stored(row.body, row.status, replayed=True)


def answered(intent: Intent) -> bool:
    """Whether the key has an answer already, as far as is committed now."""
    return _STANDING.one(scope=intent.scope, key=intent.key) is not None


def prune(limit: int = 1_000) -> int:
    """Forget keys older than 7 days, at most that many, in the open unit. Gives how many went.

    The clock calls it again while it gives as much as `limit`.
    """
    return _PRUNE.run(before=db.unit().now - KEPT, limit=limit)


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def to_json(body: dict[str, Any]) -> str:
    """The JSON text of an answer, as it is sent and kept."""
    return _encoder.encode(body)
