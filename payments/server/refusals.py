"""What is said to a client whose bytes never became a request: a problem, as everywhere.

The app has not seen it, so it has a request id of its own, which stands in no log line of the app.
"""

import json
from http import HTTPStatus
from typing import NamedTuple

from gunicorn.http import errors as wire

from payments import ids


class BodyOver(Exception):
    """A body in chunks is longer than any that is read."""


class EndedEarly(Exception):
    """The client stopped sending before its request was whole."""


class Refusal(NamedTuple):
    """status: of HTTP. code: one of `errors.py`'s."""

    status: HTTPStatus
    code: str
    detail: str


LATE = Refusal(
    HTTPStatus.REQUEST_TIMEOUT,
    "invalid_request",
    "The request did not come whole within 10 s. Nothing was done; send it again.",
)
OURS = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "Something failed on our side.")
_BROKEN = Refusal(
    HTTPStatus.BAD_REQUEST, "invalid_request", "What was sent is no HTTP/1.1 request (RFC 9112)."
)
_KINDS: tuple[tuple[type[BaseException], Refusal], ...] = (
    (
        BodyOver,
        Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", "The body is over 64 KiB."),
    ),
    (
        EndedEarly,
        Refusal(
            HTTPStatus.BAD_REQUEST,
            "invalid_request",
            "The request ended before it was whole. Nothing was done; send it again.",
        ),
    ),
    (
        wire.LimitRequestLine,
        Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, "invalid_request", "The URL is over 8 KiB."),
    ),
    (
        wire.LimitRequestHeaders,
        Refusal(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "invalid_request",
            "At most 64 header fields, of 8 KiB each, and 32 KiB in all.",
        ),
    ),
    (
        wire.ExpectationFailed,
        Refusal(
            HTTPStatus.EXPECTATION_FAILED,
            "invalid_request",
            "The only expectation that is met is `100-continue`.",
        ),
    ),
    (wire.ParseException, _BROKEN),
)


def of(fault: BaseException) -> Refusal | None:
    """What to answer; None where the fault is not the client's."""
    if isinstance(fault, (wire.ConfigurationProblem, wire.InvalidResponseHeader)):
        return None
    if isinstance(fault, wire.InvalidResponseHeaderName):
        return None
    return next((refusal for kind, refusal in _KINDS if isinstance(fault, kind)), None)


def answer(refusal: Refusal, public_url: str) -> bytes:
    """The whole HTTP answer, after which the connection ends."""
    body = json.dumps(
        {
            "type": f"{public_url}/docs/errors#{refusal.code}",
            "title": refusal.status.phrase,
            "status": int(refusal.status),
            "detail": refusal.detail,
            "code": refusal.code,
            "request_id": (request_id := ids.new("rid")),
        },
        separators=(",", ":"),
    ).encode()
    head = (
        f"HTTP/1.1 {int(refusal.status)} {refusal.status.phrase}",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body)}",
        f"X-Request-ID: {request_id}",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        "Connection: close",
    )
    return "\r\n".join([*head, "", ""]).encode() + body
