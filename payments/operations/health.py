"""Is the service well? Asked by probes, so the answer comes within a second or so, whatever hangs.

The database is asked on a connection of its own: a pool that is used up is a busy service, not one
to take out of the balancer. Redis is never the truth, so without it the service is degraded.
"""

import logging
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import redis
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from redis.backoff import NoBackoff
from redis.retry import Retry

from payments.config import Settings

log = logging.getLogger(__name__)

DATABASE_LIMIT_S = 1.0
REDIS_LIMIT_S = 0.25
MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"

Status = Literal["ok", "degraded", "unavailable"]


@dataclass(frozen=True, slots=True)
class Health:
    """status: `unavailable` when the database is not fit to serve, `degraded` without Redis.

    checks: what was asked, and `ok` or what is wrong in a few words; no address, no driver's text.
    """

    status: Status
    checks: dict[str, str]


def check(settings: Settings) -> Health:
    """Ask the database (at most 1 s) and Redis (at most 0.25 s to connect, as much to answer)."""
    database = _ask_database(settings.db_url)
    found = {"database": database, "redis": _ask_redis(settings.redis_url)}
    status: Status = "ok"
    if found["redis"] != "ok":
        status = "degraded"
    if database != "ok":
        status = "unavailable"
    return Health(status, found)


@dataclass
class _Asked:
    """One question to the database, shared by all who ask while it is open."""

    done: threading.Event
    finding: str = "does not answer"


_lock = threading.Lock()
_open: dict[str, _Asked] = {}


def _ask_database(url: str) -> str:
    """One question at a time: a database that hangs holds one thread of each process, no more."""
    with _lock:
        asked = _open.get(url)
        if asked is None:
            asked = _open[url] = _Asked(threading.Event())
            threading.Thread(target=_ask, args=(url, asked), daemon=True, name="health").start()
    asked.done.wait(DATABASE_LIMIT_S)
    return asked.finding


def _ask(url: str, asked: _Asked) -> None:
    try:
        asked.finding = _schema(url)
    except sa.exc.SQLAlchemyError as fault:
        log.warning("the database does not answer a health check", exc_info=fault)
    finally:
        with _lock:
            del _open[url]
        asked.done.set()


def _schema(url: str) -> str:
    """Whether the database's migration is the code's newest, or one that this code does not know.

    One that is not known is ahead: a deploy is under way, and old code goes on with a newer schema.
    """
    with _engine(url).connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return "schema is behind the code"
        revision = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    head, behind = _revisions()
    if revision is None or (revision != head and revision in behind):
        return "schema is behind the code"
    return "ok"


@lru_cache(maxsize=8)
def _engine(url: str) -> sa.Engine:
    postgres = {"connect_timeout": 2, "options": "-c statement_timeout=1000"}
    on_sqlite = sa.make_url(url).get_backend_name() == "sqlite"
    arguments = {"timeout": DATABASE_LIMIT_S} if on_sqlite else postgres
    return sa.create_engine(url, poolclass=sa.NullPool, connect_args=arguments)


@lru_cache(maxsize=1)
def _revisions() -> tuple[str | None, frozenset[str]]:
    """The code's newest migration, and every one that it knows."""
    scripts = ScriptDirectory(str(MIGRATIONS))
    return scripts.get_current_head(), frozenset(s.revision for s in scripts.walk_revisions())


def _ask_redis(url: str | None) -> str:
    if url is None:
        return "not configured"
    client = redis.Redis.from_url(
        url,
        socket_timeout=REDIS_LIMIT_S,
        socket_connect_timeout=REDIS_LIMIT_S,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        with client:
            client.ping()
    except redis.RedisError:
        return "does not answer"
    return "ok"
