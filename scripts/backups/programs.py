"""Other people's programs: found by version, run with secrets in the environment, judged by exit.

A pipe has two ends that can fail, and a dump that ends half-way looks like a short one: the exit of
each end counts.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

PACKAGED = Path("/usr/lib/postgresql")
TOLD_AT_MOST = 2_000  # characters of what a failed program said


class Failed(Exception):
    """The work could not be done; the text says why in a line or two, without a secret."""


def find(name: str, package: str) -> str:
    """The path of a program. Raises Failed that names the package which brings it."""
    found = shutil.which(name)
    if found is None:
        raise Failed(f"{name} is not installed: apt-get install {package}")
    return found


def of_postgres(name: str, server: int) -> str:
    """Postgres's program of the server's major version, or the next newer one that is here.

    An older pg_dump refuses a newer server. Raises Failed.
    """
    folders = [*PACKAGED.glob("*/bin"), *(Path(folder) for folder in os.get_exec_path())]
    fit = [
        (major, str(folder / name))
        for folder in folders
        if (folder / name).is_file() and (major := _major(folder / name)) >= server
    ]
    if not fit:
        raise Failed(
            f"{name} of Postgres {server} or newer is not installed:"
            f" apt-get install postgresql-client-{server}"
        )
    return min(fit, key=lambda each: each[0])[1]


def _major(program: Path) -> int:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"(\d+)(\.\d+|devel|beta|rc)", done.stdout)
    return int(version.group(1)) if version else 0


def run(
    command: Sequence[str],
    environ: Mapping[str, str] | None = None,
    *,
    source: IO[bytes] | None = None,
) -> str:
    """Run a program to its end; what it printed. source: its stdin. Raises Failed."""
    with tempfile.TemporaryFile() as told:
        with _running(command, environ, source or subprocess.DEVNULL, subprocess.PIPE, told) as one:
            printed, _ = one.communicate()
        _judge([(command, one)], told)
    return str(printed.decode(errors="replace"))


def into_file(
    commands: Sequence[Sequence[str]],
    path: Path,
    environ: Mapping[str, str] | None = None,
    *,
    source: IO[bytes] | None = None,
) -> None:
    """What the last of the piped programs prints, in a new file that is safely on the disk.

    The file is readable by its owner alone. Raises Failed, FileExistsError.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as out:
        pipe(commands, environ, source=source, out=out)
        os.fsync(out.fileno())


def pipe(
    commands: Sequence[Sequence[str]],
    environ: Mapping[str, str] | None = None,
    *,
    source: IO[bytes] | None = None,
    out: IO[bytes] | int = subprocess.DEVNULL,
) -> None:
    """Run programs as a shell's pipe. Raises Failed where any of them does."""
    begun: list[tuple[Sequence[str], subprocess.Popen[bytes]]] = []
    entry: IO[bytes] | int = source or subprocess.DEVNULL
    with tempfile.TemporaryFile() as told:
        try:
            for place, command in enumerate(commands, start=1):
                end = out if place == len(commands) else subprocess.PIPE
                one = _start(command, environ, entry, end, told)
                if begun and not isinstance(entry, int):
                    entry.close()  # or the one before would never hear that this one has ended
                begun.append((command, one))
                entry = one.stdout or subprocess.DEVNULL
            for _, one in begun:
                one.wait()
        finally:
            for _, one in begun:
                _end(one)
        _judge(begun, told)


def _start(
    command: Sequence[str],
    environ: Mapping[str, str] | None,
    source: IO[bytes] | int,
    out: IO[bytes] | int,
    told: IO[bytes],
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(command),
            stdin=source,
            stdout=out,
            stderr=told,
            env={**os.environ, "LC_ALL": "C", **(environ or {})},
        )
    except OSError as fault:
        raise Failed(f"{Path(command[0]).name} can't be run: {fault.strerror}") from fault


@contextmanager
def _running(*started: Any) -> Iterator[subprocess.Popen[bytes]]:
    one = _start(*started)
    try:
        yield one
    finally:
        _end(one)


def _end(one: subprocess.Popen[bytes]) -> None:
    if one.poll() is None:
        one.kill()
        one.wait()
    if one.stdout is not None:
        one.stdout.close()


def _judge(begun: Sequence[tuple[Sequence[str], subprocess.Popen[bytes]]], told: IO[bytes]) -> None:
    """Raise Failed for the one that failed; those that only lost their reader come last."""
    failed = [(command, one) for command, one in reversed(begun) if one.returncode != 0]
    if not failed:
        return
    command, one = min(failed, key=lambda each: each[1].returncode == -signal.SIGPIPE)
    told.seek(0)
    said = " ".join(told.read().decode(errors="replace").split())[-TOLD_AT_MOST:]
    raise Failed(f"{Path(command[0]).name} failed ({one.returncode}): {said or 'it said nothing'}")
