"""Scripts as processes that begin with everything imported: a start costs no second of imports.

A nursery is a process of its own that has imported the service and nothing more. For each run it
forks a child, which gets the run's arguments, environment and output and executes the script's file
as `python scripts/...` would: effects, exit code and exit handlers are those of a process.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from tests.children import ROOT, plain_environ

WITHIN_S = 60.0
PRELOADED = (
    "_root", "scripts._run", "payments.app", "payments.ledger.repair", "alembic.command",
    "flask_migrate.cli", "flask_sqlalchemy.cli",
)  # fmt: skip


def run(
    arguments: Sequence[str], environ: Mapping[str, str], within_s: float = WITHIN_S
) -> "subprocess.CompletedProcess[str]":
    """Run `python <arguments>` from the root to its end, stdin empty; as `subprocess.run` gives it.

    environ: all of its environment. Raises TimeoutError.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        order = json.dumps({"arguments": list(arguments), "environ": dict(environ)}).encode()
        line = _line()
        line.settimeout(within_s)
        socket.send_fds(line, [len(order).to_bytes(4, "big")], [out.fileno(), err.fileno()])
        line.sendall(order)
        code = int.from_bytes(_exactly(line, 2), "big", signed=True)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
    return subprocess.CompletedProcess(list(arguments), code, *texts)


@cache
def _line() -> socket.socket:
    """The connection to this process's nursery, which ends with it."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.nursery", str(theirs.fileno())],
        cwd=ROOT,
        env=plain_environ(ROOT / "tests"),
        stdin=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait(WITHIN_S)

    atexit.register(end)
    return ours


def _exactly(line: socket.socket, count: int) -> bytes:
    read = b""
    while len(read) < count:
        part = line.recv(count - len(read))
        if not part:
            raise EOFError
        read += part
    return read


def _serve(line: socket.socket) -> None:
    """In the nursery: fork for each order, until whoever gives them has gone."""
    while True:
        head, descriptors, *_ = socket.recv_fds(line, 4, 2)
        if not head:
            return
        order = json.loads(_exactly(line, int.from_bytes(head, "big")))
        child = os.fork()
        if child == 0:
            line.close()
            _become(order, *descriptors)
            return  # the script has ended: this process exits as it would
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        line.sendall(os.waitstatus_to_exitcode(status).to_bytes(2, "big", signed=True))


def _become(order: dict[str, Any], out: int, err: int) -> None:
    os.setsid()
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.environ.clear()
    os.environ.update(order["environ"])
    script, *options = order["arguments"]
    sys.argv = [script, *options]
    sys.path[0] = str(ROOT / "scripts")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runpy.run_path(script, run_name="__main__")


def _main(descriptor: int) -> None:
    sys.path[0:0] = [str(ROOT / "scripts")]
    for module in PRELOADED:
        __import__(module)
    gc.freeze()  # what is there need not be looked through in each child
    _serve(socket.socket(fileno=descriptor))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
