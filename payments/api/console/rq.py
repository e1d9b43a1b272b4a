"""`/admin/rq`: rq-dashboard behind the console's door, to look at and nothing else.

Its views are mounted one by one, all by GET: what it would change is a 405 before it is reached,
also what it offers by GET. Each value in a path has a form of its own (`ALLOWED`); what has another
is not there. Its pages need more than ours: a script within the page (named by a nonce, so that no
other runs) that compiles its templates, and styles within elements. Everything comes from this
host. Redis is asked with a deadline, and only to read (`rq_looking`).
"""

import functools
import importlib
import re
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import flask
import redis
from flask import Blueprint, Flask, Response, g
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq.exceptions import InvalidJobOperation, NoSuchJobError

from payments import config
from payments.api import requests
from payments.api.console import door, pages, rq_looking, rq_templates
from payments.errors import MethodNotAllowed, NotFound

PREFIX = "/admin/rq"
REDIS_LIMIT_S = 1.0
MAX_PER_PAGE = 200

_INSTANCE = "/<int:instance_number>"
_JOBS = "<queue_name>/<registry_name>/<int:per_page>/<order>/<int:page>"
READS: dict[str, dict[str, dict[str, Any]]] = {
    "queues_overview": {
        "/": {"instance_number": 0},
        f"{_INSTANCE}/": {},
        f"{_INSTANCE}/view": {},
        f"{_INSTANCE}/view/queues": {},
    },
    "workers_overview": {f"{_INSTANCE}/view/workers": {}},
    "jobs_overview": {
        f"{_INSTANCE}/view/jobs": {
            "queue_name": "payments",
            "registry_name": "queued",
            "per_page": 8,
            "order": "asc",
            "page": 1,
        },
        f"{_INSTANCE}/view/jobs/{_JOBS}": {},
    },
    "job_view": {f"{_INSTANCE}/view/job/<job_id>": {}},
    "list_queues": {f"{_INSTANCE}/data/queues.json": {}},
    "list_workers": {f"{_INSTANCE}/data/workers.json": {}},
    "list_jobs": {f"{_INSTANCE}/data/jobs/{_JOBS}.json": {}},
    "job_info": {f"{_INSTANCE}/data/job/<job_id>.json": {}},
}
"""The views that only read, by their names in rq-dashboard, with their rules and defaults."""
WRITES = {
    "delete_job_view": "/job/<job_id>/delete",
    "requeue_job_view": "/job/<job_id>/requeue",
    "requeue_all": "/requeue/<queue_name>",
    "empty_queue": "/queue/<queue_name>/<registry_name>/empty",
    "compact_queue": "/queue/<queue_name>/compact",
}
"""What its pages name and nobody may call here, by whichever method."""
REGISTRIES = frozenset(("queued", *rq_looking.REGISTRIES))

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", re.ASCII)
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_ASSET = re.compile(r"(css|js)/[A-Za-z0-9][A-Za-z0-9.-]{0,60}\.(css|js)", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")

ALLOWED: dict[str, Callable[[Any], bool]] = {
    "instance_number": lambda value: value == 0,
    "queue_name": lambda value: _NAME.fullmatch(value) is not None,
    "registry_name": REGISTRIES.__contains__,
    "per_page": lambda value: 1 <= value <= MAX_PER_PAGE,
    "order": ("asc", "dsc").__contains__,
    "page": lambda value: 1 <= value <= rq_looking.MOST_JOBS,
    "job_id": lambda value: _JOB_ID.fullmatch(value) is not None,
    "filename": lambda value: _ASSET.fullmatch(value) is not None,
}
"""What each value in a path may be: they come from whoever made the link, and reach a script."""


def init_app(app: Flask, redis_url: str | None) -> None:
    """Mount it where a Redis is configured; else a page that says there is none."""
    if redis_url is None:
        app.register_blueprint(_without())
        return
    theirs = _dashboard()
    # What its views read. No connection is made before one of them is called.
    app.config["RQ_DASHBOARD_REDIS_URL"] = ("this service's Redis",)
    app.config["RQ_DASHBOARD_DISABLE_DELETE"] = True
    app.redis_conn = rq_looking.LookingRedis.from_url(  # type: ignore[attr-defined]
        redis_url,
        socket_timeout=REDIS_LIMIT_S,
        socket_connect_timeout=REDIS_LIMIT_S,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )
    app.register_blueprint(_with(theirs))


def _dashboard() -> Any:
    """Their module, told to only read. Imported where it is used: it brings much along."""
    theirs: Any = importlib.import_module("rq_dashboard.web")
    theirs.config.serializer = rq_looking.Json
    theirs.Job, theirs.Worker = rq_looking.JsonJob, rq_looking.JsonWorker
    theirs.Queue = rq_looking.JsonQueue
    theirs.get_queue_registry_jobs_count = lambda *given: _listed(theirs, *given)
    return theirs


def _listed(theirs: Any, *given: Any) -> tuple[int, list[dict[str, Any]]]:
    total, jobs = rq_looking.page_of_jobs(*given)
    return total, [theirs.serialize_job(job) for job in jobs]


def _with(theirs: Any) -> Blueprint:
    bp = Blueprint("rq_dashboard", theirs.__name__)
    bp.jinja_loader = rq_templates.Escaping(f"{theirs.blueprint.root_path}/templates")
    bp.context_processor(lambda: {"poll_interval": 5000, "script_nonce": _nonce()})
    for name, rules in READS.items():
        polled = all("/data/" in rule for rule in rules)
        door.register(bp, _careful(getattr(theirs, name)), "GET", _within(rules), polled=polled)
    folder = f"{theirs.blueprint.root_path}/static"

    def static(filename: str) -> Response:
        _must_be_allowed({"filename": filename})
        return flask.send_from_directory(folder, filename)

    door.register(bp, static, "GET", _within({"/static/<path:filename>": {}}))
    for name, rule in WRITES.items():
        door.register(bp, _named(name, _refuse), "GET", _within({rule: {}}))
    door.guard(bp)
    return bp


def _without() -> Blueprint:
    bp = Blueprint("rq_dashboard", __name__)

    def nothing(**_named: Any) -> Response:
        return pages.render("no_queue.html")

    door.register(bp, nothing, "GET", _within({"/": {}, "/<path:rest>": {}}))
    door.guard(bp)
    return bp


def _within(rules: dict[str, Any]) -> dict[str, Any]:
    return {f"{PREFIX}{rule}": defaults for rule, defaults in rules.items()}


def _careful(view: Callable[..., Any]) -> Callable[..., Any]:
    """Their view, for what may be asked for; that Redis is gone is told on a page."""

    @functools.wraps(view)
    def seen(**given: Any) -> Response:
        _must_be_allowed(given)
        try:
            flask.current_app.redis_conn.ping()  # type: ignore[attr-defined]
            answer = flask.make_response(view(**given))
        except (NoSuchJobError, InvalidJobOperation):
            raise NotFound from None
        except redis.RedisError:
            return pages.render("no_queue.html", 503, configured=True)
        if answer.mimetype != "text/html":
            answer.headers["Cache-Control"] = "no-store"
            return answer
        return pages.page_of(answer.get_data(as_text=True), policy=_policy())

    return seen


def _must_be_allowed(given: dict[str, Any]) -> None:
    """Raise NotFound for a value that none of ours has, and for a page beyond the last."""
    if not all(ALLOWED[name](value) for name, value in given.items()):
        raise NotFound
    if (given.get("page", 1) - 1) * given.get("per_page", 1) >= rq_looking.MOST_JOBS:
        raise NotFound


def _named(name: str, view: Callable[..., Any]) -> Callable[..., Any]:
    """A view of that name: endpoints are called after it."""

    def named(**given: Any) -> Any:
        return view(**given)

    named.__name__ = name
    return named


def _refuse(**_given: Any) -> Response:
    raise MethodNotAllowed(
        "Here is only to look: this changes the queue. Jobs are hints, and a worker's restart"
        " loses none of the deliveries."
    )


def _nonce() -> str:
    """A new one for each answer."""
    if "rq_nonce" not in g:
        g.rq_nonce = secrets.token_urlsafe(16)
    return str(g.rq_nonce)


def _policy() -> str:
    return (
        f"default-src 'none'; script-src 'nonce-{_nonce()}' 'unsafe-eval';"
        " style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
        f" connect-src {_data()}; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )


def _data() -> str:
    """Where its scripts may ask: for the queue's data, and for no page of the console."""
    hosts = (requests.current().host, urlsplit(config.current().public_url).netloc)
    known = dict.fromkeys(host for host in hosts if _HOST.fullmatch(host))
    return " ".join(f"{host}{PREFIX}/0/data/" for host in known)
