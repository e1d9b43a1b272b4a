"""The launcher: it serves, hands signals on, and leaves nothing behind."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
import requests

from scripts import run
from tests.children import ROOT, Child, children_of, is_alive, plain_environ, wait_until
from tests.redis_server import free_port

PATIENT = "sh -c \"trap 'exit 0' TERM; while true; do sleep 0.05; done\""


@pytest.fixture
def processes():
    started = run.Processes({"PATH": os.environ["PATH"]})
    yield started
    started.stop(signal.SIGTERM, None)
    started.wait()


def pids(processes: run.Processes) -> list[int]:
    return [process.pid for process in processes._running.values()]


def test_stopping_when_asked_is_fine(processes):
    processes.start("web", PATIENT)
    processes.start("worker", PATIENT)
    processes.stop(signal.SIGINT, None)
    assert processes.wait() == run.FINE
    assert [pid for pid in pids(processes) if is_alive(pid)] == []


@pytest.mark.parametrize("ending", ["true", "false"])
def test_one_that_ends_by_itself_takes_the_other_along(ending, processes, capsys):
    processes.start("web", PATIENT)
    processes.start("worker", ending)
    assert processes.wait() == run.FAILED
    assert [pid for pid in pids(processes) if is_alive(pid)] == []
    assert "worker ended with " in capsys.readouterr().err


def test_what_a_process_leaves_behind_is_ended_too(processes, tmp_path):
    note = tmp_path / "pid"
    processes.start("web", f"sh -c 'sleep 600 & echo $! > {note}.new; mv {note}.new {note}'")
    wait_until(note.exists, "the child of the process to start")
    left = int(note.read_text())
    assert processes.wait() == run.FAILED
    wait_until(lambda: not is_alive(left), "the process left behind to be gone")


def test_one_that_does_not_go_is_killed_and_that_is_no_clean_end(processes, monkeypatch):
    monkeypatch.setattr(run, "GRACE_S", 0.3)
    processes.start("web", "sh -c \"trap '' TERM; while true; do sleep 0.05; done\"")
    wait_until(lambda: children_of(pids(processes)[0]), "the trap to be set")
    processes.stop(signal.SIGTERM, None)
    assert processes.wait() == run.FAILED
    assert [pid for pid in pids(processes) if is_alive(pid)] == []


def test_the_procfile_names_what_is_started():
    assert list(run.procfile()) == ["release", "web", "worker"]


@pytest.fixture
def environ(tmp_path) -> dict[str, str]:
    return plain_environ(tmp_path) | {"INSTANCE_DIR": str(tmp_path), "PORT": str(free_port())}


def launch(environ: dict[str, str], log: Path) -> Child:
    return Child([sys.executable, "scripts/run.py"], log=log, environ=environ)


def answers(environ: dict[str, str]) -> bool:
    try:
        live = requests.get(f"http://127.0.0.1:{environ['PORT']}/health/live", timeout=2)
    except requests.ConnectionError:
        return False
    return live.status_code == 200


@pytest.mark.slow
def test_it_migrates_serves_to_this_machine_alone_and_ends_cleanly(environ, tmp_path):
    with launch(environ, tmp_path / "log") as server:
        server.wait_ready(lambda: answers(environ))
        assert (tmp_path / "payments.db").stat().st_size > 0
        with socket.socket() as other, pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.2", int(environ["PORT"])))
        with launch(environ, tmp_path / "second") as second:
            assert second.wait() == run.NOT_RUN
            assert second.log() == (
                f"Port {environ['PORT']} is taken: stop what listens there, or set PORT.\n"
            )
        assert server.terminate(group=False) == run.FINE
    assert not answers(environ)
    assert not (tmp_path / ".gunicorn").exists()


@pytest.mark.slow
def test_the_web_server_goes_when_the_launcher_is_killed(environ, tmp_path):
    with launch(environ, tmp_path / "log") as server:
        server.wait_ready(lambda: answers(environ))
        (web,) = children_of(server.pid)
        server.signal(signal.SIGKILL, group=False)
        wait_until(lambda: not is_alive(web), "the web server to follow its launcher")


def test_faulty_settings_are_told_without_a_traceback(environ, tmp_path):
    with launch(environ | {"PORT": "many", "FEE_BPS": "-1"}, tmp_path / "log") as server:
        assert server.wait() == run.NOT_RUN
        heading, *faults = server.log().splitlines()
    assert heading == "The settings can't be used:"
    assert [fault.partition(":")[0] for fault in faults] == ["FEE_BPS", "PORT"]


def test_the_doors_tell_faulty_settings_the_same_way(environ, tmp_path):
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    for place, command in enumerate(
        (
            [gunicorn, "-c", "ops/gunicorn.conf.py", "wsgi:app"],
            [sys.executable, "-c", "import wsgi"],
            [sys.executable, "scripts/migrate.py"],
        )
    ):
        faulty = environ | {"ENV": "staging", "PYTHONPATH": str(ROOT)}
        with Child(command, log=tmp_path / f"log{place}", environ=faulty) as door:
            assert door.wait() != 0
            assert door.log().splitlines() == [
                "The settings can't be used:",
                "ENV: is neither development nor production",
            ]
