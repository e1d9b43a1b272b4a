"""Serve on PORT, in the foreground: migrate, then start what the Procfile starts.

Without REDIS_URL that is the web process alone, which runs the clock itself; with it, the worker
too. A signal is handed on to both; when one ends, the other is stopped.
"""

import argparse
import ctypes
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import _root
from payments.config import ConfigError, Settings, load_settings

FINE, FAILED, NOT_RUN = 0, 1, 3
# Longer than the web server's own grace (ops/gunicorn.conf.py).
GRACE_S = 25
POLL_S = 0.1
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Processes:
    """The running processes. Each leads a group of its own, so that none of its children stays."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._environ = environ
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stop_asked = False

    def start(self, name: str, command: str) -> None:
        """Start a line of the Procfile. A terminal's Ctrl-C reaches it through us alone."""
        self._running[name] = subprocess.Popen(
            shlex.split(command),
            cwd=_root.ROOT,
            env=self._environ,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )

    def stop(self, signum: int, frame: FrameType | None) -> None:
        """A handler of signals: `wait` ends the processes."""
        self._stop_asked = True

    def wait(self) -> int:
        """Wait for a signal, or until one process ends; then stop all. Gives the exit code."""
        ended = None
        while not self._stop_asked and ended is None:
            time.sleep(POLL_S)
            ended = self._ended()
        if ended is not None and not self._stop_asked:
            print(f"{ended[0]} ended with {ended[1]}; stopping the rest", file=sys.stderr)
        for process in self._running.values():
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline and None in self._codes():
            time.sleep(POLL_S)
        # One that was asked before it could listen to signals ends by the signal itself.
        willing = all(code in (0, -signal.SIGTERM) for code in self._codes())
        self._sweep()
        return FINE if self._stop_asked and willing else FAILED

    def _codes(self) -> list[int | None]:
        return [process.poll() for process in self._running.values()]

    def _ended(self) -> tuple[str, int] | None:
        for name, process in self._running.items():
            code = process.poll()
            if code is not None:
                return name, code
        return None

    def _sweep(self) -> None:
        """Kill what is left of each group: who did not go, and children that were left behind."""
        for process in self._running.values():
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # the whole group is gone, as it should be
            process.wait()


def _die_with_parent() -> None:
    """In the child: be asked to stop when this launcher is killed, so that no port stays taken."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def procfile() -> dict[str, str]:
    """The commands of the Procfile, by process."""
    lines = (_root.ROOT / "Procfile").read_text().splitlines()
    pairs = (line.partition(":") for line in lines if line.strip())
    return {name.strip(): command.strip() for name, _, command in pairs}


def port_is_free(settings: Settings) -> bool:
    """Whether the web server will be able to listen."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0" if settings.is_production else "127.0.0.1", settings.port))  # noqa: S104
        except OSError:
            return False
    return True


def main(argv: list[str] | None = None) -> int:
    """Exit 0: stopped when asked. 1: a process ended by itself. 3: could not start."""
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    try:
        settings = load_settings()
    except ConfigError as error:
        print(f"The settings can't be used:\n{error}", file=sys.stderr)
        return NOT_RUN
    if not port_is_free(settings):
        print(
            f"Port {settings.port} is taken: stop what listens there, or set PORT.", file=sys.stderr
        )
        return NOT_RUN
    tools = Path(sys.executable).parent
    environ = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    if not environ.get("WEB_CONCURRENCY", "").strip():
        environ.pop("WEB_CONCURRENCY", None)  # gunicorn would read it as a number before we do
    commands = procfile()
    migrated = subprocess.run(shlex.split(commands["release"]), cwd=_root.ROOT, env=environ)
    if migrated.returncode:
        return migrated.returncode
    processes = Processes(environ)
    for signum in STOPPING:
        signal.signal(signum, processes.stop)
    for name in ["web", "worker"] if settings.redis_url else ["web"]:
        processes.start(name, commands[name])
    if not settings.is_production:
        print(f"Serving on {settings.public_url}. Ctrl-C stops it.", file=sys.stderr)
    return processes.wait()


if __name__ == "__main__":
    sys.exit(main())
