"""The two addresses, DB_URL and REDIS_URL, as other people's programs want them.

Read from the environment over `.env`, as the service does, but alone: no other setting is needed to
back up or to restore, and a new machine has none.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
from dotenv import dotenv_values
from psycopg import conninfo

from scripts.backups.programs import Failed

_SCHEME = re.compile(r"^postgres(ql)?(\+psycopg)?://")
_LIBPQ = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "options": "PGOPTIONS",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}


@dataclass(frozen=True)
class Database:
    """A Postgres database. environ: what psql, pg_dump and the like read instead of arguments."""

    name: str
    conninfo: str
    environ: Mapping[str, str]

    @contextmanager
    def connect(self, **more: Any) -> Iterator[psycopg.Connection[Any]]:
        """A connection, in autocommit, without limits of time. Raises Failed."""
        try:
            with psycopg.connect(self.conninfo, autocommit=True, **more) as connection:
                connection.execute("SET statement_timeout = 0")
                connection.execute("SET lock_timeout = 0")
                connection.execute("SET idle_in_transaction_session_timeout = 0")
                yield connection
        except psycopg.Error as fault:
            raise Failed(f"the database can't be used: {' '.join(str(fault).split())}") from fault

    def major(self) -> int:
        """The server's major version, such as 15."""
        with self.connect() as connection:
            return connection.info.server_version // 10_000


@dataclass(frozen=True)
class Redis:
    """A numbered database of a Redis. number: which."""

    url: str
    number: int

    def command_line(self) -> tuple[list[str], dict[str, str]]:
        """Arguments of redis-cli, and its environment, which alone has the password."""
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            where = ["-s", unquote(parts.path)]
        else:
            where = ["-h", parts.hostname or "localhost", "-p", str(parts.port or 6379)]
        if parts.scheme == "rediss":
            where += ["--tls", "--sni", parts.hostname or "localhost"]
        if parts.username:
            where += ["--user", unquote(parts.username)]
        secret = unquote(parts.password) if parts.password else ""
        return [*where, "--no-auth-warning"], {"REDISCLI_AUTH": secret} if secret else {}


def given(environ: Mapping[str, str], root: Path) -> dict[str, str]:
    """What is set, over what stands in `.env`; set to nothing is not set."""
    merged = dotenv_values(root / ".env", interpolate=False) | dict(environ)
    return {name: value.strip() for name, value in merged.items() if value and value.strip()}


def database(variables: Mapping[str, str]) -> Database:
    """The database of DB_URL, or DATABASE_URL. Raises Failed, never with a password in it."""
    url = variables.get("DB_URL") or variables.get("DATABASE_URL")
    if url is None:
        raise Failed("DB_URL is not set: which database?")
    if not _SCHEME.match(url):
        raise Failed("DB_URL is not Postgres's: copy an SQLite file with `sqlite3 FILE .backup`")
    try:
        known = conninfo.conninfo_to_dict(_SCHEME.sub("postgresql://", url))
    except psycopg.ProgrammingError:
        raise Failed("DB_URL can't be read: postgresql://user:password@host/database") from None
    if not known.get("dbname"):
        raise Failed("DB_URL names no database: postgresql://user:password@host/database")
    known.pop("application_name", None)  # read-only mode knows pg_dump by its own
    strange = sorted(set(known) - set(_LIBPQ))
    if strange:
        raise Failed(f"DB_URL has what pg_dump can't be given: {', '.join(strange)}")
    texts = {key: str(value) for key, value in known.items() if value is not None}
    environ = {_LIBPQ[key]: text for key, text in texts.items()}
    texts.setdefault("connect_timeout", "10")
    return Database(texts["dbname"], conninfo.make_conninfo("", **texts), environ)


def redis(variables: Mapping[str, str]) -> Redis | None:
    """The Redis of REDIS_URL; None where it is not set."""
    url = variables.get("REDIS_URL")
    if url is None:
        return None
    path = urlsplit(url).path.strip("/")
    on_socket = url.startswith("unix:")
    found = re.search(r"[?&]db=(\d+)", url)
    number = found.group(1) if found else ("0" if on_socket or not path.isdigit() else path)
    return Redis(url, int(number))


def of_process() -> dict[str, str]:
    """`given` for this process, from the root of the repository."""
    return given(os.environ, Path(__file__).resolve().parents[2])
