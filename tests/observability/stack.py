"""The whole service as it runs, watched by a Prometheus: web, worker, both stores, a receiver.

with running(addresses, folder) as stack:
    stack.scraped()
    stack.prometheus.at("up", clock.now())
"""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from payments import clock
from scripts import alert_rules
from scripts._prometheus import Prometheus
from tests import databases
from tests.backups import stock
from tests.children import ROOT, Child, plain_environ, wait_until
from tests.processes import Web, Worker, service_environ, web, worker
from tests.receivers import Receiver
from tests.redis_server import address as redis_address
from tests.servers import Addresses, private_redis

METRICS_TOKEN = "tests-metrics-0123456789abcdef0123456789ab"  # noqa: S105
READY_WITHIN_S = 30.0


@dataclass
class Stack:
    """What runs, and how to reach it. environ: of the service's processes."""

    environ: dict[str, str]
    folder: Path
    web: Web
    worker: Worker
    receiver: Receiver
    prometheus: Prometheus
    database: str

    @property
    def sms_log(self) -> Path:
        """Where one-time codes are written."""
        return self.folder / "instance" / "sms.log"

    @property
    def operator(self) -> str:
        """The token of an operator."""
        return self.environ["ADMIN_TOKEN"].partition(":")[2]

    def scraped(self) -> None:
        """Return once Prometheus has a sample that is younger than this call."""
        since = clock.now().timestamp()

        def young() -> bool:
            found = self.prometheus.at('max(timestamp(up{job="payments"}))', clock.now())
            return bool(found) and (found[0].last or 0) > since

        wait_until(young, "a scrape")

    def restart_worker(self) -> None:
        """Another worker in the place of the one that was ended."""
        self.worker.close()
        self.worker = worker(self.environ, self.folder)

    def runs(self, script: str, *options: str, **more: str) -> str:
        """What a script prints, run by on-call on this service."""
        done = subprocess.run(
            [sys.executable, f"scripts/{script}", *options],
            cwd=ROOT, env={**service_environ(self.environ, self.folder), **more},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def look_after(self) -> None:
        """What is done each night: a reconciliation and a backup."""
        self.runs("reconcile.py")
        keys = stock.new_keys(self.folder / "keys")
        into = ("--dir", str(self.folder / "backups"))
        self.runs("backup.py", "create", "--recipients", str(keys.recipients), *into)


@contextmanager
def running(addresses: Addresses, folder: Path, every_s: int = 1, **more: str) -> Iterator[Stack]:
    """Start all of it on a fresh database. every_s: how often Prometheus scrapes, and looks at its
    rules. more: settings of the service.
    """
    with ExitStack() as ends:
        database = ends.enter_context(databases.fresh_postgres(addresses))
        redis = ends.enter_context(private_redis())
        receiver = ends.enter_context(Receiver())
        environ = databases.environ_for(
            database,
            folder,
            REDIS_URL=redis_address(redis.port, 0),
            METRICS_TOKEN=METRICS_TOKEN,
            **more,
        )
        served = ends.enter_context(web(environ, folder, workers=2))
        works = worker(environ, folder)
        stack = Stack(environ, folder, served, works, receiver, Prometheus(""), database)
        ends.callback(lambda: stack.worker.close())
        stack.prometheus = ends.enter_context(prometheus(folder, served.port, every_s))
        stack.scraped()
        yield stack


@contextmanager
def prometheus(
    folder: Path, port: int, every_s: int = 1, history: str = ""
) -> Iterator[Prometheus]:
    """A Prometheus with the repository's rules that scrapes that port of this machine.

    history: what it has seen before, as OpenMetrics with times.
    """
    place = folder / "prometheus"
    place.mkdir()
    if history:
        (place / "history").write_text(history)
        load = ["tsdb", "create-blocks-from", "openmetrics", f"{place}/history", f"{place}/data"]
        subprocess.run(["promtool", *load], check=True, capture_output=True)
    (place / "token").write_text(METRICS_TOKEN)
    (place / "prometheus.yml").write_text(
        json.dumps(_config(place, port, every_s))
    )  # which is YAML as well
    mine = _free_port()
    command = [
        *("prometheus", f"--config.file={place}/prometheus.yml", "--log.level=warn"),
        *(f"--storage.tsdb.path={place}/data", f"--web.listen-address=127.0.0.1:{mine}"),
    ]
    with Child(command, log=place / "log", environ=plain_environ(place)) as child:
        client = Prometheus(f"http://127.0.0.1:{mine}")
        try:
            child.wait_ready(lambda: _is_ready(client), READY_WITHIN_S)
            yield client
        finally:
            client.close()


def _config(place: Path, port: int, every_s: int) -> dict[str, object]:
    web = [{"targets": [f"127.0.0.1:{port}"]}]
    return {
        "global": {"scrape_interval": f"{every_s}s", "evaluation_interval": f"{every_s}s"},
        "rule_files": [str(alert_rules.RULES)],
        "scrape_configs": [
            {
                "job_name": "payments",
                "authorization": {"credentials_file": str(place / "token")},
                "static_configs": web,
            },
            {"job_name": "payments-live", "metrics_path": "/health/live", "static_configs": web},
        ],
    }


def _is_ready(client: Prometheus) -> bool:
    try:
        return requests.get(f"{client.url}/-/ready", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
