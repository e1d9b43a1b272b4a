"""Alerts that traffic brings: a bad deploy, receivers that fail, floods, old secrets.

As in `test_worker_and_stores`: the fault is made, it fires, arrives, and clears by the runbook.
"""

import random
import time
from contextlib import ExitStack
from functools import partial

import pytest
import requests

from tests.children import wait_until
from tests.live import results, shops, stack, watch
from tests.live.stack import OLD_TOKEN, OPERATOR, Stack
from tests.live.watch import Watch
from tests.receivers import answer
from tests.stories import people

pytestmark = pytest.mark.slow


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
    session = by_hand.enter_context(live.session_by_hand())
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
