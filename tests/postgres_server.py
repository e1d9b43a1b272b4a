"""A throwaway Postgres: its cluster, its process, and what a fault test does to them."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from tests.children import (
    Child,
    ServerMissing,
    children_of,
    is_alive,
    plain_environ,
    send,
    wait_until,
)

MISSING = (
    "Postgres 15 or newer is not installed: apt-get install postgresql"
    " (the tests start a server of their own; the packaged one may stay off)"
)
PACKAGED = Path("/usr/lib/postgresql")
OLDEST = 15
# Speed without changing behaviour: nobody pulls the plug of a test. Everything else, the time
# limits above all, is as the server ships, since the service has to bring its own.
OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "256MB",  # it may all be in memory
    "max_connections": "200",
    "listen_addresses": "",
}


class Postgres:
    """A Postgres of our own, reached by a unix socket only.

    folder: made by `create`, holds data, socket and log. options: settings given at the start,
    above those that make tests fast.
    """

    def __init__(self, folder: Path, options: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.options = {**OPTIONS, **(options or {})}
        self.child: Child | None = None
        self._user = "postgres" if os.geteuid() == 0 else None
        self._programs = programs()

    def create(self) -> None:
        """Make the cluster. Its texts sort as a language's do, as hosted databases have it."""
        self.folder.mkdir(mode=0o700)
        if self._user:
            shutil.chown(self.folder, self._user, self._user)
        command = [
            str(self._programs / "initdb"), f"--pgdata={self.folder / 'data'}", "--auth=trust",
            "--username=postgres", "--no-sync", "--encoding=UTF8", "--locale=C",
            "--locale-provider=icu", "--icu-locale=en-US",
        ]  # fmt: skip
        with self._launch(command, "initdb.log") as child:
            if child.wait(60) != 0:
                raise child.fault("failed")

    def start(self) -> None:
        """Start, or start again, and return once it answers."""
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data")]
        command += ["-k", str(self.folder)]
        for name, value in self.options.items():
            command += ["-c", f"{name}={value}"]
        self.child = self._launch(command, "postgres.log")
        self.child.wait_ready(self._answers)

    def stop(self) -> None:
        """Stop in order; open sessions are ended."""
        self._end(signal.SIGINT)

    def discard(self) -> None:
        """Stop at once and remove everything."""
        if self.child is not None:
            self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """As a crash: SIGKILL to the server and all of its sessions. `start` recovers."""
        child = self._running()
        everyone = [child.pid, *children_of(child.pid)]
        for pid in everyone:
            send(pid, signal.SIGKILL)
        child.kill()
        # A session that is not gone yet still holds the shared memory, and the next start refuses.
        wait_until(lambda: not any(is_alive(pid) for pid in everyone), "killed sessions to be gone")
        self.child = None

    def pause(self) -> None:
        """SIGSTOP to the server and all sessions: connected, and never an answer."""
        pid = self._running().pid
        send(pid, signal.SIGSTOP)
        for session in children_of(pid):
            send(session, signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        pid = self._running().pid
        for process in (*children_of(pid), pid):
            send(process, signal.SIGCONT)

    def url(self, name: str = "postgres") -> str:
        """The address of one of its databases, as the service takes it."""
        return address(self.folder, name)

    def conninfo(self, name: str = "postgres") -> str:
        """The same as `url`, as psycopg takes it."""
        return conninfo(self.folder, name)

    def execute(self, statement: str, name: str = "postgres") -> list[Any]:
        """Run one statement as superuser, outside a transaction; its rows."""
        return execute(self.folder, statement, name)

    def _answers(self) -> bool:
        try:
            return bool(self.execute("SELECT 1"))
        except psycopg.OperationalError:
            return False

    def _launch(self, command: list[str], log: str) -> Child:
        return Child(
            command,
            log=self.folder / log,
            environ=plain_environ(self.folder),
            folder=self.folder,
            user=self._user,
            dies_by="QUIT",  # TERM would wait for sessions to end
        )

    def _running(self) -> Child:
        if self.child is None:
            raise RuntimeError("this Postgres is not running: call start()")
        return self.child

    def _end(self, number: signal.Signals) -> None:
        child = self._running()
        self.resume()
        child.signal(number, group=False)
        child.wait()
        child.close()
        self.child = None


def address(folder: Path | str, name: str) -> str:
    """The address of a database of the Postgres whose socket is in the folder."""
    return f"postgresql+psycopg://postgres@/{name}?host={folder}"


def conninfo(folder: Path | str, name: str) -> str:
    """The same as `address`, as psycopg takes it."""
    return psycopg.conninfo.make_conninfo(
        host=str(folder), user="postgres", dbname=name, connect_timeout=5
    )


def execute(folder: Path | str, statement: str, name: str = "postgres") -> list[Any]:
    """Run one statement as superuser, outside a transaction; its rows."""
    with psycopg.connect(conninfo(folder, name), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def programs() -> Path:
    """The folder of Postgres's programs, 15 before newer ones. Raises ServerMissing."""
    packaged = sorted(PACKAGED.glob("*/bin"), key=lambda path: path.parent.name)
    on_path = [Path(folder) for folder in os.get_exec_path()]
    for folder in [*packaged, *on_path]:
        program = folder / "postgres"
        if program.exists() and (folder / "initdb").exists():
            told = subprocess.run(
                [program, "--version"], capture_output=True, text=True, check=True
            )
            version = re.search(r"\d+", told.stdout)
            if version and int(version.group()) >= OLDEST:
                return folder
    raise ServerMissing(MISSING)
