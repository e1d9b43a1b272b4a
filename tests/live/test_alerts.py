"""Each alert, live: its fault is made, it fires, arrives, clears by the runbook's own commands.

Three stacks, in two tests that may run at once. On a stack, faults that do not disturb each other
are made together.
"""

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import psycopg
import pytest
import requests

from tests.children import wait_until
from tests.live import results, runbook, shops, stack, watch
from tests.live.stack import OLD_TOKEN, OPERATOR, Stack
from tests.live.watch import Watch
from tests.postgres_server import conninfo
from tests.receivers import answer
from tests.servers import Addresses
from tests.stories import people

pytestmark = pytest.mark.slow

BY_HAND = "report by hand"
"""What somebody's own session calls itself."""


def session_by_hand(live: Stack) -> psycopg.Connection:
    """A session of somebody who looks at the database, and leaves a transaction open."""
    place = conninfo(live.addresses.postgres, live.database_name)
    return psycopg.connect(f"{place} application_name='{BY_HAND}'")


def test_worker_web_server_and_stores(servers):
    """Two stacks at once: on both there is more to wait for than to do."""
    with ThreadPoolExecutor(2) as pool:
        stacks = [pool.submit(each, servers) for each in (worker_and_web_server, stores)]
    for each in stacks:
        each.result()


def worker_and_web_server(servers: Addresses) -> None:
    """A worker that hangs or is missing, a web server that is dead or can't be scraped."""
    with stack.running(servers, "1s") as live, watch.watching(live) as seen:
        types_the_overview(seen)
        shop = shops.open_shop(live, 1)
        with shops.crowd(1, lambda _session, _number: shop.ping(), pause_s=2):
            worker_hangs(live, seen)
            web_is_killed(live, seen)
            token_is_wrong(live, seen)
            hanging_worker_is_mended(seen)
        worker_ends(live, seen)
        results.keep(seen.times)


def types_the_overview(seen: Watch) -> None:
    """What is asked first, whatever the alert."""
    text = runbook.text()
    overview = text[text.index("\n## Overview") : text.index("\n## Uptime and errors")]
    for block in runbook.blocks(overview):
        seen.type(block, "Overview")


def worker_hangs(live: Stack, seen: Watch) -> None:
    """It lives and does nothing, while there is something to do all the time."""
    assert live.worker is not None
    live.worker.signal(signal.SIGSTOP)
    with live.redis.client() as client:
        # The first job is in the hands of the one that hangs; from the second on they wait.
        wait_until(lambda: client.llen("rq:queue:payments"), "a job that nobody takes", 40)
    hangs = "the worker was stopped in the middle (SIGSTOP): it lives and does nothing"
    for alert in ("QueueStuck", "WebhookOverdue", "ClockSilent"):
        seen.fault(alert, hangs)


def web_is_killed(live: Stack, seen: Watch) -> None:
    """All web processes at once; what follows from that is silenced."""
    assert live.web is not None
    seen.fault("ServiceDown", "all web processes were killed (SIGKILL)")
    seen.fault("UptimeBudgetBurn", "all web processes were killed (SIGKILL)")
    live.web.kill()
    wait_until(lambda: seen.is_firing("UptimeBudgetBurn"), "UptimeBudgetBurn", 60)
    seen.fires("ServiceDown")
    wait_until(
        lambda: live.alertmanager.states().get("UptimeBudgetBurn") == "suppressed",
        "UptimeBudgetBurn to be silenced by ServiceDown",
    )
    seen.looked("UptimeBudgetBurn")
    seen.mend("ServiceDown", "UptimeBudgetBurn", resolves=False)
    assert "firing" in seen.arrived("UptimeBudgetBurn"), "it outlasts its cause, and is told then"


def token_is_wrong(live: Stack, seen: Watch) -> None:
    """Prometheus shows a token that the service does not know."""
    seen.fault("MetricsAbsent", "Prometheus's token was changed to a wrong one")
    token = live.release / "ops" / "observability" / "prometheus" / "metrics_token"
    token.write_text("wrong")
    seen.fires("MetricsAbsent")
    seen.mend("MetricsAbsent")


def hanging_worker_is_mended(seen: Watch) -> None:
    """After a minute of silence."""
    seen.fires("WebhookOverdue")
    seen.fires("ClockSilent")
    seen.fires("QueueStuck")
    seen.mend("ClockSilent", "WebhookOverdue", "QueueStuck")


def worker_ends(live: Stack, seen: Watch) -> None:
    """Nobody starts it again."""
    assert live.worker is not None
    seen.fault("WorkersMissing", "the worker was ended and not started again")
    live.worker.terminate()
    seen.fires("WorkersMissing")
    seen.mend("WorkersMissing")


def test_traffic(servers):
    with (
        stack.running(servers, "1s", GUNICORN_CMD_ARGS="--threads 24") as live,
        watch.watching(live) as seen,
    ):
        shop = shops.open_shop(live, 6)
        shop.ping()
        with ExitStack() as by_hand:
            account_is_locked(live, seen, by_hand)
            old_token_is_shown(live, seen)
            deploy_is_bad(live, seen)
            receivers_fail(live, seen, shop)
            flood_is_refused(live, seen)
            codes_are_asked_for(live, seen)
            seen.fires("UnfoldedOld")
            seen.mend("UnfoldedOld")
        seen.clears("OldSecretInUse")
        errors_are_meant(live, seen)
        results.keep(seen.times)


def account_is_locked(live: Stack, seen: Watch, by_hand: ExitStack) -> None:
    """Somebody is about to change the account that money comes from, and goes to lunch."""
    shops.deposit(live)
    session = by_hand.enter_context(session_by_hand(live))
    by_hand.callback(session.close)
    locked = session.execute(
        "SELECT id FROM accounts WHERE kind LIKE 'external:%' FOR NO KEY UPDATE"
    ).fetchall()
    assert locked
    seen.fault("UnfoldedOld", "a session by hand held an account's row locked")
    shops.deposit(live)


def old_token_is_shown(live: Stack, seen: Watch) -> None:
    """An operator has not changed to the new one."""
    seen.fault("OldSecretInUse", "an operator came with the old entry of ADMIN_TOKEN")
    with people.calling(live.url()) as api:
        api.call("GET", "/admin/config/rate_limit", X_Admin_Token=OLD_TOKEN)
    seen.fires("OldSecretInUse")
    seen.mend_only("OldSecretInUse")


BAD_PATHS = ("/v1/wallets", "/v1/me", "/v1/balance")
BAD = """

import time


@app.before_request
def _worse() -> None:
    from flask import request

    if request.path == "/v1/wallets":
        raise RuntimeError("the new release has a bug")
    time.sleep({"/v1/me": 0.6, "/v1/balance": 2.8}.get(request.path, 0))
"""


def deploy_is_bad(live: Stack, seen: Watch) -> None:
    """A release that fails on one route, is slow on another and very slow on a third."""
    with (live.release / "wsgi.py").open("a") as file:
        file.write(BAD)
    stack.deploy(live.release, "Release 2")
    live.start_web()
    for alert in ("HighErrorRate", "ErrorsBudgetBurn"):
        seen.fault(alert, "a release was deployed that answers 500 on a route")
    for alert in ("HighLatencyP95", "HighLatencyP99", "LatencyBudgetBurn"):
        seen.fault(alert, "a release was deployed that is slow")
    bad, slow, slower = (shops.get(live, path) for path in BAD_PATHS)
    calls = [slow] * 24 + [bad] * 4 + [slower] * 2
    everything = ("HighErrorRate", "ErrorsBudgetBurn")
    latency = ("HighLatencyP95", "HighLatencyP99", "LatencyBudgetBurn")

    def ask(session: requests.Session, number: int) -> None:
        random.Random(number).choice(calls)(session, number)

    with shops.crowd(24, ask):
        for alert in (*everything, *latency):
            seen.fires(alert)
        seen.mend_only("HighErrorRate", "ErrorsBudgetBurn", *latency)
    with shops.crowd(2, shops.get(live, "/v1/me"), pause_s=0.1):
        for alert in (*everything, *latency):
            seen.clears(alert)


def receivers_fail(live: Stack, seen: Watch, shop: shops.Shop) -> None:
    """Endpoints that have taken webhooks take none any more; one of them stays so."""
    paths = [shops.path_of(number) for number in range(len(shop.endpoints))]
    for path in paths:
        wait_until(partial(live.receiver.received, path), "a first webhook")
        live.receiver.script(path, answer(503))
    seen.fault("DeliveryBudgetBurn", "endpoints that had taken webhooks answered 503")
    aged = "; five minutes were put back in the rows"
    deadline = time.monotonic() + 60
    while not seen.is_firing("DeliveryBudgetBurn"):
        assert time.monotonic() < deadline
        shop.ping()
        time.sleep(1)
    seen.fires("DeliveryBudgetBurn")
    seen.fault("WebhookFailureRate", f"six endpoints answered 503{aged}")
    seen.fault("WebhookEndpointDown", f"one endpoint went on answering 503{aged}")
    live.sql(
        "UPDATE webhook_endpoints SET failing_since_at = failing_since_at - interval '6 minutes'"
        " WHERE failures > 0"
    )
    seen.fires("WebhookFailureRate")
    wait_until(
        lambda: live.sql("SELECT 1 FROM deliveries WHERE status = 'failed'"), "failed deliveries"
    )
    for path in paths[1:]:
        live.receiver.script(path, answer())
    seen.mend("WebhookFailureRate", "DeliveryBudgetBurn")
    seen.fires("WebhookEndpointDown")
    seen.mend("WebhookEndpointDown")


def flood_is_refused(live: Stack, seen: Watch) -> None:
    """Two addresses ask for more than an address may."""
    seen.fault("RateLimitedSurge", "two addresses asked some sixty times a second")

    def ask(session, number: int) -> None:
        headers = {"X-Forwarded-For": f"198.51.100.{number % 2 + 1}"}
        session.get(live.url("/v1/nowhere"), headers=headers, timeout=10)

    with shops.crowd(4, ask, pause_s=0.04):
        seen.fires("RateLimitedSurge")
        seen.mend("RateLimitedSurge")


def codes_are_asked_for(live: Stack, seen: Watch) -> None:
    """Four addresses ask for one-time codes of a few phones, again and again."""
    seen.fault("OtpVelocity", "four addresses asked for codes of four phones without end")
    phones = [people.new_phone() for _ in range(4)]

    def ask(session, number: int) -> None:
        headers = {"X-Forwarded-For": f"192.0.2.{number % 4 + 1}"}
        body = {"phone": phones[number % 4]}
        session.post(live.url("/v1/auth/otp"), json=body, headers=headers, timeout=10)

    with shops.crowd(4, ask, pause_s=0.1):
        seen.fires("OtpVelocity")
        seen.mend("OtpVelocity")


def errors_are_meant(live: Stack, seen: Watch) -> None:
    """Read-only answers 503, and nobody is woken for it."""
    before = len(seen.arrived("HighErrorRate"))
    with people.calling(live.url()) as api:
        body = {"on": True, "reason": "a restore"}
        api.call("POST", "/admin/config/read_only", body, X_Admin_Token=OPERATOR)

    def ask(session, number: int) -> None:
        headers = {"X-Forwarded-For": shops.address()}
        session.post(live.url("/v1/auth/otp"), json={"phone": "+4915100000000"}, headers=headers)

    with shops.crowd(3, ask, pause_s=0.1):
        wait_until(
            lambda: live.alertmanager.states().get("HighErrorRate") == "suppressed",
            "HighErrorRate to be silenced by ReadOnly", 60,
        )  # fmt: skip
    assert len(seen.arrived("HighErrorRate")) == before


def stores(servers: Addresses) -> None:
    """Postgres, Redis, what is in them, and who tells of it."""
    with stack.running(servers, "3s") as live, watch.watching(live) as seen:
        seen.fault("BackupStale", "no backup was ever made")
        nobody_looks(live, seen)
        writes_are_stopped(live, seen)
        seen.fires("BackupStale")
        backups_are_made(live, seen)
        seen.fires("ReconcileStale")
        seen.mend("ReconcileStale")
        redis_is_killed(live, seen)
        table_is_locked(live, seen)
        seen.fires("ReadOnlyLeftOn")
        seen.mend("ReadOnlyLeftOn", "ReadOnly")
        balance_is_corrupt(live, seen)
        alertmanager_is_killed(live, seen)
        results.keep(seen.times)


def backups_are_made(live: Stack, seen: Watch) -> None:
    """With a key that lies elsewhere."""
    (live.folder / "backups").mkdir()
    with live.redis.client() as client:
        client.config_set("repl-diskless-sync-delay", 0)
    identity = live.folder / "identity"
    live.run("a", f"age-keygen -o {identity} 2>&1")
    live.run("a", f'age-keygen -y {identity} > "$BACKUPS/recipients"')
    seen.mend("BackupStale")


def nobody_looks(live: Stack, seen: Watch) -> None:
    """The clock's task is put off, and its last run lies two days back."""
    wait_until(
        lambda: live.sql("SELECT 1 FROM last_successes WHERE name = 'reconcile'"),
        "the first reconciliation",
    )
    seen.fault("ReconcileStale", "the last reconciliation was dated two days back")
    live.sql(
        "UPDATE last_successes SET succeeded_at = succeeded_at - interval '2 days'"
        " WHERE name = 'reconcile'"
    )


def balance_is_corrupt(live: Stack, seen: Watch) -> None:
    """Somebody writes a balance by hand; the clock finds it at its next reconciliation."""
    shops.deposit(live)
    seen.fault("LedgerDiscrepancy", "a balance was written by hand; the clock then reconciled")
    live.sql("UPDATE accounts SET balance = balance + 1 WHERE kind = 'customer'")
    live.sql("UPDATE periodic_tasks SET next_run_at = now() WHERE name = 'reconcile'")
    seen.fires("LedgerDiscrepancy")
    seen.mend("LedgerDiscrepancy")


def writes_are_stopped(live: Stack, seen: Watch) -> None:
    """By an operator who forgets it."""
    seen.fault("ReadOnly", "an operator stopped writes")
    seen.fault("ReadOnlyLeftOn", "an operator stopped writes and left it so")
    with people.calling(live.url()) as api:
        body = {"on": True, "reason": "a restore"}
        api.call("POST", "/admin/config/read_only", body, X_Admin_Token=OPERATOR)
    seen.fires("ReadOnly")


def redis_is_killed(live: Stack, seen: Watch) -> None:
    """And what was in it is gone."""
    seen.fault("RedisDegraded", "Redis was killed (SIGKILL), and what it held was lost")
    live.redis.kill()
    seen.fires("RedisDegraded")
    seen.mend("RedisDegraded")


def table_is_locked(live: Stack, seen: Watch) -> None:
    """Somebody's session holds a table that each scrape reads."""
    seen.fault("DatabaseSlow", "a session by hand held a table locked")
    with ExitStack() as by_hand:
        session = by_hand.enter_context(session_by_hand(live))
        by_hand.callback(session.close)
        session.execute("LOCK TABLE last_successes IN ACCESS EXCLUSIVE MODE")
        seen.fires("DatabaseSlow")
        seen.mend("DatabaseSlow")


def alertmanager_is_killed(live: Stack, seen: Watch) -> None:
    """The dead man's switch hears nothing any more: here that is for five seconds."""
    heard = lambda: len(live.receiver.received("/watchdog"))  # noqa: E731
    wait_until(lambda: heard() > 1, "Watchdog to be heard")
    seen.fault("Watchdog", "Alertmanager was killed (SIGKILL); five seconds without a word")
    live.alertmanager.kill()
    last, since = heard(), time.monotonic()
    while time.monotonic() - since < 5:
        if heard() > last:
            last, since = heard(), time.monotonic()
        time.sleep(0.1)
    seen.falls_silent("Watchdog", lambda: heard() > last)
