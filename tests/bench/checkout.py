"""What a payment costs: the whole stack over HTTP beside a bare schema under pgbench."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from payments.ledger import invariants
from tests import processes
from tests.bench import load
from tests.bench.ratios import Ratio
from tests.bench.shop import Shop
from tests.databases import app_for, environ_for, migrate, settings_for
from tests.postgres_server import Postgres
from tests.servers import private_redis

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = 8
# What a payment costs is what it costs on a disk that keeps it.
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on",
           "max_wal_size": "1GB", "shared_buffers": "256MB"}  # fmt: skip
PER_SECOND = 3_000
"""More payments are made ready for each second than are confirmed in it."""


@contextmanager
def disk_postgres() -> Iterator[Postgres]:
    """A Postgres of our own, with everything that makes it durable on, its files on the disk."""
    folder = Path(tempfile.mkdtemp(prefix="payments-bench-", dir="/var/tmp"))  # noqa: S108
    folder.chmod(0o711)
    server = Postgres(folder / "postgres", DURABLE)
    try:
        server.create()
        server.start()
        for name in ("fsync", "synchronous_commit"):
            if server.execute(f"SHOW {name}")[0][0] != "on":
                raise RuntimeError(f"{name} is off: the figures would mean nothing")
        yield server
    finally:
        with suppress(ProcessLookupError):
            server.discard()
        shutil.rmtree(folder, ignore_errors=True)


def measure(rounds: int, seconds: float, say: Callable[[str], object]) -> list[Ratio]:
    """`confirm` and `hot_http`, each from rounds that take turns in one run."""
    confirm = Ratio("confirm", 0.20, "confirm over HTTP ÷ pgbench, separate statements")
    hot = Ratio("hot_http", 0.90, "one merchant paid by all ÷ random merchants, over HTTP")
    with (
        disk_postgres() as postgres,
        private_redis() as redis,
        tempfile.TemporaryDirectory() as place,
    ):
        folder = Path(place)
        postgres.execute("CREATE DATABASE base")
        postgres.execute((ROOT / "ops/bench/base.sql").read_text(), "base")
        postgres.execute("CREATE DATABASE payments")
        database = postgres.url("payments")
        migrate(database, folder)
        environ = environ_for(
            database,
            folder,
            REDIS_URL=redis.url(),
            FEE_BPS="100",
            RATE_LIMIT_PER_MINUTE="1000000",
            RATE_LIMIT_AUTH_BOOST="100",
        )
        shop = Shop(postgres.conninfo("payments"))
        with app_for(settings_for(environ, folder)) as app:
            shop.open(app)
            with processes.web(environ, folder, workers=2) as service:
                _confirm(service.port, shop, 2.0, hot=False)  # warm
                for number in range(rounds):
                    base = pgbench(postgres, seconds)
                    random_rate = _confirm(service.port, shop, seconds, hot=False)
                    hot_rate = _confirm(service.port, shop, seconds, hot=True)
                    confirm.add(random_rate, base)
                    hot.add(hot_rate, random_rate)
                    say(
                        f"  round {number + 1}: pgbench {base:.0f}/s,"
                        f" confirm {random_rate:.0f}/s, hot merchant {hot_rate:.0f}/s"
                    )
            with app.app_context():
                found = invariants.check()
                if found:
                    raise RuntimeError(f"the run broke an invariant: {found[0]}")
    return [confirm, hot]


def _confirm(port: int, shop: Shop, seconds: float, *, hot: bool) -> float:
    ready = shop.confirms(int(PER_SECOND * seconds), hot=hot)
    outcome = load.run(port, ready, clients=CLIENTS, seconds=seconds)
    if outcome.refused:
        raise RuntimeError(f"a confirm was refused: {outcome.refused[0]!r}")
    return outcome.per_second


def pgbench(postgres: Postgres, seconds: float) -> float:
    """Payments a second in the bare schema: separate statements, as pgbench sends them."""
    found = subprocess.run(
        [
            shutil.which("pgbench") or "/usr/lib/postgresql/15/bin/pgbench",
            *("-n", "-c", str(CLIENTS), "-j", "2", "-T", str(int(seconds))),
            *("-f", str(ROOT / "ops/bench/payment.sql")),
            postgres.conninfo("base"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    rate = re.search(r"tps = ([0-9.]+)", found.stdout)
    if rate is None:
        raise RuntimeError(f"pgbench said no rate: {found.stdout}")
    return float(rate[1])
