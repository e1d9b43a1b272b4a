"""Signing in with an operator's token, and out."""

from urllib.parse import quote, unquote

from flask import Blueprint, Response, current_app
from werkzeug.exceptions import HTTPException

from payments import audit, clock, config, db, logs, origin
from payments.api import callers, limits, requests, strangers
from payments.api.console import door, pages, sessions
from payments.api.console.guesses import Guesses
from payments.config import NamedSecret
from payments.errors import RateLimited, Unauthenticated
from payments.origin import Operator

TRIES = 10
"""Wrong tokens from one address within a minute, in one process; then it has to wait."""

bp = Blueprint("console_sign_in", __name__)


@door.page(bp, pages.SIGN_IN, open=True)
def sign_in() -> Response:
    """The form."""
    wanted = _wanted(requests.current().args.get("next"))
    if sessions.current() is not None:
        return pages.back_to(wanted)
    return pages.render("sign_in.html", next=wanted)


@door.page(bp, pages.SIGN_IN, method="POST", open=True)
def let_in() -> Response:
    """A right token begins a session, and ends the one that this browser had."""
    given = door.form()
    wanted = _wanted(given.get("next"))
    _must_have_tries()
    entry = callers.matching(given.get("token", ""), config.current().admin_token, "ADMIN_TOKEN")
    if entry is None:
        _guesses().note(_network())
        refusal = Unauthenticated("This token is not known. Nobody was signed in.")
        requests.current().problem = Unauthenticated
        strangers.write_down(
            requests.current(), refusal, "console.sign_in", None, in_read_only=True
        )
        return pages.render("sign_in.html", 401, next=wanted, wrong=refusal.detail)
    logs.bind(caller=Operator(entry.name).scope)
    cookie = db.in_unit(lambda: _begin(entry), in_read_only=True)
    response = pages.back_to(wanted)
    response.set_cookie(
        door.cookie_name(),
        cookie,
        max_age=sessions.LASTS,
        **door.cookie_facts(),
    )
    return response


@door.page(bp, "/admin/console/sign_out", method="POST")
def sign_out() -> Response:
    """The session has ended, for every copy of its cookie."""
    session = sessions.required()

    def end() -> None:
        sessions.end(session)
        audit.record(
            session.operator.scope, "console.sign_out", None,
            request_id=origin.current().request_id,
        )  # fmt: skip

    db.in_unit(end, in_read_only=True)
    sessions.leave()
    response = pages.back_to(pages.SIGN_IN, said="You are signed out.")
    response.delete_cookie(door.cookie_name(), **door.cookie_facts())
    return response


def _begin(entry: NamedSecret) -> str:
    before = sessions.current()
    if before is not None:
        sessions.end(before)
    audit.record(
        Operator(entry.name).scope, "console.sign_in", None,
        after={"until": clock.to_rfc3339(db.unit().now + sessions.LASTS)},
        request_id=origin.current().request_id,
    )  # fmt: skip
    return sessions.begin(entry)


def _must_have_tries() -> None:
    """Raise RateLimited for an address with too many wrong tries, before a token is compared."""
    tries, left_s = _guesses().tries(_network())
    if tries >= TRIES:
        raise RateLimited(
            f"{TRIES} wrong tokens came from this address within a minute. Wait, then try again.",
            retry_after_s=max(1, int(left_s) + 1),
        )


def _network() -> str:
    return limits.network(requests.current().client_address)


def _guesses() -> Guesses:
    """Wrong tokens of this form alone: a script with an old token locks out nobody beside it."""
    found: Guesses = current_app.extensions.setdefault("payments_console_guesses", Guesses())
    return found


def _wanted(path: str | None) -> str:
    """Where to go after: a page of the console that can be shown, else the overview."""
    if not path or not path.startswith("/admin/") or "\\" in path or not path.isprintable():
        return "/admin/"
    plain, _, query = path.partition("?")
    plain = unquote(plain)
    if any(step in (".", "..") for step in plain.split("/")):
        return "/admin/"
    try:
        endpoint, _values = current_app.url_map.bind("").match(plain, method="GET")
    except HTTPException:
        return "/admin/"
    shown = getattr(current_app.view_functions.get(endpoint), "pages", ())
    if not shown or plain == pages.SIGN_IN or endpoint.endswith(".nowhere"):
        return "/admin/"
    quoted = quote(plain, safe="/")
    return f"{quoted}?{quote(query, safe='%&=+/:,')}" if query else quoted
