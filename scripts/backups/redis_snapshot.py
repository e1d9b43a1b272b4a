"""Redis after a restore: emptied, since nothing in it is the truth, or a snapshot put back.

A snapshot's file is read by a Redis of our own, started beside it for that alone, and its keys are
handed over one by one: so it comes into a Redis anywhere, whatever its persistence, unrestarted.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import redis

from scripts.backups import checking, programs
from scripts.backups.folder import Backup
from scripts.backups.programs import Failed
from scripts.backups.stores import Redis

READY_WITHIN_S = 60.0
AT_ONCE = 500


def empty(target: Redis) -> None:
    """Nothing is left in the numbered database. Raises Failed."""
    with _client(target.url) as client:
        client.flushdb()


def put_back(backup: Backup, target: Redis, identity: Path | None, work: Path | None) -> int:
    """Replace what is in the numbered database by the snapshot's; how many keys. Raises Failed."""
    number = backup.manifest.redis_number or 0
    with tempfile.TemporaryDirectory(prefix="payments-redis-", dir=work) as private:
        folder = Path(private)
        readable = checking.decrypted(backup, "redis", identity, folder)
        if readable.parent != folder:
            (folder / "redis.rdb").write_bytes(readable.read_bytes())
        with _reader(folder, number) as source, _client(target.url) as client:
            client.flushdb()
            return sum(_hand_over(source, client, keys) for keys in _pieces(source))


def _pieces(source: Any) -> Iterator[list[bytes]]:
    every = source.scan_iter(count=AT_ONCE)
    while keys := list(islice(every, AT_ONCE)):
        yield keys


def _hand_over(source: Any, client: Any, keys: list[bytes]) -> int:
    with source.pipeline(transaction=False) as asked:
        for key in keys:
            asked.dump(key)
            asked.pttl(key)
        told = asked.execute()
    pairs = zip(keys, told[::2], told[1::2], strict=True)
    with client.pipeline(transaction=False) as given:
        for key, value, ttl in pairs:
            if value is not None:  # else its time came in between
                given.restore(key, max(ttl, 0), value, replace=True)
        return len(given.execute())


@contextmanager
def _reader(folder: Path, number: int) -> Iterator[Any]:
    """A Redis on a socket in the folder, which has read the file and writes nothing."""
    program = programs.find("redis-server", "redis-server")
    address = folder / "redis.sock"
    command = [program, "--port", "0", "--unixsocket", str(address), "--dir", str(folder)]
    # With append-only on, it would start empty beside a snapshot.
    command += ["--dbfilename", "redis.rdb", "--appendonly", "no", "--save", ""]
    with (folder / "redis.log").open("wb") as log:
        started = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        with redis.Redis(unix_socket_path=str(address), db=number) as client:
            _wait(client, started, folder / "redis.log")
            yield client
    finally:
        started.kill()
        started.wait()


def _wait(client: Any, started: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            client.ping()
            return
        except redis.ConnectionError:  # reading a large file included (BusyLoadingError)
            if started.poll() is not None or time.monotonic() > deadline:
                said = " ".join(log.read_text(errors="replace").split())[-500:]
                raise Failed(f"the snapshot can't be read: {said}") from None
            time.sleep(0.02)


@contextmanager
def _client(url: str) -> Iterator[Any]:
    try:
        with redis.Redis.from_url(url, socket_timeout=60) as client:
            yield client
    except redis.RedisError as fault:
        raise Failed(f"Redis can't be used: {fault}") from fault
