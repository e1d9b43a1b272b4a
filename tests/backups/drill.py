"""The restore drill: back up under load, destroy both stores, restore by the runbook, compare.

One disaster, two ways back from it: archived write-ahead log, which is production's default, and
the dump. Each is the runbook's four steps, by the scripts that on-call would type, in processes
that get no `.env`: the service's secrets and the age identity come from a folder of keys that lies
apart from the backups. What clients were told is held against what came back.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from payments import clock
from payments.db import Sql
from tests import databases, processes
from tests.backups import clusters, paying
from tests.backups.clusters import DATABASE, Vault
from tests.backups.paying import Acknowledged, Load, Shop
from tests.children import ROOT
from tests.postgres_server import Postgres
from tests.receivers import Receiver
from tests.redis_server import Redis
from tests.servers import new_folder
from tests.stories import people
from tests.stories.production import production

Tell = Callable[[str], None]
ARCHIVED_WITHIN = timedelta(seconds=5)
"""What a closed segment takes to lie in the archive, beyond archive_timeout."""
_PAID = Sql("SELECT id, version FROM payments WHERE status = 'succeeded'")


class DrillFailed(Exception):
    """A step did not do what the runbook says; the text has what it printed."""


@dataclass
class Outcome:
    """What one way back came to. Times in seconds.

    rpo_s: from the first acknowledged payment that is lost to the disaster, 0 where none is.
    rpo_stated_s: how far back the window reaches that may be lost. rto_s: from the disaster to the
    first payment that is acknowledged again. outside: lost ones from before the window: never.
    named: confirmations that the log outside says are gone; at least those that are.
    """

    way: str
    acknowledged: int
    lost: int
    outside: list[str]
    smaller_versions: list[str]
    findings: list[str]
    named: int
    rpo_s: float
    rpo_stated_s: float
    rto_s: float
    steps: dict[str, float] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong that may not be."""
        return not (
            self.outside or self.smaller_versions or self.findings or self.named < self.lost
        )


@dataclass(frozen=True)
class Drill:
    """What is left after the disaster: backups, keys, the log kept outside, and the list."""

    kept: Vault
    environ: dict[str, str]
    codes: people.Codes
    folder: Path
    shop: Shop
    acknowledged: list[Acknowledged]
    log: Path
    disaster: datetime
    stopped_s: float
    archive_timeout_s: int

    def script(
        self, name: str, *arguments: object, fine: tuple[int, ...] = (0,), **more: str
    ) -> Any:
        """A script as on-call types it, without a `.env`; its JSON document."""
        given = processes.service_environ({**self.environ, **more}, self.folder)
        return run_script(given, name, *arguments, fine=fine)


def run(seconds: float, archive_timeout_s: int, clients: int, tell: Tell) -> list[Outcome]:
    """The whole drill. Raises DrillFailed."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(_folder()))
        kept = stack.enter_context(clusters.vault(folder / "keys"))
        gateway = stack.enter_context(Receiver())
        left = _until_disaster(kept, gateway, folder, seconds, archive_timeout_s, clients, tell)
        return [_come_back(left, way, tell) for way in (by_wal, by_dump)]


def _until_disaster(
    kept: Vault,
    gateway: Receiver,
    folder: Path,
    seconds: float,
    archive_timeout_s: int,
    clients: int,
    tell: Tell,
) -> Drill:
    with ExitStack() as stack:
        postgres = stack.enter_context(clusters.archiving(kept, timeout_s=archive_timeout_s))
        memory = stack.enter_context(_redis())
        environ = _keys(folder / "keys", gateway)
        stores = {"DB_URL": _typed(postgres), "REDIS_URL": memory.url()}
        given = processes.service_environ({**environ, **stores}, folder)
        _run(given, "migrate.py")
        # An encrypted folder elsewhere: this machine can write into it, and not read it.
        where = ("--dir", kept.place, "--recipients", kept.keys.recipients)
        with processes.web(given, folder) as web, processes.worker(given, folder) as worker:
            codes = people.codes_at(gateway, "/sms")
            shop = paying.open_shop(web.url(), codes, environ)
            run_script(given, "backup.py", "base", *where)
            load = Load(web.url(), shop, clients)
            load.begin()
            try:
                time.sleep(seconds / 2)
                dumped = run_script(given, "backup.py", "create", *where)
                tell(f"dump under load: {dumped['id']}")
                time.sleep(seconds / 2)
                disaster = clock.now()
                _destroy(postgres, memory)
            finally:
                load.end()
            begun = time.monotonic()
            web.terminate()  # the runbook's first step: nothing writes any more
            worker.terminate()
            stopped_s = time.monotonic() - begun
        tell(f"destroyed both stores; {len(load.acknowledged)} payments had been acknowledged")
        return Drill(
            kept, environ, codes, folder, shop, load.acknowledged, web.log_path, disaster,
            stopped_s, archive_timeout_s,
        )  # fmt: skip


def _keys(folder: Path, gateway: Receiver) -> dict[str, str]:
    """The service's secrets, written where the age identity lies, as a host keeps them."""
    environ = production(SMS_HTTP_URL=gateway.url("/sms"), RATE_LIMIT_PER_MINUTE="1000000")
    environ.pop("DATABASE_URL")
    descriptor = os.open(folder / "service.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as out:
        json.dump(environ, out)
    return environ


def _destroy(postgres: Postgres, memory: Redis) -> None:
    postgres.kill()
    memory.kill()
    shutil.rmtree(postgres.folder)
    shutil.rmtree(memory.folder)


@dataclass(frozen=True)
class Restored:
    """What a way gave back. data_until: what was committed by then is in it.

    window_from: what was acknowledged before that must be there, as the way promises.
    """

    postgres: Postgres
    redis_url: str
    data_until: datetime
    window_from: datetime


def by_wal(left: Drill, memory: Redis, stack: ExitStack) -> Restored:
    """A recovered cluster, and Redis emptied: production's default."""
    server = stack.enter_context(clusters.second())
    told = left.script(
        "restore.py", "pitr", "--dir", left.kept.place, "--wal", left.kept.archive,
        "--data", server.folder / "data", "--database", DATABASE,
        "--identity", left.kept.keys.identity, REDIS_URL=memory.url(),
    )  # fmt: skip
    server.start()
    promised = timedelta(seconds=left.archive_timeout_s) + ARCHIVED_WITHIN
    until = clock.parse_rfc3339(told["data_until"])
    return Restored(server, memory.url(), until, left.disaster - promised)


def by_dump(left: Drill, memory: Redis, stack: ExitStack) -> Restored:
    """A dump in a new database, and Redis's snapshot put back."""
    server = Postgres(new_folder() / "postgres")
    stack.callback(shutil.rmtree, server.folder.parent, ignore_errors=True)
    server.create()
    server.start()
    stack.callback(server.discard)
    server.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
    told = left.script(
        "restore.py", "dump", "--dir", left.kept.place, "--redis-snapshot",
        "--identity", left.kept.keys.identity, DB_URL=_typed(server), REDIS_URL=memory.url(),
    )  # fmt: skip
    until = clock.parse_rfc3339(told["data_until"])
    return Restored(server, memory.url(), until, until)


def _come_back(
    left: Drill, way: Callable[[Drill, Redis, ExitStack], Restored], tell: Tell
) -> Outcome:
    steps = {"1 stop writes": left.stopped_s}
    with ExitStack() as stack:
        memory = stack.enter_context(_redis())
        with _timed(steps, "2, 3 restore both stores"):
            restored = way(left, memory, stack)
        stores = {"DB_URL": _typed(restored.postgres), "REDIS_URL": restored.redis_url}
        with _timed(steps, "4 before traffic"):
            # Exit 1 is the rule: the log outside knows what is lost.
            told = left.script("after_restore.py", "--log", left.log, fine=(0, 1), **stores)
            findings = reconcile(left, stores)
        given = processes.service_environ({**left.environ, **stores}, left.folder)
        with _timed(steps, "4 resume"):
            web = stack.enter_context(processes.web(given, left.folder))
            stack.enter_context(processes.worker(given, left.folder))
            _resume(left, web.url())
        outcome = compared(left, stores, restored, findings)
        outcome.named = len([each for each in told["lost"] if each["what"].endswith("/confirm")])
        outcome.way = (way.__doc__ or "").partition(":")[0].rstrip(".")
        outcome.steps = {name: round(took, 2) for name, took in steps.items()}
        outcome.rto_s = round(sum(steps.values()), 2)
    tell(line(outcome))
    return outcome


def reconcile(left: Drill, stores: dict[str, str]) -> list[str]:
    """What the runbook's command finds, a line for each invariant that does not hold."""
    told = left.script("reconcile.py", fine=(0, 1), **stores)
    return [
        f"{each['name']}: {each['findings']}" for each in told["invariants"] if each["findings"]
    ]


def _resume(left: Drill, base: str) -> None:
    """Reads first, writes still refused; then writes are allowed, and a payment goes through."""
    operator = left.environ["ADMIN_TOKEN"].partition(":")[2]
    with people.calling(base) as api:
        healthy = api.call("GET", "/health")["checks"]
        body = {"amount": 1, "currency": "EUR"}
        refused = api.send("POST", "/v1/payments", body, key="drill", Authorization=left.shop.key)
        if healthy["database"] != "ok" or refused.status_code != 503:
            raise DrillFailed(f"before traffic: {healthy}, {refused.status_code} {refused.text}")
        allow = {"on": False, "reason": "restore drill"}
        api.call("POST", "/admin/config/read_only", allow, X_Admin_Token=operator)
        ended = api.send("POST", "/v1/auth/logout", {}, Authorization=left.shop.customer)
        if ended.status_code != 401:
            raise DrillFailed(f"a session outlived the restore: {ended.status_code} {ended.text}")
        # The code comes by the gateway, as to any customer.
        customer = people.sign_in(api, left.shop.phone, left.codes)
        again = Shop(left.shop.phone, left.shop.merchant, left.shop.key, customer)
        paying.until_paid(lambda: paying.pay(api, again))


def compared(
    left: Drill, stores: dict[str, str], restored: Restored, findings: list[str]
) -> Outcome:
    """What clients were told against what is there."""
    with _service(left, stores):
        there = {row.id: row.version for row in _PAID.all()}
    lost = [each for each in left.acknowledged if each.id not in there]
    first = min((each.at for each in lost), default=left.disaster)
    must_be_there = max(restored.data_until, restored.window_from)
    return Outcome(
        way="",
        acknowledged=len(left.acknowledged),
        lost=len(lost),
        outside=[each.id for each in lost if each.at <= must_be_there],
        smaller_versions=[
            each.id for each in left.acknowledged if there.get(each.id, each.version) < each.version
        ],
        findings=findings,
        named=0,
        rpo_s=round(max((left.disaster - first).total_seconds(), 0), 2),
        rpo_stated_s=round((left.disaster - restored.window_from).total_seconds(), 2),
        rto_s=0,
    )


def line(one: Outcome) -> str:
    """An outcome for people."""
    verdict = "good" if one.is_good else "NOT GOOD"
    return (
        f"{one.way}: RPO {one.rpo_s} s (stated: {one.rpo_stated_s} s), RTO {one.rto_s} s;"
        f" {one.lost} of {one.acknowledged} acknowledged payments lost, {len(one.outside)} of them"
        f" outside the window; {len(one.findings)} findings; {verdict}"
    )


def run_script(
    environ: dict[str, str], name: str, *arguments: object, fine: tuple[int, ...] = (0,)
) -> Any:
    """A script's JSON document. Raises DrillFailed where it ends in another way."""
    return json.loads(_run(environ, name, *arguments, "--json", fine=fine))


def _run(
    environ: dict[str, str], name: str, *arguments: object, fine: tuple[int, ...] = (0,)
) -> str:
    command = [sys.executable, f"scripts/{name}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    if done.returncode not in fine:
        raise DrillFailed(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


@contextmanager
def _service(left: Drill, stores: dict[str, str]) -> Iterator[None]:
    settings = databases.settings_for({**left.environ, **stores}, left.folder)
    with databases.app_for(settings) as app, app.app_context():
        yield


@contextmanager
def _timed(steps: dict[str, float], name: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    steps[name] = time.monotonic() - begun


@contextmanager
def _redis() -> Iterator[Redis]:
    server = Redis(new_folder() / "redis")
    try:
        server.start()
        with server.client() as client:
            client.config_set("repl-diskless-sync-delay", 0)  # it waits 5 s for more replicas
        yield server
    finally:
        server.discard()
        shutil.rmtree(server.folder.parent, ignore_errors=True)


@contextmanager
def _folder() -> Iterator[str]:
    folder = new_folder()
    try:
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _typed(server: Postgres) -> str:
    """The address as a host gives it."""
    return server.url(DATABASE).replace("postgresql+psycopg://", "postgres://")
