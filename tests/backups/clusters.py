"""A Postgres that archives its write-ahead log, and its recovery into a second one."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.backups import stock
from tests.backups.stock import Keys
from tests.children import ROOT, wait_until
from tests.postgres_server import Postgres
from tests.servers import new_folder

DATABASE = "payments"


@dataclass(frozen=True)
class Vault:
    """Where backups and WAL go (`place`, `archive`), and the keys, which lie elsewhere."""

    folder: Path
    keys: Keys

    @property
    def place(self) -> Path:
        """Base backups and dumps."""
        return self.folder / "backups"

    @property
    def archive(self) -> Path:
        """Write-ahead log."""
        return self.folder / "wal"

    @property
    def command(self) -> str:
        """The archive_command, of a copy that Postgres's user may run."""
        script = self.folder / "wal_archive.py"
        python = shutil.which("python3", path="/usr/bin") or sys.executable
        recipients = self.folder / "recipients"
        return (
            f'{shlex.quote(python)} {script} put "%p" "%f" --dir {self.archive}'
            f" --recipients {recipients}"
        )


@contextmanager
def vault(keys_folder: Path) -> Iterator[Vault]:
    """An empty vault that Postgres's user can archive into; gone afterwards."""
    folder = new_folder()
    try:
        made = Vault(folder, stock.new_keys(keys_folder))
        made.archive.mkdir()
        shutil.copyfile(ROOT / "scripts" / "wal_archive.py", folder / "wal_archive.py")
        shutil.copyfile(made.keys.recipients, folder / "recipients")
        for path in folder.iterdir():
            path.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(made.archive, "postgres")
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def options(kept: Vault, timeout_s: int) -> dict[str, str]:
    """Settings of a Postgres that archives into the vault at least every so many seconds."""
    return {
        "fsync": "on",
        "full_page_writes": "on",
        "archive_mode": "on",
        "archive_command": kept.command,
        "archive_timeout": f"{timeout_s}s",
        "wal_level": "replica",
    }


@contextmanager
def archiving(kept: Vault, *, timeout_s: int = 60) -> Iterator[Postgres]:
    """A Postgres with an empty database DATABASE, which archives."""
    server = Postgres(new_folder() / "postgres", options(kept, timeout_s))
    try:
        server.create()
        server.start()
        server.execute(f"CREATE DATABASE {DATABASE}")
        yield server
    finally:
        server.discard()
        shutil.rmtree(server.folder.parent, ignore_errors=True)


@contextmanager
def second() -> Iterator[Postgres]:
    """A place for a recovered cluster: `data` in it is to be made; then it can be started."""
    server = Postgres(new_folder() / "postgres")
    server.folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(server.folder, "postgres", "postgres")
    try:
        yield server
    finally:
        if server.child is not None:
            server.discard()
        shutil.rmtree(server.folder.parent, ignore_errors=True)


def archive_all(server: Postgres) -> None:
    """Close the segment in use and wait until it is archived."""
    (name,) = server.execute("SELECT pg_walfile_name(pg_switch_wal())")[0]
    wait_until(
        lambda: server.execute(f"SELECT last_archived_wal >= '{name}' FROM pg_stat_archiver")[0][0],
        "the segment to be archived",
    )
