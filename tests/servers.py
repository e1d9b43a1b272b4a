"""Real servers for the tests: a throwaway Postgres and Redis, started here, never found.

One of each serves a whole run, all workers of xdist included; `conftest.py` starts them. A test
that stops, kills, pauses or flushes a server takes its own: `with private_redis() as redis: ...`.
"""

import getpass
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from tests.children import is_alive
from tests.postgres_server import Postgres
from tests.redis_server import Redis

FOLDER_PREFIX = "payments-tests-"
# Copying a database makes some 300 files: ten times as fast in memory as on a disk.
MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 2 * 1024**3


@dataclass(frozen=True)
class Addresses:
    """Where the servers of a run are: plain values, which travel to the workers of xdist."""

    folder: str
    postgres: str
    redis_port: int

    def as_input(self) -> dict[str, Any]:
        """For `workerinput`."""
        return asdict(self)


class Servers:
    """The Postgres and the Redis of one run, started at the first use by whoever owns the run."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._postgres: Postgres | None = None
        self._redis: Redis | None = None

    def addresses(self) -> Addresses:
        """Start both unless they run, and say where. Raises ServerMissing."""
        if self._folder is None:
            self._start()
        assert self._folder and self._postgres and self._redis
        return Addresses(str(self._folder), str(self._postgres.folder), self._redis.port)

    def _start(self) -> None:
        _remove_leftovers()
        self._folder = new_folder()
        try:
            self._postgres = Postgres(self._folder / "postgres")
            self._redis = Redis(self._folder / "redis")
            self._postgres.create()
            self._postgres.start()
            self._redis.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop both and remove what they kept. Without a start there is nothing to do."""
        for server in (self._postgres, self._redis):
            if server is not None:
                server.discard()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = self._postgres = self._redis = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_fault: object) -> None:
        self.close()


@contextmanager
def private_postgres(options: Mapping[str, str] | None = None) -> Iterator[Postgres]:
    """A Postgres for one test (about a second); its databases are empty until migrated."""
    with _folder() as folder:
        server = Postgres(folder / "postgres", options)
        try:
            server.create()
            server.start()
            yield server
        finally:
            server.discard()


@contextmanager
def private_redis() -> Iterator[Redis]:
    """A Redis for one test (some 20 ms)."""
    with _folder() as folder:
        server = Redis(folder / "redis")
        try:
            server.start()
            yield server
        finally:
            server.discard()


@contextmanager
def _folder() -> Iterator[Path]:
    folder = new_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_folder() -> Path:
    """A new folder, named after this process, that the servers' user may pass through."""
    roomy = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_NEEDED
    place = MEMORY if roomy else Path(tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-", dir=place))
    folder.chmod(0o711)
    return folder


def _remove_leftovers() -> None:
    """Remove what killed runs left: their servers died with them, their files did not."""
    places = (MEMORY, Path(tempfile.gettempdir()))
    for folder in [found for place in places for found in place.glob(f"{FOLDER_PREFIX}*-*")]:
        owner = folder.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
        if folder.owner() == getpass.getuser() and owner.isdigit() and not is_alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
