"""The stack: gunicorn with two processes, a worker, Redis, Postgres, and who watches them.

The service runs from a release of its own: a copy of the repository's files with a history, so that
a deploy can be bad and be taken back. What the runbook has typed runs there as well, with the
variables that the runbook names.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import requests
from sqlalchemy import make_url

from scripts import alert_rules
from tests import databases
from tests.children import ROOT, Child, plain_environ, wait_until
from tests.live import monitors
from tests.live.monitors import HERE, Alertmanager, Prometheus
from tests.live.runbook import Typed
from tests.postgres_server import conninfo, execute
from tests.processes import GUNICORN, READY_WITHIN_S, WORKER, service_environ
from tests.receivers import Receiver
from tests.redis_server import Redis, free_port
from tests.servers import Addresses, new_folder
from tests.stories import people

SPEED = 60
"""How many times shorter the windows of rules and the waits of Alertmanager are, all of them."""
TYPED_WITHIN_S = 90
BY_HAND = "report by hand"
"""What somebody's own session calls itself."""
OLD_TOKEN = "tests-admin-old-0123456789abcdef0123456789ab"
METRICS_TOKEN = "tests-metrics-0123456789abcdef0123456789abcd"
OPERATOR = databases.SECRETS["ADMIN_TOKEN"].partition(":")[2]
PARTS = ("payments", "jobs", "scripts", "migrations", "ops")
GIT = ("git", "-c", "user.name=Deploy", "-c", "user.email=deploy@example.com")


class Stack:
    """All of it, running. web, worker: the service's processes, whoever started them last."""

    def __init__(
        self,
        addresses: Addresses,
        database: str,
        folder: Path,
        receiver: Receiver,
        more: Mapping[str, str],
    ) -> None:
        self.folder = folder
        self.addresses = addresses
        self.release = folder / "release"
        self.ports = {name: free_port() for name in ("web", "prometheus", "alertmanager")}
        self.receiver = receiver
        self.redis = Redis(folder / "redis")
        self.database = database.replace("postgresql+psycopg://", "postgresql://")
        self.sms_log = folder / "instance" / "sms.log"
        self.environ = service_environ(
            databases.environ_for(
                self.database, folder, REDIS_URL=self.redis.url(), METRICS_TOKEN=METRICS_TOKEN,
                ADMIN_TOKEN=f"ann:{OPERATOR},ann:{OLD_TOKEN}", WEBHOOK_WORKER_POLL_SECS="1",
                WEBHOOK_BASE_DELAY_SECS="1", WEBHOOK_MAX_ATTEMPTS="3", TRUSTED_PROXIES="1",
                WEB_CONCURRENCY="2", PORT=str(self.ports["web"]),
                TMPDIR=str(folder),  # what a killed process leaves behind goes with the rest
            ) | dict(more),
            folder,
        )  # fmt: skip
        self.web: Child | None = None
        self.worker: Child | None = None
        self.prometheus: Prometheus
        self.alertmanager: Alertmanager
        self._others: list[Child] = []
        self._started = 0

    def start(self, interval: str) -> None:
        """Start everything. interval: of scrapes."""
        make_release(self.release)
        token = self.release / "ops" / "observability" / "prometheus" / "metrics_token"
        token.write_text(METRICS_TOKEN)
        monitors.configure(self.release, self.ports, interval)
        rules = str(self.release / "ops" / "observability" / "prometheus" / "alerts.yml")
        assert alert_rules.main(["--speed", str(SPEED), "--out", rules]) == alert_rules.FINE
        deploy(self.release, "Release 1")
        self.redis.start()
        self.start_web()
        self.start_worker()
        self.run("script", ".venv/bin/python scripts/alertmanager_config.py"
                 f' --speed {SPEED} --out "$ALERTMANAGER_CONFIG"')  # fmt: skip
        self.alertmanager = monitors.start_alertmanager(
            self.folder, self.release, self.ports["alertmanager"]
        )
        self.prometheus = monitors.start_prometheus(
            self.folder, self.release, self.ports["prometheus"]
        )
        # What was counted before the first scrape is no increase.
        wait_until(lambda: self.prometheus.query("payments_build_info"), "a first scrape", 60)

    def close(self) -> None:
        """End everything, in an order in which nobody complains for long."""
        named = [getattr(self, name, None) for name in ("prometheus", "alertmanager")]
        for child in [*named, self.web, self.worker, *self._others]:
            if child is not None:
                child.close()
        self.redis.discard()

    def url(self, path: str = "") -> str:
        """An address of the service."""
        return f"http://{HERE}:{self.ports['web']}{path}"

    def start_web(self) -> Child:
        """Start gunicorn as the Procfile does."""
        return self._serve([*GUNICORN, "wsgi:app"])

    def start_worker(self) -> Child:
        """Start the worker as the Procfile does."""
        return self._serve([*WORKER])

    def session_by_hand(self) -> psycopg.Connection:
        """A session of somebody who looks at the database, and leaves a transaction open."""
        place = conninfo(self.addresses.postgres, self.database_name)
        return psycopg.connect(f"{place} application_name='{BY_HAND}'")

    def sql(self, statement: str) -> list[Any]:
        """Run a statement in the service's database, as its superuser."""
        return execute(self.addresses.postgres, statement, self.database_name)

    @property
    def database_name(self) -> str:
        """Its name in the server."""
        return str(make_url(self.database).database)

    def type(self, block: Typed) -> str:
        """Type a block of the runbook; what it prints. Raises AssertionError where it fails."""
        if block.language == "promql":
            return self.prometheus.printed(block.text.strip())
        if block.stays:
            (line,) = [line.partition("    #")[0] for line in block.text.splitlines()]
            self._serve(["bash", "-c", f"exec {self._ours(line)}"])
            return ""
        ended = self.web, self.worker
        told = self.run("the runbook's", block.text, block.fine)
        if block.is_restarted:
            self._restart(ended)
        return told

    def run(self, whose: str, text: str, fine: tuple[int, ...] = (0,)) -> str:
        """What commands print, run in the release with the runbook's variables."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._ours(text)], cwd=self.release,
            env=self._typists(), capture_output=True, text=True, timeout=TYPED_WITHIN_S,
        )  # fmt: skip
        assert done.returncode in fine, f"{whose} command failed:\n{text}\n{done}"
        return done.stdout

    def api(self) -> people.Api:
        """A connection to the service; close it."""
        return people.Api(self.url())

    def _ours(self, text: str) -> str:
        return text.replace(".venv/bin/", f"{Path(sys.executable).parent}/")

    def _typists(self) -> dict[str, str]:
        """The variables that the runbook says are set where it is typed."""
        hook = self.receiver.url
        return {
            **self.environ,
            "PAYMENTS_URL": self.url(),
            "PROMETHEUS_URL": f"http://{HERE}:{self.ports['prometheus']}",
            "ALERTMANAGER_URL": f"http://{HERE}:{self.ports['alertmanager']}",
            "ALERTMANAGER_CONFIG": str(self.folder / "alertmanager.yml"),
            "ALERTMANAGER_DATA": str(self.folder / "alertmanager"),
            "PAGE_WEBHOOK_URL": hook("/page"),
            "TICKET_WEBHOOK_URL": hook("/ticket"),
            "WATCHDOG_WEBHOOK_URL": hook("/watchdog"),
            "OPERATOR_TOKEN": OPERATOR,
            "WEB_PID": str(self.web.pid) if self.web else "",
            "WEB_LOG": str(self.web.log_path) if self.web else "",
            "REDIS_CONF": str(self._redis_conf()),
            "BACKUPS": str(self.folder / "backups"),
        }

    def _redis_conf(self) -> Path:
        path = self.folder / "redis.conf"
        path.write_text(
            f'port {self.redis.port}\nbind {HERE}\nsave ""\ndir {self.redis.folder}\ndatabases 64\n'
        )
        return path

    def _serve(self, command: list[str]) -> Child:
        """Start a server, take it for the one it replaces, and wait until it is there."""
        self._started += 1
        whole = " ".join(command)
        child = Child(
            command, log=self.folder / f"served-{self._started}.log",
            environ=self._typists(), folder=self.release,
        )  # fmt: skip
        if "gunicorn" in whole:
            self._replace("web", child)
            child.wait_ready(self._web_lives, READY_WITHIN_S)
        elif "jobs.worker" in whole:
            self._replace("worker", child)
            child.wait_ready(lambda: self._is_registered(child), READY_WITHIN_S)
        else:
            self._others.append(child)
        return child

    def _replace(self, name: str, child: Child) -> None:
        was: Child | None = getattr(self, name)
        setattr(self, name, child)
        if was is not None:
            was.close()

    def _restart(self, before: tuple[Child | None, Child | None]) -> None:
        """What a host does with a process that ended: start it again."""
        web, worker = before
        wait_until(
            lambda: any(child is not None and not child.is_alive() for child in before),
            "the process that was told to end", 40,
        )  # fmt: skip
        if web is not None and not web.is_alive():
            self.start_web()
        if worker is not None and not worker.is_alive():
            self.start_worker()

    def _web_lives(self) -> bool:
        try:
            return requests.get(self.url("/health/live"), timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def _is_registered(self, child: Child) -> bool:
        with self.redis.client() as client:
            names: Any = client.smembers("rq:workers")
            return any(client.hget(name, "pid") == str(child.pid).encode() for name in names)


def make_release(folder: Path) -> None:
    """The repository's files that serve; each commit is a deploy."""
    skip = shutil.ignore_patterns("__pycache__", "metrics_token")
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    shutil.copy(ROOT / "wsgi.py", folder)
    shutil.copy(ROOT / "Procfile", folder)
    shutil.copy(ROOT / ".gitignore", folder)
    _git(folder, "init", "--quiet")


def deploy(folder: Path, message: str) -> None:
    """Commit what is there as a release."""
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", message)


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(
        [*GIT, *arguments], cwd=folder, env=plain_environ(folder), check=True, capture_output=True
    )


@contextmanager
def running(addresses: Addresses, interval: str, **more: str) -> Iterator[Stack]:
    """A stack with a database of its own, and all of it ended afterwards. more: variables."""
    folder = new_folder()
    with databases.fresh_postgres(addresses) as database, Receiver() as receiver:
        stack = Stack(addresses, database, folder, receiver, more)
        try:
            stack.start(interval)
            yield stack
        finally:
            stack.close()
            shutil.rmtree(folder, ignore_errors=True)
