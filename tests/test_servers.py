"""The servers that tests run on: real, our own, and gone afterwards."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import redis

from tests import children, postgres_server, redis_server
from tests.children import ROOT, Child, ChildError, is_alive, plain_environ, wait_until
from tests.servers import Servers, private_postgres, private_redis


def test_a_killed_postgres_comes_back_with_what_was_committed():
    with private_postgres() as server:
        server.execute("CREATE TABLE kept (n int)")
        server.execute("INSERT INTO kept VALUES (7)")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            server.execute("SELECT 1")
        server.start()
        assert server.execute("SELECT n FROM kept") == [(7,)]
        server.stop()
        server.start()
        assert server.execute("SELECT n FROM kept") == [(7,)]


def test_a_paused_postgres_holds_its_sessions_and_goes_on():
    with (
        private_postgres() as server,
        psycopg.connect(server.conninfo(), autocommit=True) as session,
        ThreadPoolExecutor(1) as pool,
    ):
        server.pause()
        answer = pool.submit(session.execute, "SELECT 1")
        with pytest.raises(TimeoutError):
            answer.result(timeout=0.3)
        server.resume()
        assert answer.result(timeout=5).fetchall() == [(1,)]


def test_postgres_brings_its_own_time_limits_and_connections():
    with private_postgres() as server:
        for name, value in {
            "lock_timeout": "0",
            "statement_timeout": "0",
            "max_connections": "200",
            "listen_addresses": "",
        }.items():
            assert server.execute(f"SHOW {name}") == [(value,)]


def test_redis_stops_starts_keeps_and_forgets():
    with private_redis() as server, server.client() as client:
        client.set("a", "1")
        server.stop(save=True)
        server.start()
        assert client.get("a") == b"1"
        server.flush()
        assert client.dbsize() == 0
        client.set("a", "1")
        server.kill()
        with pytest.raises(redis.ConnectionError):
            client.get("a")


def test_a_paused_redis_answers_nobody_until_it_goes_on():
    with private_redis() as server:
        server.pause()
        with redis.Redis.from_url(server.url(), socket_timeout=0.2) as client:
            with pytest.raises(redis.TimeoutError):
                client.ping()
            server.resume()
            assert client.ping()


def test_servers_are_gone_after_the_run(tmp_path):
    with Servers() as servers:
        addresses = servers.addresses()
        assert servers.addresses() == addresses
        folder = Path(addresses.folder)
        pids = _pids_below(folder)
        assert len(pids) > 2  # Redis, Postgres and Postgres's own children
    assert not folder.exists()
    assert not any(is_alive(pid) for pid in pids)


def test_servers_die_with_a_run_that_is_killed():
    code = (
        "from tests.servers import Servers; servers = Servers();"
        " print(servers.addresses().folder, flush=True); input()"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with run:
        assert run.stdout is not None
        folder = Path(run.stdout.readline().strip())
        pids = _pids_below(folder)
        assert len(pids) > 2  # Redis, Postgres and Postgres's own children
        run.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in pids), "servers to die with their run")
    with Servers() as servers:
        servers.addresses()
        assert not folder.exists()


@pytest.mark.parametrize(
    ("find", "package"),
    [(postgres_server.programs, "postgresql"), (redis_server.program, "redis-server")],
)
def test_a_missing_server_is_one_line_that_says_what_to_install(find, package, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(postgres_server, "PACKAGED", Path("/nowhere"))
    monkeypatch.setattr(redis_server, "PACKAGED", "/nowhere")
    with pytest.raises(children.ServerMissing) as refused:
        find()
    assert f"apt-get install {package}" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_child_that_fails_shows_its_log(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('no such luck')"]
    with Child(command, log=tmp_path / "log", environ=plain_environ(tmp_path)) as child:
        with pytest.raises(ChildError, match="no such luck"):
            child.wait_ready(lambda: False)


def test_a_child_is_ended_with_all_it_started(tmp_path):
    code = (
        "import subprocess, sys, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True);"
        " time.sleep(60)"
    )
    command = [sys.executable, "-c", code]
    with Child(command, log=tmp_path / "log", environ=plain_environ(tmp_path)) as child:
        wait_until(child.log, "the grandchild")
        grandchild = int(child.log())
        assert is_alive(grandchild)
    assert not is_alive(grandchild)


def _pids_below(folder: Path) -> list[int]:
    """Processes that work in the folder, as both servers do."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if path.readlink().is_relative_to(folder):
                found.append(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
