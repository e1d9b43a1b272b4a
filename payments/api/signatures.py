"""Signed requests of sister services: a secret that never travels, and no request taken twice.

The signature is lower-case hex HMAC-SHA256, its key the secret's UTF-8 bytes, over six lines with a
newline between them: timestamp (Unix seconds), nonce (16 to 64 URL-safe characters), METHOD,
path?query as sent, the `Idempotency-Key` header as sent or nothing, and the SHA-256 of the body in
hex. It holds for 300 s either way by the database's clock, and a nonce counts once in 10 minutes,
so that a copied request is worth nothing. `VECTORS` are for whoever writes a signer.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from payments import config, db, settings
from payments.api import bodies, service_names
from payments.api.requests import ApiRequest
from payments.config import NamedSecret
from payments.db import Sql
from payments.errors import ReplayedRequest, Unauthenticated
from payments.origin import SisterService

MAX_SKEW_S = 300
NONCE_KEPT = timedelta(minutes=10)
"""As long as one signature can hold: from 300 s before its timestamp to 300 s after."""
VARIABLE = service_names.VARIABLE

_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
_SIGNATURE = re.compile(r"[0-9a-f]{64}", re.ASCII)

# One statement judges and takes: of two requests with one nonce, one finds the row and no time.
_TAKE = Sql(
    "INSERT INTO internal_nonces (service, nonce, expires_at) VALUES (:service, :nonce, :until)"
    " ON CONFLICT (service, nonce) DO UPDATE SET expires_at = excluded.expires_at"
    " WHERE internal_nonces.expires_at < :now"
)
_TAKEN = Sql(
    "SELECT 1 AS taken FROM internal_nonces"
    " WHERE service = :service AND nonce = :nonce AND expires_at >= :now"
)
_PRUNE = Sql(
    "DELETE FROM internal_nonces WHERE (service, nonce) IN (SELECT service, nonce"
    " FROM internal_nonces WHERE expires_at < :now ORDER BY expires_at LIMIT :limit)"
)


def text_to_sign(
    *, timestamp: str, nonce: str, method: str, target: str, idempotency_key: str, body: bytes
) -> str:
    """The six lines. target: path and query as sent. idempotency_key: as sent, or empty."""
    digest = hashlib.sha256(body).hexdigest()
    return "\n".join((timestamp, nonce, method, target, idempotency_key, digest))


def sign(secret: str, text: str) -> str:
    """The signature of `text_to_sign`'s text: 64 lower-case hex digits."""
    # Headers and targets are bytes that WSGI shows as Latin-1: this gives the same bytes again.
    return hmac.new(secret.encode(), text.encode("latin-1"), hashlib.sha256).hexdigest()


def verify(request: ApiRequest, note_place: Callable[[str, int], None]) -> SisterService:
    """The sister service that signed this request; its nonce is taken, in a unit of its own.

    note_place: told the variable and the place of the secret that fits, 0 for the first.
    Raises Unauthenticated, ReplayedRequest, BodyTooLarge (the body is hashed, so its size is
    looked at first), Busy.
    """
    timestamp = _header(request, "X-Internal-Timestamp", _TIMESTAMP, "Unix seconds")
    nonce = _header(request, "X-Internal-Nonce", _NONCE, "16 to 64 URL-safe characters")
    shown = _header(request, "X-Internal-Signature", _SIGNATURE, "64 lower-case hex digits")
    text = text_to_sign(
        timestamp=timestamp,
        nonce=nonce,
        method=request.method,
        target=_target(request),
        idempotency_key=request.environ.get("HTTP_IDEMPOTENCY_KEY", ""),
        body=bodies.raw(request),
    )
    place, entry = _signer(text, shown)
    note_place(VARIABLE, place)
    service = service_names.settle(entry)
    if settings.is_read_only():  # only reads are served now, and nothing may be written
        _must_be_fresh(int(timestamp))
        if _TAKEN.one(service=entry.name, nonce=nonce):
            raise _replayed()
    else:
        db.in_unit(lambda: _take(entry.name, nonce, int(timestamp)))
    return service


def prune(limit: int = 1_000) -> int:
    """Forget nonces that no signature can come back with, at most that many, in the open unit.

    Gives how many went. The clock calls it again while it gives as much as `limit`.
    """
    return _PRUNE.run(limit=limit)


def _header(request: ApiRequest, name: str, form: re.Pattern[str], words: str) -> str:
    value = request.headers.get(name, "")
    if not form.fullmatch(value):
        raise Unauthenticated(f"A signed request needs {name}: {words} (see /docs).")
    return value


def _target(request: ApiRequest) -> str:
    """Path and query before anything was decoded. A proxy's absolute form has a host in front."""
    sent = str(request.environ["RAW_URI"])  # gunicorn's, and werkzeug's
    return sent if sent.startswith("/") else "/" + sent.partition("://")[2].partition("/")[2]


def _signer(text: str, shown: str) -> tuple[int, NamedSecret]:
    """The secret that fits, and its place. Each is tried, in constant time."""
    found = None
    for place, entry in enumerate(config.current().internal_api_secret):
        if hmac.compare_digest(sign(entry.secret, text), shown) and found is None:
            found = (place, entry)
    if found is None:
        raise Unauthenticated("The signature fits none of our secrets and what was sent.")
    return found


def _take(service: str, nonce: str, timestamp: int) -> None:
    _must_be_fresh(timestamp)
    if not _TAKE.run(service=service, nonce=nonce, until=db.now() + NONCE_KEPT):
        raise _replayed()


def _must_be_fresh(timestamp: int) -> None:
    if abs(db.now().timestamp() - timestamp) > MAX_SKEW_S:
        raise Unauthenticated(
            "X-Internal-Timestamp is more than 300 s from our clock. Set yours, and sign anew."
        )


def _replayed() -> ReplayedRequest:
    return ReplayedRequest(
        "This X-Internal-Nonce was used in the last 10 minutes. Sign anew with a fresh nonce and"
        " the same Idempotency-Key."
    )


@dataclass(frozen=True, slots=True)
class Vector:
    """A request and the one signature that is right for it."""

    secret: str
    timestamp: str
    nonce: str
    method: str
    target: str
    idempotency_key: str
    body: str
    signature: str


VECTORS = (
    Vector(
        secret="example-secret-of-the-taxi-service",
        timestamp="1767225600",
        nonce="b3Blbi1zZXNhbWUtMDAx",
        method="POST",
        target="/internal/deposits",
        idempotency_key="deposit-17",
        body='{"phone":"+4915112345678","amount":5000,"currency":"EUR",'
        '"external_reference":"bank-17"}',
        signature="52bdce02d005b19e9dd8e222ceb811dd90b7e16ff62c1c6551f4b954b0625b6a",
    ),
    Vector(
        secret="example-secret-of-the-taxi-service",
        timestamp="1767225601",
        nonce="b3Blbi1zZXNhbWUtMDAy",
        method="GET",
        target="/internal/wallets?phone=%2B4915112345678",
        idempotency_key="",
        body="",
        signature="161ce687f746f866e56aa1888dc283dae8cc47c929d8a51d7bde0f3cac728474",
    ),
    Vector(
        secret="geheim-mit-ümläuten-für-das-essen",
        timestamp="1767225602",
        nonce="b3Blbi1zZXNhbWUtMDAz",
        method="POST",
        target="/internal/transfers",
        idempotency_key='"quoted \\" key"',
        body='{"from_phone":"+4915112345678","to_phone":"+4915187654321","amount":250,'
        '"currency":"EUR","reference":"Trinkgeld für die Köchin"}',
        signature="0c7e93d40f917e9c682dbc0c15282dec4a3eb2fbfaf9972a22a8a05aeb436b81",
    ),
)
"""Bodies are UTF-8. The second has neither key nor body; the third's key is sent in quotes."""
