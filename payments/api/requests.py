"""One HTTP request: its id, its time, who sent it, the line in the log, the headers of safety.

`ApiRequest` carries what the hooks of this package find out, so that each is found out once.
"""

import ipaddress
import logging
import re
import time
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import flask
from flask import Flask, Request, Response
from werkzeug.exceptions import NotFound

from payments import counters, ids, logs
from payments.errors import PaymentsError
from payments.origin import Caller

if TYPE_CHECKING:
    from payments.api.routing import Route

log = logging.getLogger("payments.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""On every answer; a page that shows something brings a policy of its own."""


class ApiRequest(Request):
    """Flask's request, and what this package knows of it.

    caller: who it is, verified, or None. refusal: why a credential that was shown did not count.
    route: the facts of the matched route. problem: the refusal this request ended in. window: how
    often the rate budget was used in its present window, and the seconds until that ends. budget:
    the calls a minute that it holds.
    """

    request_id: str = ""
    started: float = 0.0
    caller: Caller | None = None
    refusal: PaymentsError | None = None
    problem: type[PaymentsError] | None = None
    window: tuple[int, float] | None = None
    budget: int | None = None

    @property
    def route(self) -> "Route | None":
        """What `routing.route` declared for the matched URL, or None."""
        if self.endpoint is None:
            return None
        view = flask.current_app.view_functions.get(self.endpoint)
        return getattr(view, "route", None)

    @cached_property
    def client_address(self) -> str:
        """Where the request came from: an IP address, or `unknown`.

        Each proxy of ours (`TRUSTED_PROXIES` of them) added the address it saw on the right of
        X-Forwarded-For; what stands left of those was sent by the caller and means nothing.
        """
        hops: int = flask.current_app.config["TRUSTED_PROXIES"]
        seen = self.environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
        if 0 < hops <= len(seen) and seen[-hops].strip():
            return plain_address(seen[-hops])
        return plain_address(self.environ.get("REMOTE_ADDR", ""))


def current() -> ApiRequest:
    """The request being served. Raises RuntimeError outside one."""
    found = flask.request._get_current_object()  # type: ignore[attr-defined]
    assert isinstance(found, ApiRequest)  # noqa: S101 (create_app sets the class)
    return found


@lru_cache(maxsize=4096)
def plain_address(text: str) -> str:
    """An IP address as text: no port, no brackets, no IPv4 inside IPv6; `unknown` for no address.

    Some proxies write `1.2.3.4:5678` or `[::1]:80`. What is no address is one common name: a
    budget for each invented word would be no budget.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return "unknown"
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def init_app(app: Flask) -> None:
    """Register the first and the last hook of a request."""
    app.request_class = ApiRequest
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    request = current()
    request.started = time.perf_counter()
    shown = request.environ.get("HTTP_X_REQUEST_ID", "")
    request.request_id = shown if _REQUEST_ID.fullmatch(shown) else ids.new("rid")
    logs.clear()
    logs.bind(request_id=request.request_id)
    if request.environ.get("PATH_INFO", "").startswith("//"):
        # Werkzeug reads `//admin/x` as `/admin/x`; a proxy in front, with rules by path, does not.
        request.url_rule, request.routing_exception = None, NotFound()


def _finish(response: Response) -> Response:
    request = current()
    headers = response.headers
    headers["X-Request-ID"] = request.request_id
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    if flask.current_app.config["HSTS"]:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    method = request.method if request.method in _METHODS else "OTHER"
    route = route_name(request)
    took_s = time.perf_counter() - request.started
    counted = counters.CONSOLE if _is_page(request) else route
    counters.answered(method, counted, response.status_code, took_s)
    log.info(
        "request",
        extra={
            "method": method,
            "route": route,
            "status": response.status_code,
            "code": request.problem.code if request.problem else None,
            "caller": request.caller.scope if request.caller else None,
            "duration_ms": round(took_s * 1000, 1),
        },
    )
    return response


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def route_name(request: Request) -> str:
    """The template of the matched URL, or `unmatched`: never the path, which bears ids."""
    return request.url_rule.rule if request.url_rule is not None else "unmatched"


def _is_page(request: Request) -> bool:
    view = flask.current_app.view_functions.get(request.endpoint or "")
    return bool(getattr(view, "pages", ()))
