"""Real processes of the service: they start, answer, end when asked, and leave nobody behind."""

import json
import signal
import sys

import pytest
import requests

from payments.config import load_settings
from tests.children import ChildError, is_alive, wait_until
from tests.processes import Worker, service_environ, web

pytestmark = pytest.mark.slow


def test_gunicorn_serves_with_as_many_processes_as_asked_and_ends_in_order(environ, tmp_path):
    with web(environ, tmp_path, workers=2) as service:
        answer = requests.get(service.url("/health"), timeout=5)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        wait_until(lambda: len(service.workers()) == 2, "two processes")
        assert service.terminate() == 0
        lines = [json.loads(line) for line in service.log().splitlines()]
        assert all("message" in line for line in lines)


def test_a_killed_service_leaves_nobody(environ, tmp_path):
    with web(environ, tmp_path) as service:
        everyone = [service.pid, *service.workers()]
        assert len(everyone) > 1
        service.kill()
        assert not any(is_alive(pid) for pid in everyone)
        with pytest.raises(requests.ConnectionError):
            requests.get(service.url("/health/live"), timeout=1)


def test_a_service_that_can_not_start_shows_why(environ, tmp_path):
    with pytest.raises(ChildError, match="FEE_BPS"):
        web({**environ, "FEE_BPS": "a lot"}, tmp_path)


def test_a_developers_env_file_does_not_reach_the_processes(environ, tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("FEE_BPS=777\n")
    monkeypatch.setenv("FEE_FIXED_MINOR", "888")
    settings = load_settings(service_environ(environ, tmp_path), root=tmp_path)
    assert (settings.fee_bps, settings.fee_fixed_minor) == (0, 0)


def test_a_worker_is_ready_once_rq_knows_it(redis_url, redis_client, tmp_path):
    command = (sys.executable, "-m", "rq.cli", "worker", "--url", redis_url, "some")
    with Worker({"REDIS_URL": redis_url}, tmp_path, command) as made:
        (name,) = redis_client.smembers("rq:workers")
        # RQ's own worker makes itself known before it listens to signals.
        wait_until(lambda: redis_client.hget(name, "state") in ("idle", b"idle"), "it to listen")
        made.signal(signal.SIGTERM, group=False)
        assert made.wait() == 0
    assert redis_client.scard("rq:workers") == 0
