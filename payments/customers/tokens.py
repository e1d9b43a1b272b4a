"""Access tokens: signed statements of who signed in, good for 15 minutes. Nothing is stored.

JWT (RFC 7519), HS256, under `JWT_SECRET`: the first secret signs, each verifies. `kid` is derived
from the secret, so that a token finds its own among several. The algorithm is fixed: what a token
says of it does not choose one.
"""

import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache

import jwt

from payments import clock, config, ids
from payments.errors import TokenExpired, Unauthenticated
from payments.origin import Customer

ALGORITHM = "HS256"
ISSUER = "payments"
AUDIENCE = "payments-api"
LIFETIME = timedelta(minutes=15)
VARIABLE = "JWT_SECRET"

_CLAIMS = ["iss", "aud", "sub", "sid", "iat", "exp"]


def issue(customer_id: str, session_id: str) -> str:
    """An access token for the customer, of this session."""
    secret = config.current().jwt_secret[0]
    now = clock.now()
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": customer_id,
        "sid": session_id,
        "iat": int(now.timestamp()),
        "exp": int((now + LIFETIME).timestamp()),
    }
    return jwt.encode(claims, secret, algorithm=ALGORITHM, headers={"kid": key_id(secret)})


def verify(token: str, note_place: Callable[[str, int], object]) -> Customer:
    """Who the token was issued to. Whether the session still stands, `sessions` knows.

    note_place: told the variable and the place, from 0, of the secret that verified.
    Raises TokenExpired, and Unauthenticated for any other token that does not count.
    """
    place, customer, expires = _verified(token, config.current().jwt_secret)
    if expires <= time.time():
        raise _expired()
    note_place(VARIABLE, place)
    return customer


# A client sends the same token for a quarter of an hour, and taking it apart costs as much as a
# statement. Only what was verified is kept; the caller looks at the clock again.
@lru_cache(maxsize=4096)
def _verified(token: str, secrets: tuple[str, ...]) -> tuple[int, Customer, int]:
    """The place of the secret that verifies, who it was issued to, and until when (Unix time)."""
    place, secret = _secret_of(token, secrets)
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            # Another machine's clock may be a little ahead of ours: `iat` refuses nobody.
            options={"require": _CLAIMS, "verify_iat": False},
        )
    except jwt.ExpiredSignatureError:
        raise _expired() from None
    except jwt.InvalidTokenError:
        raise _foreign() from None
    subject, session = claims["sub"], claims["sid"]
    if not isinstance(session, str) or not ids.is_id("ses", session):
        raise _foreign()
    if not ids.is_id("cus", subject):
        raise _foreign()
    return place, Customer(subject, session), int(claims["exp"])


@lru_cache(maxsize=16)
def key_id(secret: str) -> str:
    """The `kid` of tokens under this secret; gives nothing of the secret away."""
    return hmac.new(secret.encode(), b"kid of access tokens", hashlib.sha256).hexdigest()[:16]


def _secret_of(token: str, secrets: tuple[str, ...]) -> tuple[int, str]:
    try:
        shown = jwt.get_unverified_header(token).get("kid")
    except jwt.InvalidTokenError:
        raise _foreign() from None
    for place, secret in enumerate(secrets):
        if shown == key_id(secret):
            return place, secret
    raise _foreign()


def _expired() -> TokenExpired:
    return TokenExpired("The access token has expired. Get another by POST /v1/auth/refresh.")


def _foreign() -> Unauthenticated:
    return Unauthenticated("The access token is not one that this service gave.")
