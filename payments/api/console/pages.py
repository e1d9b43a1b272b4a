"""How a page is answered: rendered, with the policy that lets nothing else in; faults as pages."""

import logging
import secrets
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import flask
from flask import Response, render_template
from flask_limiter.errors import RateLimitExceeded
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.exceptions import HTTPException

from payments import clock, config, errors, settings
from payments.api import limits, requests
from payments.api.console import sessions
from payments.api.requests import ApiRequest
from payments.errors import PaymentsError
from payments.tracing import seeking, stories

log = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)
SIGN_IN = "/admin/console/sign_in"
SAID_FOR_S = 300
MENU = (
    ("/admin/", "Overview"),
    ("/admin/console/webhooks", "Webhooks"),
    ("/admin/console/requeue", "Requeue"),
    ("/admin/console/limits", "Limits"),
    ("/admin/console/read_only", "Read-only"),
    ("/admin/console/approvals", "Approvals"),
    ("/admin/console/audit", "Audit"),
    ("/admin/rq/", "RQ"),
)


def render(template: str, status: int = 200, **facts: Any) -> Response:
    """The page, kept by nobody. Each of its forms bears `intent`: sent twice, it is done once."""
    request, session = requests.current(), sessions.current()
    text = render_template(
        f"console/{template}",
        session=session,
        intent=secrets.token_urlsafe(12),
        menu=MENU if session is not None else (),
        path=request.path,
        said=_said(request.args.get("said")),
        is_read_only=session is not None and settings.is_read_only(),
        now=clock.now(),
        **facts,
    )
    return page_of(text, status)


def page_of(text: str, status: int = 200, policy: str = POLICY) -> Response:
    """The response, with the headers that every page of the console bears."""
    response = Response(text, status=status, mimetype="text/html")
    response.headers["Content-Security-Policy"] = policy
    response.headers["Cache-Control"] = "no-store"
    # Not `no-referrer`: with that a browser sends forms with `Origin: null`.
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return response


def back_to(path: str, said: str | None = None, **query: Any) -> Response:
    """After a form: to a page that may be loaded again without doing anything again."""
    given = {name: value for name, value in query.items() if value}
    if said is not None:
        given["said"] = str(_sayer(config.current().secret_key).dumps([_whose(), said]))
    url = f"{path}?{urlencode(given)}" if given else path
    response = Response(status=303, headers={"Location": url}, mimetype="text/html")
    response.headers["Cache-Control"] = "no-store"
    return response


def to_sign_in(wanted: str) -> Response:
    """Where who is not signed in is sent, with where they wanted to go."""
    return back_to(SIGN_IN, next=wanted if wanted != "/admin/" else None)


def onward(url: str) -> Response:
    """A page with a link to one of ours, for who comes by a link on another site.

    To follow it is theirs: a browser that is led on by itself would lend its session to the link.
    """
    return page_of(render_template("console/onward.html", url=url))


def asked_for(request: ApiRequest) -> str:
    """The path and query of the request, quoted anew, to lead to; the overview for a path that
    has steps in it which a browser would take.
    """
    if any(step in (".", "..") for step in request.path.split("/")):
        return "/admin/"
    path = quote(request.path, safe="/")
    query = quote(request.query_string, safe="%&=+/:,")
    return f"{path}?{query}" if query else path


def fault(error: Exception) -> Response:
    """Any refusal or fault as a page that says what to do."""
    refusal = _refusal(error)
    request = requests.current()
    request.problem = type(refusal)
    response = render(
        "fault.html",
        refusal.status,
        refusal=refusal,
        faults=[(one.pointer.strip("/").replace("_", " "), one.detail) for one in refusal.faults],
        request_id=request.request_id,
        sign_in=refusal.status == 401,
    )
    if refusal.retry_after_s is not None:
        response.headers["Retry-After"] = str(refusal.retry_after_s)
    return response


def _refusal(error: Exception) -> PaymentsError:
    if isinstance(error, PaymentsError):
        return error
    if isinstance(error, RateLimitExceeded):
        return limits.refused(requests.current())
    if isinstance(error, HTTPException) and error.code == 413:
        return errors.BodyTooLarge("The form is over 64 KiB.")
    if isinstance(error, HTTPException) and error.code == 404:
        return errors.NotFound("There is nothing here.")
    if isinstance(error, HTTPException) and error.code is not None and error.code < 500:
        return errors.InvalidRequest(detail="The request can't be understood.")
    log.error("unexpected fault", exc_info=error)
    return errors.InternalError(
        "Something failed on our side. The request id finds it in the logs."
    )


def _said(signed: str | None) -> str | None:
    """What the last form's answer was: only what we signed, to the session that sent the form, so
    that no link can say anything.
    """
    if not signed:
        return None
    try:
        whose, told = _sayer(config.current().secret_key).loads(signed, max_age=SAID_FOR_S)
    except (BadData, ValueError):
        return None
    return str(told) if whose == _whose() else None


def _whose() -> str:
    session = sessions.current()
    return "" if session is None else session.id


def _sayer(keys: tuple[str, ...]) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(list(reversed(keys)), salt="console said")


def moment(at: datetime | None) -> str:
    """A time as people read it, in UTC, to the second."""
    return "never" if at is None else f"{clock.aware(at):%Y-%m-%d %H:%M:%S} UTC"


def ago(at: datetime | None) -> str:
    """How long ago, or how soon, in the largest unit that says enough."""
    if at is None:
        return "never"
    seconds = (clock.now() - at).total_seconds()
    return f"{lasting(seconds)} ago" if seconds >= 0 else f"in {lasting(-seconds)}"


def lasting(seconds: float) -> str:
    """A span of time in words."""
    for unit_s, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{int(seconds // unit_s)} {name}"
    return f"{int(seconds)} s"


def exact(at: datetime) -> str:
    """A time among others, in UTC, to the millisecond."""
    return f"{clock.aware(at):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def filters(app: flask.Flask) -> None:
    """What the templates call."""
    app.jinja_env.filters |= {
        "moment": moment,
        "ago": ago,
        "lasting": lasting,
        "exact": exact,
        "money": stories.amount,
    }
    app.jinja_env.tests["sought_in_turn"] = lambda text: seeking.read(text).kind == "object"
    app.jinja_env.tests["request_in_turn"] = lambda text: seeking.read(text).kind == "request"
