"""Every refusal as RFC 9457 `application/problem+json`, made at this one place.

What was sent is never echoed. A fault of ours is a 500 with nothing in it but the request id, by
which the log has the rest.
"""

import json
import logging
from collections.abc import Mapping
from urllib.parse import urlsplit

import flask
from flask import Flask, Response
from werkzeug import exceptions as http
from werkzeug.routing import RequestRedirect

from payments import config, errors
from payments.api import requests
from payments.errors import PaymentsError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

EVERYWHERE: tuple[type[PaymentsError], ...] = (
    errors.NotFound,
    errors.MethodNotAllowed,
    errors.RateLimited,
    errors.InternalError,
    errors.Busy,
)
"""What any URL may answer, whatever its route declares."""

_HTTP: dict[int, tuple[type[PaymentsError], str]] = {
    404: (errors.NotFound, "There is nothing at this URL."),
    405: (errors.MethodNotAllowed, "This URL exists; it does not take this method: see `Allow`."),
    413: (errors.BodyTooLarge, "The body is over 64 KiB."),
    415: (errors.UnsupportedMediaType, "Send the body as `application/json`; `{}` is one."),
    429: (errors.RateLimited, "Too many requests. `Retry-After` says when to come back."),
}


def type_uri(code: str) -> str:
    """Where the code is explained: the problem's `type`."""
    return f"{config.current().public_url}/docs/errors#{code}"


def answer(error: PaymentsError, headers: Mapping[str, str] | None = None) -> Response:
    """The problem as a response, with the headers that its status asks for."""
    request = requests.current()
    request.problem = type(error)
    body: dict[str, object] = {
        "type": type_uri(error.code),
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "request_id": request.request_id,
    }
    if error.faults:
        body["errors"] = [
            {"pointer": fault.pointer, "detail": fault.detail} for fault in error.faults
        ]
    response = Response(
        json.dumps(body, ensure_ascii=False, separators=(",", ":")),
        status=error.status,
        mimetype=MEDIA_TYPE,
        headers=dict(headers or {}),
    )
    response.headers["Cache-Control"] = "no-store"
    if error.status == 401:
        response.headers["WWW-Authenticate"] = _challenge(request.path)
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _challenge(path: str) -> str:
    """RFC 9110 wants a scheme; ours for sister services and operators are named by their header."""
    if path.startswith("/internal"):
        return 'X-Internal-Secret realm="internal"'
    if path.startswith("/admin"):
        return 'X-Admin-Token realm="admin"'
    return 'Bearer realm="payments"'


def init_app(app: Flask) -> None:
    """Register the handlers: ours, werkzeug's, and everything that nobody expected."""
    app.register_error_handler(PaymentsError, _ours)
    app.register_error_handler(http.HTTPException, _werkzeug)
    app.register_error_handler(Exception, _unexpected)
    app.after_request(_by_path)


def _by_path(response: Response) -> Response:
    """Another spelling of a URL leads on by its path alone, and is kept by nobody.

    The library's answer, which no error handler sees, names scheme and host as the request did: a
    caller may make them up, and a cache may keep them for others.
    """
    redirect = flask.request.routing_exception
    if isinstance(redirect, RequestRedirect) and response.status_code == redirect.code:
        path, query = urlsplit(redirect.new_url)[2:4]
        path = "/" + path.lstrip("/")
        response.set_data(b"")
        response.headers["Location"] = f"{path}?{query}" if query else path
        response.headers["Cache-Control"] = "no-store"
    return response


def _ours(error: PaymentsError) -> Response:
    _must_be_declared(error)
    if error.status >= 500:
        log.warning("refused", extra={"code": error.code}, exc_info=error.__cause__)
    return answer(error)


def _must_be_declared(error: PaymentsError) -> None:
    """In tests, a refusal that the route's document does not name is a fault of ours."""
    if not flask.current_app.testing:
        return
    route = requests.current().route
    if route is not None and not isinstance(error, (*EVERYWHERE, *route.errors)):
        raise AssertionError(
            f"{route.method} {route.rule} answers {error.code}, which its `errors` does not name"
        )


def _werkzeug(error: http.HTTPException) -> Response | http.HTTPException:
    if isinstance(error, RequestRedirect) or error.code is None or error.code < 400:
        return error
    headers = {
        name: value
        for name, value in error.get_headers()
        if name in ("Allow", "Retry-After") and value
    }
    if error.code in _HTTP:
        kind, detail = _HTTP[error.code]
        return answer(kind(detail), headers)
    if error.code >= 500:
        return _unexpected(error)
    # What is left of 4xx: a request so broken that werkzeug gave up (bad chunking, bad host).
    return answer(errors.InvalidRequest(detail="The request can't be understood."), headers)


def _unexpected(error: Exception) -> Response:
    log.error("unexpected fault", exc_info=error)
    return answer(
        errors.InternalError("Something failed on our side. The request id finds it in our logs.")
    )
