"""A throwaway Redis: its process, and what a fault test does to it."""

import os
import shutil
import signal
import socket
from pathlib import Path

import redis

from tests.children import Child, ServerMissing, plain_environ

MISSING = (
    "Redis is not installed: apt-get install redis-server"
    " (the tests start a server of their own; the packaged one may stay off)"
)
PACKAGED = "/usr/bin"


class Redis:
    """A Redis of our own, on a free loopback port, with nothing on disk.

    The port stays the same over stop and start, the data does not: `stop(save=True)` keeps it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.child: Child | None = None
        self._program = program()

    def start(self) -> None:
        """Start, or start again, and return once it answers."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.child = Child(
            [
                self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                "--appendonly", "no", "--dir", str(self.folder), "--databases", "64",
            ],
            log=self.folder / "redis.log",
            environ=plain_environ(self.folder),
        )  # fmt: skip
        self.child.wait_ready(self._answers)

    def stop(self, *, save: bool = False) -> None:
        """Stop in order. Its data is lost, unless saved: then the next start loads it."""
        child = self._running()
        self.resume()
        if save:
            with self.client() as client:
                client.save()
        child.terminate()
        child.close()
        self.child = None

    def discard(self) -> None:
        """Stop at once and remove everything."""
        if self.child is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL: connections break, the data is lost."""
        self._running().kill()
        self.child = None

    def pause(self) -> None:
        """SIGSTOP: it accepts connections and never answers."""
        self._running().signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._running().signal(signal.SIGCONT)

    def flush(self) -> None:
        """FLUSHALL: as if nothing had ever been stored."""
        with self.client() as client:
            client.flushall()

    def url(self, number: int = 0) -> str:
        """The address of one of its numbered databases."""
        return address(self.port, number)

    def client(self, number: int = 0) -> redis.Redis:
        """A new client; use it in a `with`."""
        return redis.Redis.from_url(self.url(number), socket_timeout=5)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                # Ours, and not another's that took the port in between.
                return client.info("server")["process_id"] == self._running().pid
        except redis.ConnectionError:
            return False

    def _running(self) -> Child:
        if self.child is None:
            raise RuntimeError("this Redis is not running: call start()")
        return self.child


def address(port: int, number: int) -> str:
    """The address of a numbered database of the Redis on that port."""
    return f"redis://127.0.0.1:{port}/{number}"


def free_port() -> int:
    """A loopback port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def program() -> str:
    """The path of `redis-server`. Raises ServerMissing."""
    folders = [*os.get_exec_path(), PACKAGED]
    found = shutil.which("redis-server", path=os.pathsep.join(folders))
    if found is None:
        raise ServerMissing(MISSING)
    return found
