"""`/v1/auth`: sign in by a one-time code, refresh, sign out, sessions."""

from typing import Any

from flask import Blueprint

from payments import clock, db
from payments.api import guards, limits, paging, requests
from payments.api.bodies import Empty
from payments.api.paging import PageQuery
from payments.api.routing import route
from payments.api.schemas.auth import (
    Challenge,
    OtpRequest,
    RefreshRequest,
    Session,
    Sessions,
    SignIn,
    Tokens,
)
from payments.customers import otp, phones, sessions, velocity
from payments.customers import sign_in as sign_ins
from payments.customers.sessions import Issued
from payments.db import Row
from payments.errors import InvalidCode, KeyRevoked, NotFound, TokenExpired, Unauthenticated
from payments.origin import Customer

bp = Blueprint("auth", __name__)

SECRETS = ("access_token", "refresh_token")


def _address() -> str:
    """Whose address this is: one code's asker, and one guesser, whatever of a /64 they use."""
    return limits.network(requests.current().client_address)


def _look_first(body: OtpRequest) -> None:
    velocity.look_for_code(phones.parse_for_sms(body.phone), _address())


@route(
    bp,
    "/v1/auth/otp",
    method="POST",
    caller=guards.anyone,
    body=OtpRequest,
    answer=Challenge,
    status=202,
    once="optional",
    before=_look_first,
    summary="Send a one-time code",
)
def send_code(body: OtpRequest) -> dict[str, Any]:
    """Six digits, good for 5 minutes, five tries and one use; the phone's earlier codes end. The
    answer is the same whether or not the phone is a customer's, and no promise that a message was
    sent: the last fifth of an hour's codes goes only to phones that have signed in before. 422 for
    premium-rate, shared-cost, pager and other numbers that take no text messages. 429 after too
    many codes an hour for a phone, from an address (an IPv6 /64; its /48 has four times as many),
    or in all; `resend_after` knows of the phone's.
    """
    return otp.send(phones.parse_for_sms(body.phone), _address())


def _count_try(body: SignIn) -> None:
    address = _address()
    db.in_unit(lambda: otp.count_try(body.challenge_id, address))


@route(
    bp,
    "/v1/auth/token",
    method="POST",
    caller=guards.anyone,
    body=SignIn,
    answer=Tokens,
    once="optional",
    before=_count_try,
    secret_fields=SECRETS,
    errors=(InvalidCode,),
    summary="Sign in with a one-time code",
)
def sign_in(body: SignIn) -> dict[str, Any]:
    """The first sign-in of a phone makes the customer and a wallet in the default currency. Each
    call is one of the code's five tries, a refused one too; 429 after too many wrong ones an hour.
    """
    agent = requests.current().headers.get("User-Agent")
    return _tokens(sign_ins.sign_in(body.challenge_id, body.code, agent))


@route(
    bp,
    "/v1/auth/refresh",
    method="POST",
    caller=guards.anyone,
    body=RefreshRequest,
    answer=Tokens,
    once="optional",
    secret_fields=SECRETS,
    errors=(Unauthenticated, TokenExpired, KeyRevoked),
    summary="Get the next tokens",
)
def refresh(body: RefreshRequest) -> dict[str, Any]:
    """Each refresh token is good once. The one just replaced gives the same successor for another
    30 s, so a lost answer may simply be asked for again, best without an `Idempotency-Key`, whose
    replay has no tokens. A replaced one that comes later ends the session: somebody else has it.
    """
    return _tokens(sessions.refresh(body.refresh_token))


@route(
    bp,
    "/v1/auth/logout",
    method="POST",
    caller=guards.customer,
    body=Empty,
    answer=Session,
    once="optional",
    errors=(NotFound,),
    summary="Sign out",
)
def logout(caller: Customer) -> dict[str, Any]:
    """Ends this session: its refresh token is worth nothing, and its access token moves no money
    and changes nothing any more.
    """
    return _session(sessions.end(caller.id, caller.session_id), caller)


@route(
    bp,
    "/v1/auth/sessions",
    caller=guards.customer,
    query=PageQuery,
    answer=Sessions,
    summary="List sessions",
)
def index(caller: Customer, query: PageQuery) -> dict[str, Any]:
    """The customer's sessions on all devices, newest first, those that are over included."""
    return paging.listing(
        query,
        lambda limit, before: sessions.of_customer(caller.id, limit, before),
        lambda row: _session(row, caller),
    )


@route(
    bp,
    "/v1/auth/sessions/<session_id>",
    caller=guards.customer,
    answer=Session,
    errors=(NotFound,),
    summary="Get a session",
)
def show(caller: Customer, session_id: str) -> dict[str, Any]:
    """One of the customer's sessions."""
    return _session(sessions.own(caller.id, session_id), caller)


@route(
    bp,
    "/v1/auth/sessions/<session_id>",
    method="DELETE",
    caller=guards.customer,
    answer=Session,
    once="optional",
    errors=(NotFound,),
    summary="End a session",
)
def end(caller: Customer, session_id: str) -> dict[str, Any]:
    """Signs that device out. A session that is over already stays as it is."""
    return _session(sessions.end(caller.id, session_id), caller)


def _tokens(issued: Issued) -> dict[str, Any]:
    return {
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in_s,
        "refresh_token": issued.refresh_token,
    }


def _session(row: Row, caller: Customer) -> dict[str, Any]:
    return {
        "object": "session",
        "id": row.id,
        "status": row.status,
        "version": row.version,
        "current": row.id == caller.session_id,
        "user_agent": row.user_agent,
        "created_at": clock.to_rfc3339(row.created_at),
        "last_used_at": clock.to_rfc3339(row.last_used_at),
        "expires_at": clock.to_rfc3339(row.expires_at),
        "ended_at": row.ended_at and clock.to_rfc3339(row.ended_at),
    }
