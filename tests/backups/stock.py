"""For tests of backups: keys kept apart, a stocked database, and the scripts as they are run."""

import contextlib
import contextvars
import io
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from flask import Flask

from payments import db
from payments.checkout import payments
from payments.customers import sessions
from payments.ledger import invariants
from payments.merchants import api_keys
from tests import databases
from tests.checkout import world

PHONE = "+4915112345678"


@dataclass(frozen=True)
class Keys:
    """An age identity and the file of recipients made of it."""

    identity: Path
    recipients: Path


def new_keys(folder: Path, name: str = "backup") -> Keys:
    """Fresh keys in the folder, as the README makes them."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = Keys(folder / f"{name}.identity", folder / f"{name}.recipients")
    subprocess.run(["age-keygen", "-o", keys.identity], check=True, capture_output=True)
    told = subprocess.run(
        ["age-keygen", "-y", keys.identity], check=True, capture_output=True, text=True
    )
    keys.recipients.write_text(told.stdout)
    return keys


@dataclass(frozen=True)
class Ran:
    """What a script came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its document."""
        return json.loads(self.out)


def run(main: Callable[[Sequence[str]], int], *arguments: object, **variables: str) -> Ran:
    """A script in this process, with these variables and none of the stores' others."""
    out, err = io.StringIO(), io.StringIO()
    before = dict(os.environ)
    for name in ("DB_URL", "DATABASE_URL", "REDIS_URL", "ENV"):
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            # A script makes an app of its own; its database must not become this test's.
            code = contextvars.copy_context().run(main, [str(each) for each in arguments])
    finally:
        os.environ.clear()
        os.environ.update(before)
    return Ran(code, out.getvalue(), err.getvalue())


@contextmanager
def service(url: str, folder: Path) -> Iterator[Flask]:
    """The service on that database, inside its context."""
    settings = databases.settings_for(databases.environ_for(url, folder), folder)
    with databases.app_for(settings) as app, app.app_context():
        yield app


@dataclass(frozen=True)
class Stock:
    """Ids of what was put in."""

    customer: str
    merchant: str
    paid: str
    session: str
    key: str


def fill(has: int = 100_00) -> Stock:
    """A customer with money and a session, a merchant with a key, one payment. In a context."""
    customer = world.customer(PHONE, has=has)
    merchant = world.merchant()
    asked = world.asks(merchant, 20_00)
    db.in_unit(lambda: payments.confirm(asked.id, customer))
    db.in_unit(lambda: sessions.start(customer, "tests"))
    key, _ = db.in_unit(lambda: api_keys.create(merchant, "till", ["*"], None))
    (session,) = db.in_unit(lambda: sessions.of_customer(customer, 1, None))
    assert invariants.check() == []
    return Stock(customer, merchant, asked.id, session.id, key.id)


def rows(url: str, statement: str) -> list[Any]:
    """Rows of a database, read past the service."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()
