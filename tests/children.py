"""Child processes of the tests: each in a session of its own, its output in a file, none left over.

A child dies with the tests, even when these are killed: the kernel sends it a signal once its
parent is gone (`setpriv --pdeathsig`, part of every Debian; elsewhere only an orderly end helps).
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
STOP_TIMEOUT_S = 15.0
POLL_S = 0.01


class ServerMissing(RuntimeError):
    """A server's program is not on this machine; the message says in one line what to install."""


class ChildError(RuntimeError):
    """A child ended too early, did not get ready or did not end; the message ends with its log."""


class Child:
    """One process and what it started.

    command: the program and its arguments. environ: all of its environment, nothing is inherited.
    log: the file that gets stdout and stderr. user: whom it runs as, where the tests run as root.
    dies_by: the signal it gets should the tests be killed.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        environ: Mapping[str, str],
        folder: Path = ROOT,
        user: str | None = None,
        pass_fds: Sequence[int] = (),
        dies_by: str = "TERM",
    ) -> None:
        self.command = list(command)
        self.log_path = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*_wrapper(user, dies_by), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=dict(environ),
                start_new_session=True,
                pass_fds=pass_fds,
            )

    @property
    def pid(self) -> int:
        """The process's id, and its group's."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process itself still runs."""
        return self._process.poll() is None

    def log(self) -> str:
        """What it has written so far."""
        return self.log_path.read_text(errors="replace")

    def signal(self, number: signal.Signals, *, group: bool = True) -> None:
        """Send it a signal, with its group (the default) or alone. A dead one is no error."""
        try:
            (os.killpg if group else os.kill)(self.pid, number)
        except ProcessLookupError:
            return

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Its exit code, negative for a signal. Raises ChildError past the timeout."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise self.fault(f"did not end within {timeout_s} s") from None

    def terminate(self, timeout_s: float = STOP_TIMEOUT_S, *, group: bool = True) -> int:
        """SIGTERM, then the exit code. Raises ChildError when it takes longer than that."""
        self.signal(signal.SIGTERM, group=group)
        return self.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL to the whole group, and wait until nobody of it is left."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        wait_until(lambda: not members(self.pid), "the killed group to be gone")

    def close(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End it, by force where it does not end by itself. May be called again."""
        if self.is_alive():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                pass  # the group is killed below
        self.kill()

    def wait_ready(self, probe: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Return once the probe says yes. Raises ChildError when it ends, or does not get ready."""
        deadline = time.monotonic() + timeout_s
        while not probe():
            if not self.is_alive():
                raise self.fault(f"ended with {self._process.returncode} before it was ready")
            if time.monotonic() > deadline:
                raise self.fault(f"was not ready within {timeout_s} s")
            time.sleep(POLL_S)

    def fault(self, what: str) -> ChildError:
        """An error that says what went wrong and shows the end of the log."""
        return ChildError(f"{' '.join(self.command)} {what}; its log:\n{self.log()[-4000:]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
    """Poll until the condition holds. Raises TimeoutError naming what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s} s for {what}")
        time.sleep(POLL_S)


def plain_environ(home: Path) -> dict[str, str]:
    """The least a child needs: nothing of the developer's settings, servers or proxies gets in."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return kept | {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
    }


def children_of(pid: int) -> list[int]:
    """The live direct children of a process."""
    return [found for found, parent, _group in _processes() if parent == pid]


def members(group: int) -> list[int]:
    """The live processes of a process group."""
    return [found for found, _parent, owner in _processes() if owner == group]


def _processes() -> list[tuple[int, int, int]]:
    """(pid, parent, group) of every process that is not a zombie."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended between the listing and the reading
        # The name, in parentheses, may hold spaces and parentheses itself.
        state, parent, group = text.rpartition(")")[2].split()[:3]
        if state not in ("Z", "X"):
            found.append((int(path.parent.name), int(parent), int(group)))
    return found


def send(pid: int, number: signal.Signals) -> None:
    """Send one process a signal; a dead one is no error."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


def _wrapper(user: str | None, dies_by: str) -> list[str]:
    """What stands before the command, so that it runs as the user and dies with the tests."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        if user is not None:
            raise RuntimeError(
                "setpriv is missing (apt-get install util-linux), or run as non-root"
            )
        return []
    identity = [] if user is None else [f"--reuid={user}", f"--regid={user}", "--init-groups"]
    return [setpriv, *identity, f"--pdeathsig={dies_by}", "--"]
