"""The console's door: a page declares itself here, and is only shown to who is signed in.

The cookie is looked at for pages alone: it opens none of the JSON calls beside them. What changes
something is a form's POST, which must bear its session's form token and come from a page of ours,
by `Sec-Fetch-Site` and `Origin` where the browser sends them.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import flask
from flask import Blueprint, Flask, Response
from flask_limiter.errors import RateLimitExceeded
from werkzeug.exceptions import HTTPException

from payments import audit, config, db, logs, origin
from payments.api import bodies, requests, strangers
from payments.api.console import pages, sessions
from payments.api.console.sessions import Session
from payments.api.requests import ApiRequest
from payments.errors import (
    Fault,
    Forbidden,
    InvalidRequest,
    PaymentsError,
    Unauthenticated,
    UnsupportedMediaType,
)

FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 50


@dataclass(frozen=True, slots=True)
class Page:
    """The facts of one page. open: shown to anybody."""

    method: str
    rule: str
    open: bool


def pages_of(app: Flask) -> list[Page]:
    """The pages that this app serves."""
    found = [getattr(view, "pages", ()) for view in app.view_functions.values()]
    return sorted((one for facts in found for one in facts), key=lambda one: (one.rule, one.method))


def page(
    bp: Blueprint, rule: str, *, method: str = "GET", open: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the view as a page of the console.

    Without a session a GET leads to the sign-in and anything else is a 401. The view acts as the
    operator who is signed in.
    """

    def declare(view: Callable[..., Any]) -> Callable[..., Any]:
        return register(bp, view, method, {rule: {}}, open=open)

    return declare


def register(
    bp: Blueprint,
    view: Callable[..., Any],
    method: str,
    rules: Mapping[str, Mapping[str, Any]],
    *,
    open: bool = False,
    polled: bool = False,
) -> Callable[..., Any]:
    """A view under several rules, each with its defaults; other methods never reach it: 405.

    polled: a page asks for it by itself, so that it is no sign of anybody's being there.
    """
    facts = [Page(method, rule, open) for rule in rules]

    @functools.wraps(view)
    def served(**given: Any) -> Any:
        request = requests.current()
        session = sessions.current()
        if flask.g.get("console_cookies_clash") and not open:
            return _expired()
        if session is None and not open:
            return _to_the_door(method, request)
        actor = "anonymous" if session is None else session.operator.scope
        with origin.acting(actor, request.request_id):
            if method == "POST":
                _must_be_ours(request, None if open else session)
            return view(**given)

    served.pages = facts  # type: ignore[attr-defined]
    served.polled = polled  # type: ignore[attr-defined]
    for rule, defaults in rules.items():
        bp.add_url_rule(
            rule, endpoint=view.__name__, view_func=served, methods=[method],
            defaults=dict(defaults), provide_automatic_options=False,
        )  # fmt: skip
    return served


def init_app(app: Flask) -> None:
    """Register the hook that knows sessions. Call it before the limiter's, as for callers."""
    app.before_request(_identify)


def guard(bp: Blueprint) -> None:
    """Whatever goes wrong within these pages is told as a page."""
    for kind in (RateLimitExceeded, HTTPException, Exception):
        bp.register_error_handler(kind, pages.fault)


def cookie_name() -> str:
    """A browser takes the prefixed name over TLS and from this very host alone, so that nobody on
    the way and no neighbour under the same domain can put a session of theirs in its place.
    """
    return "__Host-payments-console" if is_secure() else "payments-console"


def cookie_facts() -> dict[str, Any]:
    """How the cookie is set and expired. The prefix asks for the whole host as its path."""
    secure = is_secure()
    return {
        "path": "/" if secure else "/admin", "secure": secure, "httponly": True,
        "samesite": "Strict",
    }  # fmt: skip


def is_secure() -> bool:
    """Whether browsers reach this service by TLS."""
    settings = config.current()
    return settings.is_production or settings.public_url.startswith("https://")


def form() -> dict[str, str]:
    """What the form says, without its own token. Raises InvalidRequest, UnsupportedMediaType."""
    request = requests.current()
    if request.mimetype != FORM:
        raise UnsupportedMediaType("Send the form as the page makes it.")
    given = request.form
    if len(given) > MAX_FIELDS or any(len(values) > 1 for _, values in given.lists()):
        raise InvalidRequest(Fault("", "is no form of this page"))
    faulty = [name for name, value in given.items() if not bodies.storable(name + value)]
    if faulty:
        raise InvalidRequest(Fault("", "has text that can't be stored"))
    return {name: value.strip() for name, value in given.items() if name != "form_token"}


def _identify() -> None:
    request = requests.current()
    if request.endpoint is None:
        return
    view = flask.current_app.view_functions.get(request.endpoint)
    if not getattr(view, "pages", ()):
        return
    cookies = request.cookies.getlist(cookie_name())
    if len(cookies) > 1:  # one of them was set by somebody else, and nothing says which
        flask.g.console_cookies_clash = True
        return
    session = sessions.of_cookie("".join(cookies), in_use=not getattr(view, "polled", False))
    if session is not None:
        flask.g.console_session = session
        request.caller = session.operator
        logs.bind(caller=session.operator.scope)


def _to_the_door(method: str, request: ApiRequest) -> Response:
    if method != "GET":
        refusal = Unauthenticated("Your session has ended, so nothing was done. Sign in again.")
        strangers.write_down(request, refusal, _action(request), None, in_read_only=True)
        raise refusal
    wanted = pages.asked_for(request)
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        # A link on another site: the browser keeps a strict cookie back. From here it sends it.
        return pages.onward(wanted)
    return pages.to_sign_in(wanted)


def _expired() -> Response:
    """Which of two cookies is ours can't be told: neither opens anything, and ours is ended."""
    requests.current().problem = Unauthenticated
    response = pages.render("two_cookies.html", 401)
    response.delete_cookie(cookie_name(), **cookie_facts())
    return response


def _action(request: ApiRequest) -> str:
    return f"{request.method} {requests.route_name(request)}"


def _must_be_ours(request: ApiRequest, session: Session | None) -> None:
    """Raise Forbidden for what another site sends; without a session there is no token to ask."""
    bodies.raw(request)
    known = session is None or session.bears(request.form.get("form_token", ""))
    if known and _is_from_here(request):
        return
    refusal = Forbidden(
        "This form did not come from a page of this console, or is from an earlier session."
        " Nothing was done. Open the page again and send it from there."
    )
    if session is not None:
        db.in_unit(lambda: _note(refusal, _action(request)), in_read_only=True)
    raise refusal


def _note(refusal: PaymentsError, action: str) -> None:
    who = origin.current()
    audit.record(who.actor, action, None, outcome=refusal.code, request_id=who.request_id)


def _is_from_here(request: ApiRequest) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    shown = request.headers.get("Origin")
    if shown is None:
        return True
    public = urlsplit(config.current().public_url)
    schemes = ("https",) if is_secure() else ("http", "https")
    ours = {f"{scheme}://{request.host}" for scheme in schemes}
    return shown in ours | {f"{public.scheme}://{public.netloc}"}
