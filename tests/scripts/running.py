"""The scripts of on-call as real processes, with `DB_URL` alone, as the runbook types them."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from tests import nursery
from tests.children import ROOT, wait_until
from tests.processes import service_environ

WITHIN_S = 60


def environ(database: str, folder: Path, **more: str) -> dict[str, str]:
    """Nothing but the database is set; development's own files go into the folder."""
    given = {"DB_URL": database, "INSTANCE_DIR": str(folder / "instance"), **more}
    return service_environ(given, folder)


def script(
    database: str, folder: Path, name: str, *options: str, **more: str
) -> "subprocess.CompletedProcess[str]":
    """Run it to its end, without a terminal. more: further variables."""
    return nursery.run([f"scripts/{name}", *options], environ(database, folder, **more))


def told(done: "subprocess.CompletedProcess[str]", code: int = 0) -> str:
    """What a run printed that must have ended so."""
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def as_json(done: "subprocess.CompletedProcess[str]", code: int = 0) -> dict[str, Any]:
    """The JSON document that a run printed."""
    shown = json.loads(told(done, code))
    assert isinstance(shown, dict)
    return shown


def on_terminal(
    database: str, folder: Path, answer: str, name: str, *options: str
) -> tuple[int, str]:
    """Run it on a terminal and type the answer; gives the exit code and all that was shown there.

    answer: typed once the script asks. `\\x03` is Ctrl-C.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, f"scripts/{name}", *options],
        cwd=ROOT,
        env=environ(database, folder),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    try:
        while b"[y/N]" not in shown:
            shown += os.read(ours, 4096)
        if answer == "\x03":
            process.send_signal(signal.SIGINT)
        else:
            os.write(ours, answer.encode())
        shown += _rest(ours)
        return process.wait(WITHIN_S), shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _rest(descriptor: int) -> bytes:
    read = b""
    while True:
        try:
            part = os.read(descriptor, 4096)
        except OSError:  # the other side is closed
            return read
        if not part:
            return read
        read += part


def interrupted(
    database: str, folder: Path, name: str, *options: str, when: Any
) -> tuple[int, str]:
    """Start it, send it Ctrl-C once `when()` says so; gives the exit code and its stderr."""
    process = subprocess.Popen(
        [sys.executable, f"scripts/{name}", *options],
        cwd=ROOT,
        env=environ(database, folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: when() or process.poll() is not None, "the script to be at work")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=WITHIN_S)
        return process.returncode, errors
    finally:
        process.kill()
        process.wait()


@contextmanager
def connected(postgres: str) -> "Iterator[psycopg.Connection[tuple[Any, ...]]]":
    """A connection of the database's owner, to see and to stand in the way."""
    parts = sa.make_url(postgres)
    with psycopg.connect(
        host=str(parts.query["host"]), user=parts.username, dbname=parts.database, autocommit=True
    ) as connection:
        yield connection


def waiting(connection: "psycopg.Connection[tuple[Any, ...]]") -> bool:
    """Whether somebody waits for a lock in this database; other tests have theirs beside it."""
    found = connection.execute(
        "SELECT pid FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return bool(found.fetchall())
