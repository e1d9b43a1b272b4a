"""Conditional reads: the `ETag` is a hash of the body as sent, and a match is a 304."""

import hashlib

from flask import Flask, Response, request


def init_app(app: Flask) -> None:
    """Register the hook for every JSON answer to a GET or HEAD."""
    app.after_request(_conditional)


def _conditional(response: Response) -> Response:
    if (
        request.method not in ("GET", "HEAD")
        or response.status_code != 200
        or response.is_streamed
        or response.mimetype != "application/json"
    ):
        return response
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "private, no-cache"
    elif "no-store" in response.headers["Cache-Control"]:
        return response
    response.set_etag(hashlib.sha256(response.get_data()).hexdigest()[:32])
    if "HTTP_IF_NONE_MATCH" in request.environ:
        response.make_conditional(request)
    return response
