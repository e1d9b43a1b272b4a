"""What a delivery costs: signed, leased and recorded by the worker, beside a plain loop."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import requests

from payments import db
from payments.checkout import payments
from payments.customers import profiles
from payments.merchants import applications
from payments.webhooks import endpoints
from tests import processes
from tests.bench.checkout import disk_postgres
from tests.bench.ratios import Ratio
from tests.children import wait_until
from tests.databases import app_for, environ_for, migrate, settings_for
from tests.postgres_server import Postgres
from tests.servers import private_redis

ENDPOINTS = 4
BODY = b"x" * 600


@contextmanager
def receiver() -> Iterator[str]:
    """The address of a receiver in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.receiver"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def measure(rounds: int, count: int, say: Callable[[str], object]) -> Ratio:
    """`delivery`: so many deliveries by the worker, and as many by a plain loop, in turns."""
    ratio = Ratio("delivery", 0.50, "deliveries with attempts recorded ÷ a plain requests loop")
    with (
        disk_postgres() as postgres,
        private_redis() as redis,
        receiver() as address,
        tempfile.TemporaryDirectory() as place,
    ):
        folder = Path(place)
        postgres.execute("CREATE DATABASE payments")
        database = postgres.url("payments")
        migrate(database, folder)
        environ = environ_for(database, folder, REDIS_URL=redis.url())
        with app_for(settings_for(environ, folder)) as app:
            with app.app_context():
                owner = db.in_unit(lambda: profiles.get_or_create("+4915999999999").id)
                shop = db.in_unit(lambda: applications.apply(owner, "Shop").id)
                for number in range(ENDPOINTS):
                    url = f"{address}/{number}"
                    types = ["payment.created"]
                    db.in_unit(partial(endpoints.create, shop, url, types, None))
            for number in range(rounds):
                plain = _plain(address, count)
                with app.app_context():
                    ask = partial(payments.create, shop, amount=100, currency="EUR")
                    for _ in range(count // ENDPOINTS):
                        db.in_unit(ask)
                redis.flush()  # the worker hears of it by its sweep, once it is there
                with processes.worker(environ, folder):
                    wait_until(lambda: not _pending(postgres), "deliveries", 120)
                sent = _rate(postgres, count)
                ratio.add(sent, plain)
                say(f"  round {number + 1}: plain loop {plain:.0f}/s, deliveries {sent:.0f}/s")
    return ratio


def _plain(address: str, count: int) -> float:
    with requests.Session() as session:
        session.trust_env = False
        begun = time.monotonic()
        for _ in range(count):
            session.post(address, data=BODY, timeout=10)
        return count / (time.monotonic() - begun)


def _pending(postgres: Postgres) -> int:
    found = postgres.execute("SELECT count(*) FROM deliveries WHERE status = 'pending'", "payments")
    return int(found[0][0])


def _rate(postgres: Postgres, count: int) -> float:
    """From the first request of the round to the last, by the attempts themselves."""
    rows = postgres.execute(
        "SELECT extract(epoch FROM max(created_at) - min(created_at))::double precision FROM"
        f" (SELECT created_at FROM attempts ORDER BY created_at DESC LIMIT {count}) AS newest",
        "payments",
    )
    (elapsed_s,) = rows[0]
    return count / elapsed_s
