"""`/admin/rq`: rq-dashboard behind the console's door, to look at and nothing else.

Its views are mounted one by one, all by GET: what it would change is a 405 before it is reached,
also what it offers by GET. Its pages need more than ours: a script within the page (named by a
nonce, so that no other runs) that compiles its templates, and styles within elements. Everything
comes from this host. Redis is asked with a deadline, and its jobs are read as JSON, as ours are
written: their way would unpickle whatever lies there.
"""

import functools
import importlib
import secrets
from collections.abc import Callable
from typing import Any

import flask
import redis
from flask import Blueprint, Flask, Response, g
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq.exceptions import NoSuchJobError
from rq.serializers import JSONSerializer

from payments.api.console import door, pages
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
REGISTRIES = frozenset(
    ("queued", "started", "deferred", "finished", "failed", "scheduled", "canceled")
)


def init_app(app: Flask, redis_url: str | None) -> None:
    """Mount it where a Redis is configured; else a page that says there is none."""
    if redis_url is None:
        app.register_blueprint(_without())
        return
    theirs = _dashboard()
    # What its views read. No connection is made before one of them is called.
    app.config["RQ_DASHBOARD_REDIS_URL"] = ("this service's Redis",)
    app.config["RQ_DASHBOARD_DISABLE_DELETE"] = True
    app.redis_conn = redis.Redis.from_url(  # type: ignore[attr-defined]
        redis_url,
        socket_timeout=REDIS_LIMIT_S,
        socket_connect_timeout=REDIS_LIMIT_S,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )
    app.register_blueprint(_with(theirs))


def _dashboard() -> Any:
    """Their module, told to read jobs as JSON. Imported where it is used: it brings much along."""
    theirs = importlib.import_module("rq_dashboard.web")
    theirs.config.serializer = JSONSerializer
    for name in ("Job", "Worker"):
        setattr(theirs, name, _reading_json(getattr(theirs, name)))
    return theirs


def _reading_json(kind: Any) -> Any:
    """The class, whose rows are JSON unless it is told otherwise. Given again, it stays itself."""
    if getattr(kind, "reads_json", False):
        return kind

    class ReadsJson(kind):
        reads_json = True

        @classmethod
        def fetch(cls, *args: Any, **options: Any) -> Any:
            return super().fetch(*args, **{"serializer": JSONSerializer, **options})

        @classmethod
        def all(cls, *args: Any, **options: Any) -> Any:
            return super().all(*args, **{"serializer": JSONSerializer, **options})

    return ReadsJson


def _with(theirs: Any) -> Blueprint:
    bp = Blueprint("rq_dashboard", theirs.__name__, template_folder="templates")
    bp.context_processor(lambda: {"poll_interval": 5000, "script_nonce": _nonce()})
    for name, rules in READS.items():
        door.register(bp, _careful(getattr(theirs, name)), "GET", _within(rules))
    folder = f"{theirs.blueprint.root_path}/static"

    def static(filename: str) -> Response:
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
    """Their view, for what there is: one Redis, known registries, pages of bounded length."""

    @functools.wraps(view)
    def seen(**given: Any) -> Response:
        if (
            given.get("instance_number", 0) != 0
            or given.get("registry_name", "queued") not in REGISTRIES
            or not 1 <= given.get("per_page", 1) <= MAX_PER_PAGE
            or not 1 <= given.get("page", 1) <= 1_000_000
        ):
            raise NotFound
        try:
            flask.current_app.redis_conn.ping()  # type: ignore[attr-defined]
            answer = flask.make_response(view(**given))
        except NoSuchJobError:
            raise NotFound from None
        except redis.RedisError:
            return pages.render("no_queue.html", 503, configured=True)
        if answer.mimetype != "text/html":
            answer.headers["Cache-Control"] = "no-store"
            return answer
        return pages.page_of(answer.get_data(as_text=True), policy=_policy())

    return seen


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
        " style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
        " form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
