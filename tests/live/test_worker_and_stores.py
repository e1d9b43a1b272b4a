"""Each alert, live: its fault is made, it fires, arrives, clears by the runbook's own commands.

Here by what becomes of worker, web server and stores; by traffic in `test_traffic`. On a stack,
faults that do not disturb each other are made together.
"""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.children import wait_until
from tests.live import results, runbook, shops, stack, watch
from tests.live.stack import OPERATOR, Stack
from tests.live.watch import Watch
from tests.servers import Addresses
from tests.stories import people

pytestmark = pytest.mark.slow


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
        session = by_hand.enter_context(live.session_by_hand())
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
