"""The Procfile in production, as a host runs it: release first, SIGTERM whenever it likes.

And each unsafe setting, alone, stops the release and names its variable.
"""

import os
import shlex
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from payments.db import Sql
from scripts.run import procfile
from tests import databases
from tests.checkout import world
from tests.children import Child, wait_until
from tests.processes import READY_WITHIN_S, service_environ
from tests.receivers import Receiver
from tests.redis_server import free_port
from tests.servers import Addresses
from tests.stories import people
from tests.stories.people import Api
from tests.stories.production import production

pytestmark = pytest.mark.slow

PROCESSES = ("web", "worker")
CLIENTS, EACH = 6, 40
AMOUNT = 1_00
STOPPED_AFTER = CLIENTS * EACH // 3
HONCHO_ENDED_BY_TERM = 143
LOAD_WITHIN_S = 120.0
TERM_WITHIN_S = 30.0  # the web server's own grace and some

_PAYMENTS = Sql(
    "SELECT payments.reference, payments.id, payments.status, count(entries.id) AS entries"
    " FROM payments LEFT JOIN entries ON entries.subject_id = payments.id"
    " GROUP BY payments.id ORDER BY payments.reference"
)


class Host:
    """What a PaaS does with the repository: it runs lines of the Procfile."""

    def __init__(self, environ: dict[str, str], folder: Path) -> None:
        self.environ = service_environ({**environ, "PORT": str(free_port())}, folder)
        tools = Path(sys.executable).parent
        self.environ["PATH"] = f"{tools}{os.pathsep}{self.environ['PATH']}"
        self.base = f"http://127.0.0.1:{self.environ['PORT']}"
        self._folder = folder
        self._starts = 0

    def honcho(self, *processes: str) -> Child:
        """Start these lines of the Procfile."""
        self._starts += 1
        command = [sys.executable, "-m", "honcho", "--no-colour", "--env", os.devnull, "start"]
        return Child(
            [*command, *processes],
            log=self._folder / f"honcho-{self._starts}.log",
            environ=self.environ,
        )

    def release(self) -> Child:
        """The release phase, ended."""
        with self.honcho("release") as phase:
            phase.wait(60)
            return phase

    @contextmanager
    def running(self) -> Iterator[Child]:
        """Web and worker, ready."""
        with self.honcho(*PROCESSES) as both:
            both.wait_ready(self._is_healthy, READY_WITHIN_S)
            yield both

    def _is_healthy(self) -> bool:
        try:
            return requests.get(f"{self.base}/health", timeout=5).status_code == 200
        except requests.RequestException:
            return False


@dataclass
class Load:
    """Clients of one shop and one customer, who repeat with their keys whatever went unanswered."""

    base: str
    shop: str
    customer: str
    acknowledged: dict[str, str] = field(default_factory=dict)  # reference -> payment
    paid: set[str] = field(default_factory=set)
    interrupted: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    deadline: float = field(default_factory=lambda: time.monotonic() + LOAD_WITHIN_S)

    def client(self, number: int) -> None:
        """One client's payments, one after the other, each created and paid."""
        with people.calling(self.base) as api:
            for place in range(EACH):
                self._sell(api, f"order-{number:02d}-{place:03d}")

    def _sell(self, api: Api, reference: str) -> None:
        body = {"amount": AMOUNT, "currency": "EUR", "reference": reference}
        created = self._insist(api, "/v1/payments", body, self.shop)
        with self.lock:
            self.acknowledged[reference] = created["id"]
        confirmed = self._insist(api, f"/v1/payments/{created['id']}/confirm", {}, self.customer)
        assert confirmed["status"] == "succeeded"
        with self.lock:
            self.paid.add(confirmed["id"])

    def _insist(self, api: Api, path: str, body: object, caller: str) -> dict[str, str]:
        key = uuid.uuid4().hex
        while time.monotonic() < self.deadline:
            try:
                answer = people.until_settled(
                    lambda: api.send("POST", path, body, key=key, Authorization=caller)
                )
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                with self.lock:
                    self.interrupted += 1
                time.sleep(0.1)
                continue
            assert answer.status_code in (200, 201), answer.text
            return dict(answer.json())
        raise TimeoutError(f"{path} went unanswered for {LOAD_WITHIN_S} s")


@pytest.fixture
def gateway() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_a_sigterm_under_load_loses_nothing_that_was_acknowledged(
    servers: Addresses, redis_url: str, gateway: Receiver, tmp_path: Path
) -> None:
    with databases.empty_postgres(servers) as url:
        host = Host(
            production(
                DATABASE_URL=url.replace("postgresql+psycopg://", "postgres://"),
                REDIS_URL=redis_url,
                SMS_HTTP_URL=gateway.url("/sms"),
                RATE_LIMIT_PER_MINUTE="100000",
            ),
            tmp_path,
        )
        phase = host.release()
        assert phase.wait() == 0, phase.log()
        load = trade_through_a_sigterm(host, gateway)
        assert_each_is_there_once(load, url, tmp_path)


def trade_through_a_sigterm(host: Host, gateway: Receiver) -> Load:
    """Ended by SIGTERM in the middle, started again, to the end of all clients' work."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        with host.running() as first:
            load = open_shop(host, gateway)
            clients = [pool.submit(load.client, number) for number in range(CLIENTS)]
            wait_until(lambda: len(load.paid) >= STOPPED_AFTER, "some of the load", 60)
            assert first.terminate(TERM_WITHIN_S, group=False) == HONCHO_ENDED_BY_TERM
            assert load.interrupted > 0
            assert len(load.paid) < CLIENTS * EACH, "all was over before it was stopped"
        with host.running() as second:
            for client in clients:
                client.result(LOAD_WITHIN_S)
            assert second.terminate(TERM_WITHIN_S, group=False) == HONCHO_ENDED_BY_TERM
    return load


def open_shop(host: Host, gateway: Receiver) -> Load:
    """A shop that an operator approved, and a customer with money."""
    codes = people.codes_at(gateway, "/sms")
    secret = host.environ["INTERNAL_API_SECRET"].partition(":")[2]
    operator = host.environ["ADMIN_TOKEN"].partition(":")[2]
    phone = people.new_phone()
    with people.calling(host.base) as api:
        owner = people.sign_in(api, people.new_phone(), codes)
        shop = api.call("POST", "/v1/merchants", {"name": "Corner"}, Authorization=owner)
        assert shop["status"] == "pending"
        path = f"/admin/merchants/{shop['id']}/approve"
        assert api.call("POST", path, {}, X_Admin_Token=operator)["status"] == "approved"
        people.deposit(api, phone, CLIENTS * EACH * AMOUNT, secret)
        customer = people.sign_in(api, phone, codes)
        return Load(host.base, people.new_key(api, owner, shop["id"]), customer)


def assert_each_is_there_once(load: Load, url: str, folder: Path) -> None:
    """What was acknowledged is in the database, once, and nothing beside it."""
    environ = databases.environ_for(url, folder)
    with databases.app_for(databases.settings_for(environ, folder)) as app, app.app_context():
        rows = _PAYMENTS.all()
        world.sound()
    assert len(load.paid) == CLIENTS * EACH
    assert [(row.reference, row.id) for row in rows] == sorted(load.acknowledged.items())
    assert {(row.status, row.entries) for row in rows} == {("succeeded", 1)}


# Each way of being unsafe once; tests/test_config.py has all variables.
UNSAFE = {
    "JWT_SECRET": "",
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "ADMIN_TOKEN": "ann:change-me-change-me-change-me-please",
    "DB_URL": "sqlite:////srv/pay.db",
    "REDIS_URL": "",
    "TRUSTED_PROXIES": "",
    "SMS_BACKEND": "console",
    "WEBHOOK_ALLOW_PRIVATE_TARGETS": "true",
    "PUBLIC_URL": "http://pay.example",
}


@pytest.mark.parametrize("variable", UNSAFE)
def test_each_unsafe_setting_alone_stops_the_release_by_its_name(variable, tmp_path):
    command = shlex.split(procfile()["release"].replace("python", sys.executable, 1))
    environ = Host(production(**{variable: UNSAFE[variable]}), tmp_path).environ
    with Child(command, log=tmp_path / "release.log", environ=environ) as release:
        assert release.wait(60) != 0
    heading, *faults = release.log().splitlines()
    assert heading == "The settings can't be used:"
    assert [fault.partition(":")[0] for fault in faults] == [variable]


@pytest.mark.parametrize("process", PROCESSES)
def test_web_and_worker_refuse_as_well(process, tmp_path):
    with Host(production(METRICS_TOKEN=""), tmp_path).honcho(process) as started:
        assert started.wait(60) != 0
    assert "The settings can't be used:" in started.log()
    assert "METRICS_TOKEN: is missing" in started.log()
    assert "Traceback" not in started.log()
