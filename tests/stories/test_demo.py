"""The demo, as its reader runs it: the service in one process, the demo in another.

No server, no Redis, nothing set but a port and a folder: `make run` and `make demo` do no more.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from scripts import demo as story
from tests.children import ROOT, Child, plain_environ
from tests.redis_server import free_port
from tests.stories.production import production
from tests.stories.test_readme import FIRST_CALLS

pytestmark = pytest.mark.slow

DEMO = [sys.executable, "scripts/demo.py"]
READY_WITHIN_S = 60.0  # it migrates first
DEMO_WITHIN_S = 120
FINE, NOT_RUN = 0, 3

# What a reader looks for, in this order. Ids and times differ.
STORY = (
    r"GET /health -> 200",
    r"mer_[0-9a-f]{32} is approved",
    r"POST /v1/api_keys -> 201",
    r"POST /v1/webhook_endpoints -> 201",
    r"POST /internal/deposits -> 201",
    r"pay_[0-9a-f]{32} is succeeded",
    r"payment\.succeeded for pay_[0-9a-f]{32}, signature good",
    r"POST /v1/refunds -> 201",
    r"refund\.succeeded heard, signature good",
    r" 500  balance +3500\b",
    r" -2000  balance +3000\b",
    r" 5000  balance +5000\b",
    r'"currency": "EUR", "balance": 1500, "held": 0, "available": 1500',
    r"\d+ invariants hold",
    r"All came out as it must\.",
)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return plain_environ(tmp_path) | {
        # Set to nothing, they win over a developer's `.env`.
        **dict.fromkeys(("DB_URL", "DATABASE_URL", "REDIS_URL"), ""),
        "INSTANCE_DIR": str(tmp_path / "instance"),
        "PORT": str(free_port()),
    }


@pytest.fixture
def service(environ: dict[str, str], tmp_path: Path) -> Iterator[Child]:
    """What `make run` starts, ready."""

    def answers() -> bool:
        try:
            url = f"http://127.0.0.1:{environ['PORT']}/health"
            return requests.get(url, timeout=5).status_code == 200
        except requests.RequestException:
            return False

    command = [sys.executable, "scripts/run.py"]
    with Child(command, log=tmp_path / "run.log", environ=environ) as running:
        running.wait_ready(answers, READY_WITHIN_S)
        yield running


def demo(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        DEMO, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=DEMO_WITHIN_S
    )


def test_the_demo_tells_the_whole_story_and_may_be_run_again(service, environ):
    told = demo(environ)
    assert told.returncode == FINE, told.stdout + told.stderr
    place = 0
    for line in STORY:
        found = re.compile(line).search(told.stdout, place)
        assert found, f"{line!r} does not come where it should in:\n{told.stdout}"
        place = found.end()
    paid, heard = re.findall(r"(pay_[0-9a-f]{32})(?: is succeeded|, signature good)", told.stdout)
    assert heard == paid
    again = demo(environ)
    assert again.returncode == FINE, again.stdout + again.stderr
    assert service.terminate(30, group=False) == FINE


def test_without_a_service_the_demo_says_what_to_start(environ, monkeypatch, capsys):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(story, "WAIT_S", 0.2)
    assert story.main([]) == NOT_RUN
    assert capsys.readouterr().err == (
        f"Nothing answers on port {environ['PORT']}: start `make run` first, and this with the"
        " same PORT, DB_URL and INSTANCE_DIR.\n"
    )


def test_in_production_the_demo_moves_no_made_up_money(environ):
    told = demo(environ | production())
    assert told.returncode == NOT_RUN
    assert told.stderr == "The demo moves made-up money: it runs in development only.\n"


def test_the_readmes_first_calls_sign_in(service, environ, tmp_path):
    assert shutil.which("curl") is not None, "curl is missing: apt-get install curl"
    assert len(FIRST_CALLS) == 3
    pasted = "\n".join(FIRST_CALLS)
    here = pasted.replace(":8080/", f":{environ['PORT']}/").replace(
        " instance/", f" {environ['INSTANCE_DIR']}/"
    )
    done = subprocess.run(
        ["sh", "-c", here], env=environ, capture_output=True, text=True, timeout=DEMO_WITHIN_S
    )
    answer = json.loads(done.stdout)
    assert answer["token_type"] == "Bearer", answer
    me = requests.get(
        f"http://127.0.0.1:{environ['PORT']}/v1/me",
        headers={"Authorization": f"Bearer {answer['access_token']}"},
        timeout=5,
    )
    assert me.json()["phone"] == "+4915112345678"
